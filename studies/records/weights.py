"""Stored weights: the parameters of a training that has ended, in an `.npy` file.

They spare a training. If they are missing or damaged, the training is repeated, and leads to the same bits.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mlp.arrays import Array, digest
from mlp.errors import ConfigError
from mlp.untrusted import open_npy
from studies.records.files import write_atomically


def write_weights(file: Path, theta: Array) -> None:
    """Write the parameters of a training, shape (p,).

    Raises:
        OSError: if the file cannot be written.
    """
    content = io.BytesIO()
    np.save(content, theta, allow_pickle=False)
    write_atomically(file, content.getvalue())


def read_weights(file: Path, weight_digest: str) -> Array | None:
    """Return the parameters with a digest, shape (p,); None if the file is missing, or does not contain them."""
    try:
        theta = open_npy(file)
    except (OSError, ConfigError):
        return None
    return theta if digest(theta) == weight_digest else None
