"""States of a training as bytes: they are read back exactly, or refused."""

from __future__ import annotations

import functools
import pickle
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlp import (
    Training,
    TrainingState,
    advance,
)
from mlp.errors import CorruptStateError
from tests.mlp.training_data import OPTIMIZERS, run, save_and_load, start
from tests.mlp_data import (
    bits,
    blobs,
    quick,
    small_config,
    small_split,
    thorough,
)

# States as bytes


@functools.cache
def saved_state() -> tuple[TrainingState, bytes]:
    """Return a state and its bytes; its arrays are larger than the 4096 bytes by which a zip file is read ahead."""
    config = small_config({"network.hidden": [300], "epochs": 400, "early_stopping": {"patience": 400}})
    training = run(start(config), 2)
    history = {key: values * 150 for key, values in training.history.items()}  # longer than 4096 bytes, too
    state = replace(training.state(), epoch=300, history=history)
    return state, state.to_bytes()


def outcome(damaged: bytes) -> str:
    """Return `refused`, `unharmed` or `another state` for what is read from damaged bytes."""
    state, _ = saved_state()
    try:
        loaded = TrainingState.from_bytes(damaged)
    except CorruptStateError:
        return "refused"
    return "unharmed" if bits(loaded) == bits(state) else "another state"


def flip(data: bytes, position: int, mask: int) -> bytes:
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def delicate_positions() -> list[int]:
    """Return the positions of the file's structure: the header of each array, and the directory at the end."""
    _, data = saved_state()
    positions, head = [], data.find(b"\x93NUMPY")
    while head >= 0:
        positions += range(head - 64, head + 128)
        head = data.find(b"\x93NUMPY", head + 1)
    return [*positions, *range(len(data) - 330, len(data))]


def test_a_state_is_read_back_from_its_bytes() -> None:
    state, data = saved_state()
    loaded = TrainingState.from_bytes(data)
    assert bits(loaded) == bits(state)
    assert loaded.seconds == state.seconds
    for name in ("theta", "slots", "best_theta"):
        assert getattr(loaded, name).dtype == getattr(state, name).dtype


def test_the_same_state_gives_the_same_bytes() -> None:
    state, data = saved_state()
    assert state.to_bytes() == data
    assert TrainingState.from_bytes(data).to_bytes() == data


def test_a_state_before_the_first_epoch_is_read_back() -> None:
    state = start(small_config()).state()
    assert bits(save_and_load(state)) == bits(state)
    assert save_and_load(state).history == {}


def test_saving_and_loading_does_not_use_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    state, _ = saved_state()
    assert bits(save_and_load(state)) == bits(state)


def test_objects_that_only_pickle_could_load_are_refused() -> None:
    state, _ = saved_state()
    with pytest.raises(CorruptStateError):
        TrainingState.from_bytes(replace(state, theta=np.array([{"any": "object"}])).to_bytes())


@thorough
@given(data=st.data())
def test_truncated_bytes_are_refused(data: st.DataObject) -> None:
    _, complete = saved_state()
    cut = data.draw(st.integers(0, len(complete) - 1))
    assert outcome(complete[:cut]) == "refused"


@quick
@given(data=st.data())
def test_bytes_whose_middle_is_lost_or_zeroed_are_refused(data: st.DataObject) -> None:
    _, complete = saved_state()
    low = data.draw(st.integers(0, len(complete) - 2))
    high = data.draw(st.integers(low + 1, len(complete)))
    assert outcome(complete[:low] + complete[high:]) == "refused"
    assert outcome(complete[:low] + bytes(high - low) + complete[high:]) in ("refused", "unharmed")


@quick
@given(junk=st.binary(max_size=200))
@example(b"")
@example(
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }".ljust(127) + b"\n" + bytes(4)
)
@example(b"PK\x05\x06" + bytes(18))
def test_bytes_of_another_format_are_refused(junk: bytes) -> None:
    assert outcome(junk) == "refused"


@thorough
@given(data=st.data(), mask=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(data: st.DataObject, mask: int) -> None:
    _, complete = saved_state()
    position = data.draw(st.integers(0, len(complete) - 1) | st.sampled_from(delicate_positions()))
    assert outcome(flip(complete, position, mask)) in ("refused", "unharmed")


@pytest.mark.parametrize("mask", [2, 3, 64])
def test_a_changed_byte_in_the_structure_of_the_file_is_refused_or_changes_nothing(mask: int) -> None:
    _, complete = saved_state()
    harm = {}
    for position in delicate_positions():
        try:
            found = outcome(flip(complete, position, mask))
        except Exception as error:  # this test looks for any error but CorruptStateError
            found = f"{type(error).__name__}: {error}"
        if found not in ("refused", "unharmed"):
            harm[position] = found
    assert harm == {}


def test_a_state_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    state, _ = saved_state()
    monkeypatch.setattr("mlp.state.STATE_VERSION", 99)
    future = state.to_bytes()
    monkeypatch.undo()
    with pytest.raises(CorruptStateError, match="the saved state must have version 2, got 99"):
        TrainingState.from_bytes(future)


def test_another_zip_file_is_refused(tmp_path: Any) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(CorruptStateError, match=r"^this is not a saved training state"):
        TrainingState.from_bytes((tmp_path / "other.zip").read_bytes())


@pytest.mark.parametrize("name", ["theta", "slots", "best_theta"])
def test_a_state_that_does_not_fit_its_configuration_is_refused(name: str) -> None:
    training = run(start(small_config({"early_stopping": {"patience": 2}})), 1)
    state = training.state()
    short = replace(state, **{name: getattr(state, name)[..., :-1]})
    with pytest.raises(CorruptStateError, match=r"must have shape \(.*\) for this network, got \("):
        Training.resume(short, training.data)


def test_a_state_does_not_resume_on_data_of_another_width() -> None:
    state = run(start(small_config()), 1).state()
    with pytest.raises(CorruptStateError, match=r"must have shape \(.*\) for this network, got \("):
        Training.resume(state, small_split(small_config(), blobs(d=7)))


REGULARISED: dict[str, Any] = {
    "network.normalization": "batch",
    "network.dropout": 0.3,
    "network.input_noise": 0.1,
    "network.input_scale": True,
    "network.parametric_activation": True,
    "network.last_initializer": "zeros",
    "rate_factors": {"ntk": True, "bias": 0.1, "input_scale": 6.0, "activation": 0.1},
    "schedule": {"name": "reduce_on_plateau", "patience": 1, "metric": "validation/f1_macro"},
    "early_stopping": {"patience": 5},
    "metrics": ["f1_macro", "calibration_error"],
    "loss": {"name": "softmax_cross_entropy", "label_smoothing": 0.1},
    "class_weights": "balanced",
    "diagnostics": True,
    "data.scale": "standard",
    "epochs": 9,
}


@pytest.mark.parametrize("cuts", [(1,) * 9, (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_all_kinds_of_regularisation_together_resume_to_the_same_bits(optimizer: Any, cuts: tuple[int, ...]) -> None:
    config = small_config({**REGULARISED, "optimizer": optimizer})
    split = small_split(config)
    state = Training(config, split).state()
    for epochs in cuts:
        state = save_and_load(advance(state, split, epochs))
    assert bits(state) == bits(advance(Training(config, split).state(), split, 9))
    assert state.epoch > 1


def test_running_statistics_are_kept_with_the_best_weights() -> None:
    training = run(start(small_config({"network.normalization": "batch", "early_stopping": {"patience": 9}})), 4)
    kept = training.network
    training.restore_kept()
    scores = training.evaluate(training.data.validation, "validation")
    assert scores["validation/loss"] == min(training.history["validation/loss"])
    assert (kept.statistics[0][0] != 0.0).any()
