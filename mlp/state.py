"""The state of a training: everything it needs to go on, as arrays and as bytes."""

from __future__ import annotations

import hashlib
import io
import json
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
SEAL_BYTES = 32


@dataclass(frozen=True)
class TrainingState:
    """Everything that a training needs to go on, bit for bit, wherever it is resumed.

    Attributes:
        config: the configuration, as a mapping.
        epoch: epochs done.
        status: `running` until the last epoch, an early stop or a divergence.
        theta: the parameters, shape (p,), the running statistics of normalisation among them.
        slots: what the optimizer remembers of what is trained, shape (n_slots, n_trained).
        best_theta: the parameters of the best epoch so far, shape (p,), or empty without early stopping.
        history: a value an epoch, by metric key.
        seconds: wall-clock time spent, the one thing here that is not reproducible.
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
        """Return the state as an `.npz` file, without pickle; its comment is the SHA-256 of all before it."""
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
            archive.comment = bytes(SEAL_BYTES)
        body = file.getvalue()[:-SEAL_BYTES]
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainingState:
        """Return the state that `to_bytes` wrote.

        Raises:
            CorruptStateError: when the bytes are torn or something else.
        """
        if hashlib.sha256(data[:-SEAL_BYTES]).digest() != data[-SEAL_BYTES:]:
            raise CorruptStateError("not a saved training state, or one that was torn or changed.")
        try:
            with open_npz(data) as archive:
                header_bytes = archive.read("header", dtype=np.uint8).tobytes()
                theta, slots, best_theta = (archive.read(name) for name in ("theta", "slots", "best_theta"))
                values = archive.read("history").tolist()
            header = json.loads(header_bytes)
            if header["version"] != STATE_VERSION:
                was = header["version"]
                raise CorruptStateError(f"the state has version {was}, this program reads {STATE_VERSION}.")
            history = dict(zip(header["keys"], values, strict=True))
            record = {key: header[key] for key in ("config", "epoch", "status", "seconds")}
            return cls(theta=theta, slots=slots, best_theta=best_theta, history=history, **record)
        except (ValueError, KeyError) as error:
            raise CorruptStateError(f"not a saved training state: {error}") from error


def kept_epoch(config: TrainConfig, history: History) -> int:
    """Return the epoch whose weights a training with this history keeps; 0 before the first.

    Under early stopping that is the last one that beat the best before it by more than `min_delta`.
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
        if sign * (value - values[kept]) > stopping.min_delta:
            kept = epoch
    return kept + 1
