"""Noise distributions: frozen values that say how theta is perturbed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import Real, as_array, as_int, broadcast
from ._values import Frozen

EULER_GAMMA = 0.57721566490153286

Spec = tuple[int, float, float, float, bool, "NDArray[np.float64] | None", "Callable[..., Any] | None", bool]

_NORMAL, _GUMBEL, _LAPLACE, _LOGISTIC, _STUDENT_T, _SUM_OF_GAMMA, _USER = range(7)


def _as_scale(scale: object) -> float | NDArray[np.float64]:
    array = as_array("scale", scale)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"scale must be real, got {array.dtype}")
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        raise ValueError(f"scale must be finite and not negative, got {array[~good].flat[0]}")
    if array.ndim == 0:
        return float(array)
    result = np.array(array, dtype=np.float64)
    result.flags.writeable = False
    return result


@dataclass(frozen=True, eq=False, repr=False)
class NoiseBase(Frozen):
    """What all noises share: the width of each coordinate."""

    _: KW_ONLY
    scale: ArrayLike = 1.0

    _kind: ClassVar[int] = _NORMAL
    _name: ClassVar[str] = "normal"
    _mean: ClassVar[float] = 0.0
    _has_score: ClassVar[bool] = True
    _has_value: ClassVar[bool] = True
    _has_variance: ClassVar[bool] = True
    _additive: ClassVar[bool] = True
    _mirrors: ClassVar[bool] = True  # has antithetic draws
    _has_quantile: ClassVar[bool] = True  # has draws by strata
    _shift: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _as_scale(self.scale))

    def _params(self) -> tuple[float, float]:
        return (0.0, 0.0)

    def _sampler(self) -> Callable[..., Any] | None:
        return None

    def _widths(self, item: tuple[int, ...]) -> NDArray[np.float64] | None:
        """One width an entry of the item, or None where all are 1."""
        if isinstance(self.scale, float):
            return None if self.scale == 1.0 else np.full(math.prod(item), self.scale)
        widths = broadcast("scale", self.scale, item)  # type: ignore[arg-type]
        return np.ascontiguousarray(widths, dtype=np.float64).reshape(-1)

    def _spec(self, item: tuple[int, ...]) -> Spec:
        return (self._kind, *self._params(), self._shift, False, self._widths(item), self._sampler(), self._has_score)

    def _check_width(self, widest: float, dtype: np.dtype[Any]) -> None:
        """Refuse widths for which the noise has no meaning."""


@dataclass(frozen=True, eq=False, repr=False)
class Normal(NoiseBase):
    """Standard normal noise: mean 0, variance 1, noise score z.

    Parameters
    ----------
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0, a factor to `epsilon`. Where it is 0, theta_j is a constant: no noise,
        gradient 0.

    Raises
    ------
    ValueError, TypeError
        For a scale that is negative, not finite or not real.

    References
    ----------
    Box & Muller, "A note on the generation of random normal deviates", Annals of Mathematical Statistics 29, 1958.

    Examples
    --------
    >>> import perturbed as pt
    >>> pt.Normal(scale=[1., 0.5])
    Normal(scale=[1.0, 0.5])
    """


@dataclass(frozen=True, eq=False, repr=False)
class Gumbel(NoiseBase):
    """Gumbel noise: variance pi^2/6, noise score 1 - exp(-z). A perturbed argmax is then a softmax.

    Parameters
    ----------
    centered : bool, default False
        Subtract the mean .5772 (Euler's constant). The uncentred noise favours larger solutions.
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0; 0: no noise there, gradient 0.

    References
    ----------
    Papandreou & Yuille, "Perturb-and-MAP random fields", ICCV 2011.
    """

    _: KW_ONLY
    centered: bool = False

    _kind: ClassVar[int] = _GUMBEL
    _name: ClassVar[str] = "gumbel"

    @property
    def _mean(self) -> float:  # type: ignore[override]
        return 0.0 if self.centered else EULER_GAMMA

    @property
    def _shift(self) -> float:  # type: ignore[override]
        return -EULER_GAMMA if self.centered else 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Laplace(NoiseBase):
    """Laplace noise: mean 0, variance 2, noise score sign(z).

    Parameters
    ----------
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0; 0: no noise there, gradient 0.
    """

    _kind: ClassVar[int] = _LAPLACE
    _name: ClassVar[str] = "laplace"


@dataclass(frozen=True, eq=False, repr=False)
class Logistic(NoiseBase):
    """Logistic noise: mean 0, variance pi^2/3, noise score tanh(z/2).

    Parameters
    ----------
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0; 0: no noise there, gradient 0.
    """

    _kind: ClassVar[int] = _LOGISTIC
    _name: ClassVar[str] = "logistic"


@dataclass(frozen=True, eq=False, repr=False)
class StudentT(NoiseBase):
    """Student's t: heavy tails, noise score (df + 1) z / (df + z^2).

    Parameters
    ----------
    df : float
        Degrees of freedom, > 0, at most 1e6 (beyond, take `Normal`). The value F_eps needs df > 1; its standard error
        df > 2 (NaN otherwise).
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0; 0: no noise there, gradient 0.

    References
    ----------
    Bailey, "Polar generation of random variates with the t-distribution", Mathematics of Computation 62, 1994.
    """

    df: float

    _kind: ClassVar[int] = _STUDENT_T
    _name: ClassVar[str] = "student_t"
    _has_quantile: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "df", _positive_number("df", self.df))
        if self.df > 1e6:
            raise ValueError(f"df must be at most 1e6 (beyond, take Normal), got {self.df}")

    def _params(self) -> tuple[float, float]:
        return (self.df, 0.0)

    @property
    def _has_value(self) -> bool:  # type: ignore[override]
        return self.df > 1

    @property
    def _has_variance(self) -> bool:  # type: ignore[override]
        return self.df > 2


@dataclass(frozen=True, eq=False, repr=False)
class SumOfGamma(NoiseBase):
    """Sum-of-Gamma noise: `k` of them summed tend to a Gumbel. It has no usable score: forward only.

    Parameters
    ----------
    k : float
        How many entries of theta a solution sums, > 0: Z is a sum of Gamma(1/k) draws.
    iterations : int, default 10
        Terms of the sum.
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0.

    References
    ----------
    Niepert, Minervini & Franceschi, "Implicit MLE", NeurIPS 2021, section 3.2.
    """

    k: float
    iterations: int = 10

    _kind: ClassVar[int] = _SUM_OF_GAMMA
    _name: ClassVar[str] = "sum_of_gamma"
    _has_score: ClassVar[bool] = False
    _mirrors: ClassVar[bool] = False
    _has_quantile: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "k", _positive_number("k", self.k))
        object.__setattr__(self, "iterations", as_int("iterations", self.iterations, 1, 10**6))

    def _params(self) -> tuple[float, float]:
        return (self.k, float(self.iterations))

    @property
    def _mean(self) -> float:  # type: ignore[override]
        harmonic = math.fsum(1 / i for i in range(1, self.iterations + 1))
        return (harmonic - math.log(self.iterations)) / self.k


@dataclass(frozen=True, eq=False, repr=False)
class Multiplicative(NoiseBase):
    """theta exp(eps Z) / E exp(eps Z): the mean is theta and no sign ever changes. For paths and other costs.

    Parameters
    ----------
    noise : Normal, Gumbel, Laplace or Logistic
        Distribution of Z. All but the normal need ``epsilon * scale < 1``; the normal up to 8 for float32, 25 for
        float64, beyond which exp(eps Z - eps^2 / 2) is 0.
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0, a factor to that of `noise`; 0: no noise there, gradient 0.

    Notes
    -----
    The Jacobian is not symmetric, and the gradient of the value is E[w y*], w the factor of each entry, not y_eps.

    References
    ----------
    Dalle et al., "Learning with combinatorial optimization layers: a probabilistic approach", 2022.
    """

    noise: NoiseBase = field(default_factory=Normal)

    _name: ClassVar[str] = "multiplicative"
    _additive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        inner = as_noise(self.noise)
        if not isinstance(inner, Normal | Gumbel | Laplace | Logistic):
            raise ValueError(
                "noise must have a finite E exp(eps Z) to be multiplicative (normal, gumbel, laplace, logistic), "
                f"got {inner!r}"
            )
        object.__setattr__(self, "noise", inner)

    @property
    def _mean(self) -> float:  # type: ignore[override]
        return self.noise._mean

    def _widths(self, item: tuple[int, ...]) -> NDArray[np.float64] | None:
        own, inner = super()._widths(item), self.noise._widths(item)
        return inner if own is None else own if inner is None else own * inner

    def _spec(self, item: tuple[int, ...]) -> Spec:
        kind, first, second, shift, _, _, sampler, score = self.noise._spec(item)
        return (kind, first, second, shift, True, self._widths(item), sampler, score)

    def _check_width(self, widest: float, dtype: np.dtype[Any]) -> None:
        if not isinstance(self.noise, Normal) and not widest < 1:
            raise ValueError(f"epsilon times scale must be below 1 for {self!r}, got {widest}")
        most = 8.0 if dtype == np.float32 else 25.0
        if not widest <= most:
            raise ValueError(f"epsilon times scale must be at most {most:g} for {self!r} and {dtype}, got {widest}")


@dataclass(frozen=True, eq=False, repr=False)
class Noise(NoiseBase):
    """The user's own noise.

    Parameters
    ----------
    sample : callable
        ``sample(rng, shape)``: draws Z, with shape (M, *item) and a Generator that depends on (seed, call, row) alone.
        It must depend on nothing else (and change nothing): no noise is kept, so each solve, pullback, jvp or jacobian
        calls it again for each row, with a Generator in the same state, and must get the same Z.
    score : callable, optional
        ``score(z)`` = -d log p(z)/dz, element by element. Without it there is a forward pass only.
    mean : float, optional
        E Z, where it is known and finite.
    scale : array_like, broadcasts to the item, default 1
        Width of each coordinate, >= 0; 0: no noise there, gradient 0.

    Warns
    -----
    UserWarning
        Where 8192 draws, made once, disagree with E score(Z) = 0, E Z score(Z) = 1 or the mean: gradients, or losses,
        would be off. A sample that cannot make the shape (2048, 4) is not tried.

    Examples
    --------
    >>> import numpy as np
    >>> import perturbed as pt
    >>> wide = pt.Noise(lambda rng, shape: 2 * rng.normal(size=shape), score=lambda z: z / 4, mean=0.)
    >>> pt.Perturbed(pt.Argmax(), noise=wide, seed=0)(np.zeros(3)).shape
    (3,)
    """

    sample: Callable[..., Any]
    score: Callable[..., Any] | None = None
    mean: float | None = None

    _kind: ClassVar[int] = _USER
    _name: ClassVar[str] = "user"
    _mirrors: ClassVar[bool] = False
    _has_quantile: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.sample):
            raise TypeError(f"sample must be callable, got {type(self.sample).__name__}")
        if self.score is not None and not callable(self.score):
            raise TypeError(f"score must be callable or None, got {type(self.score).__name__}")
        self._try_out()

    def _try_out(self) -> None:
        """Warn where draws disagree with what every score, and this mean, fulfil: by 6 standard errors."""
        if self.score is None and self.mean is None:
            return
        shape, double = (2048, 4), np.dtype(np.float64)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                z, score = self._draw(0, 0, shape, double)
        except Exception:  # it may need other shapes: what is wrong with it shows at the first call
            return
        wanted = [] if score is None else [("E score(Z)", score, 0.0), ("E Z score(Z)", z * score, 1.0)]
        wanted += [] if self.mean is None else [("E Z", z, float(self.mean))]
        for name, values, value in wanted:
            with np.errstate(all="ignore"):
                error = values.std() / math.sqrt(values.size)
                off = abs(values.mean() - value)
            if off > 6 * error + 1e-9:
                warnings.warn(
                    f"{name} must be {value:g}, got {values.mean():.3g} +- {error:.1g} from {values.size} draws: "
                    f"{'score is not -d log p/dz of sample' if name != 'E Z' else 'mean is not that of sample'}",
                    UserWarning,
                    stacklevel=4,
                )

    @property
    def _has_score(self) -> bool:  # type: ignore[override]
        return self.score is not None

    @property
    def _mean(self) -> float:  # type: ignore[override]
        return math.nan if self.mean is None else float(self.mean)

    def _draw(self, key: int, row: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Real, Real | None]:
        rng = np.random.Generator(np.random.Philox(key=np.array([key, row % 2**64], dtype=np.uint64)))
        z = _answer("sample", self.sample(rng, shape), shape, dtype)
        return z, None if self.score is None else _answer("score", self.score(z), shape, dtype)


def _answer(name: str, x: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Real:
    array = as_array(f"the result of {name}", x)
    if array.shape != shape:
        raise ValueError(f"{name} must return shape {shape}, got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must return real numbers, got {array.dtype}")
    with np.errstate(over="ignore"):  # what overflows is not finite, below
        result = np.require(array, dtype, ["C", "A"])
    if not np.isfinite(result).all():
        raise ValueError(f"{name} must return finite numbers, got {result[~np.isfinite(result)].flat[0]}")
    return result


def _positive_number(name: str, value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return float(value)


_NAMES: dict[str, type[NoiseBase]] = {"normal": Normal, "gumbel": Gumbel, "laplace": Laplace, "logistic": Logistic}


def as_noise(noise: str | NoiseBase) -> NoiseBase:
    """A noise object from its name, or itself."""
    if isinstance(noise, NoiseBase):
        return noise
    if isinstance(noise, str) and noise in _NAMES:
        return _NAMES[noise]()
    options = ", ".join(map(repr, _NAMES))
    raise (ValueError if isinstance(noise, str) else TypeError)(
        f"noise must be one of {options} or a noise object, got {noise!r}"
    )
