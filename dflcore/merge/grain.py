"""The plate's grain: measured around the face, and put on the face in the same strength, size and colour.

Convention:
    Pictures are (h, w, 3) float32 in plate space, scene-linear in the plate's primaries, unpremultiplied, unbounded.
    Grain is taken to be Gaussian, independent from frame to frame, its deviation a function of the channel's own light;
    between measured levels, and beyond them, it goes with the root of the light, as photon noise does.

How it is measured: squares of the region, each freed of its smooth part (polynomials of second degree in x and y). In
every range of light the calm quarter of the squares counts, so that edges, hair and cloth do not. What freeing a
square of its smooth part takes from the grain too, how that depends on the grain's size, and by how much the calm
quarter of equal squares is calmer than their mean, follow from theory and are made good.

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
LEAST_SIGMA: Final = 3e-4
"""Deviation, as a share of the light, that counts as none: half floats round as coarsely."""
_SQUARES_PX: Final = (16, 8)
"""Sides of the squares grain is judged in; the smaller for faces too small for the larger."""
_MIN_SQUARES: Final = 12
_SQUARES_PER_LEVEL: Final = 40
_MAX_LEVELS: Final = 8
_CALM_SHARE: Final = 0.25
_CALM_NORMAL: Final = -0.6744898
"""The standard normal's quantile of :data:`_CALM_SHARE`."""
_LEVELS_TO_COMPARE: Final = 4
_UNTRUSTED_SHARE: Final = 0.3
_BOUND_SLACK: Final = 1.3
_DEGREE: Final = 2
_SIZE_STEP: Final = 0.05
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
    for side in _SQUARES_PX:
        squares = _squares(picture, usable, side)
        if len(squares) >= _MIN_SQUARES:
            return _judge(squares, side)
    return None


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
        sigma = np.sqrt(np.maximum(sigma * sigma - own.sigma_at(face) ** 2, np.float32(0.0)))
    sigma *= np.float32(0.01 * amount)
    if matte is not None:
        sigma *= _edge_gain(matte)[..., None]
    return np.asarray(face + sigma * _field(grain, face.shape[:2], seed), np.float32)


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
    if size_px < _SIZE_STEP:
        return np.ones(1)
    reach = math.ceil(3.5 * size_px)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / size_px) ** 2)
    weights = weights[weights > 1e-4]
    return np.asarray(weights / np.sqrt((weights**2).sum()), np.float64)


def _squares(picture: FloatArray, usable: NDArray[np.bool_], side: int) -> FloatArray:
    """(N, 3, side, side) squares that lie wholly in the region, half overlapping."""
    height, width = usable.shape
    if height < side or width < side:
        return np.empty((0, 3, side, side), np.float32)
    step = side // 2
    whole = sliding_window_view(usable, (side, side))[::step, ::step].all(axis=(2, 3))
    return np.ascontiguousarray(sliding_window_view(picture, (side, side), axis=(0, 1))[::step, ::step][whole])


def _judge(squares: FloatArray, side: int) -> Grain:
    theory = _theory(side)
    levels = squares.mean(axis=(2, 3))  # (N, 3)
    residuals = squares - levels[..., None, None]
    flat = residuals.reshape(-1, side * side)
    flat -= (flat @ theory.smooth) @ theory.smooth.T
    variances = np.square(residuals).mean(axis=(2, 3), dtype=np.float64)  # (N, 3)
    tables = [_by_level(levels[:, channel], variances[:, channel]) for channel in range(3)]
    calm_levels = np.stack([light for light, _ in tables])
    calm_variances = np.stack([_bounded(light, calm) for light, calm in tables])
    calm = _calm_squares(levels, variances, calm_levels, calm_variances)
    sizes = np.array([theory.size_of(residuals[calm, channel]) for channel in range(3)])
    sigmas = np.sqrt(calm_variances / theory.calm_share(sizes)[:, None])
    sigmas[sigmas <= LEAST_SIGMA * np.abs(calm_levels)] = 0.0
    calm_residuals = residuals[calm].reshape(len(calm), 3, side * side)
    scale = np.sqrt(np.maximum(variances[calm], 1e-30))
    shares = calm_residuals @ calm_residuals.transpose(0, 2, 1) / (side * side)
    correlation = (shares / (scale[:, :, None] * scale[:, None, :])).mean(axis=0)
    np.fill_diagonal(correlation, 1.0)
    return Grain(levels=calm_levels, sigmas=sigmas, sizes_px=sizes, correlation=correlation)


def _by_level(levels: FloatArray, variances: Values) -> tuple[Values, Values]:
    """Light (K,) and the calm quarter's variance there (K,); the squares in K parts of equal number by their light."""
    order = np.argsort(levels, kind="stable")
    parts = np.array_split(order, min(max(len(order) // _SQUARES_PER_LEVEL, 1), _MAX_LEVELS))
    middle = np.array([np.median(levels[part]) for part in parts], np.float64)
    least = max(float(np.median(np.abs(levels))) * 1e-3, 1e-12)
    calm = [
        # Compared per light, so that a part that spans much of it is not judged by its darkest squares alone.
        np.quantile(variances[part] / np.maximum(levels[part], least), _CALM_SHARE) * max(light, least)
        for part, light in zip(parts, middle, strict=True)
    ]
    return middle, np.asarray(calm, np.float64)


def _bounded(levels: Values, variances: Values) -> Values:
    """Variances no level has alone: light that only structures have (a lamp, a beard) is as grainy as the rest allows.

    Grain gets stronger with light, but never faster than the light itself (read noise, photons and gain all obey);
    so every level bounds every other. A third of the bounds may be too low, by light that is cut off and has no grain.
    """
    if len(levels) < _LEVELS_TO_COMPARE:
        return variances
    ratio = np.maximum(levels[:, None], 1e-12) / np.maximum(levels[None, :], 1e-12)
    bounds = variances[None, :] * np.maximum(ratio, 1.0) ** 2
    bounds[np.eye(len(levels), dtype=bool)] = np.inf
    trusted = np.sort(bounds, axis=1)[:, math.ceil(_UNTRUSTED_SHARE * (len(levels) - 1))]
    return np.asarray(np.minimum(variances, _BOUND_SLACK * trusted), np.float64)


def _calm_squares(
    levels: FloatArray, variances: Values, calm_levels: Values, calm_variances: Values
) -> NDArray[np.intp]:
    """The half of the squares that is least rough for its light in all channels together."""
    expected = np.stack(
        [np.interp(levels[:, channel], calm_levels[channel], calm_variances[channel]) for channel in range(3)], axis=1
    )
    roughness = (variances / np.maximum(expected, 1e-30)).sum(axis=1)
    return np.argsort(roughness, kind="stable")[: max(len(roughness) // 2, 1)]


@dataclass(frozen=True, slots=True, eq=False)
class _Theory:
    """What squares of pure grain look like once freed of their smooth part, for every size of grain.

    Attributes:
        smooth: (S * S, 9) orthonormal basis of a square's smooth part.
        sizes: (M,). kept: (M,) share of the variance that is left. neighbours: (M,) covariance of neighbouring
            pixels over the variance. freedom: (M,) degrees of freedom of a square's variance.
    """

    smooth: FloatArray
    sizes: Values
    kept: Values
    neighbours: Values
    freedom: Values

    def size_of(self, residuals: FloatArray) -> float:
        """The size, pixels, of grain from squares (N, S, S)."""
        power = float(np.square(residuals, dtype=np.float64).mean())
        if power <= 0.0:
            return 0.0
        across = float((residuals[..., :-1] * residuals[..., 1:]).mean(dtype=np.float64))
        down = float((residuals[..., :-1, :] * residuals[..., 1:, :]).mean(dtype=np.float64))
        return float(np.interp((across + down) / (2.0 * power), self.neighbours, self.sizes))

    def calm_share(self, sizes: Values) -> Values:
        """What the calm quantile of the squares' variances is, over the grain's true variance, for every size.

        Source: Wilson & Hilferty 1931 for the quantile of the chi-squared distribution.
        """
        kept = np.interp(sizes, self.sizes, self.kept)
        narrow = 2.0 / (9.0 * np.interp(sizes, self.sizes, self.freedom))
        return np.asarray(kept * (1.0 - narrow + _CALM_NORMAL * np.sqrt(narrow)) ** 3, np.float64)


@functools.lru_cache(maxsize=len(_SQUARES_PX))
def _theory(side: int) -> _Theory:
    positions = np.linspace(-1.0, 1.0, side)
    basis, _ = np.linalg.qr(np.stack([positions**power for power in range(_DEGREE + 1)], axis=1))
    q = basis @ basis.T
    sizes = np.arange(0.0, MAX_SIZE_PX + _SIZE_STEP / 2.0, _SIZE_STEP)
    rows = [_moments(q, _correlation(float(size), side)) for size in sizes]
    kept, neighbours, freedom = (np.array(column) for column in zip(*rows, strict=True))
    return _Theory(np.kron(basis, basis).astype(np.float32), sizes, kept, np.maximum.accumulate(neighbours), freedom)


def _moments(q: Values, c: Values) -> tuple[float, float, float]:
    """Of residuals of grain with the correlation ``c`` (S, S) along each axis, freed of what ``q`` projects onto.

    With C = c x c, Q = q x q (Kronecker) the residuals' covariance is R = (1 - Q) C (1 - Q).

    Returns:
        Mean variance, neighbours' covariance over it, degrees of freedom of the mean square.
    """
    side = len(c)
    qc, qcq = q @ c, q @ c @ q
    variance = (np.trace(c) ** 2 - np.trace(qc) ** 2) / side**2
    parts = ((1.0, c), (-1.0, qc), (-1.0, qc.T), (1.0, qcq))
    beside = sum(sign * np.trace(part, offset=1) * np.trace(part) for sign, part in parts)
    squared = np.trace(c @ c) ** 2 - 2.0 * np.trace(qc @ c) ** 2 + np.trace(qc @ qc) ** 2
    freedom = variance**2 * side**4 / squared
    return float(variance), float(beside / (side * (side - 1)) / variance), float(freedom)


def _correlation(size_px: float, side: int) -> Values:
    """(S, S) correlation of grain along one axis."""
    kernel = _kernel(size_px)
    lags = np.zeros(side)
    full = np.correlate(kernel, kernel, mode="full")[len(kernel) - 1 :]
    lags[: min(side, len(full))] = full[:side]
    return np.asarray(lags[np.abs(np.subtract.outer(np.arange(side), np.arange(side)))], np.float64)
