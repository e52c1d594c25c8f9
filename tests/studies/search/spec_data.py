"""Study files of the tests of study files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlp.errors import ConfigError
from studies.search.spec import (
    StudySpec,
    read_spec,
)

STUDY = """
[study]
name    = "small"
trials  = 12
sampler = { name = "tpe", startup_trials = 4 }
pruner  = { name = "median", min_epochs = 3 }
"""


BASE = """
[base]
epochs    = 5
data      = { name = "digits" }
network   = { hidden = { depth = 2, width = 32 } }
optimizer = { name = "adam", learning_rate = 1e-3 }
schedule  = "cosine"
"""


SPACE = """
[space]
"network.hidden.depth"    = { low = 1, high = 3 }
"optimizer.learning_rate" = { low = 1e-4, high = 0.1, log = true }
schedule                  = ["cosine", "constant", "exponential"]
"schedule.factor"         = { low = 0.8, high = 0.99, when = { schedule = "exponential", batch_size = 64 } }
batch_size                = [64, 128]
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "small.toml"
    file.write_text(text)
    return file


def spec(folder: Path, *overrides: str, study: str = STUDY, base: str = BASE, space: str = SPACE) -> StudySpec:
    return read_spec(write(folder, study + base + space), overrides=overrides)


def refusal(folder: Path, *overrides: str, **tables: str) -> str:
    """Return the error of a file without the file's name, which must come first."""
    with pytest.raises(ConfigError) as error:
        spec(folder, *overrides, **tables)
    start = f"{folder / 'small.toml'}: "
    assert str(error.value).startswith(start)
    return str(error.value).removeprefix(start)
