"""The plots of a study: what they show."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from studies.records.home import Home
from studies.records.results import StudyResults, read_results
from studies.records.trial_record import Ending
from studies.tracking.plots import (
    draw_plots,
    history_figure,
    importance_figure,
    parameter_importances,
)
from tests.tracking_data import (
    COMPLETE,
    DIVERGED,
    FAILED,
    PRUNED,
    FakeStudy,
)


@pytest.fixture(name="fake")
def fake_fixture(tmp_path: Path) -> FakeStudy:
    home = Home(tmp_path)
    home.create()
    return FakeStudy(home, trials=30)


def read(fake: FakeStudy) -> StudyResults:
    return read_results(fake.folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "endings",
    [[], [None], [FAILED], [DIVERGED], [COMPLETE], [COMPLETE, COMPLETE], [FAILED, PRUNED, None, COMPLETE]],
)
def test_any_study_can_be_drawn(fake: FakeStudy, endings: list[Ending | None]) -> None:
    for number, ending in enumerate(endings):
        fake.advance(number, 2, ending)
    plots = draw_plots(read(fake))
    assert plots["history.png"].startswith(b"\x89PNG")
    assert "importance.png" not in plots


def test_the_history_shows_how_many_trials_ended_in_each_way_and_the_best_one(fake: FakeStudy) -> None:
    for number, value in enumerate((0.9, 0.95, 0.95, 0.7)):
        fake.advance(number, 1, COMPLETE, value=value)
    fake.advance(4, 1, PRUNED, value=0.8)
    fake.advance(5, 1, DIVERGED, value=0.1)
    fake.advance(6, 1, FAILED)
    axes = history_figure(read(fake)).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "complete (4)",
        "pruned (1)",
        "diverged (1)",
        "failed (1)",
        "best so far (trial 1: 0.95)",
    ]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.9, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95]]
    low, high = axes.get_ylim()
    assert 0.65 < low < 0.7, "an outlier does not compress the scale"
    assert 0.95 < high < 1.0


def test_a_loss_over_several_orders_of_magnitude_has_a_logarithmic_axis(fake: FakeStudy) -> None:
    fake.write_record(metric="validation/loss")
    for number, value in enumerate((2.0, 0.01, 0.3)):
        fake.advance(number, 1, COMPLETE, value=value)
    assert history_figure(read(fake)).axes[0].get_yscale() == "log"


def test_the_parameter_that_decides_the_value_has_the_largest_importance(fake: FakeStudy) -> None:
    for number in range(30):
        rate = fake.params(number)["optimizer.learning_rate"]
        fake.advance(number, 1, COMPLETE, value=1 - abs(math.log10(rate) + 2.5) / 10)
    shares = parameter_importances(read(fake))
    assert set(shares) == set(fake.folder.read_record().space)
    assert next(iter(shares)) == "optimizer.learning_rate"
    assert sum(shares.values()) == pytest.approx(1)
    figure = importance_figure(read(fake))
    assert figure is not None
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(shares)


def test_importances_without_a_second_good_trial_are_computed_without_a_warning(fake: FakeStudy) -> None:
    for number in range(30):
        fake.advance(number, 1, COMPLETE, value=0.9 if number == 3 else 0.5)
    parameter_importances(read(fake))


@pytest.mark.slow
def test_importances_do_not_load_scikit_learn_and_do_not_block_it_later() -> None:
    program = "import sys, studies.tracking.plots as plots\n"
    program += "with plots._import_blocked('sklearn'): import optuna.importance\n"
    program += "print('sklearn' in sys.modules); import sklearn"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_few_complete_trials_have_no_importances(fake: FakeStudy) -> None:
    for number in range(7):
        fake.advance(number, 1, COMPLETE)
    assert parameter_importances(read(fake)) == {}, "too few trials"
    for number in range(7, 30):
        fake.advance(number, 1, PRUNED)
    assert parameter_importances(read(fake)) == {}, "pruned trials do not count"


def test_equal_values_have_no_importances(fake: FakeStudy) -> None:
    for number in range(30):
        fake.advance(number, 1, COMPLETE, value=0.5)
    assert importance_figure(read(fake)) is None
