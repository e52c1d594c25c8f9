"""Activations, from the simplest to the most involved.

Each writes `a = f(z)` in the forward pass and turns `da` into `dz = da * f'(z)` in place in the backward pass.
Activations need no scratch memory: `forward` may replace `z` by whatever `backward` needs, such as the derivative, and
`backward` may overwrite `z` and `a`, because nothing reads them afterwards.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mlp.arrays import Array
from mlp.records import number
from mlp.registry import AbstractPart, Registry

BLOCK = 8_192  # elements processed at once, so that all intermediate arrays of a function fit into the cache


class AbstractActivation(AbstractPart):
    """An elementwise function and its derivative.

    Attributes:
        gain: the factor by which He initialisation scales weights, so that signals keep their variance.
        in_place: whether `forward` may write `a` over `z`.
    """

    gain: ClassVar[float] = 1.0
    in_place: ClassVar[bool] = True

    @abstractmethod
    def forward(self, z: Array, a: Array) -> None:
        """Write `f(z)` into `a`.

        Args:
            z: the pre-activations, contiguous; may be overwritten with what `backward` needs.
            a: an array of the same shape, contiguous; `z` itself if `in_place`.
        """

    @abstractmethod
    def backward(self, z: Array, a: Array, da: Array) -> None:
        """Multiply `da` by `f'(z)` in place.

        Args:
            z: as `forward` left it; may be overwritten.
            a: as `forward` left it; may be overwritten.
            da: the gradient with respect to `a`, turned into the gradient with respect to the pre-activations.
        """

    def init_gain(self) -> float:
        """Return the gain; an activation whose gain depends on its fields overrides this."""
        return self.gain


activations: Registry[AbstractActivation] = Registry("activation")
AbstractActivation.family = activations


@functools.lru_cache(maxsize=64)
def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a shared, read-only array of zeros.

    NumPy compares two arrays four times faster than an array and a number.
    """
    array = np.zeros(shape, dtype)
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=8)
def _sign_bit_shift(itemsize: int) -> Array:
    """Return the distance of the sign bit from the lowest bit, as an array: NumPy needs 1 µs to convert an int."""
    return np.array(itemsize * 8 - 1, f"i{itemsize}")


@functools.lru_cache(maxsize=64)
def _bits_of_slope(slope: float, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the bits of `slope` as an integer, and the bits in which it differs from 1."""
    bits = np.array([slope, 1.0], dtype).view(f"i{dtype.itemsize}")
    return bits[:1].reshape(()), np.bitwise_xor(bits[0], bits[1]).reshape(())


def _mask_of_positive(x: Array, out: Array) -> Array:
    """Return the memory of `out` as integers with all bits set where x > 0, and no bit set elsewhere.

    The bits of x are read as an integer. Its negative has the sign bit set where x > 0; an arithmetic shift copies that
    bit to all others. These two passes are faster than any over booleans. -0.0 counts as positive.
    """
    shift = _sign_bit_shift(x.itemsize)
    mask = out.view(shift.dtype)
    np.negative(x.view(shift.dtype), out=mask)
    np.right_shift(mask, shift, out=mask)
    return mask


@activations.register("identity")
@dataclass(frozen=True)
class Identity(AbstractActivation):
    """f(z) = z."""

    def forward(self, z: Array, a: Array) -> None:
        if a is not z:
            np.copyto(a, z)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        pass


@activations.register("relu")
@dataclass(frozen=True)
class Relu(AbstractActivation):
    """f(z) = max(z, 0); the derivative at 0 is 0."""

    gain: ClassVar[float] = 2.0**0.5

    def forward(self, z: Array, a: Array) -> None:
        np.maximum(z, zeros(z.shape, z.dtype), out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        mask = _mask_of_positive(a, a)
        masked = da.view(mask.dtype)
        np.bitwise_and(masked, mask, out=masked)


@activations.register("leaky_relu")
@dataclass(frozen=True)
class LeakyRelu(AbstractActivation):
    """f(z) = z where z > 0, else slope · z; the gain is from equation 15 of He et al. 2015, arXiv:1502.01852."""

    in_place: ClassVar[bool] = False
    slope: float = number(0.01, at_least=0.0, at_most=1.0)

    def init_gain(self) -> float:
        return float((2.0 / (1.0 + self.slope**2)) ** 0.5)

    def forward(self, z: Array, a: Array) -> None:
        np.multiply(z, self.slope, out=a)
        np.maximum(a, z, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        # Where z > 0, exclusive or with the differing bits turns the bits of the slope into the bits of 1.
        mask = _mask_of_positive(z, a)
        slope, difference = _bits_of_slope(self.slope, a.dtype)
        np.bitwise_and(mask, difference, out=mask)
        np.bitwise_xor(mask, slope, out=mask)
        np.multiply(da, a, out=da)


@activations.register("elu")
@dataclass(frozen=True)
class Elu(AbstractActivation):
    """f(z) = z where z > 0, else alpha (exp(z) - 1): equation 15 of Clevert et al. 2016, arXiv:1511.07289."""

    in_place: ClassVar[bool] = False
    alpha: float = number(1.0, at_least=0.0, at_most=100.0)

    def forward(self, z: Array, a: Array) -> None:
        _scaled_elu(z, a, self.alpha, 1.0)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, z, out=da)


@activations.register("selu")
@dataclass(frozen=True)
class Selu(AbstractActivation):
    """The ELU, scaled so that mean 0 and variance 1 are a fixed point: Klambauer et al. 2017, arXiv:1706.02515."""

    in_place: ClassVar[bool] = False
    alpha: ClassVar[float] = 1.6732632423543772
    scale: ClassVar[float] = 1.0507009873554805

    def forward(self, z: Array, a: Array) -> None:
        _scaled_elu(z, a, self.alpha, self.scale)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, z, out=da)


@activations.register("sigmoid")
@dataclass(frozen=True)
class Sigmoid(AbstractActivation):
    """f(z) = 1 / (1 + exp(-z)), which is exactly 0 where exp(-z) overflows."""

    def forward(self, z: Array, a: Array) -> None:
        np.negative(z, out=a)
        with np.errstate(over="ignore"):
            np.exp(a, out=a)
        np.add(a, 1.0, out=a)
        np.reciprocal(a, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, a, out=da)
        np.subtract(1, a, out=a)
        np.multiply(da, a, out=da)


@activations.register("tanh")
@dataclass(frozen=True)
class Tanh(AbstractActivation):
    """f(z) = tanh(z), with the usual gain of 5/3."""

    gain: ClassVar[float] = 5.0 / 3.0

    def forward(self, z: Array, a: Array) -> None:
        np.tanh(z, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(a, a, out=a)
        np.subtract(1, a, out=a)
        np.multiply(da, a, out=da)


@activations.register("softplus")
@dataclass(frozen=True)
class Softplus(AbstractActivation):
    """f(z) = log(1 + exp(z)); the derivative is computed as 1 - exp(-f)."""

    in_place: ClassVar[bool] = False

    def forward(self, z: Array, a: Array) -> None:
        np.abs(z, out=a)
        np.negative(a, out=a)
        np.exp(a, out=a)
        np.log1p(a, out=a)
        np.maximum(z, 0, out=z)
        np.add(a, z, out=a)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.negative(a, out=a)
        np.expm1(a, out=a)
        np.multiply(da, a, out=da)
        np.negative(da, out=da)


@activations.register("silu")
@dataclass(frozen=True)
class Silu(AbstractActivation):
    """f(z) = z sigmoid(z), also called swish: Elfwing et al. 2018, arXiv:1702.03118."""

    in_place: ClassVar[bool] = False

    def forward(self, z: Array, a: Array) -> None:
        for z_block, a_block in _blocks(z, a):
            s = _logistic(z_block)
            np.multiply(z_block, s, out=a_block)
            np.multiply(s, 1 + z_block * (1 - s), out=z_block)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, z, out=da)


@activations.register("mish")
@dataclass(frozen=True)
class Mish(AbstractActivation):
    """f(z) = z tanh(log(1 + exp(z))): Misra 2020, arXiv:1908.08681."""

    in_place: ClassVar[bool] = False

    def forward(self, z: Array, a: Array) -> None:
        for z_block, a_block in _blocks(z, a):
            e = np.exp(np.minimum(z_block, 20))  # from 20 on, tanh(softplus(z)) rounds to 1 in float64
            n = e * (e + 2)
            t = n / (n + 2)
            np.multiply(z_block, t, out=a_block)
            np.add(t, z_block * ((1 - t) * (1 + t) * (e / (1 + e))), out=z_block)

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, z, out=da)


@activations.register("gelu")
@dataclass(frozen=True)
class Gelu(AbstractActivation):
    """f(z) = z Phi(z), Phi the standard normal distribution function: Hendrycks & Gimpel 2016, arXiv:1606.08415.

    Attributes:
        form: `exact`, or `tanh` for the approximation 0.5 z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))).
    """

    in_place: ClassVar[bool] = False
    form: Literal["exact", "tanh"] = "exact"

    def forward(self, z: Array, a: Array) -> None:
        gelu = _exact_gelu if self.form == "exact" else _tanh_gelu
        for z_block, a_block in _blocks(z, a):
            np.copyto(z_block, gelu(z_block, a_block))

    def backward(self, z: Array, a: Array, da: Array) -> None:
        np.multiply(da, z, out=da)


def _blocks(z: Array, a: Array) -> Iterator[tuple[Array, Array]]:
    """Yield matching pieces of both arrays, small enough for a dozen intermediate arrays to stay in the cache."""
    z, a = z.reshape(-1), a.reshape(-1)
    for start in range(0, len(z), BLOCK):
        yield z[start : start + BLOCK], a[start : start + BLOCK]


def _scaled_elu(z: Array, a: Array, alpha: float, scale: float) -> None:
    """Write scale · ELU(z) into `a` and its derivative into `z`."""
    for z_block, a_block in _blocks(z, a):
        is_positive = z_block > 0
        clipped = np.minimum(z_block, 0)
        np.multiply(np.where(is_positive, z_block, alpha * np.expm1(clipped)), scale, out=a_block)
        np.multiply(np.where(is_positive, 1, alpha * np.exp(clipped)), scale, out=z_block)


def _logistic(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), accurate also where it is close to 0."""
    e = np.exp(-np.abs(z))
    s: Array = np.where(z >= 0, 1, e) / (1 + e)
    return s


def _tanh_gelu(z: Array, a: Array) -> Array:
    """Write the approximate GELU into `a` and return its derivative."""
    clipped = np.clip(z, -20, 20)  # beyond, tanh rounds to 1
    square = clipped * clipped
    c = (2.0 / np.pi) ** 0.5
    t = np.tanh(c * clipped * (1 + 0.044715 * square))
    np.multiply(z, 0.5 * (1 + t), out=a)
    return 0.5 * (1 + t) + 0.5 * clipped * (1 - t * t) * (c * (1 + 3 * 0.044715 * square))  # type: ignore[no-any-return]


def _exact_gelu(z: Array, a: Array) -> Array:
    """Write the exact GELU into `a` and return its derivative, Phi(z) + z phi(z)."""
    size = np.minimum(np.abs(z), 40)  # beyond, Phi rounds to 0 or 1 and phi to 0
    half_tail = 0.5 * _erfc(size * 0.5**0.5)
    distribution = np.where(z > 0, 1 - half_tail, half_tail)
    density = np.exp(-0.5 * size * size) * (2.0 * np.pi) ** -0.5
    np.multiply(z, distribution, out=a)
    return distribution + np.copysign(size, z) * density  # type: ignore[no-any-return]


# The coefficients of log(erfc(x) exp(x^2) / t), with t = 2 / (2 + x), as a polynomial in u. As t goes from TAIL to 1,
# u goes from -1 to 1. The form is from section 6.2.2 of Press et al. 2007, "Numerical Recipes"; the coefficients were
# fitted for 0 <= x <= 40.
TAIL = 1.0 / 21.0
ERFC = (
    *(-0.6396612122643843, 0.6445991025363815, 0.03675216721731434, -0.041958868755980074, -0.006351743130957508),
    *(0.007220453053834983, 0.0007265906558477484, -0.0016686994434763286, 8.798394757346335e-05),
    *(0.00039263504917488504, -0.00010652819856522169, -7.547003055254618e-05, 4.728025642773149e-05),
    *(6.45754009399446e-06, -1.4154095548173759e-05, 2.6854366249944696e-06, 2.729394811032525e-06),
    *(-1.5250316803007005e-06, -1.6932331756992355e-07, 3.8023395261362857e-07, -6.757703807164467e-08),
    *(-4.2813316331771406e-08, 1.5342780186430267e-08),
)


def _erfc(x: Array) -> Array:
    """Return the complementary error function of x >= 0, with a relative error below 6e-15 in float64."""
    t = 2 / (2 + x)
    u = (t - TAIL) * (2.0 / (1.0 - TAIL)) - 1
    power = np.full_like(u, ERFC[-1])
    for coefficient in ERFC[-2::-1]:
        np.multiply(power, u, out=power)
        np.add(power, coefficient, out=power)
    return t * np.exp(power - x * x)  # type: ignore[no-any-return]
