"""The comparison of a training with the recorded result of an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlp.data import Dataset
from mlp.folds import CrossValidation
from mlp.training import Training
from studies.models.export import Provenance
from studies.models.machine import machine, versions


@dataclass(frozen=True)
class Comparison:
    """How the result of a training compares with what is recorded.

    Attributes:
        reproduced: whether data, value, kept epoch and weights are exactly as recorded; None if nothing was compared.
        differences: deviations from the record that nothing explains. These are failures.
        warnings: deviations that another machine or other versions explain, or data that has changed since.
    """

    reproduced: bool | None = None
    differences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def compare(
    training: Training | CrossValidation, dataset: Dataset, provenance: Provenance | None, *, is_same: bool
) -> Comparison:
    """Compare a training with what is recorded of an earlier one.

    Args:
        training: a training that has run to its end.
        dataset: the data set that it was trained on.
        provenance: the record; None if there is none.
        is_same: whether the recorded configuration was trained. Otherwise, such as with another seed, only the data
            set is compared.
    """
    if provenance is None:
        return Comparison()
    data = tuple(_data_differences(dataset, provenance))
    if not is_same:
        return Comparison(warnings=data)
    result = tuple(_result_differences(training, provenance))
    recorded = {"cpu": provenance.cpu, "blas": provenance.blas, **provenance.versions}
    environment = tuple(environment_differences(recorded))
    # Another machine explains another result, but not other data.
    if result and environment and not data:
        return Comparison(False, warnings=result + environment)
    return Comparison(not data and not result, differences=data + result)


def _data_differences(dataset: Dataset, provenance: Provenance) -> Iterator[str]:
    if dataset.digest != provenance.data_digest:
        yield _difference(f'the digest of the data set "{dataset.name}"', dataset.digest, provenance.data_digest)


def _result_differences(training: Training | CrossValidation, provenance: Provenance) -> Iterator[str]:
    for name, value, recorded in (
        (provenance.metric, repr(training.kept_scores().get(provenance.metric)), repr(provenance.value)),
        ("the kept epoch", str(training.kept_epoch), str(provenance.kept_epoch)),
        ("the digest of the weights", training.weight_digest(), provenance.weight_digest),
    ):
        if value != recorded:
            yield _difference(name, value, recorded)


def environment_differences(recorded: Mapping[str, str]) -> Iterator[str]:
    """Yield differences of processor, library and versions, which explain different last bits.

    The order of summation and the approximation of functions depend on them.

    Args:
        recorded: the recorded `cpu` and `blas`, and the versions of libraries by name.
    """
    for name, value in {**machine(), **versions()}.items():
        if name in recorded and recorded[name] != value:
            yield f"{_difference(name, value, recorded[name])} The last bits may differ."


def _difference(name: str, value: str, recorded: str) -> str:
    return f"{name} is {value}, recorded as {recorded}."
