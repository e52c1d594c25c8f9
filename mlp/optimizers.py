"""Optimizers: a few array lines over the flat parameter vector, which never see a layer.

`update` gets the vector in cache-sized pieces, so that all its passes but the first find their data in cache.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from mlp.arrays import Array
from mlp.registry import AbstractPart, Registry, number


@dataclass(frozen=True)
class AbstractOptimizer(AbstractPart):
    """A rule that moves parameters against their gradient.

    Attributes:
        learning_rate: the base rate, which the schedule multiplies.
        weight_decay: decoupled (equation 12 of Loshchilov & Hutter 2019, arXiv:1711.05101): each step shrinks
            weights, not biases, by learning rate times weight_decay.
    """

    learning_rate: float = number(1e-3, above=0.0)
    weight_decay: float = number(0.0, at_least=0.0)

    @property
    @abstractmethod
    def n_slots(self) -> int:
        """How many vectors of the length of theta the rule remembers between steps; all start at zero."""

    @abstractmethod
    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        """Move `theta` in place by one step.

        Args:
            theta: a piece of the parameters.
            grad: their gradient; may be overwritten.
            slots: the same piece of each remembered vector, updated in place.
            scratch: memory of the same length.
            step: 1 for the first step.
            rate: the learning rate of this step.
        """


optimizers: Registry[AbstractOptimizer] = Registry("optimizer")
AbstractOptimizer.family = optimizers


@optimizers.register("sgd")
@dataclass(frozen=True)
class Sgd(AbstractOptimizer):
    """Gradient descent, with momentum as in Sutskever et al. 2013, and Nesterov's variant (their equations 3 and 4).

    v <- momentum · v + g, and theta moves by -rate · v; with Nesterov by -rate · (g + momentum · v). The velocity
    does not contain the rate, so a schedule acts at once.
    """

    learning_rate: float = number(1e-2, above=0.0)
    momentum: float = number(0.0, at_least=0.0, below=1.0)
    nesterov: bool = False

    @property
    def n_slots(self) -> int:
        return 1 if self.momentum else 0

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        if self.momentum:
            (v,) = slots
            np.multiply(v, self.momentum, out=v)
            np.add(v, grad, out=v)
            if self.nesterov:
                np.multiply(v, self.momentum, out=scratch)
                np.add(grad, scratch, out=grad)
            else:
                grad = v
        np.multiply(grad, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)


@optimizers.register("adam")
@dataclass(frozen=True)
class Adam(AbstractOptimizer):
    """Algorithm 1 of Kingma & Ba 2015, arXiv:1412.6980: `eps` is added outside the square root, after bias correction.

    The slots hold m / (1 - beta1) and v / (1 - beta2), which saves two passes; the constants move into scalars.
    """

    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.999, at_least=0.0, below=1.0)
    eps: float = number(1e-8, above=0.0)

    @property
    def n_slots(self) -> int:
        return 2

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        m, v = slots
        np.multiply(m, self.beta1, out=m)
        np.add(m, grad, out=m)
        np.multiply(v, self.beta2, out=v)
        np.multiply(grad, grad, out=scratch)
        np.add(v, scratch, out=v)
        root = ((1.0 - self.beta2) / (1.0 - self.beta2**step)) ** 0.5
        np.sqrt(v, out=scratch)
        np.add(scratch, self.eps / root, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, rate * (1.0 - self.beta1) / (1.0 - self.beta1**step) / root, out=scratch)
        np.subtract(theta, scratch, out=theta)
