"""The starter: a study file for a table, with a base and a space that suit it.

The base follows RealMLP-TD-S of Holzmüller et al. 2024, arXiv:2407.04491: robustly scaled inputs with trained scales,
the neural tangent parametrization, the schedule coslog and label smoothing. Its sizes, rates and epochs were chosen for
short trainings on all training rows; `benchmarks/tables.py` compares it with other methods on 40 tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp.data import Dataset
from mlp.data_config import DataConfig
from mlp.errors import ConfigError, escaped
from mlp.losses import Task
from mlp.scores import standard
from studies.data.array_source import is_array_file
from studies.records.files import write_atomically

LOSSES: dict[Task, str] = {
    "classes": '{ name = "softmax_cross_entropy", label_smoothing = 0.1 }',
    "labels": '"binary_cross_entropy"',
    "values": '"mean_squared_error"',
}
# On the 8 tables of values of `benchmarks/tables.py`, 0.1 raises the mean R² from 69.4 to 69.8 %. On the 32 tables of
# classes it gains nothing (82.9 instead of 83.0).
DROPOUT: dict[Task, float] = {"classes": 0.0, "labels": 0.0, "values": 0.1}
# From how many training rows on, examples per step and epochs. Short steps learn more from few rows, and many rows
# need fewer epochs.
SIZES = ((0, 128, 32), (20_000, 256, 32), (100_000, 1024, 24), (1_000_000, 1024, 15))
SCALES = ("robust", "quantile", "standard")  # the first is that of base
FEW_ROWS = 1000  # below, one validation part is too small to compare configurations, and folds cost little
FOLDS = 5  # fewer if a fold would have less than two rows, on which R2 is not defined
MIN_APART = 4  # rows, or groups of rows, for two folds
SHOWN = 8  # classes or values that a comment lists


@dataclass(frozen=True)
class Starter:
    """A study of a table, as the text of its file.

    Attributes:
        name: the name of the study.
        data: where the table is, its target, and every option that differs from its default.
        task: what is predicted.
        targets: the names of the classes, labels or values.
        n_train: the number of training rows; with folds also those to validate on.
        n_validation: the number of validation rows; 0 with folds.
        n_test: the number of test rows.
        n_columns: the number of columns that are read.
        scales: how numbers may be scaled; empty for images.
    """

    name: str
    data: DataConfig
    task: Task
    targets: tuple[str, ...]
    n_train: int
    n_validation: int
    n_test: int
    n_columns: int
    scales: tuple[str, ...] = SCALES

    @classmethod
    def of(cls, data: DataConfig, dataset: Dataset, *, name: str = "") -> Starter:
        """Return the starter of a data set.

        Args:
            data: the configuration with which the data set was read.
            dataset: the data set.
            name: the name of the study; by default that of the file.

        Raises:
            ConfigError: if there are too few rows to train and validate on.
        """
        is_default = data.validation == DataConfig().validation and not (dataset.n_given or data.folds or data.order)
        if is_default and len(dataset.inputs) < FEW_ROWS:
            n_apart = len(dataset.inputs) if dataset.groups is None else len(np.unique(dataset.groups))
            if n_apart < MIN_APART:
                what = "rows" if dataset.groups is None else "groups of rows"
                problem = (
                    f"has too few {what} to train and validate on: at least {MIN_APART} are needed, got {n_apart}."
                )
                raise ConfigError(f"{data.file or data.name}: {problem} Add rows.")
            data = replace(data, folds=min(FOLDS, n_apart // 2))
        n_validation = 0 if data.folds else dataset.n_given or data.n_validation(len(dataset.inputs))
        return cls(
            name or study_name(data.file or data.name),
            data,
            dataset.task,
            dataset.classes,
            len(dataset.inputs) - n_validation,
            n_validation,
            len(dataset.test_inputs),
            dataset.inputs.shape[1],
            SCALES if dataset.schema is not None and data.scale == "auto" else (),
        )

    @property
    def size(self) -> tuple[int, int]:
        """The number of examples per step, and of epochs."""
        return max(size for size in SIZES if size[0] <= self.n_train)[1:]

    def text(self) -> str:
        """Return the content of the study file."""
        batch_size, epochs = self.size
        metric = f"validation/{standard(self.task)[-1].name}"
        smaller, larger = max(32, batch_size // 2), batch_size * 2
        columns = f"{self.n_columns:,} column{'s' if self.n_columns != 1 else ''}"
        head = f"""\
# A study of {escaped(self.data.file or self.data.name)}: {self._aim()} from {columns}.
# {self._parts()} and {self.n_test:,} to test.
#
# studies run FILE: search, where FILE is this file.
# studies train FILE --refit --test: train [base] on all rows but the test part, and evaluate it on the test part.
# studies train mlruns/studies/{self.name}/best.toml --refit --test: the same with the best trial of the search.

[study]
name        = {_toml(self.name)}
metric      = {_toml(metric)}
budget      = 20        # full trainings, base included
seed        = 0
parallelism = 4         # trials at the same time; the result depends on it, but not on the number of workers
sampler     = "tpe"
{self._pruner(epochs)}

# Trial 0 of the study. Other trials vary what [space] lists.
[base]
seed       = 0
epochs     = {epochs}
batch_size = {batch_size}
loss       = {LOSSES[self.task]}
schedule   = "coslog"   # the learning rate rises and falls in four waves

[base.data]
{self._data()}
[base.network]
hidden           = {{ depth = 3, width = 128, taper = 1.0 }}
activation       = "selu"
initializer      = "lecun_normal"
last_initializer = "zeros"
input_scale      = true   # each input is multiplied by a factor that is trained
dropout          = {DROPOUT[self.task]}

[base.optimizer]
name          = "adam"
learning_rate = 0.04
beta2         = 0.95

# How the learning rate differs between kinds of parameters. With ntk, the rate of a layer's weights is divided by the
# root of the layer's number of inputs, so that a rate suits layers of all widths.
[base.rate_factors]
ntk         = true
bias        = 0.1
input_scale = 6.0

[space]
"network.hidden.depth"     = {{ low = 2, high = 4 }}
"network.hidden.width"     = {{ low = 32, high = 256, log = true }}
"network.activation"       = ["selu", "relu", "mish"]
"network.dropout"          = {{ low = 0.0, high = 0.4, step = 0.1 }}
"optimizer.learning_rate"  = {{ low = 0.005, high = 0.2, log = true }}
"rate_factors.input_scale" = {{ low = 1.0, high = 10.0, log = true }}
batch_size                 = [{smaller}, {batch_size}, {larger}]
"""
        return head + (f'"data.scale"               = {_toml(self.scales)}\n' if self.scales else "")

    def _pruner(self, epochs: int) -> str:
        """Return the line of the pruner, and why it is chosen.

        Measured by `benchmarks/replay.py`: the rank correlation of the values after a fifth of 32 epochs with the last
        ones is 0.19 and -0.34 on two small tables (178 and 442 rows, in folds), but 0.82 and 0.77 on two larger ones
        (2,310 and 5,404 rows), at the end of a wave of the schedule. On these two, one rung and `finish = 0.3` have a
        smaller regret than three rungs with `factor = 2` and half of the budget as finish: 0.101 instead of 0.113 after
        10 trainings, and 0.080 instead of 0.095 after 20.
        """
        if self.data.folds:
            why, pruner = (
                "On a table of this size, early epochs do not predict the last one, so no trial is pruned.",
                '"none"',
            )
            return f"# {why}\npruner      = {pruner}"
        rung = -(-epochs // 5)  # the first two waves of coslog end after a fifth of the epochs
        why = (
            f"Trials pause after {rung} epochs, where the rate is low; 30 % of the budget trains the best to their end."
        )
        return f'# {why}\npruner      = {{ name = "asha", min_epochs = {rung}, finish = 0.3 }}'

    def _parts(self) -> str:
        if self.data.folds:
            return f"{self.n_train:,} rows to train and validate on, in {self.data.folds} folds,"
        return f"{self.n_train:,} rows to train on, {self.n_validation:,} to validate"

    def _aim(self) -> str:
        target = "y" if is_array_file(self.data.file) else ", ".join(map(escaped, self.data.targets))
        if self.task == "values":
            return f"the {'values' if len(self.targets) > 1 else 'value'} of {target}"
        shown = ", ".join(escaped(name) for name in self.targets[:SHOWN])
        shown += ", ..." if len(self.targets) > SHOWN else ""
        return f"{target}, one of {len(self.targets)} classes ({shown})," if self.task == "classes" else f"{target}"

    def _data(self) -> str:
        """Return the lines of [base.data]: what differs from the default, and the sizes of the parts and the scale."""
        default, explicit = DataConfig(file="x").to_mapping(), self.data.to_mapping()
        chosen = {key: value for key, value in explicit.items() if value != default[key] and value not in ("", ())}
        if self.data.file:
            named = {} if is_array_file(self.data.file) else {"target": explicit["target"]}
            chosen |= {"task": self.task, **named, "test": explicit["test"]}
        scale = self.scales[0] if self.scales else self.data.scale
        if self.data.folds:
            chosen.pop("validation", None)
        else:
            chosen["validation"] = explicit["validation"]
        chosen["scale"] = scale
        width = max(map(len, chosen))
        return "".join(f"{key:{width}} = {_toml(value)}\n" for key, value in chosen.items())


def study_name(file: str) -> str:
    """Return the name of a study of a file: its name without endings, and with dashes for what a name cannot have."""
    stem = Path(file).name.partition(".")[0]
    return re.sub(r"^[^A-Za-z0-9]+", "", re.sub(r"[^A-Za-z0-9._-]+", "-", stem))[:40] or "table"


def write_starter(starter: Starter, file: Path, *, replace: bool = False) -> None:
    """Write a study file.

    Args:
        starter: the study.
        file: the file to write. Missing folders are created.
        replace: whether to replace a file that exists.

    Raises:
        ConfigError: if the file exists and `replace` is not set, or it cannot be written.
    """
    if file.exists() and not replace:
        raise ConfigError(f"{file}: exists already. Choose another file with -o, or replace it with --force.")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, starter.text(), sync=True)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}. Choose another file with -o.") from None


def _toml(value: Any) -> str:
    """Return a value as TOML, on one line."""
    import tomli_w  # only a new file needs it

    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n")
