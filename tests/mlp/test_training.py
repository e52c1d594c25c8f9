"""Training: the same bits however it is interrupted, saved or resumed; early stopping, divergence, batches."""

from __future__ import annotations

import functools
import math
import pickle
import re
import tracemalloc
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from mlp import (
    ConfigError,
    DataConfig,
    DivergedError,
    EarlyStopping,
    EpochMetrics,
    Examples,
    Split,
    TrainConfig,
    Training,
    TrainingState,
    advance,
    train,
)
from mlp.activations import activations
from mlp.arrays import digest, stream
from mlp.errors import CorruptStateError
from mlp.initializers import initializers
from mlp.losses import losses
from mlp.metrics import metrics
from mlp.normalizations import normalizations
from mlp.online import is_online
from mlp.optimizers import Adam, optimizers
from mlp.preparation import example_weights
from mlp.rate_factors import RateFactors
from mlp.scaling import Scaling
from mlp.schedules import schedules
from mlp.scores import best_epoch, direction
from mlp.state import kept_epoch
from tests.mlp_data import (
    METRIC_KEYS,
    bits,
    blobs,
    parts,
    quick,
    small_config,
    small_split,
    thorough,
)

OPTIMIZERS: list[Any] = [
    *optimizers,
    {"name": "sgd", "momentum": 0.9},
    {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
]
STOPPING: list[Any] = [None, {"patience": 3, "metric": "validation/accuracy"}]


def start(config: TrainConfig) -> Training:
    return Training(config, small_split(config))


def run(training: Training, epochs: int) -> Training:
    training.run(epochs)
    return training


def save_and_load(state: TrainingState) -> TrainingState:
    return TrainingState.from_bytes(state.to_bytes())


def tame(part: Any) -> Any:
    """Return the optimizer with a learning rate at which trainings rarely diverge."""
    return replace(part, learning_rate=min(part.learning_rate, 0.1), weight_decay=min(part.weight_decay, 1.0))


def overfit_config(**changes: Any) -> TrainConfig:
    """Return a configuration that overfits the data set `noise`, so that the validation loss soon gets worse."""
    paths = {
        "epochs": 60,
        "batch_size": 8,
        "network.hidden": [32],
        "optimizer.learning_rate": 0.02,
        "optimizer.weight_decay": 0.0,
        "early_stopping": {"patience": 4},
    }
    return small_config({**paths, **changes})


def noise() -> Any:
    """Return a data set whose classes are independent of its inputs."""
    return replace(blobs(60, noise=255), targets=np.random.default_rng(1).integers(0, 3, 60).astype(np.uint8))


# The same bits, however a training is interrupted


@functools.cache
def uninterrupted(optimizer: str) -> tuple[TrainingState, ...]:
    """Return the states of one training after 0, 1, ... 6 epochs."""
    training = start(small_config({"optimizer": optimizer, "schedule": "cosine", "early_stopping": {"patience": 6}}))
    states = [training.state()]
    training.run(on_epoch=lambda _: states.append(training.state()))
    return tuple(states)


@settings(quick, max_examples=20)  # for each optimizer
@given(cuts=st.lists(st.integers(0, 6), max_size=6), saved=st.booleans())
@pytest.mark.parametrize("optimizer", list(optimizers))
def test_advancing_in_any_steps_gives_the_bits_of_one_run(optimizer: str, cuts: list[int], saved: bool) -> None:
    states = uninterrupted(optimizer)
    data = small_split(small_config())
    state = states[0]
    for epochs in cuts:
        state = advance(save_and_load(state) if saved else state, data, epochs)
        assert bits(state) == bits(states[min(state.epoch, 6)])
    assert state.epoch == min(6, sum(cuts))
    assert bits(advance(state, data, 6)) == bits(states[-1])


@pytest.mark.parametrize("stopping", STOPPING, ids=["to the end", "early stopping"])
@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [*((optimizer, "reduce_on_plateau") for optimizer in OPTIMIZERS), *(("adam", schedule) for schedule in schedules)],
    ids=str,
)
def test_a_training_that_is_saved_and_loaded_ends_with_the_same_bits(
    optimizer: Any, schedule: str, stopping: Any
) -> None:
    config = small_config({"optimizer": optimizer, "schedule": schedule, "early_stopping": stopping})
    uninterrupted_run, data = start(config), small_split(config)
    state = save_and_load(uninterrupted_run.state())
    while uninterrupted_run.status == "running":
        uninterrupted_run.run_epoch()
        state = save_and_load(advance(state, data, 1))
        assert bits(state) == bits(uninterrupted_run.state())
    assert uninterrupted_run.epoch > 2


@pytest.mark.parametrize("name", list(activations))
def test_every_activation_resumes_to_the_same_bits(name: str) -> None:
    training = run(start(small_config({"network.activation": name})), 2)
    resumed = advance(save_and_load(training.state()), training.data, 2)
    assert bits(resumed) == bits(run(training, 2).state())


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_small_configuration_trains_to_the_same_bits_at_once_and_epoch_by_epoch(data: st.DataObject) -> None:
    config = replace(
        small_config({"epochs": 3, "early_stopping": data.draw(st.sampled_from(STOPPING))}),
        seed=data.draw(st.integers(0, 2**32 - 1)),
        batch_size=data.draw(st.integers(2, 80) | st.just("full")),
        loss=data.draw(st.sampled_from([losses.decode(name) for name in losses if name != "binary_cross_entropy"])),
        dtype=data.draw(st.sampled_from(["float32", "float64"])),
        class_weights=data.draw(st.sampled_from([(), "balanced", (1.0, 0.0, 2.5)])),
        metrics=data.draw(st.sampled_from([(), (metrics.decode("f1_macro"), metrics.decode("log_loss"))])),
        diagnostics=data.draw(st.booleans()),
        optimizer=data.draw(parts(optimizers).map(tame) | parts(optimizers)),
        schedule=data.draw(parts(schedules)),
        rate_factors=data.draw(st.sampled_from([RateFactors(), RateFactors(ntk=True, bias=0.1, first=2.0)])),
        network=replace(
            small_config().network,
            hidden=data.draw(st.lists(st.integers(1, 9), max_size=3)),
            activation=data.draw(parts(activations)),
            initializer=initializers.decode(data.draw(st.sampled_from(list(initializers)))),
            normalization=data.draw(parts(normalizations)),
            dropout=data.draw(st.sampled_from([0.0, 0.3])),
            input_noise=data.draw(st.sampled_from([0.0, 0.1])),
            bias=data.draw(st.booleans()),
            last_initializer=data.draw(st.sampled_from([None, initializers.decode("zeros")])),
            input_scale=data.draw(st.booleans()),
            parametric_activation=data.draw(st.booleans()),
        ),
        data=replace(small_config().data, scale=data.draw(st.sampled_from(["unit", "standard", "example", "none"]))),
    )
    split = small_split(config)
    at_once = advance(Training(config, split).state(), split, 3)
    state = Training(config, split).state()
    for _ in range(3):
        state = advance(save_and_load(state), split, 1)
    assert bits(state) == bits(at_once)
    assert at_once.status != "running"
    # Learning rates up to 1e308 are drawn, so some of these trainings diverge. The history is always finite.
    for values in at_once.history.values():
        assert np.isfinite(values).all()
        assert len(values) == at_once.epoch - (at_once.status == "diverged")


def test_advance_does_not_change_its_argument() -> None:
    state = run(start(small_config()), 1).state()
    before = bits(state)
    advance(state, small_split(small_config()), 2)
    assert bits(state) == before


def test_a_state_is_a_copy_that_later_epochs_do_not_touch() -> None:
    training = run(start(small_config({"early_stopping": {"patience": 9}})), 1)
    state = training.state()
    before = bits(state)
    run(training, 2)
    assert bits(state) == before


def test_advancing_by_0_epochs_or_after_the_end_returns_an_equal_state() -> None:
    data = small_split(small_config())
    state = run(start(small_config()), 1).state()
    assert bits(advance(state, data, 0)) == bits(state)
    ended = advance(state, data, 99)
    assert ended.status == "finished"
    assert bits(advance(ended, data, 1)) == bits(ended)


def test_a_resumed_training_keeps_the_same_epoch_and_weights() -> None:
    for stopping in STOPPING:
        training = run(start(small_config({"early_stopping": stopping})), 3)
        state = save_and_load(training.state())
        resumed = Training.resume(state, training.data)
        assert state.kept_epoch == resumed.kept_epoch == training.kept_epoch
        assert state.weight_digest() == resumed.weight_digest() == training.weight_digest()
        np.testing.assert_array_equal(state.kept_theta, training.kept_theta)


def test_float64_trainings_resume_in_float64() -> None:
    training = run(start(small_config({"dtype": "float64"})), 2)
    state = save_and_load(training.state())
    assert state.theta.dtype == state.slots.dtype == np.float64
    assert bits(advance(state, training.data, 1)) == bits(run(training, 1).state())


def test_the_seed_decides_split_initial_weights_and_order() -> None:
    digests = {start(small_config({"seed": seed})).weight_digest() for seed in range(3)}
    assert len(digests) == 3
    fixed = [small_split(small_config({"seed": 0}))] * 2
    orders = [
        run(Training(small_config({"seed": seed}), data), 1).history for seed, data in zip((0, 1), fixed, strict=True)
    ]
    assert orders[0] != orders[1]


def test_the_number_of_blas_threads_outside_does_not_change_the_result() -> None:
    # OpenBLAS sums products of this shape in another order with two threads than with one, and rounds differently.
    config = small_config({"network.hidden": [512], "batch_size": 200, "epochs": 2})
    split = small_split(config, blobs(500, 784, 10))
    found = set()
    for n_threads in (1, 2):
        with threadpoolctl.threadpool_limits(n_threads, user_api="blas"):
            training = run(Training(config, split), 1)
            outputs = training.outputs(split.train)
            n_after = {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
        found.add((training.weight_digest(), outputs.tobytes()))
        assert n_after == {n_threads}
    assert len(found) == 1


def test_a_digest_depends_on_values_types_shapes_and_the_order_of_arrays() -> None:
    zeros = np.zeros(4, np.float32)
    others = [
        (np.array([0.0, -0.0, 0.0, 0.0], np.float32),),
        (zeros.astype(np.int32),),
        (zeros.reshape(2, 2),),
        (zeros[:2], zeros[2:]),
        (zeros, np.ones(1)),
        (np.ones(1), zeros),
    ]
    assert len({digest(zeros), *(digest(*arrays) for arrays in others)}) == 1 + len(others)
    assert digest(zeros[::2]) == digest(np.zeros(2, np.float32))


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


# Weights


def test_class_weights_equal_weights_of_the_examples() -> None:
    config = small_config({"class_weights": [1.0, 2.0, 0.5], "dtype": "float64"})
    split = small_split(config)
    weights = np.array([1.0, 2.0, 0.5])[split.train.targets]
    weighted = replace(split, train=replace(split.train, weights=weights))
    by_class = run(Training(config, split), 2).network.theta
    by_example = run(Training(replace(config, class_weights=()), weighted), 2).network.theta
    np.testing.assert_array_equal(by_class, by_example)


def test_balanced_class_weights_give_each_class_the_same_total_weight() -> None:
    dataset = replace(blobs(), targets=np.repeat(np.arange(3), [50, 15, 5]))
    training = Training(small_config({"class_weights": "balanced"}), small_split(small_config(), dataset))
    sums = np.bincount(training.data.train.row_targets, training._weights)
    np.testing.assert_allclose(sums, len(training.data.train) / 3, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2.0, 70)], ids=["equal", "weighted"])
def test_balanced_class_weights_are_those_of_scikit_learn(weights: Any) -> None:
    dataset = replace(blobs(), weights=weights)
    config = small_config({"class_weights": "balanced", "data.validation": 0, "dtype": "float64"})
    found = example_weights(config, small_split(config, dataset))
    if weights is None:
        expected = compute_sample_weight("balanced", dataset.targets)
    else:  # scikit-learn counts examples; here their weights count
        totals = np.bincount(dataset.targets, weights)
        expected = weights * (weights.sum() / (3 * totals))[dataset.targets]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_class_weights_must_have_one_number_per_class() -> None:
    with pytest.raises(ConfigError, match=r'"class_weights": must have one number for each of the 3 classes, got 2'):
        start(small_config({"class_weights": [1.0, 2.0]}))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_large_batch_computed_in_blocks_gives_the_same_gradient(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config({"batch_size": "full", "dtype": "float64", "class_weights": [1.0, 3.0, 0.0] * weighted})
    in_one_piece = run(start(config), 3).network.theta
    monkeypatch.setattr("mlp.batch_steps.PAGE_ROWS", 9)
    in_blocks = start(config)
    assert in_blocks._batches.block_rows == 9
    np.testing.assert_allclose(run(in_blocks, 3).network.theta, in_one_piece, rtol=1e-11)


# Batches of one example

ONLINE: dict[str, Any] = {"batch_size": 1, "optimizer": {"name": "sgd", "learning_rate": 0.05}, "dtype": "float64"}


@pytest.mark.parametrize("activation", list(activations))
@pytest.mark.parametrize(
    "changes", [{}, {"network.bias": False}, {"network.hidden": []}, {"schedule": "cosine"}], ids=str
)
def test_updates_applied_in_blocks_give_the_same_result(
    activation: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config({**ONLINE, "network.activation": activation, **changes})
    in_blocks = run(start(config), 3)
    monkeypatch.setattr("mlp.training.is_online", lambda _: False)
    at_every_step = run(start(config), 3)
    np.testing.assert_allclose(in_blocks.network.theta, at_every_step.network.theta, rtol=1e-9, atol=1e-12)
    for key, values in at_every_step.history.items():
        assert in_blocks.history[key] == pytest.approx(values, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "online"),
    [
        ({}, True),
        ({"batch_size": 2}, False),
        ({"optimizer.momentum": 0.5}, False),
        ({"optimizer.l2": 0.1}, False),
        ({"optimizer.weight_decay": 0.1}, False),
        ({"optimizer.clip_norm": 1.0}, False),
        ({"optimizer": "adam"}, False),
        ({"network.normalization": "layer"}, False),
        ({"network.dropout": 0.1}, False),
        ({"network.input_noise": 0.1}, False),
        ({"network.input_scale": True}, False),
        ({"network.parametric_activation": True}, False),
        ({"diagnostics": True}, False),
        ({"rate_factors.bias": 0.1}, False),
    ],
    ids=str,
)
def test_only_plain_gradient_descent_with_batches_of_one_applies_updates_in_blocks(
    changes: dict[str, Any], online: bool
) -> None:
    assert is_online(small_config({**ONLINE, **changes})) == online


def test_batches_of_one_example_resume_to_the_same_bits() -> None:
    config = small_config(ONLINE)
    split = small_split(config)
    state = Training(config, split).state()
    for _ in range(4):
        state = save_and_load(advance(state, split, 1))
    assert bits(state) == bits(advance(Training(config, split).state(), split, 4))


# Diagnostics


def test_diagnostics_describe_each_layer() -> None:
    training = run(start(small_config({"diagnostics": True, "network.activation": "relu"})), 2)
    found = {key.removeprefix("diagnostics/") for key in training.history if key.startswith("diagnostics/")}
    layers = {f"layer_{layer}/{name}" for layer in (1, 2, 3) for name in ("gradient_norm", "update_ratio")}
    units = {f"layer_{layer}/{name}" for layer in (1, 2) for name in ("dead_units", "saturation")}
    assert found == {"gradient_norm"} | layers | units
    norms = [training.history[f"diagnostics/layer_{layer}/gradient_norm"][-1] for layer in (1, 2, 3)]
    assert 0 < math.hypot(*norms) < training.history["diagnostics/gradient_norm"][-1]
    assert 1e-5 < training.history["diagnostics/layer_1/update_ratio"][-1] < 0.5


def test_units_that_cannot_learn_are_counted_as_dead() -> None:
    training = start(small_config({"diagnostics": True, "network.activation": "relu"}))
    training.network.biases[0][:2] = -1e6
    training.run_epoch()
    assert training.history["diagnostics/layer_1/dead_units"][0] >= 2 / 5


def test_diagnostics_do_not_change_the_training() -> None:
    plain, watched = (run(start(small_config({"diagnostics": on})), 3) for on in (False, True))
    np.testing.assert_array_equal(plain.network.theta, watched.network.theta)


def test_epochs_do_not_leak_memory() -> None:
    training = start(small_config({"epochs": 60, "network.dropout": 0.2, "network.normalization": "batch"}))
    run(training, 20)
    tracemalloc.start()
    try:
        run(training, 2)
        before = tracemalloc.get_traced_memory()[0]
        run(training, 30)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 30 * 1000  # the history itself grows by four numbers per epoch


# Other tasks


def labelled(targets: Any, k: int) -> Any:
    dataset = blobs()
    return replace(dataset, targets=targets, test_targets=targets[:20], classes=tuple("abcdef"[:k]))


def test_several_labels_are_learnt() -> None:
    inputs = blobs().inputs
    dataset = labelled((inputs[:, :2] > 127).astype(np.uint8), 2)
    config = small_config({"loss": "binary_cross_entropy", "epochs": 60, "optimizer.learning_rate": 0.05})
    training = run(Training(config, small_split(config, dataset)), 60)
    assert training.network.sizes[-1] == 2
    assert training.history["validation/label_accuracy"][-1] > 0.8


def test_two_classes_are_learnt_by_one_output() -> None:
    dataset = labelled((blobs().inputs[:, 0] > 127).astype(np.int64), 2)
    config = small_config({"loss": "binary_cross_entropy", "epochs": 60, "optimizer.learning_rate": 0.05})
    training = run(Training(config, small_split(config, dataset)), 60)
    assert training.network.sizes[-1] == 1
    assert training.history["validation/accuracy"][-1] > 0.85


def test_several_values_are_learnt() -> None:
    dataset = labelled(blobs().inputs[:, :3] / 255.0 @ np.array([[1.0, 0.5], [0.0, -1.0], [2.0, 0.3]]), 2)
    changes = {"loss": "mean_squared_error", "epochs": 80, "optimizer.learning_rate": 0.03}
    training = run(Training(small_config(changes), small_split(small_config(changes), dataset)), 80)
    assert training.history["validation/r2"][-1] > 0.8


def test_a_loss_or_a_metric_for_another_task_is_refused() -> None:
    values = labelled(np.zeros((70, 2)), 2)
    for changes, said in (
        (
            {"loss": "softmax_cross_entropy"},
            'the loss "softmax_cross_entropy" supports classes, but the targets are values',
        ),
        ({"loss": "huber", "metrics": ["f1_macro"]}, 'the metric "f1_macro" is for classes'),
        ({"loss": "huber", "class_weights": "balanced"}, '"class_weights": needs classes'),
    ):
        config = small_config(changes)
        with pytest.raises(ConfigError, match=said):
            Training(config, small_split(config, values))


# What an epoch does


def transcribe(config: TrainConfig, split: Any, epochs: int) -> tuple[Any, dict[str, list[float]]]:
    """Train a tanh network by plain gradient descent, written out example by example, independent of the package."""
    begin = Training(config, split).network
    weights, biases = [w.copy() for w in begin.weights], [b.copy() for b in begin.biases]
    rate, decay = config.optimizer.learning_rate, config.optimizer.weight_decay
    inputs = split.train.inputs / 255.0
    history: dict[str, list[float]] = {"train/loss": [], "train/accuracy": []}
    for epoch in range(epochs):
        order = split.train.rows[stream(config.seed, "shuffle", epoch).permutation(len(split.train))]
        losses, hits = [], []
        for first in range(0, len(order), config.batch_size):
            batch = order[first : first + config.batch_size]
            d_weights, d_biases = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
            for row in batch:
                a = [inputs[row]]
                for w, b in zip(weights[:-1], biases[:-1], strict=True):
                    a.append(np.tanh(a[-1] @ w + b))
                outputs, label = a[-1] @ weights[-1] + biases[-1], split.train.targets[row]
                softmax = np.exp(outputs) / np.exp(outputs).sum()
                losses.append(-np.log(softmax[label]))
                hits.append(outputs.argmax() == label)
                dz = softmax - np.eye(len(softmax))[label]
                for layer in reversed(range(len(weights))):
                    d_weights[layer] += np.outer(a[layer], dz) / len(batch)
                    d_biases[layer] += dz / len(batch)
                    dz = (weights[layer] @ dz) * (1.0 - a[layer] ** 2)
            for layer in range(len(weights)):
                weights[layer] -= rate * (d_weights[layer] + decay * weights[layer])
                biases[layer] -= rate * d_biases[layer]
        history["train/loss"].append(float(np.mean(losses)))
        history["train/accuracy"].append(float(np.mean(hits)))
    return np.concatenate([array.ravel() for array in weights + biases]), history


def test_training_equals_a_plain_transcription_with_a_last_batch_that_is_partial() -> None:
    optimizer = {"name": "sgd", "learning_rate": 0.3, "weight_decay": 0.05}
    paths = {"batch_size": 16, "network.bias_initializer": "normal", "dtype": "float64"}
    config = small_config({"optimizer": optimizer, **paths})
    training = run(start(config), 3)
    assert len(training.data.train) % 16 != 0
    theta, history = transcribe(config, training.data, 3)
    np.testing.assert_allclose(training.network.theta, theta, rtol=1e-11, atol=1e-13)
    for key, values in history.items():
        assert training.history[key] == pytest.approx(values, rel=1e-11)


@pytest.mark.parametrize(
    ("batch_size", "n_steps"), [(1, 56), (16, 4), (28, 2), (55, 2), (56, 1), (1000, 1), ("full", 1)]
)
def test_the_steps_of_an_epoch_cover_the_training_part(batch_size: Any, n_steps: int) -> None:
    training = start(small_config({"batch_size": batch_size}))
    assert len(training.data.train) == 56
    assert training.n_steps == n_steps
    metrics = training.run_epoch()
    assert metrics.epoch == training.epoch == 1
    assert all(np.isfinite(list(metrics.values.values())))


def test_a_batch_larger_than_the_data_is_the_full_batch() -> None:
    states = [run(start(small_config({"batch_size": size})), 3).state() for size in (56, 57, 1000, "full")]
    assert len({bits(state)[3:6] for state in states}) == 1


def test_steps_are_counted_across_epochs_and_the_rate_follows_the_schedule_within_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, update = [], Adam.update

    def record(self: Adam, *arrays: Any) -> None:
        found.append(arrays[-2:])
        update(self, *arrays)

    monkeypatch.setattr(Adam, "update", record)
    monkeypatch.setattr("mlp.batch_steps.CHUNK", 10**9)
    training = start(small_config({"schedule": "cosine"}))
    run(Training.resume(run(training, 1).state(), training.data), 2)
    per_step = found[::2]  # one chunk with all weights, one with all biases
    assert [step for step, _ in per_step] == list(range(1, 3 * 4 + 1))
    config = training.config
    rates = [config.schedule.rate(0.01, step / 4, config.epochs) for step in range(3 * 4)]
    assert [rate for _, rate in per_step] == pytest.approx(rates, rel=1e-12)
    assert len(set(rates)) == 12


def test_one_example_is_enough_to_train_on() -> None:
    config = small_config({"data.validation": 0})
    dataset = replace(blobs(), inputs=blobs().inputs[:1], targets=blobs().targets[:1])
    training = run(Training(config, small_split(config, dataset)), 6)
    assert training.status == "finished"
    assert training.history["train/loss"][-1] < training.history["train/loss"][0]


def test_the_metrics_of_an_epoch_are_those_in_the_history() -> None:
    training = start(small_config())
    found = [training.run_epoch() for _ in range(3)]
    assert [metrics.epoch for metrics in found] == [1, 2, 3]
    assert set(training.history) == {"train/loss", "train/accuracy", "validation/loss", "validation/accuracy"}
    for key, values in training.history.items():
        assert values == [metrics.values[key] for metrics in found]


def test_without_a_validation_part_there_are_training_metrics_only() -> None:
    training = run(start(small_config({"data.validation": 0})), 1)
    assert set(training.history) == {"train/loss", "train/accuracy"}


def test_validation_metrics_use_the_parameters_at_the_end_of_the_epoch() -> None:
    training = start(small_config())
    for _ in range(2):
        values = training.run_epoch().values
        assert training.data.validation is not None
        judged = training.evaluate(training.data.validation, "validation")
        assert judged == {key: value for key, value in values.items() if key.startswith("validation/")}


def test_evaluation_in_blocks_gives_the_outputs_of_each_example(monkeypatch: pytest.MonkeyPatch) -> None:
    training = run(start(small_config({"dtype": "float64"})), 1)
    in_one_piece = training.outputs(training.data.train)
    for rows in (1, 5, 55, 56):
        monkeypatch.setattr("mlp.training.PAGE_ROWS", rows)
        np.testing.assert_allclose(training.outputs(training.data.train), in_one_piece, rtol=1e-12, atol=1e-14)


def test_evaluating_does_not_change_the_training() -> None:
    plain, judged = start(small_config()), start(small_config())
    for _ in range(3):
        plain.run_epoch()
        judged.run_epoch()
        judged.evaluate(judged.data.train, "train")
    assert bits(plain.state()) == bits(judged.state())


def test_training_learns_a_simple_data_set() -> None:
    training = train(small_config({"epochs": 40}), blobs(300))
    assert training.history["train/loss"][-1] < 0.5 * training.history["train/loss"][0]
    assert training.history["validation/accuracy"][-1] > 0.9


@pytest.mark.parametrize("raw", [np.float32, np.float64, np.uint16, np.int32])
def test_the_type_of_the_raw_inputs_does_not_change_the_result(raw: Any) -> None:
    dataset = blobs()
    other = replace(dataset, inputs=dataset.inputs.astype(raw), targets=dataset.targets.astype(np.int64))
    config = small_config({"data.scale": "unit"})
    first, second = (run(Training(config, small_split(config, data)), 2) for data in (dataset, other))
    np.testing.assert_allclose(first.network.theta, second.network.theta, rtol=1e-5, atol=1e-6)


# How a training ends


def test_a_training_ends_after_its_epochs_and_refuses_another() -> None:
    training = start(small_config({"epochs": 2}))
    training.run_epoch()
    assert training.status == "running"
    training.run_epoch()
    assert training.status == "finished"
    before = bits(training.state())
    with pytest.raises(RuntimeError, match=r"^this training has ended \(finished\) after 2 epochs\.$"):
        training.run_epoch()
    assert bits(training.state()) == before


def test_run_trains_for_a_number_of_epochs_or_to_the_end_and_reports_each() -> None:
    training, seen = start(small_config({"epochs": 5})), []
    training.run(2, lambda metrics: seen.append(metrics.epoch))
    assert (training.epoch, training.status, seen) == (2, "running", [1, 2])
    training.run(0)
    assert training.epoch == 2
    training.run(on_epoch=lambda metrics: seen.append(metrics.epoch))
    assert (training.epoch, training.status, seen) == (5, "finished", [1, 2, 3, 4, 5])
    before = bits(training.state())
    training.run(9)
    assert bits(training.state()) == before


def test_a_run_that_its_callback_interrupts_can_be_resumed() -> None:
    def stop(metrics: EpochMetrics) -> None:
        if metrics.epoch == 2:
            raise KeyboardInterrupt

    training = start(small_config())
    with pytest.raises(KeyboardInterrupt):
        training.run(on_epoch=stop)
    training.run()
    assert bits(training.state()) == bits(train(small_config(), blobs()).state())


def test_the_kept_scores_are_those_of_the_kept_epoch() -> None:
    training = Training(overfit_config(), small_split(overfit_config(), noise()))
    assert training.kept_scores() == {}
    epochs: list[EpochMetrics] = []
    training.run(on_epoch=epochs.append)
    assert training.kept_epoch < training.epoch
    assert training.kept_scores() == epochs[training.kept_epoch - 1].values != epochs[-1].values


def test_train_runs_to_the_end_and_takes_a_data_set_or_a_split() -> None:
    config = small_config()
    from_split, from_set = train(config, small_split(config)), train(config, blobs())
    assert from_split.status == from_set.status == "finished"
    assert bits(from_split.state()) == bits(from_set.state())


def test_without_early_stopping_the_last_epoch_is_kept() -> None:
    training = run(start(small_config()), 3)
    assert training.kept_epoch == 3
    assert training.kept_theta is training.network.theta
    assert training.state().best_theta.size == 0


@pytest.mark.parametrize("metric", ["validation/loss", "validation/accuracy"])
def test_early_stopping_stops_at_its_patience_and_keeps_the_best_weights(metric: str) -> None:
    config = overfit_config(early_stopping={"patience": 4, "metric": metric})
    training = Training(config, small_split(config, noise()))
    thetas = []
    training.run(on_epoch=lambda _: thetas.append(training.network.theta.copy()))
    values = training.history[metric]
    best = 1 + values.index(min(values) if metric.endswith("loss") else max(values))
    assert training.status == "stopped"
    assert training.epoch == best + 4 < config.epochs
    assert training.kept_epoch == best
    np.testing.assert_array_equal(training.kept_theta, thetas[best - 1])
    with pytest.raises(RuntimeError, match=r"^this training has ended \(stopped\)"):
        training.run_epoch()


def test_train_restores_the_best_weights_into_the_network() -> None:
    config = overfit_config()
    training = train(config, noise())
    assert training.status == "stopped"
    assert training.kept_epoch < training.epoch
    np.testing.assert_array_equal(training.network.theta, training.best_theta)
    assert training.data.validation is not None
    judged = training.evaluate(training.data.validation, "validation")
    assert judged["validation/loss"] == min(training.history["validation/loss"])


def test_the_last_epoch_finishes_a_training_even_if_patience_ends_with_it() -> None:
    config = overfit_config()
    stopped = train(config, noise())
    finished = train(replace(config, epochs=stopped.epoch), noise())
    assert (stopped.status, finished.status) == ("stopped", "finished")
    assert finished.weight_digest() == stopped.weight_digest()


def test_early_stopping_waits_longer_with_more_patience() -> None:
    epochs = [train(overfit_config(early_stopping={"patience": patience}), noise()).epoch for patience in (1, 4, 8)]
    assert epochs == sorted(set(epochs))


def watch(values: list[float], metric: str, min_delta: float) -> int:
    stopping = EarlyStopping(metric=metric, min_delta=min_delta)
    return kept_epoch(replace(small_config(), early_stopping=stopping), {metric: values})


@quick
@given(values=st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12))
def test_the_kept_epoch_is_the_first_of_the_best(values: list[float]) -> None:
    assert watch(values, "validation/loss", 0.0) == 1 + values.index(min(values))
    assert watch(values, "validation/accuracy", 0.0) == 1 + values.index(max(values))


@quick
@given(values=st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12), delta=st.integers(1, 5).map(float))
def test_an_epoch_is_kept_only_if_it_beats_the_kept_one_by_more_than_min_delta(
    values: list[float], delta: float
) -> None:
    best, kept = values[0], 1
    for epoch, value in enumerate(values, 1):
        if value < best - delta:
            best, kept = value, epoch
    assert watch(values, "validation/loss", delta) == kept
    assert watch([-value for value in values], "validation/accuracy", delta) == kept


@pytest.mark.parametrize("min_delta", [0.0, 0.5])
@pytest.mark.parametrize("metric", METRIC_KEYS)
def test_the_watched_metric_decides_which_way_is_better(metric: str, min_delta: float) -> None:
    falling, rising = [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]
    assert watch(falling, metric, min_delta) == (1 if direction(metric) == "maximize" else 3)
    assert watch(rising, metric, min_delta) == (3 if direction(metric) == "maximize" else 1)


def test_before_the_first_epoch_the_kept_epoch_is_0() -> None:
    for stopping in STOPPING:
        training = start(small_config({"early_stopping": stopping}))
        assert training.kept_epoch == 0
        np.testing.assert_array_equal(training.kept_theta, training.network.theta)


def test_early_stopping_has_a_validation_example_even_with_a_tiny_fraction() -> None:
    config = small_config({"data.validation": 0.004, "early_stopping": {"patience": 2}})
    assert train(config, blobs(70)).history["validation/loss"]


def test_early_stopping_without_a_validation_part_is_refused() -> None:
    config = small_config({"early_stopping": {"patience": 2}})
    with pytest.raises(ConfigError, match="early_stopping"):
        train(config, blobs().without_validation(DataConfig("blobs")))


# Divergence


def diverging(epochs: int, **changes: Any) -> Training:
    """Return a training that ran for `epochs` and diverged in the next, because its weights were made huge."""
    training = run(start(small_config({"network.activation": "relu", **changes})), epochs)
    state = replace(training.state(), theta=np.full_like(training.network.theta, 1e30))
    training = Training.resume(state, training.data)
    training.run_epoch()
    return training


@pytest.mark.parametrize("epochs", [0, 1, 3])
@pytest.mark.parametrize("stopping", STOPPING, ids=["to the end", "early stopping"])
def test_divergence_ends_a_training_and_is_not_in_the_history(stopping: Any, epochs: int) -> None:
    training = diverging(epochs, early_stopping=stopping)
    assert training.status == "diverged"
    assert training.epoch == epochs + 1
    for values in training.history.values():
        assert len(values) == epochs
        assert np.isfinite(values).all()
    with pytest.raises(RuntimeError, match=r"^this training has ended \(diverged\)"):
        training.run_epoch()


def test_run_reports_divergence_with_the_epoch_and_the_learning_rate_to_change() -> None:
    config = small_config({"optimizer": {"name": "sgd", "learning_rate": 1e30}, "network.activation": "relu"})
    training, epochs = start(config), []
    problem = "the training diverged in epoch 1, so no weights were kept. Try a value below 1e+30."
    with pytest.raises(DivergedError, match=re.escape(f'"optimizer.learning_rate": {problem}')) as raised:
        training.run(on_epoch=epochs.append)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (str(copy), copy.epoch) == (str(raised.value), 1)
    assert (training.status, epochs) == ("diverged", [])
    with pytest.raises(DivergedError, match="in epoch 1,"):
        training.run()
    with pytest.raises(DivergedError):
        train(config, small_split(config))


def test_a_rate_that_is_too_large_diverges_without_a_warning() -> None:
    optimizer = {"name": "sgd", "learning_rate": 1e30}
    training = start(small_config({"optimizer": optimizer, "network.activation": "relu"}))
    values = training.run_epoch().values
    assert training.status == "diverged"
    assert values == {}
    assert training.history == {}


def test_an_overflow_in_the_last_step_is_divergence_even_if_all_metrics_are_finite() -> None:
    optimizer = {"name": "sgd", "learning_rate": 1e39}
    training = start(small_config({"optimizer": optimizer, "batch_size": "full", "data.validation": 0}))
    values = training.run_epoch().values
    assert values == {}
    assert training.status == "diverged"
    assert training.history == {}


def test_early_stopping_keeps_the_best_weights_from_before_a_divergence() -> None:
    stopping = {"patience": 3}
    training = diverging(3, early_stopping=stopping)
    before = run(start(small_config({"network.activation": "relu", "early_stopping": stopping})), 3)
    assert training.kept_epoch == before.kept_epoch >= 1
    assert training.weight_digest() == before.weight_digest()
    assert np.isfinite(training.kept_theta).all()


def test_a_diverged_state_is_saved_loaded_and_advanced_like_any_other() -> None:
    training = diverging(1)
    assert bits(save_and_load(training.state())) == bits(training.state())
    assert bits(advance(training.state(), training.data, 5)) == bits(training.state())


@pytest.mark.parametrize("size", [1e30, np.nan])
def test_huge_and_nan_parameters_are_evaluated_without_a_warning(size: float) -> None:
    training = start(small_config({"network.activation": "relu"}))
    training.network.theta[...] = size
    training.network.weights[-1][:, 0] *= -1.0  # one output is -inf, the others +inf
    assert not np.isfinite(training.evaluate(training.data.train, "train")["train/loss"])


# Undefined metrics


def one_class_in_validation() -> Split:
    """Return a split of two classes whose validation part has only one."""
    dataset = blobs(k=2)
    zeros, ones = (np.flatnonzero(dataset.targets == label) for label in (0, 1))
    train_rows = np.sort(np.concatenate([zeros[10:], ones]))
    parts = [Examples(dataset.inputs, dataset.targets, rows, Scaling((1 / 255,))) for rows in (train_rows, zeros[:10])]
    return Split(parts[0], parts[1], 2)


def test_an_undefined_metric_is_nan_in_the_history_and_no_divergence() -> None:
    config = small_config({"metrics": ["roc_auc", "recall"]})
    training = Training(config, one_class_in_validation())
    training.run()
    assert training.status == "finished"
    assert np.isnan(training.history["validation/roc_auc"]).all()
    assert np.isfinite(training.history["train/roc_auc"]).all()
    assert np.isfinite(training.history["validation/loss"]).all()
    again = TrainingState.from_bytes(training.state().to_bytes())
    assert np.isnan(again.history["validation/roc_auc"]).all()


@pytest.mark.parametrize("min_delta", [0.0, 0.01])
def test_an_undefined_value_is_the_worst(min_delta: float) -> None:
    stopping = {"metric": "validation/roc_auc", "patience": 3, "min_delta": min_delta}
    config = small_config({"metrics": ["roc_auc"], "early_stopping": stopping})
    nan = math.nan
    for values, kept in (([nan, nan], 1), ([nan, 0.1, nan], 2), ([0.3, nan, 0.5, nan], 3), ([nan, 0.5, 0.2], 2)):
        assert kept_epoch(config, {"validation/roc_auc": values}) == kept
        assert best_epoch("validation/roc_auc", {"validation/roc_auc": values}) == kept
    training = Training(config, one_class_in_validation())
    training.run()
    assert (training.status, training.epoch, training.kept_epoch) == ("stopped", 4, 1)
