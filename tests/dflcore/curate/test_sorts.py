"""Every sort against a plain reading of the fact sheet's definition."""

import contextlib
import math
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.curate import chains
from dflcore.curate.best import choose_best
from dflcore.curate.duplicates import group_duplicates
from dflcore.curate.sorts import ALIASES, SORTS, SortOptions, farthest_points, identity_distance, sort_faces
from dflcore.curate.table import FaceTable
from dflcore.errors import Cancelled, InvalidInput, NotFound
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.faceset import INDEX_NAME, Faceset
from dflcore.progress import StopRequest
from dflcore.types import FaceRecord


@pytest.fixture(scope="module")
def faces(sixty_faces: Path) -> list[tuple[FaceRecord, np.ndarray, np.ndarray]]:
    """Record, picture and hull mask of every face, in table order."""
    with Faceset.open(sixty_faces) as faceset:
        records = list(faceset.records())
        points = FaceTable.open(sixty_faces).aligned_landmarks
        return [
            (record, faceset.read_image(record.name), hull_mask(points[row], 128, 128) >= 0.5)
            for row, record in enumerate(records)
        ]


@pytest.fixture
def table(sixty_faces: Path) -> FaceTable:
    return FaceTable.open(sixty_faces)


def histogram(channel: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.calcHist([np.ascontiguousarray(channel)], [0], None, [256], [0, 256]))


def bhattacharyya(first: np.ndarray, second: np.ndarray) -> float:
    return float(cv2.compareHist(first, second, cv2.HISTCMP_BHATTACHARYYA))


def no_step(_count: int) -> None:
    pass


NUMBERS = {
    "motion-blur": lambda r, p, m: -cv2.Laplacian(p * m[..., None], cv2.CV_64F, ksize=11).var(),
    "face-yaw": lambda r, p, m: -r.pose.yaw,
    "face-pitch": lambda r, p, m: -r.pose.pitch,
    "face-source-rect-size": lambda r, p, m: -r.box.width * r.box.height,
    "brightness": lambda r, p, m: -cv2.cvtColor(p, cv2.COLOR_RGB2HSV)[..., 2].mean(),
    "hue": lambda r, p, m: -cv2.cvtColor(p, cv2.COLOR_RGB2HSV)[..., 0].mean(),
    "black": lambda r, p, m: (p == 0).sum(),
    "origname": lambda r, p, m: (r.plate, r.frame, r.face_index),
}


@pytest.mark.parametrize("by", NUMBERS)
def test_orders_by_a_number(by: str, table: FaceTable, faces) -> None:
    wanted = [face[0].name for face in sorted(faces, key=lambda face: NUMBERS[by](*face))]
    result = sort_faces(table, by)
    black = [face[0].name for face in faces if by == "motion-blur" and not face[1].any()]
    assert list(result.order) == [name for name in wanted if name not in black]
    assert list(result.rejected) == black
    assert list(table.names) == [face[0].name for face in faces]


def test_ties_keep_plate_and_frame_order_either_way(table: FaceTable) -> None:
    sizes = dict(zip(table.names, table.rect_size, strict=True))
    assert len(set(sizes.values())) < 60
    place = {name: row for row, name in enumerate(table.names)}
    for reverse in (False, True):
        order = sort_faces(table, "face-source-rect-size", reverse=reverse).order
        sign = 1 if reverse else -1
        assert list(order) == sorted(table.names, key=lambda name: (sign * sizes[name], place[name]))


def test_blur_rejects_what_has_no_sharp_edge(table: FaceTable) -> None:
    result = sort_faces(table, "blur")
    blur = dict(zip(table.names, table.metric("blur"), strict=True))
    assert set(result.rejected) == {name for name, value in blur.items() if value == 0.0}
    assert 0 < len(result.rejected) < 60
    kept = [name for name in table.names if blur[name] > 0.0]
    assert list(result.order) == sorted(kept, key=lambda name: -blur[name])
    assert result.values[result.order[0]] == max(blur.values())


def test_similar_colours_chain(table: FaceTable, faces) -> None:
    counts = {face[0].name: [histogram(face[1][..., c]) for c in range(3)] for face in faces}
    files = [face[0].name for face in faces]
    for place in range(len(files) - 1):
        scores = [
            sum(bhattacharyya(*pair) for pair in zip(counts[files[place]], counts[other], strict=True))
            for other in files[place + 1 :]
        ]
        nearest = place + 1 + scores.index(min(scores))
        files[place + 1], files[nearest] = files[nearest], files[place + 1]
    assert list(sort_faces(table, "hist").order) == files


def test_colour_chain_takes_the_first_of_equals_in_the_swapped_list() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 50, (4, 768)).astype(np.float32)
    counts = kinds[[0, 1, 2, 3, 1, 2, 0, 1, 0, 3, 3, 2]]
    roots = (
        chains.unit_roots(counts[:, :256]),
        chains.unit_roots(counts[:, 256:512]),
        chains.unit_roots(counts[:, 512:]),
    )
    files = list(range(len(counts)))
    for place in range(len(files) - 1):
        here = files[place]
        scores = [
            sum(math.sqrt(max(1.0 - float(root[here] @ root[other]), 0.0)) for root in roots)
            for other in files[place + 1 :]
        ]
        scores = [round(score, 6) for score in scores]
        nearest = place + 1 + scores.index(min(scores))
        files[place + 1], files[nearest] = files[nearest], files[place + 1]
    assert chains.histogram_chain(counts, no_step).tolist() == files


def test_unusual_tones(table: FaceTable, faces) -> None:
    masked = [
        histogram(cv2.cvtColor(np.where(m[..., None], p, 0).astype(np.uint8), cv2.COLOR_RGB2GRAY)) for _, p, m in faces
    ]
    sums = [sum(bhattacharyya(one, other) for other in masked if other is not one) for one in masked]
    result = sort_faces(table, "hist-dissim")
    order = sorted(range(60), key=lambda row: -sums[row])
    assert list(result.order) == [faces[row][0].name for row in order]
    assert result.values[table.names[0]] == pytest.approx(sums[0], rel=1e-9)


def test_blocks_of_the_dissimilarity_add_up(monkeypatch: pytest.MonkeyPatch, table: FaceTable) -> None:
    whole = sort_faces(table, "hist-dissim")
    monkeypatch.setattr(chains, "_BLOCK", 7)
    assert sort_faces(table, "hist-dissim").order == whole.order
    assert sort_faces(table, "hist").order


@pytest.mark.parametrize("dissimilar", [False, True])
def test_similar_pictures_chain(dissimilar: bool, table: FaceTable, faces) -> None:
    thumbs = [cv2.resize(face[1], (32, 32), interpolation=cv2.INTER_AREA).astype(int) for face in faces]
    order, left = [0], list(range(1, 60))
    while left:
        differences = [int(np.abs(thumbs[order[-1]] - thumbs[other]).sum()) for other in left]
        chosen = differences.index(max(differences) if dissimilar else min(differences))
        order.append(left.pop(chosen))
    result = sort_faces(table, "absdiff", options=SortOptions(dissimilar=dissimilar))
    assert list(result.order) == [table.names[row] for row in order]


def test_picture_chain_with_many_equals() -> None:
    rng = np.random.default_rng(1)
    thumbs = rng.integers(0, 4, (5, 32 * 32 * 3), dtype=np.uint8)[rng.integers(0, 5, 300)]
    order, left = [0], list(range(1, 300))
    wide = thumbs.astype(int)
    while left:
        differences = np.abs(wide[left] - wide[order[-1]]).sum(1)
        order.append(left.pop(int(np.argmin(differences))))
    assert chains.picture_chain(thumbs, no_step).tolist() == order


def test_large_sets_are_walked_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch, table: FaceTable) -> None:
    monkeypatch.setattr(chains, "CHUNK_FACES", 25)
    for by in ("hist", "absdiff"):
        order = sort_faces(table, by).order
        starts = [sort_faces(table.take(np.arange(start, min(start + 25, 60))), by).order for start in (0, 25, 50)]
        assert list(order) == [name for part in starts for name in part]


def test_frames_with_one_face(table: FaceTable, faces) -> None:
    crowded = {(face[0].plate, face[0].frame) for face in faces if face[0].face_index}
    assert crowded
    result = sort_faces(table, "oneface")
    wanted = [face[0].name for face in faces if (face[0].plate, face[0].frame) not in crowded]
    assert list(result.order) == wanted
    assert set(result.rejected) == set(table.names) - set(wanted)


def plain_best(
    yaw: np.ndarray, pitch: np.ndarray, quality: np.ndarray, gray: np.ndarray, target: int
) -> tuple[list[int], set[int]]:
    """The fact sheet's `final`, read aloud."""
    bins: list[list[int]] = [[] for _ in range(128)]
    for face, angle in enumerate(yaw):
        bins[min(max(math.floor((-angle + 1.2) / (2.4 / 128)), 0), 127)].append(face)
    n = round(target / 128)
    shortage = sum(max(n - len(members), 0) for members in bins)
    n += shortage // 128
    chosen, trash = [], set()
    for members in bins:
        members.sort(key=lambda face: quality[face], reverse=True)
        trash |= set(members[10 * n :])
        kept = members[: 10 * n]
        pitches: list[list[int]] = [[] for _ in range(n)]
        for face in kept:
            pitches[min(max(math.floor((pitch[face] + math.pi / 2) / (math.pi / n)), 0), n - 1)].append(face)
        for queue in pitches:
            sums = {a: sum(bhattacharyya(gray[a], gray[b]) for b in queue if b != a) for a in queue}
            queue.sort(key=lambda face: sums[face], reverse=True)
        taken: list[int] = []
        while len(taken) < n and any(pitches):
            for queue in pitches:
                if queue and len(taken) < n:
                    taken.append(queue.pop(0))
        chosen += taken
        trash |= set(kept) - set(taken)
    return chosen, trash


@pytest.mark.parametrize("target", [128, 300, 700, 2000])
def test_best_is_the_method_of_the_fact_sheet(target: int) -> None:
    rng = np.random.default_rng(target)
    count = 900
    yaw, pitch = rng.normal(0.0, 0.35, count), rng.normal(0.1, 0.4, count)
    quality = rng.integers(0, 200, count) / 200.0
    gray = rng.integers(0, 30, (count, 256)).astype(np.float32)
    best = choose_best(yaw, pitch, quality, gray, target, no_step)
    chosen, trash = plain_best(yaw, pitch, quality, gray, target)
    assert best.chosen.tolist() == chosen
    assert set(best.rejected) == trash
    assert len(chosen) + len(trash) == count


@pytest.mark.parametrize("by", ["best", "best-fast"])
def test_best_keeps_all_of_a_small_set(by: str, table: FaceTable) -> None:
    result = sort_faces(table, by)
    assert set(result.order) | set(result.rejected) == set(table.names)
    yaws = [table.column("yaw")[table.names.index(name)] for name in result.order]
    bins = [math.floor((-yaw + 1.2) / (2.4 / 128)) for yaw in yaws]
    assert bins == sorted(bins)
    with pytest.raises(InvalidInput, match="128"):
        sort_faces(table, by, options=SortOptions(target_count=100))


def test_identity_is_the_distance_to_a_reference(table: FaceTable) -> None:
    known = [row for row in range(60) if not np.isnan(table.identities[row]).any()]
    assert len(known) == 59
    median = np.median(table.identities[known], axis=0)
    distances = {row: float(np.linalg.norm(table.identities[row] - median)) for row in known}
    order = sort_faces(table, "identity").order
    assert list(order[:-1]) == [table.names[row] for row in sorted(known, key=distances.__getitem__)]
    assert order[-1] == next(name for row, name in enumerate(table.names) if row not in known)
    assert sort_faces(table, "identity", reverse=True).order[-1] == order[-1]
    third = SortOptions(reference_face=table.names[3])
    assert sort_faces(table, "identity", options=third).order[0] == table.names[3]
    given = SortOptions(reference=table.identities[3])
    np.testing.assert_array_equal(identity_distance(table, given), identity_distance(table, third))


def test_identity_refuses_what_cannot_be_compared(table: FaceTable) -> None:
    with pytest.raises(InvalidInput, match="512 numbers"):
        sort_faces(table, "identity", options=SortOptions(reference=np.zeros(512, np.float32)))
    with pytest.raises(NotFound):
        sort_faces(table, "identity", options=SortOptions(reference_face="nobody.png"))
    unknown = table.take(np.isnan(table.identities).any(axis=1))
    with pytest.raises(InvalidInput, match="compute_identity"):
        sort_faces(unknown, "identity")


def test_farthest_points_first() -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(50, 4)).astype(np.float32)
    features[7] = np.nan
    order, distance = farthest_points(features, 50, no_step)
    wide = features.astype(float)
    known = [row for row in range(50) if row != 7]
    chosen = [min(known, key=lambda row: np.linalg.norm(wide[row] - np.median(wide[known], axis=0)))]
    while len(chosen) < 49:
        gaps = {row: min(np.linalg.norm(wide[row] - wide[one]) for one in chosen) for row in known if row not in chosen}
        chosen.append(max(gaps, key=gaps.__getitem__))
        assert distance[chosen[-1]] == pytest.approx(gaps[chosen[-1]], rel=1e-4)
    assert order.tolist() == [*chosen, 7]
    shorter, _ = farthest_points(features, 10, no_step)
    assert shorter[:10].tolist() == chosen[:10]
    assert sorted(shorter.tolist()) == list(range(50))
    assert shorter[-1] == 7


def test_expression_covers_pose_first(table: FaceTable) -> None:
    order = sort_faces(table, "expression").order
    assert sorted(order) == sorted(table.names)
    yaw = dict(zip(table.names, np.degrees(table.column("yaw")), strict=True))
    first = [yaw[name] for name in order[:12]]
    assert max(first) > 40.0
    assert min(first) < -40.0


def test_near_duplicates_stand_behind_the_sharpest(few_faces: Path, recorder) -> None:
    from dflcore.curate.metrics import measure

    names = FaceTable.open(few_faces).names
    picture = cv2.imread(str(few_faces / names[0]))
    for name, level in ((names[4], 1), (names[9], 2)):
        cv2.imwrite(str(few_faces / name), cv2.add(picture, (level, level, level, 0)))
    with contextlib.closing(sqlite3.connect(few_faces / INDEX_NAME)) as database, database:
        same_marks = "(SELECT landmarks FROM face WHERE name = ?)"
        for name in (names[4], names[9]):
            database.execute(f"UPDATE face SET landmarks = {same_marks} WHERE name = ?", (names[0], name))
            database.execute("UPDATE face SET yaw = 0, pitch = 0 WHERE name IN (?, ?)", (names[0], name))
    measure(few_faces, recorder, threads=1)
    table = FaceTable.open(few_faces)
    result = sort_faces(table, "near-duplicate")
    same = [names[0], names[4], names[9]]
    sharpest = max(same, key=lambda name: table.column("sharpness")[names.index(name)])
    assert result.groups == ((sharpest, *(name for name in same if name != sharpest)),)
    assert set(result.rejected) == set(same) - {sharpest}
    assert all(sharpest in why for why in result.rejected.values())
    assert list(result.order) == [name for name in names if name not in result.rejected]


def test_an_open_mouth_is_no_duplicate() -> None:
    thumbs = np.full((3, 3072), 90, np.uint8)
    hashes = np.zeros(3, np.uint64)
    expressions = np.array([[0.0, 0.0], [0.1, -0.1], [0.9, 0.0]], np.float32)
    assert group_duplicates(hashes, thumbs, expressions, np.arange(3), no_step).tolist() == [0, 0, 2]
    assert group_duplicates(hashes, thumbs, expressions, np.array([2, 1, 0]), no_step).tolist() == [1, 1, 2]
    thumbs[1] += 10
    assert group_duplicates(hashes, thumbs, expressions, np.arange(3), no_step).tolist() == [0, 1, 2]


def test_damaged_pictures_are_rejected(few_faces: Path, recorder) -> None:
    from dflcore.curate.metrics import measure

    names = FaceTable.open(few_faces).names
    (few_faces / names[3]).write_bytes(b"broken")
    measure(few_faces, recorder, threads=1)
    table = FaceTable.open(few_faces)
    for by, sort in SORTS.items():
        result = sort_faces(table, by)
        if sort.needs_pixels:
            assert "cannot be read" in result.rejected[names[3]]
            assert names[3] not in result.order
        assert set(result.order) | set(result.rejected) == set(names)


@pytest.mark.parametrize("by", [*SORTS])
def test_every_sort_says_what_it_needs(by: str, few_faces: Path, recorder) -> None:
    table = FaceTable.open(few_faces)
    if SORTS[by].needs_pixels:
        with pytest.raises(InvalidInput, match="`measure`"):
            sort_faces(table, by)
    else:
        result = sort_faces(table, by, control=recorder)
        assert set(result.order) | set(result.rejected) == set(table.names)
        assert set(sort_faces(table, by, reverse=True).order) == set(result.order)
        empty = sort_faces(table.take([]), by) if by != "identity" else None
        assert empty is None or empty.order == ()


def test_the_names_of_the_reference_are_understood(table: FaceTable) -> None:
    assert {ALIASES.get(name, name) for name in ("final", "final-fast")} <= set(SORTS)
    assert sort_faces(table, "final").order == sort_faces(table, "best").order
    with pytest.raises(NotFound, match="face-yaw"):
        sort_faces(table, "face-jaw")


def test_a_long_sort_can_be_stopped(table: FaceTable, recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "stop_requested", lambda: StopRequest.CANCEL)
    with pytest.raises(Cancelled):
        sort_faces(table, "hist", control=recorder)
