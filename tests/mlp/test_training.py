"""Training: the same bits however it is interrupted; weights, batches of one example, diagnostics, other tasks."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp import (
    Training,
    TrainingState,
    advance,
)
from mlp.activations import activations
from mlp.arrays import digest
from mlp.initializers import initializers
from mlp.losses import losses
from mlp.metrics import metrics
from mlp.normalizations import normalizations
from mlp.optimizers import optimizers
from mlp.rate_factors import RateFactors
from mlp.schedules import schedules
from tests.mlp.training_data import OPTIMIZERS, STOPPING, run, save_and_load, start
from tests.mlp_data import (
    bits,
    blobs,
    parts,
    quick,
    small_config,
    small_split,
)


def tame(part: Any) -> Any:
    """Return the optimizer with a learning rate at which trainings rarely diverge."""
    return replace(part, learning_rate=min(part.learning_rate, 0.1), weight_decay=min(part.weight_decay, 1.0))


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
