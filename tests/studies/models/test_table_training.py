"""Trainings on tables as people have them, from the file to the scores and the answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp.config import TrainConfig
from mlp.errors import ConfigError
from mlp.model_io import load_model
from studies.data.data_plan import DataPlan
from studies.models.predict import Predictions, read_inputs
from studies.models.retrain import RetrainResult, retrain

KINDS = ("red", "green", "blue")
RNG = np.random.default_rng(0)
N = 120
X = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 2.0], [4.0, 4.0, 3.0]])[np.arange(N) % 3] + 0.7 * RNG.normal(size=(N, 3))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; the cache is empty."""
    monkeypatch.setenv("STUDIES_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("STUDIES_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(
    cells: Callable[[int], list[Any]], target: Callable[[int], Any], n: int = N, names: str = "a,b,c,kind"
) -> None:
    rows = [",".join(map(str, [*cells(i), target(i)])) for i in range(n)]
    Path("d.csv").write_text("\n".join([names, *rows]) + "\n")


def numbers(i: int) -> list[Any]:
    return [f"{x:.3f}" for x in X[i]]


def kind(i: int) -> str:
    return KINDS[i % 3]


def trained(**config: Any) -> tuple[RetrainResult, DataPlan]:
    data = {"file": "d.csv", "target": "kind", **config.pop("data", {})}
    optimizer = {"name": "adam", "learning_rate": 0.01}
    mapping = {"epochs": 30, "batch_size": 16, "optimizer": optimizer, "data": data, **config}
    plans: list[DataPlan] = []
    result = retrain(TrainConfig.from_mapping(mapping), test=True, save="m.json", on_plan=plans.append)
    return result, plans[0]


def answers(file: str) -> list[str]:
    model = load_model("m.json")
    return Predictions.of(model, read_inputs(file, model)).to_csv().splitlines()


def accuracy(result: RetrainResult) -> float:
    assert result.test is not None
    return result.test["test/accuracy"]


@pytest.mark.parametrize("order", [np.arange(N), np.argsort(np.arange(N) % 3, kind="stable"), RNG.permutation(N)])
@pytest.mark.parametrize("subset", [0, 40])
def test_every_class_is_learnt_in_any_order_of_the_rows_and_from_a_subset(order: list[int], subset: int) -> None:
    write(lambda i: numbers(order[i]), lambda i: kind(order[i]))
    result, plan = trained(data={"subset": subset})
    assert accuracy(result) > 0.7
    assert plan.warnings == ()


def test_a_column_of_large_numbers_and_a_customer_number_spoil_nothing() -> None:
    write(lambda i: [30_000 + RNG.integers(3_000), *numbers(i), 712_345 + i], kind, names="salary,a,b,c,customer,kind")
    result, plan = trained()
    assert accuracy(result) > 0.7
    assert "dropped: customer (identifier)" in plan.lines[3]


def test_values_in_the_billions_are_learnt_and_predicted_in_their_own_units() -> None:
    write(numbers, lambda i: int(1.5e9 + 1e8 * round(float(X[i, 0] - X[i, 1]), 1)))
    result, _ = trained(loss="mean_squared_error")
    assert result.test is not None
    assert result.test["test/r2"] > 0.9
    assert 1e8 < float(answers("d.csv")[1]) < 3e9


def test_a_regression_loss_makes_whole_numbers_values() -> None:
    write(numbers, lambda i: round(150 + 30 * float(X[i, 0])))
    result, plan = trained(loss="mean_squared_error")
    assert (
        plan.lines[1]
        == "task     values, because the loss mean_squared_error compares values. data.task decides otherwise."
    )
    assert result.test is not None
    assert result.test["test/r2"] > 0.9
    assert len(answers("d.csv")[0].split(",")) == 1
    assert trained()[1].lines[1].startswith("task     values, because ")
    with pytest.raises(
        ConfigError, match='the loss "softmax_cross_entropy" supports classes, but the targets are valu'
    ):
        trained(loss="softmax_cross_entropy")


@pytest.mark.parametrize(
    ("write_cell", "n_inputs"),
    [
        (lambda _, x: f'"{x:.3f}"'.replace(".", ","), 3),
        (lambda _, x: f'"{x:.3f} %"', 3),
        (lambda i, x: "" if i % 10 == 3 else f"{x:.3f}", 6),
        (lambda i, x: "NA" if i % 3 == 1 else f"{x:.3f}", 6),
    ],
    ids=["decimal comma", "percent", "empty cells", "a third is missing"],
)
def test_numbers_are_learnt_from_however_they_are_written(
    write_cell: Callable[[int, float], str], n_inputs: int
) -> None:
    write(lambda i: [write_cell(i, x) for x in X[i]], kind)
    result, plan = trained()
    assert accuracy(result) > 0.6
    assert f"inputs   {n_inputs} from 3 columns" in plan.lines


@pytest.mark.parametrize(
    "kinds", [("001", "002", "010"), ("None", "Mild", "Severe"), ("1.50", "2.50", "L"), ("é", "ü", "ß")]
)
def test_the_names_of_classes_are_those_of_the_file(kinds: tuple[str, ...]) -> None:
    write(numbers, lambda i: kinds[i % 3])
    trained(epochs=2)
    lines = answers("d.csv")
    assert set(lines[0].split(",")[1:]) == set(kinds)
    assert {line.split(",")[0] for line in lines[1:]} <= set(kinds)


def test_classes_that_differ_by_blanks_are_one_class_with_a_notice() -> None:
    write(numbers, lambda i: kind(i) + " " * (i % 7 == 0))
    _, plan = trained(epochs=1)
    assert plan.lines[2].startswith("classes  3: ")
    assert plan.warnings == ('column "kind": blanks around the text are removed in 18 rows.',)


def test_a_date_is_one_column_and_new_dates_are_predicted_from() -> None:
    write(lambda i: [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}", *numbers(i)], kind, names="when,a,b,c,kind")
    result, plan = trained()
    assert accuracy(result) > 0.6
    assert plan.lines[3] == "inputs   9 from 4 columns"
    Path("new.csv").write_text("c,b,a,when\n0,0,0,2025-01-01\n")
    assert len(answers("new.csv")) == 2


def test_a_table_that_is_too_small_is_told_which_classes_are_absent() -> None:
    write(numbers, kind, n=3)
    _, plan = trained(epochs=1)
    assert plan.warnings[0] == "3 classes have only one example: to learn from, to validate, or to test."
    assert plan.warnings[1].startswith("the training part has no example of 2 classes")


def test_a_permuted_target_is_not_learnt() -> None:
    permuted = RNG.permutation(N)
    write(numbers, lambda i: kind(int(permuted[i])))
    assert accuracy(trained()[0]) < 0.65


def test_one_row_predicts_as_it_does_among_others() -> None:
    write(lambda i: [*numbers(i)[:2], ("1.50", "2.50", "L")[i * 7 % 5 % 3]], kind)
    trained(epochs=3)
    Path("one.csv").write_text("a,b,c\n1,2,1.50\n")
    Path("two.csv").write_text("a,b,c\n1,2,1.50\n3,1,L\n")
    one, two = answers("one.csv")[1].split(","), answers("two.csv")[1].split(",")
    assert one[0] == two[0]
    np.testing.assert_allclose([float(p) for p in one[1:]], [float(p) for p in two[1:]], rtol=1e-4)
