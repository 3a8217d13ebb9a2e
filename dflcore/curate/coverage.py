"""What a source set lacks that a target plate needs: poses and expressions, in numbers.

Two faces are within reach of each other when yaw and pitch differ by at most 5 degrees and every length of the
expression by at most one step (see :data:`dflcore.curate.expression.MEASURES`). People differ in how wide a mouth or
how high a brow they have, so all lengths but the opening of the mouth are taken from each person's own median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dflcore.curate.expression import MEASURES, STEPS
from dflcore.curate.table import FaceTable
from dflcore.errors import InvalidInput
from dflcore.types import FloatArray

BIN_DEG: Final = 5.0
REACH_DEG: Final = 5.0
"""Where nothing else is asked for."""
LEAST_YAW_DEG: Final = 30.0
LEAST_PITCH_DEG: Final = 20.0
"""The grid shows at least this much to either side."""
_MISSING_LINES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingBin:
    """A bin of pose that the target needs and the source lacks.

    Attributes:
        yaw_deg, pitch_deg: lower edges; the bin is :data:`BIN_DEG` wide and high.
        target_faces: of the target in it.
        beyond_faces: those of them with no face of the source within reach of their pose.
        gap_deg: how far the one that is worst off is from any face of the source, the larger of its differences in
            yaw and pitch.
    """

    yaw_deg: float
    pitch_deg: float
    target_faces: int
    beyond_faces: int
    gap_deg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureCoverage:
    """One measure of both sets.

    Attributes:
        name, title: of the measure.
        source, target: (n,) and (m,) values, comparable between persons.
        step: how far apart values count as different; also of the unit ``unit``.
        beyond: share of the target's faces more than a step outside the source's range.
    """

    name: str
    title: str
    unit: str
    step: float
    source: NDArray[np.float64]
    target: NDArray[np.float64]
    beyond: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageReport:
    """How well a source set serves a target.

    Attributes:
        source_path, target_path: the facesets.
        source_faces, target_faces: how many faces each has.
        yaw_edges, pitch_edges: edges of the bins, degrees, ascending.
        source_counts, target_counts: (pitch bins, yaw bins) faces.
        missing: bins the target needs and the source lacks, those with most faces out of reach first.
        reach_deg: what counts as within reach.
        pose_reach: share of the target's faces whose pose is within reach of some face of the source.
        reach: share whose pose and expression are, both of the same face.
        out_of_reach: names of the target's other faces, in plate and frame order.
        measures: each measure by itself; brightness comes last where both sets are measured.
    """

    source_path: str
    target_path: str
    source_faces: int
    target_faces: int
    yaw_edges: NDArray[np.float64]
    pitch_edges: NDArray[np.float64]
    source_counts: NDArray[np.int64]
    target_counts: NDArray[np.int64]
    missing: tuple[MissingBin, ...]
    reach_deg: float
    pose_reach: float
    reach: float
    out_of_reach: tuple[str, ...]
    measures: tuple[MeasureCoverage, ...]

    def to_text(self) -> str:
        """The report in a dozen lines for a terminal or a log."""
        needed = int((self.target_counts > 0).sum())
        lines = [
            f"source {self.source_path}: {self.source_faces} faces",
            f"target {self.target_path}: {self.target_faces} faces",
            f"pose within {self.reach_deg:g} deg of the source: {self.pose_reach:.1%} of the target",
            f"pose and expression within reach: {self.reach:.1%} of the target",
            f"bins of pose the target needs: {needed}, the source lacks {len(self.missing)} of them",
        ]
        for lack in self.missing[:_MISSING_LINES]:
            lines.append(
                f"  yaw {lack.yaw_deg:+.0f} to {lack.yaw_deg + BIN_DEG:+.0f}, pitch {lack.pitch_deg:+.0f} to "
                f"{lack.pitch_deg + BIN_DEG:+.0f} deg: {lack.target_faces} faces, {lack.beyond_faces} of them out of "
                f"reach, the worst by {lack.gap_deg:.1f} deg"
            )
        if len(self.missing) > _MISSING_LINES:
            lines.append(f"  and {len(self.missing) - _MISSING_LINES} more")
        for measure in self.measures:
            if measure.beyond > 0.0:
                lines.append(f"{measure.title}: {measure.beyond:.1%} of the target beyond anything the source does")
        return "\n".join(lines) + "\n"


def compare_coverage(source: FaceTable, target: FaceTable, *, reach_deg: float = REACH_DEG) -> CoverageReport:
    """Hold a source set against a target's.

    O(n + m) for the grid; for reach each face is compared with the faces of the other set in its own and the eight
    bins around.

    Args:
        reach_deg: yaw and pitch that differ by at most this are within reach.

    Raises:
        InvalidInput: one of the sets is empty, or there is no reach.
        DataCorrupt: a faceset's index is damaged.
    """
    if not 0.0 < reach_deg <= 90.0:
        raise InvalidInput(f"A reach of {reach_deg:g} degrees covers nothing.", reason="BAD_SETTING", field="reach")
    for table in (source, target):
        if not len(table):
            raise InvalidInput(
                f"The faceset {table.path} has no faces, so there is nothing to compare.",
                reason="EMPTY_FACESET",
                path=table.path,
            )
    source_pose, target_pose = _pose_deg(source), _pose_deg(target)
    both = np.concatenate([source_pose, target_pose])
    yaw_edges = _edges(both[:, 0], LEAST_YAW_DEG)
    pitch_edges = _edges(both[:, 1], LEAST_PITCH_DEG)
    source_counts = _counts(source_pose, yaw_edges, pitch_edges)
    target_counts = _counts(target_pose, yaw_edges, pitch_edges)
    source_lengths, target_lengths = _comparable(source), _comparable(target)
    pose_ok, all_ok = _within_reach(source_pose, source_lengths, target_pose, target_lengths, reach_deg)
    return CoverageReport(
        source_path=str(source.path),
        target_path=str(target.path),
        source_faces=len(source),
        target_faces=len(target),
        yaw_edges=yaw_edges,
        pitch_edges=pitch_edges,
        source_counts=source_counts,
        target_counts=target_counts,
        missing=_missing(source_pose, target_pose, yaw_edges, pitch_edges, source_counts, target_counts, reach_deg),
        reach_deg=reach_deg,
        pose_reach=float(pose_ok.mean()),
        reach=float(all_ok.mean()),
        out_of_reach=tuple(name for name, is_ok in zip(target.names, all_ok, strict=True) if not is_ok),
        measures=_measures(source, target, source_lengths, target_lengths),
    )


def _pose_deg(table: FaceTable) -> NDArray[np.float64]:
    """(n, 2) yaw and pitch."""
    return np.degrees(np.stack([table.column("yaw"), table.column("pitch")], axis=1))


def _comparable(table: FaceTable) -> FloatArray:
    """(n, 6) lengths in steps; all but the opening of the mouth from the set's own median."""
    lengths = table.expressions / STEPS
    rest = np.nanmedian(lengths, axis=0)
    rest[[measure.name == "mouth_open" for measure in MEASURES]] = 0.0
    return np.asarray(lengths - rest, dtype=np.float32)


def _edges(angles: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    low = min(float(np.floor(angles.min() / BIN_DEG)) * BIN_DEG, -least)
    high = max((float(np.floor(angles.max() / BIN_DEG)) + 1.0) * BIN_DEG, least)
    return np.linspace(low, high, round((high - low) / BIN_DEG) + 1, dtype=np.float64)


def _counts(
    pose: NDArray[np.float64], yaw_edges: NDArray[np.float64], pitch_edges: NDArray[np.float64]
) -> NDArray[np.int64]:
    counts, _, _ = np.histogram2d(pose[:, 1], pose[:, 0], bins=[pitch_edges, yaw_edges])
    return counts.astype(np.int64)


def _missing(
    source_pose: NDArray[np.float64],
    target_pose: NDArray[np.float64],
    yaw_edges: NDArray[np.float64],
    pitch_edges: NDArray[np.float64],
    source_counts: NDArray[np.int64],
    target_counts: NDArray[np.int64],
    reach_deg: float,
) -> tuple[MissingBin, ...]:
    place = np.stack(
        [
            np.searchsorted(edges, target_pose[:, axis], side="right") - 1
            for axis, edges in enumerate((yaw_edges, pitch_edges))
        ],
        axis=1,
    )
    found = []
    for row, column in np.argwhere((target_counts > 0) & (source_counts == 0)):
        inside = target_pose[(place[:, 0] == column) & (place[:, 1] == row)]
        gaps = np.array([np.abs(source_pose - pose).max(axis=1).min() for pose in inside])
        found.append(
            MissingBin(
                yaw_deg=float(yaw_edges[column]),
                pitch_deg=float(pitch_edges[row]),
                target_faces=len(inside),
                beyond_faces=int((gaps > reach_deg).sum()),
                gap_deg=float(gaps.max()),
            )
        )
    return tuple(sorted(found, key=lambda lack: (-lack.beyond_faces, -lack.target_faces, -lack.gap_deg)))


def _within_reach(
    source_pose: NDArray[np.float64],
    source_lengths: FloatArray,
    target_pose: NDArray[np.float64],
    target_lengths: FloatArray,
    reach_deg: float,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(m,) by pose alone, and by pose and expression of one and the same source face."""
    source_cells, target_cells = _cells(source_pose, reach_deg), _cells(target_pose, reach_deg)
    pose_ok = np.zeros(len(target_pose), dtype=np.bool_)
    all_ok = np.zeros(len(target_pose), dtype=np.bool_)
    around = [(yaw, pitch) for yaw in (-1, 0, 1) for pitch in (-1, 0, 1)]
    for (yaw, pitch), faces in target_cells.items():
        parts = [source_cells.get((yaw + dy, pitch + dp), []) for dy, dp in around]
        rows = np.array([row for part in parts for row in part], dtype=np.int64)
        poses, lengths = source_pose[rows], source_lengths[rows]
        for face in faces:
            is_near = (np.abs(poses - target_pose[face]) <= reach_deg).all(axis=1)
            pose_ok[face] = is_near.any()
            all_ok[face] = (np.abs(lengths[is_near] - target_lengths[face]) <= 1.0).all(axis=1).any()
    return pose_ok, all_ok


def _cells(pose: NDArray[np.float64], side_deg: float) -> dict[tuple[int, int], list[int]]:
    """Rows by the square of yaw and pitch they lie in."""
    cells: dict[tuple[int, int], list[int]] = {}
    for row, (yaw, pitch) in enumerate(np.floor(pose / side_deg).astype(np.int64).tolist()):
        cells.setdefault((yaw, pitch), []).append(row)
    return cells


def _measures(
    source: FaceTable, target: FaceTable, source_lengths: FloatArray, target_lengths: FloatArray
) -> tuple[MeasureCoverage, ...]:
    found = [
        _measure(measure.name, measure.title, "steps", 1.0, source_lengths[:, number], target_lengths[:, number])
        for number, measure in enumerate(MEASURES)
    ]
    if source.is_measured.all() and target.is_measured.all():
        light = [table.metric("brightness") for table in (source, target)]
        found.append(_measure("brightness", "brightness", "of 255", 16.0, *light))
    return tuple(found)


def _measure(
    name: str, title: str, unit: str, step: float, source: NDArray[Any], target: NDArray[Any]
) -> MeasureCoverage:
    mine, theirs = (values[np.isfinite(values)].astype(np.float64) for values in (source, target))
    beyond = 0.0
    if mine.size and theirs.size:
        beyond = float(np.mean((theirs < mine.min() - step) | (theirs > mine.max() + step)))
    return MeasureCoverage(name=name, title=title, unit=unit, step=step, source=mine, target=theirs, beyond=beyond)
