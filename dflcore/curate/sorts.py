"""Orders of a faceset by name. A sort never moves or renames anything: it says an order and what it would drop."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate import chains
from dflcore.curate.best import DEFAULT_TARGET, choose_best
from dflcore.curate.chains import Stepped
from dflcore.curate.duplicates import group_duplicates
from dflcore.curate.expression import STEPS
from dflcore.curate.table import FaceTable
from dflcore.errors import InvalidInput, NotFound
from dflcore.progress import LoggedRun, RunControl
from dflcore.types import FloatArray

POSE_STEP_DEG: Final = 10.0
"""A turn of the head that counts as much as one step of expression."""
DAMAGED: Final = "its picture cannot be read"
NO_SHARP_EDGE: Final = "no sharp edge in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class SortOptions:
    """What some sorts ask for; each takes what concerns it.

    Attributes:
        target_count: faces that ``best`` and ``best-fast`` pick, and that ``expression`` spreads exactly.
        dissimilar: ``absdiff`` walks to the most different picture instead of the most similar.
        reference: descriptor that ``identity`` measures distance to; None takes the set's own median.
        reference_face: name of a face whose descriptor is the reference.
    """

    target_count: int = DEFAULT_TARGET
    dissimilar: bool = False
    reference: FloatArray | None = None
    reference_face: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SortResult:
    """An order, ready to be saved as a view.

    Attributes:
        by: name of the sort.
        order: names of the faces kept.
        values: by name, what the order was made by; empty for orders that walk from face to face.
        unit: of the values.
        rejected: name → why it should go; nothing has been moved.
        groups: names that belong together, the one that stands for them first (near-duplicate).
    """

    by: str
    order: tuple[str, ...]
    values: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    rejected: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Row numbers instead of names."""

    rows: NDArray[np.int64]
    values: NDArray[np.float64] | None = None
    rejected: Mapping[int, str] = field(default_factory=dict)
    groups: tuple[tuple[int, ...], ...] = ()


_Rank = Callable[[FaceTable, SortOptions, Stepped], _Ranked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One entry of the list of sorts.

    Attributes:
        name: as the user writes it.
        title, help: as a menu shows it.
        needs_pixels: the faceset must have been measured.
        unit: of the values.
    """

    name: str
    title: str
    help: str
    needs_pixels: bool
    rank: _Rank
    unit: str = ""


def sort_faces(
    table: FaceTable,
    by: str,
    *,
    reverse: bool = False,
    options: SortOptions | None = None,
    control: RunControl | None = None,
) -> SortResult:
    """Order the faces of a table.

    Faces with equal values keep the table's order; faces whose value is unknown come last either way.

    Args:
        by: a name of :data:`SORTS`, or one of :data:`ALIASES`.
        reverse: the order of the kept faces turned round; who is kept stays the same.

    Raises:
        NotFound: there is no such sort, or no such reference face.
        InvalidInput: the faceset is not measured, or an option does not fit.
        DataCorrupt: the stored measures are damaged.
        Cancelled: ``control`` asked to stop.
    """
    sort = find_sort(by)
    if sort.needs_pixels:
        table.require_measured(sort.name)
    stepped = chains.report_to(control or LoggedRun(), len(table))
    ranked = sort.rank(table, options or SortOptions(), stepped)
    rows, values = ranked.rows, ranked.values
    if reverse:
        rows = _turned(rows, values)
    names = table.names
    return SortResult(
        by=sort.name,
        order=tuple(names[row] for row in rows),
        values={} if values is None else {names[row]: float(values[row]) for row in rows},
        unit=sort.unit,
        rejected={names[row]: why for row, why in sorted(ranked.rejected.items())},
        groups=tuple(tuple(names[row] for row in group) for group in ranked.groups),
    )


def find_sort(name: str) -> Sort:
    """The sort of that name or alias. Raises NotFound with the nearest names."""
    plain = ALIASES.get(name, name)
    if plain not in SORTS:
        near = difflib.get_close_matches(name, [*SORTS, *ALIASES], n=3, cutoff=0.5) or list(SORTS)
        raise NotFound(
            f"There is no sort named {name!r}; did you mean {' or '.join(near)}?", reason="UNKNOWN_SORT", field="by"
        )
    return SORTS[plain]


def _turned(rows: NDArray[np.int64], values: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """The other way round, but equals stay as they are and unknown ones last."""
    if values is None:
        return rows[::-1]
    is_known = ~np.isnan(values[rows])
    known = rows[is_known]
    place = np.cumsum(np.diff(values[known], prepend=values[known[:1]]) != 0.0)
    return np.concatenate([known[np.argsort(-place, kind="stable")], rows[~is_known]])


def _by_value(values: NDArray[np.float64], *, ascending: bool = False) -> _Ranked:
    """Faces by a number, descending unless said otherwise; equals in table order, unknown ones last."""
    return _Ranked(rows=np.argsort(values if ascending else -values, kind="stable"), values=values)


def _measured(table: FaceTable, field_name: str) -> tuple[NDArray[np.float64], NDArray[np.int64], dict[int, str]]:
    """A measure, the rows that have it, and the rest as rejected."""
    values = table.metric(field_name)
    is_good = ~np.isnan(values)
    return values, np.flatnonzero(is_good), dict.fromkeys(np.flatnonzero(~is_good).tolist(), DAMAGED)


def _by_metric(field_name: str, *, ascending: bool = False, zero_is_rejected: bool = False) -> _Rank:
    def rank(table: FaceTable, _options: SortOptions, _stepped: Stepped) -> _Ranked:
        values, rows, rejected = _measured(table, field_name)
        if zero_is_rejected:
            rejected |= dict.fromkeys(np.flatnonzero(values == 0.0).tolist(), NO_SHARP_EDGE)
            rows = rows[values[rows] != 0.0]
        ordered = rows[np.argsort(values[rows] if ascending else -values[rows], kind="stable")]
        return _Ranked(rows=ordered, values=values, rejected=rejected)

    return rank


def _by_yaw(table: FaceTable, _options: SortOptions, _stepped: Stepped) -> _Ranked:
    return _by_value(np.degrees(table.column("yaw")))


def _by_pitch(table: FaceTable, _options: SortOptions, _stepped: Stepped) -> _Ranked:
    return _by_value(np.degrees(table.column("pitch")))


def _by_rect_size(table: FaceTable, _options: SortOptions, _stepped: Stepped) -> _Ranked:
    return _by_value(table.rect_size)


def _by_histogram(table: FaceTable, _options: SortOptions, stepped: Stepped) -> _Ranked:
    _, rows, rejected = _measured(table, "blur")

    def chain(chunk: NDArray[np.int64]) -> NDArray[np.int64]:
        return chunk[chains.histogram_chain(table.histograms("color", rows[chunk]), stepped)]

    return _Ranked(rows=rows[chains.in_chunks(len(rows), chain)], rejected=rejected)


def _by_histogram_dissimilarity(table: FaceTable, _options: SortOptions, stepped: Stepped) -> _Ranked:
    values, rows, rejected = _measured(table, "blur")
    sums = np.full(len(values), np.nan)
    sums[rows] = chains.histogram_dissimilarity(table.histograms("gray_masked", rows), stepped)
    return _Ranked(rows=rows[np.argsort(-sums[rows], kind="stable")], values=sums, rejected=rejected)


def _by_origin(table: FaceTable, _options: SortOptions, _stepped: Stepped) -> _Ranked:
    plate = np.unique(table.text("plate").astype(str), return_inverse=True)[1]
    return _Ranked(rows=np.lexsort((table.column("face_index"), table.column("frame"), plate)))


def _one_face(table: FaceTable, _options: SortOptions, _stepped: Stepped) -> _Ranked:
    frames = np.stack([table.column("plate_id"), table.column("frame")], axis=1)
    _, frame_of = np.unique(frames, axis=0, return_inverse=True)
    is_crowded = np.bincount(frame_of, weights=table.column("face_index") != 0.0) > 0
    drop = is_crowded[frame_of] if len(table) else np.zeros(0, dtype=np.bool_)
    rejected = dict.fromkeys(np.flatnonzero(drop).tolist(), "its frame shows more than one face")
    return _Ranked(rows=np.flatnonzero(~drop), rejected=rejected)


def _by_difference(table: FaceTable, options: SortOptions, stepped: Stepped) -> _Ranked:
    _, rows, rejected = _measured(table, "blur")

    def chain(chunk: NDArray[np.int64]) -> NDArray[np.int64]:
        thumbs = table.thumbs(rows[chunk])
        return chunk[chains.picture_chain(thumbs, stepped, farthest=options.dissimilar)]

    return _Ranked(rows=rows[chains.in_chunks(len(rows), chain)], rejected=rejected)


def _best(table: FaceTable, options: SortOptions, stepped: Stepped) -> _Ranked:
    return _best_by(table.metric("blur"), table, options, stepped)


def _best_fast(table: FaceTable, options: SortOptions, stepped: Stepped) -> _Ranked:
    return _best_by(table.rect_size, table, options, stepped)


def _best_by(quality: NDArray[np.float64], table: FaceTable, options: SortOptions, stepped: Stepped) -> _Ranked:
    _, rows, rejected = _measured(table, "blur")
    gray = table.histograms("gray", rows)
    yaw, pitch = table.column("yaw")[rows], table.column("pitch")[rows]
    best = choose_best(yaw, pitch, quality[rows], gray, options.target_count, stepped)
    rejected |= {int(rows[row]): why for row, why in best.rejected.items()}
    return _Ranked(rows=rows[best.chosen], values=quality, rejected=rejected)


def _by_identity(table: FaceTable, options: SortOptions, _stepped: Stepped) -> _Ranked:
    return _by_value(identity_distance(table, options), ascending=True)


def identity_distance(table: FaceTable, options: SortOptions | None = None) -> NDArray[np.float64]:
    """(n,) Euclidean distance of each face's descriptor to the reference's; NaN for faces without one.

    Raises:
        InvalidInput: no face has a descriptor, or the reference's is of another length.
        NotFound: there is no face of the reference's name.
    """
    options = options or SortOptions()
    identities = table.identities
    is_known = np.asarray(~np.isnan(identities).any(axis=1) & bool(identities.shape[1]), dtype=np.bool_)
    if not is_known.any():
        raise InvalidInput(
            f"No face of {table.path} has an identity descriptor; extract again with compute_identity on.",
            reason="NO_IDENTITY",
            path=table.path,
        )
    reference = _reference(table, options, is_known)
    if reference.shape != (identities.shape[1],):
        raise InvalidInput(
            f"The reference descriptor has {reference.size} numbers, those of the faceset {identities.shape[1]}: "
            "they come from different encoders.",
            reason="IDENTITY_DIFFERS",
            path=table.path,
        )
    apart = identities - reference
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", apart, apart, dtype=np.float64)))


def _reference(table: FaceTable, options: SortOptions, is_known: NDArray[np.bool_]) -> FloatArray:
    if options.reference is not None:
        return np.asarray(options.reference, dtype=np.float32)
    if options.reference_face is None:
        return np.asarray(np.median(np.ascontiguousarray(table.identities[is_known].T), axis=1), dtype=np.float32)
    if options.reference_face not in table.names:
        raise NotFound(f"{table.path} has no face {options.reference_face!r}.", reason="FACE_NOT_FOUND")
    row = table.names.index(options.reference_face)
    if not is_known[row]:
        raise InvalidInput(
            f"The face {options.reference_face!r} has no identity descriptor.", reason="NO_IDENTITY", path=table.path
        )
    return np.asarray(table.identities[row], dtype=np.float32)


def _by_expression(table: FaceTable, options: SortOptions, stepped: Stepped) -> _Ranked:
    pose = np.degrees(np.stack([table.column("yaw"), table.column("pitch")], axis=1)) / POSE_STEP_DEG
    features = np.concatenate([table.expressions / STEPS, pose], axis=1).astype(np.float32)
    order, distance = farthest_points(features, options.target_count, stepped)
    return _Ranked(rows=order, values=distance)


def farthest_points(
    features: FloatArray, exact_count: int, stepped: Stepped
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """An order whose beginning covers the whole: each next row is the one farthest from all before it.

    The first row is the one nearest to the median, the most ordinary. The first ``exact_count`` rows are exact, the
    rest follow by their distance to those; O(n · exact_count). Rows with NaN come last.

    Args:
        features: (n, d) float32.

    Returns:
        (n,) row numbers, and (n,) by row the distance to the nearest row before it (NaN for rows with NaN, and the
        distance to the median for the first).
    """
    count = len(features)
    is_known = np.asarray(~np.isnan(features).any(axis=1), dtype=np.bool_)
    value = np.full(count, np.nan)
    if not is_known.any():
        return np.arange(count), value
    columns = np.ascontiguousarray(features.T)  # (d, n)
    to_median = _squared_distances(columns, np.median(features[is_known], axis=0).astype(np.float32))
    row = int(np.nanargmin(to_median))
    value[row] = np.sqrt(to_median[row])
    nearest = np.where(is_known, np.float32(np.inf), np.float32(-1.0))
    order = [row]
    for place in range(1, min(exact_count, int(is_known.sum()))):
        np.minimum(nearest, _squared_distances(columns, features[row]), out=nearest, where=is_known)
        nearest[row] = -1.0
        row = int(np.argmax(nearest))
        value[row] = np.sqrt(nearest[row])
        order.append(row)
        if place % 500 == 0:
            stepped(500)
    np.minimum(nearest, _squared_distances(columns, features[row]), out=nearest, where=is_known)
    rest = np.setdiff1d(np.arange(count), np.array(order))
    value[rest] = np.where(is_known[rest], np.sqrt(np.maximum(nearest[rest], 0.0)), np.nan)
    return np.concatenate([order, rest[np.argsort(-value[rest], kind="stable")]]), value


def _squared_distances(columns: FloatArray, point: FloatArray) -> FloatArray:
    total = np.zeros(columns.shape[1], dtype=np.float32)
    for column, value in zip(columns, point, strict=True):
        apart = column - value
        apart *= apart
        total += apart
    return total


def _by_duplicates(table: FaceTable, _options: SortOptions, stepped: Stepped) -> _Ranked:
    _, rows, rejected = _measured(table, "blur")
    sharpest_first = np.argsort(-table.column("sharpness")[rows], kind="stable")
    expressions = table.expressions[rows] / STEPS
    alike = group_duplicates(table.hashes(rows), table.thumbs(rows), expressions, sharpest_first, stepped)
    leaders = rows[alike]
    members: dict[int, list[int]] = {}
    for row, leader in zip(rows.tolist(), leaders.tolist(), strict=True):
        members.setdefault(leader, [leader])
        if row != leader:
            members[leader].append(row)
            rejected[row] = f"shows nearly the same as {table.names[leader]}"
    groups = tuple(tuple(group) for _, group in sorted(members.items()) if len(group) > 1)
    return _Ranked(rows=np.array(sorted(members), dtype=np.int64), rejected=rejected, groups=groups)


SORTS: Final[Mapping[str, Sort]] = {
    sort.name: sort
    for sort in (
        Sort(
            name="blur",
            title="Sharpness",
            help="Sharpest first (CPBD); faces without a sharp edge are rejected.",
            needs_pixels=True,
            rank=_by_metric("blur", zero_is_rejected=True),
            unit="share of sharp edges",
        ),
        Sort(
            name="motion-blur",
            title="Motion blur",
            help="Least smeared first; faces without any edge are rejected.",
            needs_pixels=True,
            rank=_by_metric("motion_blur", zero_is_rejected=True),
        ),
        Sort(
            name="face-yaw",
            title="Yaw",
            help="Nose toward the left of the image first.",
            needs_pixels=False,
            rank=_by_yaw,
            unit="deg",
        ),
        Sort(
            name="face-pitch", title="Pitch", help="Looking up first.", needs_pixels=False, rank=_by_pitch, unit="deg"
        ),
        Sort(
            name="face-source-rect-size",
            title="Size in the plate",
            help="Largest face of the plate first.",
            needs_pixels=False,
            rank=_by_rect_size,
            unit="px²",
        ),
        Sort(
            name="hist",
            title="Similar colours",
            help="Each face followed by the one whose colours are most like its own.",
            needs_pixels=True,
            rank=_by_histogram,
        ),
        Sort(
            name="hist-dissim",
            title="Unusual tones",
            help="Faces whose tones differ most from all others first.",
            needs_pixels=True,
            rank=_by_histogram_dissimilarity,
            unit="summed distance",
        ),
        Sort(
            name="brightness",
            title="Brightness",
            help="Brightest first.",
            needs_pixels=True,
            rank=_by_metric("brightness"),
            unit="of 255",
        ),
        Sort(
            name="hue", title="Hue", help="Highest hue first.", needs_pixels=True, rank=_by_metric("hue"), unit="of 180"
        ),
        Sort(
            name="black",
            title="Black pixels",
            help="Fewest black values first.",
            needs_pixels=True,
            rank=_by_metric("black", ascending=True),
            unit="values",
        ),
        Sort(
            name="origname",
            title="Plate and frame",
            help="By the plate's name, frame and face.",
            needs_pixels=False,
            rank=_by_origin,
        ),
        Sort(
            name="oneface",
            title="Frames with one face",
            help="Rejects every face of frames that show several.",
            needs_pixels=False,
            rank=_one_face,
        ),
        Sort(
            name="absdiff",
            title="Similar pictures",
            help="Each face followed by the most similar picture, or the most dissimilar when asked.",
            needs_pixels=True,
            rank=_by_difference,
        ),
        Sort(
            name="best",
            title="Best faces",
            help="Picks about target_count sharp faces that cover all yaws and pitches; rejects the others.",
            needs_pixels=True,
            rank=_best,
            unit="share of sharp edges",
        ),
        Sort(
            name="best-fast",
            title="Best faces by size",
            help="As best, with the face's size in the plate instead of its sharpness.",
            needs_pixels=True,
            rank=_best_fast,
            unit="px²",
        ),
        Sort(
            name="identity",
            title="Likeness",
            help="Nearest to the reference face first, or to the set's own median person.",
            needs_pixels=False,
            rank=_by_identity,
            unit="distance",
        ),
        Sort(
            name="expression",
            title="Expression and pose coverage",
            help="The first faces, however many are taken, cover the most expressions and poses.",
            needs_pixels=False,
            rank=_by_expression,
            unit="steps",
        ),
        Sort(
            name="near-duplicate",
            title="Near duplicates",
            help="Keeps the sharpest of faces that look the same; rejects the others.",
            needs_pixels=True,
            rank=_by_duplicates,
        ),
    )
}
ALIASES: Final[Mapping[str, str]] = {"final": "best", "final-fast": "best-fast"}
"""The reference's names where ours are clearer."""
