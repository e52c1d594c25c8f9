"""Factors of the learning rate: parameter groups of PyTorch, and the neural tangent parametrization."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlp import ConfigError, Training
from mlp.activations import Tanh
from mlp.arrays import digest
from mlp.network import Network
from mlp.normalizations import LayerNormalization
from mlp.optimizers import AbstractOptimizer, Adam, optimizers
from mlp.rate_factors import RateFactors, Span
from tests.mlp.torch_counterparts import torch
from tests.mlp_data import blobs, small_config, small_split

SIZES = (6, 5, 4, 3)
FULL: dict[str, Any] = {"batch_size": "full", "dtype": "float64", "epochs": 8, "network.hidden": SIZES[1:-1]}
FACTORS = {"first": 3.0, "last": 0.5, "bias": 0.1}
each_optimizer = pytest.mark.parametrize("part", [optimizers.decode(name) for name in optimizers], ids=lambda p: p.name)


def spans(decays: bool = False, **factors: Any) -> list[Span]:
    network = Network(SIZES, Tanh(), normalization=LayerNormalization())
    return RateFactors(**factors).spans(network, decays=decays)


def test_without_factors_weights_and_other_parameters_are_one_span_each() -> None:
    assert spans() == [Span(62 + 12 + 9, 1.0, 0.0)]
    assert spans(decays=True) == [Span(62, 1.0, 1.0), Span(12 + 9, 1.0, 0.0)]


def test_each_kind_of_parameters_has_its_factor() -> None:
    assert spans(first=2.0, last=0.5, bias=0.1, normalization=6.0) == [
        Span(6 * 5, 2.0, 0.0),
        Span(5 * 4, 1.0, 0.0),
        Span(4 * 3, 0.5, 0.0),
        Span(12, 0.1, 0.0),
        Span(9, 6.0, 0.0),
    ]


def test_ntk_divides_the_rate_by_the_root_of_the_number_of_inputs_and_multiplies_the_decay_by_it() -> None:
    assert spans(decays=True, ntk=True, first=2.0) == [
        Span(6 * 5, 2.0 / 6**0.5, 6**0.5),
        Span(5 * 4, 1.0 / 5**0.5, 5**0.5),
        Span(4 * 3, 1.0 / 2.0, 2.0),
        Span(12 + 9, 1.0, 0.0),
    ]


def test_scales_of_inputs_and_alphas_have_factors_of_their_own() -> None:
    network = Network(SIZES, Tanh(), input_scale=True, parametric_activation=True)
    factors = RateFactors(input_scale=6.0, activation=0.1)
    assert factors.spans(network, decays=False) == [
        Span(62 + 12, 1.0, 0.0),
        Span(6, 6.0, 0.0),
        Span(5 + 4, 0.1, 0.0),
    ]


def test_the_only_layer_is_both_the_first_and_the_last() -> None:
    network = Network((4, 3), Tanh(), bias=False)
    assert RateFactors(first=3.0, last=0.5).spans(network, decays=True) == [Span(12, 1.5, 1.0)]


class TorchNetwork:
    """The network of a training in PyTorch: x · scale, then linear layers with z + alpha (tanh(z) - z) between them.

    With `ntk`, the parameter of a layer is V = W sqrt(n), and the layer computes x V / sqrt(n) + b.
    """

    def __init__(self, network: Network, *, ntk: bool = False) -> None:
        self.roots = [len(w) ** 0.5 if ntk else 1.0 for w in network.weights]
        scaled = [w * root for w, root in zip(network.weights, self.roots, strict=True)]
        self.weights, self.biases, self.alphas = (
            [torch.nn.Parameter(torch.tensor(values)) for values in group]
            for group in (scaled, network.biases, [alpha if alpha.size else np.ones(1) for alpha in network.alphas])
        )
        self.scale = torch.nn.Parameter(torch.tensor(network.input_scale if network.has_input_scale else np.ones(1)))

    def outputs(self, x: Any) -> Any:
        a = x * self.scale
        for layer, (v, b, root) in enumerate(zip(self.weights, self.biases, self.roots, strict=True)):
            z = a @ v / root + b
            a = z if layer == len(self.alphas) else z + self.alphas[layer] * (torch.tanh(z) - z)
        return a

    def fit(self, training: Training, optimizer: Any) -> None:
        """Take as many steps on all examples as the training has epochs."""
        reader, train = training._reader, training.data.train
        reader.set_order(train.rows)
        x, y = torch.tensor(reader.read(0, len(train)).copy()), torch.tensor(train.row_targets.astype(np.int64))
        for _ in range(training.config.epochs):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.outputs(x), y).backward()
            optimizer.step()

    def check(self, network: Network) -> None:
        """Compare all parameters with those of a trained network."""
        expected = [v / root for v, root in zip(self.weights, self.roots, strict=True)] + self.biases
        found = network.weights + network.biases
        if network.has_input_scale:
            found, expected = [*found, network.input_scale], [*expected, self.scale]
        if network.has_alphas:
            found, expected = found + network.alphas, expected + self.alphas
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("trained", [{}, {"network.input_scale": True, "network.parametric_activation": True}], ids=str)
def test_factors_agree_with_parameter_groups_of_pytorch(trained: dict[str, Any], weight_decay: float) -> None:
    part = Adam(learning_rate=0.01, weight_decay=weight_decay)
    factors = RateFactors(first=3.0, last=0.5, bias=0.1, input_scale=6.0, activation=0.2)
    config = replace(small_config({**FULL, **trained}), rate_factors=factors, optimizer=part)
    training = Training(config, small_split(config))
    theirs = TorchNetwork(training.network)
    groups = [
        *({"params": [w], "lr": 0.01 * f} for w, f in zip(theirs.weights, (3.0, 1.0, 0.5), strict=True)),
        {"params": theirs.biases, "lr": 0.001, "weight_decay": 0.0},
        {"params": [theirs.scale], "lr": 0.06, "weight_decay": 0.0},
        {"params": theirs.alphas, "lr": 0.002, "weight_decay": 0.0},
    ]
    theirs.scale.requires_grad_("network.input_scale" in trained)
    for alpha in theirs.alphas:
        alpha.requires_grad_("network.parametric_activation" in trained)
    theirs.fit(training, torch.optim.AdamW(groups, weight_decay=weight_decay))
    training.run()
    theirs.check(training.network)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_ntk_agrees_with_a_network_of_pytorch_in_that_parametrization(weight_decay: float) -> None:
    part = Adam(learning_rate=0.01, eps=1e-30, weight_decay=weight_decay)
    config = replace(
        small_config({**FULL, "network.input_scale": True, "network.parametric_activation": True}),
        rate_factors=RateFactors(ntk=True, bias=0.1),
        optimizer=part,
    )
    training = Training(config, small_split(config))
    theirs = TorchNetwork(training.network, ntk=True)
    groups = [
        {"params": theirs.weights, "weight_decay": weight_decay},
        {"params": theirs.biases, "lr": 0.001},
        {"params": [theirs.scale, *theirs.alphas]},
    ]
    theirs.fit(training, torch.optim.AdamW(groups, lr=0.01, eps=1e-30, weight_decay=0.0))
    training.run()
    theirs.check(training.network)


@each_optimizer
def test_a_factor_of_all_parameters_is_a_factor_of_the_learning_rate(part: AbstractOptimizer) -> None:
    part = replace(part, weight_decay=0.1)
    config = replace(small_config({**FULL, "network.hidden": [4], "epochs": 4}), optimizer=part)
    factors = RateFactors(first=0.25, last=0.25, bias=0.25)
    digests = set()
    for each in (
        replace(config, rate_factors=factors),
        replace(config, optimizer=replace(part, learning_rate=0.25 * part.learning_rate)),
    ):
        training = Training(each, small_split(each))
        training.run()
        digests.add(digest(training.network.theta, training.slots))
    assert len(digests) == 1


@each_optimizer
def test_a_factor_of_0_leaves_parameters_as_they_are(part: AbstractOptimizer) -> None:
    config = replace(small_config(FULL), optimizer=part, rate_factors=RateFactors(first=0.0, bias=0.0))
    training = Training(config, small_split(config))
    start = training.network.theta.copy()
    training.run(2)
    moved = training.network.theta != start
    assert not moved[:30].any()
    assert moved[30:62].all()
    assert not moved[62:].any()


def ignores_the_size_of_gradients(part: AbstractOptimizer) -> bool:
    """Return whether gradients that are four times as large lead to the same steps."""
    ends = []
    for size in (1.0, 4.0):
        theta, slots = np.ones(50), tuple(np.zeros((part.n_slots, 50)))
        for step, gradient in enumerate(np.random.default_rng(0).normal(size=(5, 50)), 1):
            part.step(theta, size * gradient, slots, np.empty(50), step, 0.01, decay=1.0)
        ends.append(theta)
    return bool(np.allclose(*ends, rtol=1e-6))


def without_eps(name: str) -> AbstractOptimizer:
    part = replace(optimizers.decode(name), learning_rate=0.01, weight_decay=0.3)
    return replace(part, eps=1e-30) if hasattr(part, "eps") else part


NTK_RULES = [name for name in optimizers if ignores_the_size_of_gradients(without_eps(name))]


def test_the_description_of_ntk_names_no_optimizer_for_which_it_is_not_exact() -> None:
    description = str(RateFactors.__doc__).partition("The rules of ")[2].partition(" do not depend")[0]
    named = set(description.replace(",", "").replace(" and ", " ").split()) - {"and"}
    assert len(named) > 7
    assert named <= set(NTK_RULES)
    assert "sgd" not in NTK_RULES


@pytest.mark.parametrize("name", NTK_RULES)
def test_ntk_takes_the_steps_of_the_neural_tangent_parametrization(name: str) -> None:
    part, n = without_eps(name), 9.0
    rng = np.random.default_rng(0)
    w = rng.normal(size=50) / n**0.5
    v = w * n**0.5
    slots_of_w, slots_of_v = (tuple(np.zeros((part.n_slots, 50))) for _ in range(2))
    for step, gradient in enumerate(rng.normal(size=(10, 50)), 1):
        part.step(w, gradient.copy(), slots_of_w, np.empty(50), step, 0.01 / n**0.5, decay=n**0.5)
        part.step(v, gradient / n**0.5, slots_of_v, np.empty(50), step, 0.01, decay=1.0)
    np.testing.assert_allclose(w * n**0.5, v, rtol=1e-10)


def test_the_result_does_not_depend_on_the_size_of_the_pieces_of_theta(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(small_config(), rate_factors=RateFactors(ntk=True, **FACTORS))
    digests = set()
    for chunk in (1, 7, 50, 65_536):
        monkeypatch.setattr("mlp.batch_steps.CHUNK", chunk)
        training = Training(config, small_split(config))
        training.run(2)
        digests.add(digest(training.network.theta, training.slots))
    assert len(digests) == 1


def test_factors_apply_to_batches_of_one_example() -> None:
    online = {"batch_size": 1, "optimizer": {"name": "sgd", "learning_rate": 0.05}, "dtype": "float64"}
    config = small_config({**online, "rate_factors": {"first": 0.0}})
    training = Training(config, small_split(config, blobs(n=30)))
    start = training.network.weights[0].copy()
    training.run(1)
    np.testing.assert_array_equal(training.network.weights[0], start)


def test_a_negative_factor_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'"rate_factors.bias": must be at least 0'):
        small_config({"rate_factors.bias": -1.0})
