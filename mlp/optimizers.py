"""Optimizers: a few array lines over the flat parameter vector, which never see a layer.

`step` gets the vector in cache-sized pieces, so that all its passes but the first find their data in cache.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, final

import numpy as np

from mlp.arrays import Array
from mlp.records import number
from mlp.registry import AbstractPart, Registry

Slots: TypeAlias = tuple[Array, ...]


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
            if math.isfinite(low) and math.isfinite(high) and max(-low, high) > self.clip_value:
                np.clip(grad, -self.clip_value, self.clip_value, out=grad)
        if self.clip_norm:
            limit_norm(grad, self.clip_norm)

    @final
    def step(
        self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float, decays: bool
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
    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        """Move `theta` in place by one step of the rule; arguments as in `step`."""


optimizers: Registry[AbstractOptimizer] = Registry("optimizer")
AbstractOptimizer.family = optimizers


def limit_norm(grad: Array, limit: float) -> None:
    """Scale `grad` in place down to the norm `limit` if it is longer; leave it if it is not finite."""
    info = np.finfo(grad.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.dot(grad, grad))
    if info.tiny <= square <= info.max:
        if math.sqrt(square) > limit:
            np.multiply(grad, limit / math.sqrt(square), out=grad)
        return
    # The squares overflow or vanish; those of numbers of which the largest is 1 do not.
    largest = max(-float(grad.min()), float(grad.max()))
    if 0.0 < largest <= info.max:
        scaled = grad / largest
        norm = math.sqrt(float(np.dot(scaled, scaled)))
        if norm > limit / largest:
            np.multiply(scaled, limit / norm, out=grad)


def accumulate(total: Array, keep: float, term: Array) -> None:
    """Let `total` be keep · total + term."""
    np.multiply(total, keep, out=total)
    np.add(total, term, out=total)


def average(mean: Array, keep: float, term: Array) -> None:
    """Let `mean` be keep · mean + (1 - keep) · term, and `term` be overwritten."""
    np.multiply(term, 1.0 - keep, out=term)
    accumulate(mean, keep, term)


def descend(theta: Array, direction: Array, rate: float, out: Array) -> None:
    """Move `theta` by -rate · direction; `out`, which may be the direction, is overwritten."""
    np.multiply(direction, rate, out=out)
    np.subtract(theta, out, out=theta)


def descend_with_momentum(
    theta: Array, grad: Array, v: Array, scratch: Array, rate: float, momentum: float, *, nesterov: bool
) -> None:
    """Let the velocity be v <- momentum · v + g, and move by -rate · v, or by -rate · (g + momentum · v)."""
    accumulate(v, momentum, grad)
    if nesterov:
        np.multiply(v, momentum, out=scratch)
        np.add(grad, scratch, out=grad)
        descend(theta, grad, rate, grad)
    else:
        descend(theta, v, rate, grad)


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

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        if self.momentum:
            descend_with_momentum(theta, grad, slots[0], scratch, rate, self.momentum, nesterov=self.nesterov)
        else:
            descend(theta, grad, rate, grad)


@optimizers.register("momentum")
@dataclass(frozen=True)
class Momentum(AbstractOptimizer):
    """Classical momentum: equations 1 and 2 of Sutskever et al. 2013, with the rate outside of the velocity."""

    learning_rate: float = number(1e-2, above=0.0)
    momentum: float = number(0.9, at_least=0.0, below=1.0)
    memory: ClassVar[int] = 1

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        descend_with_momentum(theta, grad, slots[0], scratch, rate, self.momentum, nesterov=False)


@optimizers.register("nesterov")
@dataclass(frozen=True)
class Nesterov(AbstractOptimizer):
    """Nesterov's momentum: equations 3 and 4 of Sutskever et al. 2013, with the rate outside of the velocity.

    `theta` is the point theta + momentum · v of their equation 3, at which the gradient is taken.
    """

    learning_rate: float = number(1e-2, above=0.0)
    momentum: float = number(0.9, at_least=0.0, below=1.0)
    memory: ClassVar[int] = 1

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        descend_with_momentum(theta, grad, slots[0], scratch, rate, self.momentum, nesterov=True)


@optimizers.register("adagrad")
@dataclass(frozen=True)
class Adagrad(AbstractOptimizer):
    """Figure 1 of Duchi et al. 2011 with a diagonal matrix: a step of rate · g / (sqrt(sum of g²) + eps)."""

    learning_rate: float = number(1e-2, above=0.0)
    eps: float = number(1e-10, above=0.0)
    memory: ClassVar[int] = 1

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        (v,) = slots
        np.multiply(grad, grad, out=scratch)
        np.add(v, scratch, out=v)
        np.sqrt(v, out=scratch)
        np.add(scratch, self.eps, out=scratch)
        np.divide(grad, scratch, out=grad)
        descend(theta, grad, rate, grad)


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

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        v = slots[0]
        np.multiply(grad, grad, out=scratch)
        average(v, self.rho, scratch)
        np.sqrt(v, out=scratch)
        np.add(scratch, self.eps, out=scratch)
        np.divide(grad, scratch, out=grad)
        if self.momentum:
            descend_with_momentum(theta, grad, slots[1], scratch, rate, self.momentum, nesterov=False)
        else:
            descend(theta, grad, rate, grad)


@optimizers.register("adadelta")
@dataclass(frozen=True)
class Adadelta(AbstractOptimizer):
    """Algorithm 1 of Zeiler 2012, arXiv:1212.5701, its step multiplied by the rate, which is 1 in the paper."""

    learning_rate: float = number(1.0, above=0.0)
    rho: float = number(0.9, at_least=0.0, below=1.0)
    eps: float = number(1e-6, above=0.0)
    memory: ClassVar[int] = 2

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        v, u = slots  # the running means of g² and of the squared steps
        np.multiply(grad, grad, out=scratch)
        average(v, self.rho, scratch)
        np.add(v, self.eps, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.divide(grad, scratch, out=grad)
        np.add(u, self.eps, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.multiply(grad, scratch, out=grad)
        descend(theta, grad, rate, scratch)
        np.multiply(grad, grad, out=grad)
        average(u, self.rho, grad)


@optimizers.register("lion")
@dataclass(frozen=True)
class Lion(AbstractOptimizer):
    """Algorithm 2 of Chen et al. 2023, arXiv:2302.06675: a step of rate · sign(c), c = beta1 · m + (1 - beta1) · g.

    The sign is c / (|c| + the smallest normal number): a quarter of the time of np.sign, and the same but for |c| below
    1e-30 or so (in float64 1e-291).
    """

    learning_rate: float = number(1e-4, above=0.0)
    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.99, at_least=0.0, below=1.0)
    memory: ClassVar[int] = 1

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        (m,) = slots
        np.subtract(m, grad, out=scratch)
        np.multiply(scratch, self.beta1, out=scratch)
        np.add(scratch, grad, out=scratch)
        average(m, self.beta2, grad)
        np.abs(scratch, out=grad)
        np.add(grad, np.finfo(grad.dtype).tiny, out=grad)
        np.divide(scratch, grad, out=scratch)
        descend(theta, scratch, rate, scratch)


@dataclass(frozen=True)
class AbstractAdam(AbstractOptimizer):
    """A rule of the family of Kingma & Ba 2015, arXiv:1412.6980: a first moment over a second one.

    The slots hold m / (1 - beta1) and v / (1 - beta2), which saves two passes; the constants move into scalars.
    """

    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.999, at_least=0.0, below=1.0)
    eps: float = number(1e-8, above=0.0)
    memory: ClassVar[int] = 2


def update_moments(rule: AbstractAdam, grad: Array, m: Array, v: Array, out: Array) -> None:
    """Take the gradient into both moments; `out`, which may be the gradient, is overwritten."""
    accumulate(m, rule.beta1, grad)
    np.multiply(grad, grad, out=out)
    accumulate(v, rule.beta2, out)


def bias_corrected(beta: float, step: int) -> float:
    """Return what turns a slot, which holds a mean over 1 - beta, into the mean, corrected for its start at zero."""
    return (1.0 - beta) / (1.0 - beta**step)


def descend_over_root(
    rule: AbstractAdam, theta: Array, direction: Array, v: Array, step: int, rate: float, out: Array
) -> None:
    """Move `theta` by -rate · direction / (sqrt(corrected v) + eps); `out` is overwritten."""
    root = math.sqrt(bias_corrected(rule.beta2, step))
    np.sqrt(v, out=out)
    np.add(out, rule.eps / root, out=out)
    np.divide(direction, out, out=out)
    descend(theta, out, rate / root, out)


@optimizers.register("adamax")
@dataclass(frozen=True)
class Adamax(AbstractAdam):
    """Algorithm 2 of Kingma & Ba 2015, arXiv:1412.6980; `eps` keeps a gradient of zero from dividing by zero."""

    learning_rate: float = number(2e-3, above=0.0)

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, u = slots  # m / (1 - beta1), and the decayed maximum
        accumulate(m, self.beta1, grad)
        np.abs(grad, out=grad)
        np.add(grad, self.eps, out=grad)
        np.multiply(u, self.beta2, out=u)
        np.maximum(u, grad, out=u)
        np.divide(m, u, out=grad)
        descend(theta, grad, rate * bias_corrected(self.beta1, step), grad)


@optimizers.register("adam")
@dataclass(frozen=True)
class Adam(AbstractAdam):
    """Algorithm 1 of Kingma & Ba 2015: `eps` is added outside the square root, after bias correction."""

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v = slots
        update_moments(self, grad, m, v, grad)
        descend_over_root(self, theta, m, v, step, rate * bias_corrected(self.beta1, step), grad)


@optimizers.register("adamw")
@dataclass(frozen=True)
class Adamw(AbstractAdam):
    """Algorithm 2 of Loshchilov & Hutter 2019, arXiv:1711.05101: Adam, by default with their decoupled decay.

    As in PyTorch, decay is multiplied by the learning rate.
    """

    weight_decay: float = number(0.01, at_least=0.0)

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v = slots
        update_moments(self, grad, m, v, grad)
        descend_over_root(self, theta, m, v, step, rate * bias_corrected(self.beta1, step), grad)


@optimizers.register("amsgrad")
@dataclass(frozen=True)
class Amsgrad(AbstractAdam):
    """Algorithm 2 of Reddi et al. 2018, arXiv:1904.09237: Adam with the largest second moment so far.

    As in PyTorch, moments are corrected for their bias, which the paper leaves out, after the maximum is taken.
    """

    memory: ClassVar[int] = 3

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v, largest = slots
        update_moments(self, grad, m, v, grad)
        np.maximum(largest, v, out=largest)
        descend_over_root(self, theta, m, largest, step, rate * bias_corrected(self.beta1, step), grad)


@optimizers.register("nadam")
@dataclass(frozen=True)
class Nadam(AbstractAdam):
    """Algorithm 2 of Dozat 2016, "Incorporating Nesterov Momentum into Adam", as in PyTorch.

    The momentum of step t is beta1 · (1 - 0.96^(t · momentum_decay) / 2), which climbs from half of beta1 to all of it.
    """

    learning_rate: float = number(2e-3, above=0.0)
    momentum_decay: float = number(4e-3, at_least=0.0)

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v = slots
        update_moments(self, grad, m, v, scratch)
        now, next_one = (nadam_momentum(self.beta1, self.momentum_decay, t) for t in (step, step + 1))
        product = nadam_product(self.beta1, self.momentum_decay, step)
        of_grad = (1.0 - now) / (1.0 - product)
        of_m = next_one / (1.0 - product * next_one) * (1.0 - self.beta1)
        np.multiply(m, of_m / of_grad, out=scratch)
        np.add(grad, scratch, out=grad)
        descend_over_root(self, theta, grad, v, step, rate * of_grad, scratch)


def nadam_momentum(beta1: float, decay: float, step: int) -> float:
    """Return the momentum of a step of Nadam."""
    return float(beta1 * (1.0 - 0.5 * 0.96 ** (step * decay)))


@functools.lru_cache(maxsize=8)  # all pieces of a step ask for the same
def nadam_product(beta1: float, decay: float, step: int) -> float:
    """Return the product of the momenta of steps 1 to `step`, or 0 where 1 less it rounds to 1."""
    product = 1.0
    for t in range(1, step + 1):
        momentum = nadam_momentum(beta1, decay, t)
        if momentum == beta1:  # as it will be from here on
            return float(product * beta1 ** (step - t + 1))
        product *= momentum
        if product < 1e-17:
            return 0.0
    return product
