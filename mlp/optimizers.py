"""Optimizers: a few array lines over the flat parameter vector, which never see a layer.

`step` gets the vector in cache-sized pieces, so that all its passes but the first find their data in cache.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

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
        l2: added to the gradient of weights, not biases: the derivative of l2/2 · |w|².
        clip_norm: a gradient longer than this is scaled down to it; 0 leaves it (Algorithm 1 of Pascanu et al.
            2013, arXiv:1211.5063).
        clip_value: each derivative is clipped to [-clip_value, clip_value]; 0 leaves them.
    """

    learning_rate: float = number(1e-3, above=0.0)
    weight_decay: float = number(0.0, at_least=0.0)
    l2: float = number(0.0, at_least=0.0)
    clip_norm: float = number(0.0, at_least=0.0)
    clip_value: float = number(0.0, at_least=0.0)

    memory: ClassVar[int]

    @property
    def n_slots(self) -> int:
        """How many vectors of the length of theta the rule remembers between steps; all start at zero."""
        return self.memory

    @final
    def clip(self, grad: Array) -> None:
        """Clip the whole gradient in place, first by value, then by norm; one that is not finite stays as it is.

        Args:
            grad: the gradient of all parameters, before any piece of them is updated.
        """
        if self.clip_value:
            low, high = float(grad.min()), float(grad.max())
            if math.isfinite(low - high) and max(-low, high) > self.clip_value:
                np.clip(grad, -self.clip_value, self.clip_value, out=grad)
        if self.clip_norm:
            limit_norm(grad, self.clip_norm)

    @final
    def step(
        self,
        theta: Array,
        grad: Array,
        slots: tuple[Array, ...],
        scratch: Array,
        step: int,
        rate: float,
        decays: bool,
    ) -> None:
        """Move `theta` in place by one step: penalty, decay, and the rule itself.

        Args:
            theta: a piece of the parameters.
            grad: their gradient, clipped; may be overwritten.
            slots: the same piece of each remembered vector, updated in place.
            scratch: memory of the same length.
            step: 1 for the first step.
            rate: the learning rate of this step.
            decays: whether the piece holds weights, which `l2` and `weight_decay` draw to zero.
        """
        if decays and self.l2:
            np.multiply(theta, self.l2, out=scratch)
            np.add(grad, scratch, out=grad)
        if decays and self.weight_decay:
            np.multiply(theta, 1.0 - rate * self.weight_decay, out=theta)
        self.update(theta, grad, slots, scratch, step, rate)

    @abstractmethod
    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        """Move `theta` in place by one step of the rule; arguments as in `step`."""


optimizers: Registry[AbstractOptimizer] = Registry("optimizer")
AbstractOptimizer.family = optimizers


def limit_norm(grad: Array, limit: float) -> None:
    """Scale `grad` in place down to the norm `limit` if it is longer; leave it if it is not finite."""
    square, info = float(np.dot(grad, grad)), np.finfo(grad.dtype)
    if (
        not info.tiny <= square <= info.max
    ):  # squares that overflow or vanish: of numbers whose largest is 1 they do not
        largest = max(-float(grad.min()), float(grad.max()))
        if not 0.0 < largest <= info.max:
            return
        scaled = grad / largest
        norm = math.sqrt(float(np.dot(scaled, scaled)))
        if norm > limit / largest:
            np.multiply(scaled, limit / norm, out=grad)
    elif math.sqrt(square) > limit:
        np.multiply(grad, limit / math.sqrt(square), out=grad)


def descend(theta: Array, direction: Array, rate: float, scratch: Array) -> None:
    """Move `theta` by -rate · direction."""
    np.multiply(direction, rate, out=scratch)
    np.subtract(theta, scratch, out=theta)


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


@optimizers.register("adagrad")
@dataclass(frozen=True)
class Adagrad(AbstractOptimizer):
    """Figure 1 of Duchi et al. 2011 with a diagonal matrix: a step of rate · g / (sqrt(sum of g²) + eps)."""

    learning_rate: float = number(1e-2, above=0.0)
    eps: float = number(1e-10, above=0.0)

    memory: ClassVar[int] = 1

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        (v,) = slots
        np.multiply(grad, grad, out=scratch)
        np.add(v, scratch, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, self.eps, out=scratch)
        np.divide(grad, scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)


@optimizers.register("rmsprop")
@dataclass(frozen=True)
class Rmsprop(AbstractOptimizer):
    """Slide 29 of lecture 6 of Tieleman & Hinton 2012, with momentum as in PyTorch.

    v <- rho · v + (1 - rho) · g², then u <- momentum · u + g / (sqrt(v) + eps), and theta moves by -rate · u.
    """

    rho: float = number(0.99, at_least=0.0, below=1.0)
    eps: float = number(1e-8, above=0.0)
    momentum: float = number(0.0, at_least=0.0, below=1.0)

    @property
    def n_slots(self) -> int:
        return 2 if self.momentum else 1

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        v = slots[0]
        np.multiply(grad, grad, out=scratch)
        np.multiply(scratch, 1.0 - self.rho, out=scratch)
        np.multiply(v, self.rho, out=v)
        np.add(v, scratch, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, self.eps, out=scratch)
        np.divide(grad, scratch, out=grad)
        if self.momentum:
            u = slots[1]
            np.multiply(u, self.momentum, out=u)
            np.add(u, grad, out=u)
            grad = u
        np.multiply(grad, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)


@optimizers.register("adadelta")
@dataclass(frozen=True)
class Adadelta(AbstractOptimizer):
    """Algorithm 1 of Zeiler 2012, arXiv:1212.5701, its step multiplied by the rate, which is 1 in the paper."""

    learning_rate: float = number(1.0, above=0.0)
    rho: float = number(0.9, at_least=0.0, below=1.0)
    eps: float = number(1e-6, above=0.0)

    memory: ClassVar[int] = 2

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        v, u = slots  # the running means of g² and of the squared steps
        np.multiply(grad, grad, out=scratch)
        np.multiply(scratch, 1.0 - self.rho, out=scratch)
        np.multiply(v, self.rho, out=v)
        np.add(v, scratch, out=v)
        np.add(v, self.eps, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.divide(grad, scratch, out=grad)
        np.add(u, self.eps, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.multiply(grad, scratch, out=grad)
        np.multiply(grad, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)
        np.multiply(grad, grad, out=scratch)
        np.multiply(scratch, 1.0 - self.rho, out=scratch)
        np.multiply(u, self.rho, out=u)
        np.add(u, scratch, out=u)


@optimizers.register("lion")
@dataclass(frozen=True)
class Lion(AbstractOptimizer):
    """Algorithm 2 of Chen et al. 2023, arXiv:2302.06675: a step of rate · sign(beta1 · m + (1 - beta1) · g)."""

    learning_rate: float = number(1e-4, above=0.0)
    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.99, at_least=0.0, below=1.0)

    memory: ClassVar[int] = 1

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        (m,) = slots
        np.subtract(m, grad, out=scratch)
        np.multiply(scratch, self.beta1, out=scratch)
        np.add(scratch, grad, out=scratch)
        np.sign(scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(theta, scratch, out=theta)
        np.subtract(m, grad, out=m)
        np.multiply(m, self.beta2, out=m)
        np.add(m, grad, out=m)


@optimizers.register("adamax")
@dataclass(frozen=True)
class Adamax(AbstractOptimizer):
    """Algorithm 2 of Kingma & Ba 2015, arXiv:1412.6980; `eps` keeps a gradient of zero from dividing by zero."""

    learning_rate: float = number(2e-3, above=0.0)
    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.999, at_least=0.0, below=1.0)
    eps: float = number(1e-8, above=0.0)

    memory: ClassVar[int] = 2

    def update(
        self, theta: Array, grad: Array, slots: tuple[Array, ...], scratch: Array, step: int, rate: float
    ) -> None:
        m, u = slots  # m / (1 - beta1), and the decayed maximum
        np.multiply(m, self.beta1, out=m)
        np.add(m, grad, out=m)
        np.abs(grad, out=grad)
        np.add(grad, self.eps, out=grad)
        np.multiply(u, self.beta2, out=u)
        np.maximum(u, grad, out=u)
        np.divide(m, u, out=scratch)
        np.multiply(scratch, rate * (1.0 - self.beta1) / (1.0 - self.beta1**step), out=scratch)
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

    memory: ClassVar[int] = 2

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
