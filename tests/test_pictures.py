"""Pictures of a training: which there are, and which examples they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlp_data import small_config
from study_data import prepared_digits  # noqa: F401 - a fixture

from studies.pictures import SHOWN, _some
from studies.retrain import retrain

pytestmark = pytest.mark.usefixtures("digits")


def test_a_training_is_drawn(tmp_path: Path) -> None:
    retrain(small_config({"data": {"name": "digits"}}), pictures=tmp_path / "pictures", test=True)
    files = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert files == ["confusion.png", "curves.png", "first_layer.png", "predictions.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in (tmp_path / "pictures").iterdir())


@pytest.mark.parametrize(("n_wrong", "shown_wrong"), [(0, 0), (5, 5), (90, SHOWN // 2)])
def test_up_to_half_of_what_is_shown_is_wrong(n_wrong: int, shown_wrong: int) -> None:
    is_right = np.ones(200, bool)
    is_right[100 : 100 + n_wrong] = False
    shown = _some(is_right)
    assert len(shown) == SHOWN
    assert np.count_nonzero(~is_right[shown]) == shown_wrong
