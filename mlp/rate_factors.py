"""Factors of the learning rate: parameters of different kinds may learn at different rates.

A factor is constant over each weight matrix, bias or other part of theta. So the training cuts theta where the factor
changes, and hands each piece to the optimizer with a rate of its own. An optimizer does not know of factors, and a
training without them does the same arithmetic as if they did not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mlp.network import Network
from mlp.records import AbstractRecord, number


class Span(NamedTuple):
    """Consecutive parameters that are updated in the same way.

    Attributes:
        n: the number of parameters.
        factor: the factor of their learning rate.
        decay: the factor of their weight decay, besides the one of the rate; 0 for parameters that do not decay.
    """

    n: int
    factor: float
    decay: float


@dataclass(frozen=True)
class RateFactors(AbstractRecord):
    """Factors of the learning rate, each for one kind of parameters.

    The factor multiplies the rate of the step and of the weight decay, as the `lr` of a parameter group of PyTorch
    does. A factor of 0 leaves parameters as they are.

    With `ntk`, the rate of a weight matrix with n inputs is also divided by sqrt(n), but its weight decay is not. With
    weights that start from N(0, 1 / n), the initializer `lecun_normal`, this equals the neural tangent parametrization
    of Jacot et al. 2018, arXiv:1806.07572, section 3. There a layer computes x V / sqrt(n) + b, and V starts from
    N(0, 1). The weights here are W = V / sqrt(n), so the gradient with respect to V is that of W, divided by sqrt(n).
    The rules of adam, adamw, adamax, amsgrad, nadam, rmsprop, adagrad, adadelta and lion do not depend on a constant
    factor of the gradient, apart from `eps`. They give V the step that they would give W at the same rate, which
    changes W by that step divided by sqrt(n). Weight decay shrinks V and W by the same ratio. For other optimizers,
    such as sgd, `ntk` is only a factor. Holzmüller et al. 2024, arXiv:2407.04491, use it for tables, with bias = 0.1,
    input_scale = 6 and activation = 0.1.

    Attributes:
        first: the factor of the weights of the first layer.
        last: the factor of the weights of the last layer; with `first` if there is only one layer.
        bias: the factor of all biases.
        normalization: the factor of the scales that belong to a normalisation.
        input_scale: the factor of the scales of the inputs.
        activation: the factor of the alphas of parametric activations.
        ntk: whether the rate of the weights of each layer is divided by the root of the layer's number of inputs.
    """

    first: float = number(1.0, at_least=0.0, at_most=1e6)
    last: float = number(1.0, at_least=0.0, at_most=1e6)
    bias: float = number(1.0, at_least=0.0, at_most=1e6)
    normalization: float = number(1.0, at_least=0.0, at_most=1e6)
    input_scale: float = number(1.0, at_least=0.0, at_most=1e6)
    activation: float = number(1.0, at_least=0.0, at_most=1e6)
    ntk: bool = False

    def spans(self, network: Network, *, decays: bool) -> list[Span]:
        """Return the spans of the trained parameters of a network, in the order of theta and as long as possible.

        Args:
            network: the network.
            decays: whether the optimizer treats weights differently from other parameters.
        """
        layers = len(network.weights)
        spans = []
        for layer, w in enumerate(network.weights):
            root = float(len(w)) ** 0.5 if self.ntk else 1.0
            factor = (self.first if layer == 0 else 1.0) * (self.last if layer == layers - 1 else 1.0)
            spans.append(Span(w.size, factor / root, root if decays else 0.0))
        for views, factor in (
            (network.biases, self.bias),
            (network.scales, self.normalization),
            ([network.input_scale], self.input_scale),
            (network.alphas, self.activation),
        ):
            spans += [Span(view.size, factor, 0.0) for view in views if view is not None]
        return _joined(spans)


def _joined(spans: list[Span]) -> list[Span]:
    """Return the spans with neighbours that are updated in the same way joined, and without empty ones."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1][1:] == span[1:]:
            joined[-1] = span._replace(n=joined[-1].n + span.n)
        elif span.n:
            joined.append(span)
    return joined
