"""Optimizers, each a few NumPy lines over one flat vector of parameters.

An optimizer never sees a layer: the training hands it the vector in pieces, small enough that all passes of a step
over a piece, except the first, read from the cache. Every rule therefore treats each parameter by itself.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from mlp.arrays import Array
from mlp.clipping import clip_by_norm, clip_by_value
from mlp.descent import Slots, accumulate, average, descend, descend_with_momentum
from mlp.records import number
from mlp.registry import AbstractPart, Registry


@dataclass(frozen=True)
class AbstractOptimizer(AbstractPart):
    """A rule that moves parameters against their gradient.

    Attributes:
        learning_rate: the base rate, which the schedule multiplies.
        weight_decay: decoupled weight decay (equation 12 of Loshchilov & Hutter 2019, arXiv:1711.05101): each step
            multiplies weights, not biases, by 1 - learning rate · weight_decay.
        l2: the L2 penalty of weights, not biases: l2 · w, the derivative of l2/2 · |w|², is added to their gradient.
        clip_norm: the largest norm of the gradient; 0 for no limit.
        clip_value: the largest absolute value of each derivative; 0 for no limit.
    """

    learning_rate: float = number(1e-3, above=0.0)
    weight_decay: float = number(0.0, at_least=0.0)
    l2: float = number(0.0, at_least=0.0)
    clip_norm: float = number(0.0, at_least=0.0)
    clip_value: float = number(0.0, at_least=0.0)

    @property
    @abstractmethod
    def n_slots(self) -> int:
        """The number of vectors, each as long as theta, that the rule keeps between steps; all start at zero."""

    @final
    def clip(self, grad: Array) -> None:
        """Clip the gradient of all parameters in place, first by value, then by norm."""
        if self.clip_value:
            clip_by_value(grad, self.clip_value)
        if self.clip_norm:
            clip_by_norm(grad, self.clip_norm)

    @final
    def step(
        self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float, decay: float
    ) -> None:
        """Move `theta` in place by one step: L2 penalty, weight decay, then the rule itself.

        Args:
            theta: a piece of the parameters.
            grad: their gradient, already clipped; may be overwritten.
            slots: the same piece of each vector kept between steps, updated in place.
            scratch: an array of the same length, overwritten.
            step: the number of the step, counted from 1.
            rate: the learning rate of this step.
            decay: the factor of `weight_decay`, usually 1; 0 for a piece without weights, to which neither
                `weight_decay` nor `l2` applies.
        """
        if decay and self.l2:
            np.multiply(theta, self.l2, out=scratch)
            np.add(grad, scratch, out=grad)
        if decay and self.weight_decay:
            np.multiply(theta, 1.0 - rate * self.weight_decay * decay, out=theta)
        self.update(theta, grad, slots, scratch, step, rate)

    @abstractmethod
    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        """Move `theta` in place by one step of the rule; arguments as in `step`."""


optimizers: Registry[AbstractOptimizer] = Registry("optimizer")
AbstractOptimizer.family = optimizers


class AbstractMomentum(AbstractOptimizer):
    """Gradient descent with momentum, after Sutskever et al. 2013, "On the importance of initialization and momentum".

    The velocity does not contain the learning rate, so that a schedule acts at once.

    Attributes:
        momentum: the factor by which the velocity decays in each step; 0 for plain gradient descent.
        nesterov: whether `theta` is the point theta + momentum · v of their equation 3, to which the velocity leads.
    """

    momentum: float
    nesterov: bool

    @property
    def n_slots(self) -> int:
        return 1 if self.momentum else 0

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        descend_with_momentum(theta, grad, slots, scratch, rate, self.momentum, nesterov=self.nesterov)


@optimizers.register("sgd")
@dataclass(frozen=True)
class Sgd(AbstractMomentum):
    """Gradient descent, by default without momentum: a step of -rate · g."""

    learning_rate: float = number(1e-2, above=0.0)
    momentum: float = number(0.0, at_least=0.0, below=1.0)
    nesterov: bool = False


@optimizers.register("momentum")
@dataclass(frozen=True)
class Momentum(AbstractMomentum):
    """Classical momentum: equations 1 and 2 of Sutskever et al. 2013."""

    learning_rate: float = number(1e-2, above=0.0)
    momentum: float = number(0.9, at_least=0.0, below=1.0)
    nesterov = False


@optimizers.register("nesterov")
@dataclass(frozen=True)
class Nesterov(AbstractMomentum):
    """Nesterov's momentum: equations 3 and 4 of Sutskever et al. 2013."""

    learning_rate: float = number(1e-2, above=0.0)
    momentum: float = number(0.9, at_least=0.0, below=1.0)
    nesterov = True


@optimizers.register("adagrad")
@dataclass(frozen=True)
class Adagrad(AbstractOptimizer):
    """A step of -rate · g / (sqrt(sum of g²) + eps): Figure 1 of Duchi et al. 2011, with a diagonal matrix."""

    learning_rate: float = number(1e-2, above=0.0)
    eps: float = number(1e-10, above=0.0)
    n_slots = 1

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

    v <- rho · v + (1 - rho) · g², u <- momentum · u + g / (sqrt(v) + eps), and theta moves by -rate · u.
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
        descend_with_momentum(theta, grad, slots[1:], scratch, rate, self.momentum)


@optimizers.register("adadelta")
@dataclass(frozen=True)
class Adadelta(AbstractOptimizer):
    """Algorithm 1 of Zeiler 2012, arXiv:1212.5701, with its step multiplied by the rate (1 in the paper)."""

    learning_rate: float = number(1.0, above=0.0)
    rho: float = number(0.9, at_least=0.0, below=1.0)
    eps: float = number(1e-6, above=0.0)
    n_slots = 2

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
    """A step of -rate · sign(c), c = beta1 · m + (1 - beta1) · g: Algorithm 2 of Chen et al. 2023, arXiv:2302.06675.

    The sign is computed as c / (|c| + the smallest normal number), which takes a quarter of the time of `np.sign`. The
    result is the same unless |c| is below about 1e-30 (1e-291 in float64).
    """

    learning_rate: float = number(1e-4, above=0.0)
    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.99, at_least=0.0, below=1.0)
    n_slots = 1

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
class AbstractMoments(AbstractOptimizer):
    """A rule of the family of Kingma & Ba 2015, arXiv:1412.6980: a first moment divided by the root of a second one.

    The slots hold m / (1 - beta1) and v / (1 - beta2), which saves two passes over the arrays.
    """

    beta1: float = number(0.9, at_least=0.0, below=1.0)
    beta2: float = number(0.999, at_least=0.0, below=1.0)
    eps: float = number(1e-8, above=0.0)
    n_slots = 2

    def update_moments(self, grad: Array, m: Array, v: Array, out: Array) -> None:
        """Add the gradient to both moments; `out`, which may be the gradient, is overwritten."""
        accumulate(m, self.beta1, grad)
        np.multiply(grad, grad, out=out)
        accumulate(v, self.beta2, out)

    def descend_over_root(self, theta: Array, direction: Array, v: Array, step: int, rate: float, out: Array) -> None:
        """Move `theta` by -rate · direction / (sqrt(corrected v) + eps); `out` is overwritten."""
        root = math.sqrt(bias_correction(self.beta2, step))
        np.sqrt(v, out=out)
        np.add(out, self.eps / root, out=out)
        np.divide(direction, out, out=out)
        descend(theta, out, rate / root, out)


def bias_correction(beta: float, step: int) -> float:
    """Return the scalar that turns a slot, which holds a moment / (1 - beta), into the bias-corrected moment."""
    return (1.0 - beta) / (1.0 - beta**step)


class AbstractAdam(AbstractMoments):
    """Algorithm 1 of Kingma & Ba 2015: `eps` is added outside the square root, after bias correction."""

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v = slots
        self.update_moments(grad, m, v, grad)
        self.descend_over_root(theta, m, v, step, rate * bias_correction(self.beta1, step), grad)


@optimizers.register("adam")
@dataclass(frozen=True)
class Adam(AbstractAdam):
    """Algorithm 1 of Kingma & Ba 2015, arXiv:1412.6980."""


@optimizers.register("adamw")
@dataclass(frozen=True)
class Adamw(AbstractAdam):
    """Adam that by default decays weights: Algorithm 2 of Loshchilov & Hutter 2019, arXiv:1711.05101."""

    weight_decay: float = number(0.01, at_least=0.0)


@optimizers.register("adamax")
@dataclass(frozen=True)
class Adamax(AbstractMoments):
    """Algorithm 2 of Kingma & Ba 2015, arXiv:1412.6980, with `eps` added to |g| against a division by zero."""

    learning_rate: float = number(2e-3, above=0.0)

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, u = slots  # m / (1 - beta1), and the decayed maximum of |g|
        accumulate(m, self.beta1, grad)
        np.abs(grad, out=grad)
        np.add(grad, self.eps, out=grad)
        np.multiply(u, self.beta2, out=u)
        np.maximum(u, grad, out=u)
        np.divide(m, u, out=grad)
        descend(theta, grad, rate * bias_correction(self.beta1, step), grad)


@optimizers.register("amsgrad")
@dataclass(frozen=True)
class Amsgrad(AbstractMoments):
    """Algorithm 2 of Reddi et al. 2018, arXiv:1904.09237: Adam with the largest second moment so far.

    As in PyTorch and unlike in the paper, both moments are corrected for their bias, after the maximum is taken.
    """

    n_slots = 3

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v, largest = slots
        self.update_moments(grad, m, v, grad)
        np.maximum(largest, v, out=largest)
        self.descend_over_root(theta, m, largest, step, rate * bias_correction(self.beta1, step), grad)


@optimizers.register("nadam")
@dataclass(frozen=True)
class Nadam(AbstractMoments):
    """Algorithm 2 of Dozat 2016, "Incorporating Nesterov Momentum into Adam", as in PyTorch.

    The momentum of step t is beta1 · (1 - 0.96^(t · momentum_decay) / 2), which rises from beta1 / 2 to beta1.
    """

    learning_rate: float = number(2e-3, above=0.0)
    momentum_decay: float = number(4e-3, at_least=0.0)

    def update(self, theta: Array, grad: Array, slots: Slots, scratch: Array, step: int, rate: float) -> None:
        m, v = slots
        self.update_moments(grad, m, v, scratch)
        now, following = (nadam_momentum(self.beta1, self.momentum_decay, t) for t in (step, step + 1))
        product = nadam_product(self.beta1, self.momentum_decay, step)
        of_grad = (1.0 - now) / (1.0 - product)
        of_m = following / (1.0 - product * following) * (1.0 - self.beta1)
        np.multiply(m, of_m / of_grad, out=scratch)
        np.add(grad, scratch, out=grad)
        self.descend_over_root(theta, grad, v, step, rate * of_grad, scratch)


def nadam_momentum(beta1: float, decay: float, step: int) -> float:
    """Return the momentum that Nadam uses in a step, counted from 1."""
    return float(beta1 * (1.0 - 0.5 * 0.96 ** (step * decay)))


@functools.lru_cache(maxsize=8)  # every piece of theta asks for the same product in a step
def nadam_product(beta1: float, decay: float, step: int) -> float:
    """Return the product of the momenta of steps 1 to `step`; 0 once it is negligible compared with 1."""
    product = 1.0
    for t in range(1, step + 1):
        momentum = nadam_momentum(beta1, decay, t)
        if momentum == beta1:  # and so is every later one
            return float(product * beta1 ** (step - t + 1))
        product *= momentum
        if product < 1e-17:
            return 0.0
    return product
