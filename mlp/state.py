"""The state of a training: everything that is needed to resume it, as arrays and as bytes.

The bytes are a checkpoint. They hold no pickle, so reading them runs no code, and they end with a SHA-256 of
everything before it, so a file that was torn by a crash is recognised.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mlp.arrays import Array, digest
from mlp.config import TrainConfig
from mlp.errors import CorruptStateError
from mlp.scores import best_epoch, direction
from mlp.untrusted import open_npz

Status = Literal["running", "finished", "stopped", "diverged"]
History = dict[str, list[float]]

STATE_VERSION = 2
SHA_BYTES = 32


@dataclass(frozen=True)
class TrainingState:
    """Everything that is needed to resume a training on any machine, with the same bits.

    Attributes:
        config: the configuration, as a mapping.
        epoch: epochs run so far.
        status: `running` until the last epoch, an early stop or a divergence.
        theta: the parameters, shape (p,), which include the running statistics of normalisation.
        slots: the optimizer's memory of the trained parameters, shape (n_slots, n_trained).
        best_theta: the parameters of the best epoch so far, shape (p,); empty without early stopping.
        history: one value per epoch, by metric key.
        seconds: wall-clock time spent, the only field that is not reproducible.
    """

    config: dict[str, Any]
    epoch: int
    status: Status
    theta: Array
    slots: Array
    best_theta: Array
    history: History = field(default_factory=dict)
    seconds: float = field(default=0.0, compare=False)

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept; 0 before the first."""
        return kept_epoch(TrainConfig.from_mapping(self.config), self.history)

    @property
    def kept_theta(self) -> Array:
        """The parameters that are kept, shape (p,)."""
        return self.best_theta if len(self.best_theta) else self.theta

    def weight_digest(self) -> str:
        """Return the SHA-256 of the parameters that are kept."""
        return digest(self.kept_theta)

    def to_bytes(self) -> bytes:
        """Return the state as an `.npz` file without pickle, whose comment is the SHA-256 of everything before it."""
        header = {
            "version": STATE_VERSION,
            "config": self.config,
            "epoch": self.epoch,
            "status": self.status,
            "keys": list(self.history),
            "seconds": self.seconds,
        }
        file = io.BytesIO()
        np.savez(
            file,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            theta=self.theta,
            slots=self.slots,
            best_theta=self.best_theta,
            history=np.array(list(self.history.values()), np.float64),
        )
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = bytes(SHA_BYTES)
        body = file.getvalue()[:-SHA_BYTES]
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainingState:
        """Return the state that `to_bytes` wrote.

        Raises:
            CorruptStateError: if the bytes are not a saved state, incomplete, or of another version.
        """
        if hashlib.sha256(data[:-SHA_BYTES]).digest() != data[-SHA_BYTES:]:
            raise CorruptStateError("this is not a saved training state, or it is incomplete or was changed.")
        try:
            with open_npz(data) as archive:
                header_bytes = archive.read("header", dtype=np.uint8).tobytes()
                theta, slots, best_theta = (archive.read(name) for name in ("theta", "slots", "best_theta"))
                values = archive.read("history").tolist()
            header = json.loads(header_bytes)
            if header["version"] != STATE_VERSION:
                problem = f"the saved state must have version {STATE_VERSION}, got {header['version']}."
                raise CorruptStateError(problem)
            history = dict(zip(header["keys"], values, strict=True))
            record = {key: header[key] for key in ("config", "epoch", "status", "seconds")}
            return cls(theta=theta, slots=slots, best_theta=best_theta, history=history, **record)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptStateError(f"this is not a saved training state: {error}") from error


def kept_epoch(config: TrainConfig, history: History) -> int:
    """Return the epoch whose weights are kept, given the history; 0 before the first epoch.

    Under early stopping this is the last epoch that was better than the kept epoch before it by more than `min_delta`;
    otherwise the last epoch.
    """
    stopping = config.early_stopping
    if stopping is None or not history:
        return max(map(len, history.values()), default=0)
    values = history[stopping.metric]
    if not stopping.min_delta:
        return best_epoch(stopping.metric, history)
    sign = 1.0 if direction(stopping.metric) == "maximize" else -1.0
    kept = 0
    for epoch, value in enumerate(values):
        is_better = sign * (value - values[kept]) > stopping.min_delta
        if is_better or (math.isnan(values[kept]) and not math.isnan(value)):  # an undefined value is the worst
            kept = epoch
    return kept + 1
