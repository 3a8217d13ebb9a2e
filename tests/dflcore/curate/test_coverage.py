"""What the source lacks is found, counted and drawn where it is."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.curate.coverage import BIN_DEG, REACH_DEG, compare_coverage
from dflcore.curate.coverage_picture import draw_coverage, write_coverage
from dflcore.curate.expression import STEPS
from dflcore.curate.table import FaceTable
from dflcore.errors import InvalidInput


@pytest.fixture
def table(sixty_faces: Path) -> FaceTable:
    return FaceTable.open(sixty_faces)


def plain_reach(source: FaceTable, target: FaceTable) -> tuple[list[bool], list[bool]]:
    def lengths(table: FaceTable) -> np.ndarray:
        values = table.expressions / STEPS
        values[:, 1:] -= np.median(values[:, 1:], axis=0)
        return values

    mine, theirs = lengths(source), lengths(target)
    pose, both = [], []
    for face in range(len(target)):
        near = [
            row
            for row in range(len(source))
            if all(
                abs(np.degrees(source.column(angle)[row] - target.column(angle)[face])) <= REACH_DEG
                for angle in ("yaw", "pitch")
            )
        ]
        pose.append(bool(near))
        both.append(any((np.abs(mine[row] - theirs[face]) <= 1.0).all() for row in near))
    return pose, both


def test_reach_is_what_it_says(table: FaceTable) -> None:
    source, target = table.take(np.arange(0, 60, 2)), table.take(np.arange(1, 60, 2))
    report = compare_coverage(source, target)
    pose, both = plain_reach(source, target)
    assert 0 < sum(both) <= sum(pose) < 30
    assert report.pose_reach == pytest.approx(np.mean(pose))
    assert report.reach == pytest.approx(np.mean(both))
    assert list(report.out_of_reach) == [n for n, is_ok in zip(target.names, both, strict=True) if not is_ok]


def test_a_wider_reach_covers_more(table: FaceTable) -> None:
    source, target = table.take(np.arange(0, 60, 2)), table.take(np.arange(1, 60, 2))
    shares = [compare_coverage(source, target, reach_deg=reach).pose_reach for reach in (1.0, 5.0, 12.0, 90.0)]
    assert shares == sorted(shares)
    assert shares[0] < shares[2]
    assert shares[-1] == 1.0
    with pytest.raises(InvalidInput, match="reach"):
        compare_coverage(source, target, reach_deg=0.0)


def test_a_set_covers_itself(table: FaceTable) -> None:
    report = compare_coverage(table, table)
    assert (report.reach, report.pose_reach) == (1.0, 1.0)
    assert report.missing == ()
    assert report.out_of_reach == ()
    np.testing.assert_array_equal(report.source_counts, report.target_counts)
    assert all(measure.beyond == 0.0 for measure in report.measures)
    assert report.measures[-1].name == "brightness"


def test_missing_bins_are_those_only_the_target_fills(table: FaceTable) -> None:
    yaw = np.degrees(table.column("yaw"))
    source, target = table.take(yaw < 10.0), table.take(yaw > -20.0)
    report = compare_coverage(source, target)
    assert report.source_counts.sum() == len(source)
    assert report.target_counts.sum() == len(target)
    bins = {(lack.yaw_deg, lack.pitch_deg): lack for lack in report.missing}
    places = zip(np.degrees(target.column("yaw")), np.degrees(target.column("pitch")), strict=True)
    wanted: dict[tuple[float, float], int] = {}
    taken = {
        (np.floor(y / BIN_DEG) * BIN_DEG, np.floor(p / BIN_DEG) * BIN_DEG)
        for y, p in zip(np.degrees(source.column("yaw")), np.degrees(source.column("pitch")), strict=True)
    }
    for y, p in places:
        key = (np.floor(y / BIN_DEG) * BIN_DEG, np.floor(p / BIN_DEG) * BIN_DEG)
        if key not in taken:
            wanted[key] = wanted.get(key, 0) + 1
    assert {key: lack.target_faces for key, lack in bins.items()} == wanted
    beyond = sum(lack.beyond_faces for lack in report.missing)
    assert beyond == round((1.0 - report.pose_reach) * len(target))
    assert all((lack.gap_deg > REACH_DEG) == (lack.beyond_faces > 0) for lack in report.missing)
    text = report.to_text()
    assert f"the source lacks {len(report.missing)} of them" in text
    assert f"{report.pose_reach:.1%}" in text


def test_an_expression_never_shown_is_counted(table: FaceTable) -> None:
    opening = table.expressions[:, 0]
    order = np.argsort(opening)
    report = compare_coverage(table.take(order[:10]), table.take(order))
    mouth = report.measures[0]
    assert mouth.name == "mouth_open"
    limit = opening[order[9]] + STEPS[0]
    assert mouth.beyond == pytest.approx(np.mean(opening > limit))
    assert mouth.beyond > 0.0
    assert "mouth open" in report.to_text()


def test_light_is_left_out_where_it_was_not_measured(table: FaceTable, few_faces: Path) -> None:
    report = compare_coverage(table, FaceTable.open(few_faces))
    assert "brightness" not in [measure.name for measure in report.measures]
    draw_coverage(report)


def test_nothing_to_compare_is_said_so(table: FaceTable) -> None:
    with pytest.raises(InvalidInput, match="no faces"):
        compare_coverage(table, table.take([]))


def test_the_picture_is_red_only_where_something_lacks(table: FaceTable, tmp_path: Path) -> None:
    def reds(path: Path) -> int:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert picture.shape[1] == 1800
        part = picture[190:830, 150:1260].astype(int)
        return int(((part[..., 0] > 180) & (abs(part[..., 1] - part[..., 2]) < 30) & (part[..., 1] < 150)).sum())

    yaw = np.degrees(table.column("yaw"))
    whole = write_coverage(compare_coverage(table, table), tmp_path / "whole.png")
    half = write_coverage(compare_coverage(table.take(yaw < 0.0), table), tmp_path / "half.png")
    assert reds(half) > 20 * max(reds(whole), 100)


def test_one_face_each_can_be_drawn(table: FaceTable) -> None:
    picture = draw_coverage(compare_coverage(table.take([0]), table.take([1])))
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
