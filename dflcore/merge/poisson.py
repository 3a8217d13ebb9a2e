"""The smoothest correction over a region that meets the values around it: Laplace's equation on any outline, in float.

Convention:
    Pictures are (C, H, W), channels have nothing to do with each other; a region is (H, W) bool. A pixel of the region
    is the mean of its four neighbours, those next to the region are given. Beyond the picture's edge, and where nothing
    is known, there is no neighbour and nothing pulls (Neumann's condition), so a region may touch the frame's edge.

Source:
    Pérez, Gangnet, Blake, "Poisson Image Editing", SIGGRAPH 2003, eq. 4, for what is solved, in the form of Farbman et
    al., "Coordinates for Instant Image Cloning", SIGGRAPH 2009, section 2 (a membrane instead of the picture). How it
    is solved: conjugate gradients with a multigrid cycle before them (Tatebe, "The multigrid preconditioned conjugate
    gradient method", 1993), on Galerkin's coarse grids of bilinear functions cut off at the outline, beginning with
    what the coarse grids find (Trottenberg, Oosterlee, Schüller, "Multigrid", 2001).
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE: Final = 1e-4
"""Of the error, relative to the span of what is given around the region."""
MAX_CYCLES: Final = 60
"""A stop for what should not be; outlines of every kind need far fewer."""
_DAMPING: Final = 0.8
"""Of Jacobi's step: what takes away most of the waves that the next grid cannot see."""
_CONTRACTION: Final = 0.9
"""What a cycle leaves of an error, at most: about a third on outlines, more only on sieves of random holes."""
_GUESS_STEPS: Final = 2
"""Of Jacobi's on each grid, for the first guess: about one cycle's worth, for half its cost."""
_COARSEST_SIDE: Final = 12
"""Grids this small are solved outright."""
_GROUND: Final = 1e-5
"""Added to the coarsest grid's diagonal, relatively: its functions may be the same on the few pixels they share."""
_NOTHING: Final = 1e-6
"""Diagonals below this share of what they were summed from are rounding: no pixel is there."""


def solve_membrane(
    region: Tensor, border: Tensor, *, trust: Tensor | None = None, tolerance: float = TOLERANCE
) -> Tensor:
    """The membrane over a region that is fixed at the pixels next to it.

    It lies between the smallest and the largest value given (but for the tolerance), follows them when they are scaled
    or shifted, and is the same wherever in the picture all of it lies.

    Args:
        region: (H, W) bool, where to solve.
        border: (C, H, W) float32 or float64, on the region's device; read next to the region only. Pixels that are not
            finite in some channel are not known in any.
        trust: (H, W) in [0, 1], how strongly a pixel next to the region pulls; None is 1, 0 is not known. It counts
            relative to the most trusted pixel around the same separate part of the region.
        tolerance: largest error, relative to the span of the given values, as the solver's own last correction tells
            it; never finer than the dtype can tell. Where little is trusted the error may be a few times that.

    Returns:
        (C, H, W), 0 outside the region. Separate parts that nothing given touches take the mean of what is given
        elsewhere; 0 where nothing is given at all.
    """
    solved = torch.zeros_like(border)
    box = tight_box(region)
    if box is None:
        return solved
    with torch.inference_mode():
        inside, near = region[box], border[:, *box]
        is_next = find_rim(inside)
        known = ((near * 0.0).sum(dim=0) == 0.0) & is_next  # what is not finite is not 0 when multiplied by it
        trusted = known.to(near.dtype) if trust is None else torch.where(known, trust[box].to(near.dtype), 0.0)
        is_all_trusted = bool((trusted[is_next] == 1.0).all())
        solved[:, *box] = _solve(inside, torch.where(known, near, 0.0), trusted, is_all_trusted, tolerance)
    return solved


def tight_box(region: Tensor) -> tuple[slice, slice] | None:
    """Rows and columns of a region (H, W) and of the pixels next to it; None for an empty one."""
    height, width = region.shape
    rows, columns = region.any(dim=1).nonzero()[:, 0], region.any(dim=0).nonzero()[:, 0]
    if not len(rows):
        return None
    top, bottom, left, right = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    return slice(max(0, top - 1), min(height, bottom + 2)), slice(max(0, left - 1), min(width, right + 2))


def find_rim(region: Tensor) -> Tensor:
    """(H, W) bool: the pixels outside a region that are above, below, left or right of one inside."""
    near = torch.zeros_like(region)
    near[1:] |= region[:-1]
    near[:-1] |= region[1:]
    near[:, 1:] |= region[:, :-1]
    near[:, :-1] |= region[:, 1:]
    return near & ~region


def _solve(inside: Tensor, border: Tensor, trust: Tensor, is_all_trusted: bool, tolerance: float) -> Tensor:
    """The membrane in a tight box; ``trust`` is 0 but on the rim, ``border`` is 0 where trust is."""
    rim = trust.flatten().nonzero()[:, 0]
    if not len(rim):
        return torch.zeros_like(border)
    given = border.flatten(1)[:, rim]
    middle = given.mean(dim=1, keepdim=True)
    given = given - middle
    number = torch.finfo(given.dtype)
    size = torch.maximum(given.abs().amax(dim=1, keepdim=True), number.eps * middle.abs()).clamp_min(number.tiny)
    given = given / size  # squares of very large and very small values fit no float
    pull = _sum_of_neighbours(trust) * inside
    asked = _sum_of_neighbours((border - middle[..., None]) * trust / size[..., None]) * inside
    reached = inside
    if not is_all_trusted:
        strongest = _strongest(inside, pull)
        reached = strongest > 0.0
        strengthen = torch.where(reached, 1.0 / strongest.clamp(number.tiny, 1.0), 0.0)
        pull, asked = pull * strengthen, asked * strengthen
    goal = (tolerance * (given.amax(dim=1) - given.amin(dim=1))).clamp_min(8.0 * number.eps)
    deviation = _iterate(_Multigrid.over(reached, pull), asked, goal)
    return (deviation * reached * size[..., None] + middle[..., None]) * inside


def _iterate(multigrid: _Multigrid, asked: Tensor, goal: Tensor) -> Tensor:
    """Conjugate gradients until what remains is nowhere larger than ``goal``, (C,)."""
    pixels = multigrid.grids[0]
    tiny = torch.finfo(asked.dtype).tiny
    x = multigrid.first_guess(asked)
    residual = pixels.residual(asked, x)
    is_pixel = (pixels.step > 0.0).to(asked.dtype)  # beyond the outline, cycles leave what interpolation makes of it
    direction = before = torch.empty(0)
    for number in range(MAX_CYCLES):
        correction = multigrid.cycle(residual)
        left = _CONTRACTION * (correction * is_pixel).abs().amax(dim=(1, 2))
        if bool((left <= goal).all()):
            return x + correction
        product = _dot(residual, correction)
        direction = correction if number == 0 else correction.addcmul_(direction, product / before)
        before = product.clamp_min(tiny)
        pushed = pixels.apply(direction)
        step = product / _dot(direction, pushed).clamp_min(tiny)
        x.addcmul_(direction, step)
        residual.addcmul_(pushed, step, value=-1.0)
    return x


_Slices = tuple[slice, slice]
_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
_ENDS: Final[tuple[tuple[_Slices, _Slices, _Slices], ...]] = (
    ((_ALL, _FIRST), (_ALL, _FIRST), (_ALL, _LAST)),
    ((_FIRST, _ALL), (_FIRST, _ALL), (_LAST, _ALL)),
    ((_FIRST, _FIRST), (_FIRST, _FIRST), (_LAST, _LAST)),
    ((_FIRST, _FIRST), (_FIRST, _LAST), (_LAST, _FIRST)),
)
"""Of each kind of link: where its strengths are kept, and its two ends."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Points linked to their neighbours: ``apply`` tells how hard the links pull at each point.

    Attributes:
        links: (K, h, w) strength of the links from a point to the one on its right, below and, on coarse grids, below
            on the right; the fourth is from the one on its right to the one below it. Some are negative.
        pull: (h, w) strength of the links to given values.
        diagonal: (h, w) sum of a point's links. step: Jacobi's step, 0 where no point is.
        pairs: the links by kind, each with slices that select its two ends.
    """

    links: Tensor
    pull: Tensor
    diagonal: Tensor
    step: Tensor
    pairs: tuple[tuple[Tensor, _Slices, _Slices], ...]

    @classmethod
    def linked(cls, links: Tensor, pull: Tensor) -> _Grid:
        pairs = tuple((one[where], here, there) for one, (where, here, there) in zip(links, _ENDS, strict=False))
        diagonal, size = pull.clone(), pull.abs()
        for strength, here, there in pairs:
            diagonal[here] += strength
            diagonal[there] += strength
            size[here] += strength.abs()
            size[there] += strength.abs()
        is_point = diagonal > _NOTHING * size
        step = torch.where(is_point, _DAMPING / torch.where(is_point, diagonal, 1.0), 0.0)
        return cls(links, pull, diagonal, step, pairs)

    @classmethod
    def of_pixels(cls, inside: Tensor, pull: Tensor) -> _Grid:
        links = pull.new_zeros((2, *pull.shape))
        links[0, :, :-1] = inside[:, :-1] & inside[:, 1:]
        links[1, :-1] = inside[:-1] & inside[1:]
        return cls.linked(links, pull)

    def apply(self, x: Tensor) -> Tensor:
        """(C, h, w) → the same."""
        return self._add_neighbours(self.diagonal * x, x, -1.0)

    def residual(self, asked: Tensor, x: Tensor) -> Tensor:
        """``asked`` less what :meth:`apply` makes of ``x``."""
        return self._add_neighbours(torch.addcmul(asked, self.diagonal, x, value=-1.0), x, 1.0)

    def _add_neighbours(self, y: Tensor, x: Tensor, sign: float) -> Tensor:
        for strength, here, there in self.pairs:
            y[:, *here].addcmul_(strength, x[:, *there], value=sign)
            y[:, *there].addcmul_(strength, x[:, *here], value=sign)
        return y

    def coarser(self) -> _Grid:
        """Every other point, with the links that make the energy of what is interpolated between them the same."""
        height, width = (side // 2 + 1 for side in self.pull.shape)
        stack = torch.cat([self.pull[None], self.links])
        stack = F.pad(stack, (0, 2 * width - stack.shape[2], 0, 2 * height - stack.shape[1]))
        cells = _coarsening()[:, : 4 * len(stack)].to(stack) @ F.pixel_unshuffle(stack, 2).flatten(1)
        top, left, down_right, down_left, right, bottom, *pulls = cells.view(-1, height, width)
        top[1:] += bottom[:-1]
        left[:, 1:] += right[:, :-1]
        pull = pulls[0]
        pull[:, 1:] += pulls[1][:, :-1]
        pull[1:] += pulls[2][:-1]
        pull[1:, 1:] += pulls[3][:-1, :-1]
        return _Grid.linked(torch.stack([top, left, down_right, down_left]), pull)


@dataclass(frozen=True, slots=True)
class _Multigrid:
    """Grids from fine to coarse; ``inverse`` is that of the coarsest one's matrix, (h * w, h * w)."""

    grids: tuple[_Grid, ...]
    inverse: Tensor

    @classmethod
    def over(cls, inside: Tensor, pull: Tensor) -> _Multigrid:
        grids = [_Grid.of_pixels(inside, pull)]
        while max(grids[-1].pull.shape) > _COARSEST_SIDE:
            grids.append(grids[-1].coarser())
        last = grids[-1]
        count = last.pull.numel()
        columns = torch.eye(count, dtype=pull.dtype, device=pull.device).view(count, *last.pull.shape)
        matrix = last.apply(columns).flatten(1).double()
        diagonal = matrix.diagonal()
        diagonal += torch.where(last.step.flatten() > 0, _GROUND * diagonal, 1.0)
        return cls(tuple(grids), torch.linalg.inv(matrix).to(pull.dtype))

    def first_guess(self, asked: Tensor) -> Tensor:
        """Solved on the coarsest grid, then carried to finer ones and smoothed there."""
        rights = [asked]
        for _ in self.grids[1:]:
            rights.append(_restricted(rights[-1]))
        x = self._solved_outright(rights.pop())
        for grid, right in zip(reversed(self.grids[:-1]), reversed(rights), strict=True):
            x = _add_interpolated(torch.zeros_like(right), x)
            for _ in range(_GUESS_STEPS):
                x.addcmul_(grid.step, grid.residual(right, x))
        return x

    def cycle(self, asked: Tensor, depth: int = 0) -> Tensor:
        """A rough solution, found in one symmetric cycle from a grid to the coarsest one and back."""
        if depth == len(self.grids) - 1:
            return self._solved_outright(asked)
        grid = self.grids[depth]
        x = grid.step * asked
        x = _add_interpolated(x, self.cycle(_restricted(grid.residual(asked, x)), depth + 1))
        return x.addcmul_(grid.step, grid.residual(asked, x))

    def _solved_outright(self, asked: Tensor) -> Tensor:
        return (asked.flatten(1) @ self.inverse).view_as(asked)


@functools.cache
def _coarsening() -> Tensor:
    """(10, 20): pulls and links of 2 x 2 points → links and pulls of the corners of the coarse cell that they are in.

    A link of strength w between points that are interpolated from the corners U by a and b has the energy
    w ((a - b) U)², which is that of links between the corners of strengths -w (a - b)_i (a - b)_j; a pull's w (a U)² is
    that of such links and of pulls w a_i, as the weights a add up to 1.
    """
    weights = {
        (row, column): np.outer((1 - row / 2, row / 2), (1 - column / 2, column / 2)).ravel()
        for row in range(3)
        for column in range(3)
    }
    pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    matrix = np.zeros((10, 5, 2, 2))
    for row, column in itertools.product(range(2), range(2)):
        here, right, below, slanting = (row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)
        own = weights[here]
        matrix[:6, 0, row, column] = [-own[i] * own[j] for i, j in pairs]
        matrix[6:, 0, row, column] = own
        for kind, (one, other) in enumerate(((here, right), (here, below), (here, slanting), (right, below)), start=1):
            apart = weights[one] - weights[other]
            matrix[:6, kind, row, column] = [-apart[i] * apart[j] for i, j in pairs]
    return torch.from_numpy(matrix.reshape(10, 20))


def _add_interpolated(x: Tensor, coarse: Tensor) -> Tensor:
    """(C, H, W) with what lies between every other point's values, (C, H // 2 + 1, W // 2 + 1), added in place."""
    height, width = x.shape[1:]
    rows = coarse.new_empty((*coarse.shape[:2], 2 * coarse.shape[2]))
    rows[:, :, 0::2] = coarse
    rows[:, :, 1:-1:2] = torch.lerp(coarse[:, :, :-1], coarse[:, :, 1:], 0.5)
    rows = rows[:, :, :width]
    x[:, 0::2] += rows[:, : (height + 1) // 2]
    x[:, 1::2] += torch.lerp(rows[:, :-1], rows[:, 1:], 0.5)[:, : height // 2]
    return x


def _restricted(x: Tensor) -> Tensor:
    """The transpose of :func:`_add_interpolated`."""
    height, width = x.shape[1:]
    odd = x[:, 1::2]
    rows = x.new_zeros((len(x), height // 2 + 1, width))
    rows[:, : (height + 1) // 2] = x[:, 0::2]
    rows[:, : odd.shape[1]].add_(odd, alpha=0.5)
    rows[:, 1 : odd.shape[1] + 1].add_(odd, alpha=0.5)
    odd = rows[:, :, 1::2]
    result = x.new_zeros((*rows.shape[:2], width // 2 + 1))
    result[:, :, : (width + 1) // 2] = rows[:, :, 0::2]
    result[:, :, : odd.shape[2]].add_(odd, alpha=0.5)
    result[:, :, 1 : odd.shape[2] + 1].add_(odd, alpha=0.5)
    return result


def _strongest(inside: Tensor, pull: Tensor) -> Tensor:
    """(H, W): the strongest pull at any pixel of the same separate part of the region; 0 outside."""
    count, labels = cv2.connectedComponents(inside.cpu().numpy().astype(np.uint8), connectivity=4)
    pulls = pull.cpu().numpy()
    is_pulled = pulls > 0.0
    strongest = np.zeros(count, pulls.dtype)
    np.maximum.at(strongest, np.asarray(labels[is_pulled], np.intp), pulls[is_pulled])
    return torch.from_numpy(strongest[labels]).to(pull.device)


def _sum_of_neighbours(x: Tensor) -> Tensor:
    """(..., H, W) → the same: above, below, left and right, 0 beyond the edge."""
    total = torch.zeros_like(x)
    total[..., 1:, :] += x[..., :-1, :]
    total[..., :-1, :] += x[..., 1:, :]
    total[..., 1:] += x[..., :-1]
    total[..., :-1] += x[..., 1:]
    return total


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(C, 1, 1)."""
    return (a * b).sum(dim=(1, 2), keepdim=True)
