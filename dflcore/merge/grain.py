"""The plate's grain: measured around the face, and put on the face in the same strength, size and colour.

Convention:
    Pictures are (h, w, 3) float32 in plate space, scene-linear in the plate's primaries, unpremultiplied, unbounded.
    Grain is taken to be Gaussian, independent from frame to frame, its deviation a function of the channel's own light;
    between measured levels, and beyond them, it goes with the root of the light, as photon noise does.

How it is measured: small squares of the region, each freed of its smooth part (polynomials of second degree in x and
y). Of the squares of like light the calmest tenth counts, so that edges, hair and cloth do not. What freeing a square
of its smooth part takes from the grain too, how that depends on the grain's size, and by how much the calmest of equal
squares are calmer than their mean, follow from theory and are made good. Where a region is texture everywhere, lawn
or knitwear to the last square, texture is taken for grain; the measure is then too high, not too low.

Source:
    Own derivation; the idea of judging noise by the calmest blocks is old (e.g. Liu, Tanaka & Okutomi 2013,
    "Single-image noise level estimation for blind denoising"). The reference has nothing like it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dflcore.types import FloatArray

Values = NDArray[np.float64]

MAX_SIZE_PX: Final = 3.0
"""Largest grain, as the standard deviation of the blur that makes it, in plate pixels; coarser is texture."""
LEAST_SIGMA: Final = 5e-4
"""Deviation, as a share of the light, that counts as none: half floats round as coarsely."""
_FINE_PX: Final = 8
"""Side of the squares grain is judged in; small ones hold little else than grain."""
_COARSE_PX: Final = 16
_COARSE_FROM: Final = 1.0
"""Grain larger than this is judged again in squares of :data:`_COARSE_PX`."""
_MIN_SQUARES: Final = 12
_ENOUGH_SQUARES: Final = 1500
"""About as many are looked at, however large the face; they overlap by half at most."""
_SQUARES_PER_LEVEL: Final = 80
_MAX_LEVELS: Final = 8
_CALM: Final = (0.1, -1.2815516)
"""The share of the squares that is calm, and the standard normal's quantile there."""
_MIDDLE: Final = (0.5, 0.0)
_DOUBT: Final = (1.1, 1.6)
"""How much rougher the middle of the squares of one light may be, compared to their calm ones, than it is of pure
grain: up to the first the squares are taken to be grain, from the second on to be mostly something else."""
_NEAR_LIGHT: Final = 0.1
"""Difference of the logarithm of light that counts as none."""
_DEGREE: Final = 2
_SIZE_STEP: Final = 0.1
_LEAST_SIZE: Final = 0.25
"""Smaller grain is that of single pixels."""
_LEAST_MATTE: Final = 0.1
"""Where the matte is thinner, grain is no more strengthened to make up for the plate's own that it weakens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grain:
    """What is known of a picture's grain.

    Attributes:
        levels: (3, K) scene-linear light of R, G, B at which the deviation is known, not falling along K.
        sigmas: (3, K) standard deviation of the grain there, same unit.
        sizes_px: (3,) per channel, standard deviation in pixels of the Gaussian blur that would make it of white
            noise; 0 is grain of single pixels.
        correlation: (3, 3) between the channels' grain.
    """

    levels: Values
    sigmas: Values
    sizes_px: Values
    correlation: Values

    def sigma_at(self, light: FloatArray) -> FloatArray:
        """Deviation (h, w, 3) of the grain on a picture (h, w, 3); 0 where there is no light."""
        roots = np.sqrt(np.maximum(light, np.float32(0.0)))
        known = np.sqrt(np.maximum(self.levels, 0.0))
        sigmas = np.empty(light.shape, np.float32)
        for channel in range(3):
            x, y = known[channel], self.sigmas[channel]
            steepness = y[-1] / x[-1] if x[-1] > 0.0 else 0.0
            far = max(float(roots[..., channel].max()), float(x[-1])) + 1.0
            xs, ys = np.concatenate([[0.0], x, [far]]), np.concatenate([[0.0], y, [steepness * far]])
            sigmas[..., channel] = np.interp(roots[..., channel], xs, ys)
        return sigmas


def measure_grain(picture: FloatArray, region: NDArray[np.bool_]) -> Grain | None:
    """How grainy a picture is.

    Args:
        picture: the plate, or a swapped face put back, around a face; values that are not finite are left out.
        region: (h, w), where to look: for a plate the ring around the matte, or better everything around the face and
            the face itself, whose grain is the plate's and whose light is that of the swapped face.

    Returns:
        None where the region is too small to tell: fewer than twelve squares of 8 pixels.
    """
    usable = region & np.isfinite(picture).all(axis=2)
    squares = _squares(picture, usable, _FINE_PX)
    if len(squares) < _MIN_SQUARES:
        return None
    grain = _judge(squares)
    if grain.sizes_px.mean() > _COARSE_FROM:
        squares = _squares(picture, usable, _COARSE_PX)
        if len(squares) >= _MIN_SQUARES:
            return _judge(squares)
    return grain


def add_grain(
    face: FloatArray,
    grain: Grain | None,
    amount: float,
    seed: Sequence[int],
    *,
    own: Grain | None = None,
    matte: FloatArray | None = None,
) -> FloatArray:
    """Put grain on a face in plate space, as much as it lacks.

    Args:
        grain: the plate's; None adds nothing.
        amount: 0..200 percent of what is lacking.
        seed: whole numbers, such as frame and track. The same seed and picture size give the same grain, bit for bit,
            any other seed another.
        own: of the swapped face itself, which is not added again.
        matte: (h, w) in [0, 1] that the face will be put over the plate with. A mix of two grains is calmer than
            either; with the matte known, the face's is made stronger along its edge, so that the composite's is even.

    Returns:
        (h, w, 3) float32; ``face`` itself where there is nothing to add.
    """
    if grain is None or amount <= 0.0 or not grain.sigmas.any():
        return face
    sigma = grain.sigma_at(face)
    if own is not None:
        # A painted face's coarse mottle does not stand in for fine grain.
        likeness = np.minimum(_fineness(own.sizes_px) / _fineness(grain.sizes_px), 1.0).astype(np.float32)
        sigma = np.sqrt(np.maximum(sigma * sigma - likeness * own.sigma_at(face) ** 2, np.float32(0.0)))
    sigma *= np.float32(0.01 * amount)
    if matte is not None:
        sigma *= _edge_gain(matte)[..., None]
    return np.asarray(face + sigma * _field(grain, face.shape[:2], seed), np.float32)


def _fineness(sizes_px: Values) -> Values:
    """Half the mean squared difference of neighbouring pixels, over the variance, of grain of any size."""
    return np.asarray(-np.expm1(-0.25 / np.maximum(sizes_px, 1e-3) ** 2), np.float64)


def _edge_gain(matte: FloatArray) -> FloatArray:
    """Makes up for ``(1 - m)² + m² < 1``: the gain g with ``(1 - m)² + (m g)² = 1``; 1 again where m is 0."""
    thin = np.maximum(matte, np.float32(_LEAST_MATTE))
    gain = np.sqrt((2.0 - thin) / thin)
    return np.asarray(1.0 + (gain - 1.0) * np.minimum(matte / np.float32(_LEAST_MATTE), 1.0), np.float32)


def _field(grain: Grain, shape: tuple[int, ...], seed: Sequence[int]) -> FloatArray:
    """(h, w, 3) grain of deviation 1 with the grain's size and correlation."""
    words = [word for number in seed for word in (abs(int(number)), int(number < 0))]
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
    kernels = [_kernel(float(size)) for size in grain.sizes_px]
    margin = max(len(kernel) for kernel in kernels) // 2
    height, width = shape[0] + 2 * margin, shape[1] + 2 * margin
    white = generator.standard_normal((3, height * width), dtype=np.float32)
    mixed = (_mixing(grain.correlation, kernels) @ white).reshape(3, height, width)
    inner = (slice(margin, margin + shape[0]), slice(margin, margin + shape[1]))
    blurred = [
        plane if len(kernel) == 1 else cv2.sepFilter2D(plane, cv2.CV_32F, kernel, kernel)
        for plane, kernel in zip(mixed, (kernel.astype(np.float32) for kernel in kernels), strict=True)
    ]
    return np.stack([plane[inner] for plane in blurred], axis=2)


def _mixing(correlation: Values, kernels: Sequence[Values]) -> FloatArray:
    """(3, 3) that gives white noise the correlation which is the wanted one once each channel is blurred by its own."""
    wanted = correlation.copy()
    for i in range(3):
        for j in range(3):
            # Two grains of different size never agree wholly; before the blur they have to agree more.
            wanted[i, j] /= _overlap(kernels[i], kernels[j]) ** 2
    values, vectors = np.linalg.eigh(wanted)
    mixing = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(mixing / np.maximum(np.linalg.norm(mixing, axis=1, keepdims=True), 1e-12), np.float32)


def _overlap(a: Values, b: Values) -> float:
    """Inner product of two kernels about their centres."""
    reach = min(len(a), len(b)) // 2
    middle_a, middle_b = len(a) // 2, len(b) // 2
    return float(a[middle_a - reach : middle_a + reach + 1] @ b[middle_b - reach : middle_b + reach + 1])


def _kernel(size_px: float) -> Values:
    """Gaussian weights that leave white noise its variance (sum of squares 1)."""
    if size_px < _LEAST_SIZE:
        return np.ones(1)
    reach = math.ceil(3.5 * size_px)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / size_px) ** 2)
    weights = weights[weights > 1e-4]
    return np.asarray(weights / np.sqrt((weights**2).sum()), np.float64)


def _squares(picture: FloatArray, usable: NDArray[np.bool_], side: int) -> FloatArray:
    """(N, 3, side, side) squares spread over the region that lie wholly in it."""
    height, width = usable.shape
    if height < side or width < side:
        return np.empty((0, 3, side, side), np.float32)
    step = max(round(math.sqrt(np.count_nonzero(usable) / _ENOUGH_SQUARES)), side // 2)
    whole = sliding_window_view(usable, (side, side))[::step, ::step].all(axis=(2, 3))
    return np.ascontiguousarray(sliding_window_view(picture, (side, side), axis=(0, 1))[::step, ::step][whole])


def _judge(squares: FloatArray) -> Grain:
    side = squares.shape[-1]
    theory = _theory(side)
    levels = squares.mean(axis=(2, 3))  # (N, 3)
    residuals = squares - levels[..., None, None]
    flat = residuals.reshape(-1, side * side)
    flat -= (flat @ theory.smooth) @ theory.smooth.T
    variances = np.square(residuals).mean(axis=(2, 3))  # (N, 3)
    across = np.square(np.diff(residuals, axis=3)).mean(axis=(2, 3))
    differences = 0.25 * (across + np.square(np.diff(residuals, axis=2)).mean(axis=(2, 3)))
    tables = [_Table.of(levels[:, channel], variances[:, channel]) for channel in range(3)]
    expected = np.stack([table.calm_at(levels[:, channel]) for channel, table in enumerate(tables)], axis=1)
    relative = variances / expected
    sizes = np.array(
        [theory.size_of(_calm(differences[:, c] / expected[:, c]), _calm(relative[:, c])) for c in range(3)]
    )
    sigmas = np.stack([_sigmas(table, theory, float(size)) for table, size in zip(tables, sizes, strict=True)])
    # All squares that may be pure grain: to pick the very calmest would favour those whose channels disagree.
    usual = np.array([theory.quantile(s, -_CALM[1]) / theory.quantile(s, _CALM[1]) for s in sizes.tolist()])
    is_calm = (relative <= usual).all(axis=1)
    return Grain(
        levels=np.stack([table.levels for table in tables]),
        sigmas=sigmas,
        sizes_px=sizes,
        correlation=_channel_correlation(residuals / np.sqrt(expected)[..., None, None], is_calm),
    )


def _calm(values: Values | FloatArray) -> float:
    return float(np.quantile(values, _CALM[0]))


def _channel_correlation(residuals: FloatArray, is_calm: NDArray[np.bool_]) -> Values:
    """(3, 3) from the calm ones of squares (N, 3, S, S) of comparable strength."""
    flat = residuals[is_calm].transpose(1, 0, 2, 3).reshape(3, -1)
    products = (flat @ flat.T).astype(np.float64)
    scale = np.sqrt(np.maximum(np.diagonal(products), 1e-20))
    return np.asarray(np.where(np.eye(3) > 0.0, 1.0, products / np.outer(scale, scale)), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """One channel's squares by their light, in K parts of equal number.

    Attributes:
        levels: (K,) middle of the light, rising. calm, middle: (K,) the squares' variance at those quantiles.
    """

    levels: Values
    calm: Values
    middle: Values

    @classmethod
    def of(cls, levels: FloatArray, variances: FloatArray) -> _Table:
        order = np.argsort(levels, kind="stable")
        parts = np.array_split(order, min(max(len(order) // _SQUARES_PER_LEVEL, 1), _MAX_LEVELS))
        least = max(float(np.median(np.abs(levels))) * 1e-3, 1e-12)
        rows = []
        for part in parts:
            light = float(np.median(levels[part]))
            # Compared per light, so that a part that spans much of it is not judged by its darkest squares alone.
            ratios = np.quantile(variances[part] / np.maximum(levels[part], least), (_CALM[0], _MIDDLE[0]))
            rows.append((light, *(ratios * max(light, least))))
        table = np.array(rows, np.float64)
        return cls(table[:, 0], table[:, 1], table[:, 2])

    def calm_at(self, levels: FloatArray) -> Values:
        """Calm variance at any light; a tiny value where there is none."""
        return np.maximum(np.interp(levels, self.levels, self.calm), 1e-20)


def _sigmas(table: _Table, theory: _Theory, size: float) -> Values:
    """(K,) deviations of the grain at a table's levels.

    Light that only structures have, a lamp or a beard, shows no calm square. It is told by its squares, which differ
    more from each other than equal grain can, and is given no more grain than light that can be trusted has.
    """
    calm_share, middle_share = theory.quantile(size, _CALM[1]), theory.quantile(size, _MIDDLE[1])
    sigmas = np.sqrt(table.calm / calm_share)
    roughness = (table.middle + 1e-20) * calm_share / ((table.calm + 1e-20) * middle_share)
    least, most = np.log(_DOUBT)
    trust = np.clip((most - np.log(roughness)) / (most - least), 0.0, 1.0)
    light = np.log(np.maximum(table.levels, 1e-12))
    weights = (trust + 1e-3) / (_NEAR_LIGHT + np.abs(np.subtract.outer(light, light)))
    trusted = (weights @ (sigmas * np.exp(-0.5 * light))) / weights.sum(axis=1) * np.exp(0.5 * light)
    sigmas = trust * sigmas + (1.0 - trust) * np.minimum(sigmas, trusted)
    return np.asarray(np.where(sigmas <= LEAST_SIGMA * np.abs(table.levels), 0.0, sigmas), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Theory:
    """What squares of pure grain look like once freed of their smooth part, for every size of grain.

    Attributes:
        smooth: (S * S, 9) orthonormal basis of a square's smooth part.
        sizes: (M,). kept: (M,) share of the variance that is left. freedom: (M,) degrees of freedom of a square's
            variance. ratio: (M,) calm quantile of half the neighbours' squared differences over that of the variance.
    """

    smooth: FloatArray
    sizes: Values
    kept: Values
    freedom: Values
    ratio: Values

    def size_of(self, differences: float, variance: float) -> float:
        """The size, pixels, of grain with these calm quantiles."""
        if variance <= 0.0:
            return 0.0
        return float(np.interp(-differences / variance, -self.ratio, self.sizes))

    def quantile(self, size: float, normal: float) -> float:
        """Quantile of the squares' variances, over the grain's true variance."""
        return float(np.interp(size, self.sizes, self.kept * _chi_squared(self.freedom, normal)))


@functools.lru_cache(maxsize=2)
def _theory(side: int) -> _Theory:
    positions = np.linspace(-1.0, 1.0, side)
    basis, _ = np.linalg.qr(np.stack([positions**power for power in range(_DEGREE + 1)], axis=1))
    sizes = np.arange(0.0, MAX_SIZE_PX + _SIZE_STEP / 2.0, _SIZE_STEP)
    rows = [_moments(basis @ basis.T, _correlation(float(size), side)) for size in sizes]
    kept, freedom, differences, differences_freedom = (np.array(column) for column in zip(*rows, strict=True))
    ratio = differences * _chi_squared(differences_freedom, _CALM[1]) / (kept * _chi_squared(freedom, _CALM[1]))
    smooth = np.kron(basis, basis).astype(np.float32)
    return _Theory(smooth, sizes, kept, freedom, np.minimum.accumulate(ratio))


def _chi_squared(freedom: Values, normal: float) -> Values:
    """Quantile of a chi-squared variable over its mean (Wilson & Hilferty 1931)."""
    narrow = 2.0 / (9.0 * freedom)
    return np.asarray((1.0 - narrow + normal * np.sqrt(narrow)) ** 3, np.float64)


def _moments(q: Values, c: Values) -> tuple[float, float, float, float]:
    """Of squares of grain with the correlation ``c`` (S, S) along each axis, freed of what ``q`` projects onto.

    With C = c x c and Q = q x q (Kronecker products) the residuals' covariance is R = (1 - Q) C (1 - Q); a mean of
    squares r'Ar has the mean tr(AR) and the variance 2 tr(ARAR), which come apart into traces of one axis.

    Returns:
        Mean and degrees of freedom of the mean square, then of half the mean squared difference of neighbours.
    """
    side = len(c)
    unit, steps = np.eye(side), np.diff(np.eye(side), axis=0)
    between = steps.T @ steps
    parts = ((1.0, c), (-1.0, q @ c), (-1.0, c @ q), (1.0, q @ c @ q))
    forms = (((unit, unit),), ((between, unit), (unit, between)))
    weights = (1.0 / side**2, 0.25 / (side * (side - 1)))
    result = []
    for form, weight in zip(forms, weights, strict=True):
        terms = [(sign * weight, a @ part, b @ part) for a, b in form for sign, part in parts]
        mean = sum(sign * np.trace(a) * np.trace(b) for sign, a, b in terms)
        variance = 2.0 * sum(
            sign * other * (a * e.T).sum() * (b * f.T).sum() for sign, a, b in terms for other, e, f in terms
        )
        result += [float(mean), float(2.0 * mean * mean / variance)]
    return result[0], result[1], result[2], result[3]


def _correlation(size_px: float, side: int) -> Values:
    """(S, S) correlation of grain along one axis."""
    kernel = _kernel(size_px)
    lags = np.zeros(side)
    full = np.correlate(kernel, kernel, mode="full")[len(kernel) - 1 :]
    lags[: min(side, len(full))] = full[:side]
    return np.asarray(lags[np.abs(np.subtract.outer(np.arange(side), np.arange(side)))], np.float64)
