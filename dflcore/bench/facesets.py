"""What curation costs on a large faceset, made up for the purpose: plausible rows, small pictures."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.bench.figures import Figure, median_seconds
from dflcore.curate.chains import CHUNK_FACES
from dflcore.curate.metric_store import FaceMetrics, MetricStore
from dflcore.curate.metrics import measure, measure_face
from dflcore.curate.sorts import SORTS, sort_faces
from dflcore.curate.table import FaceTable
from dflcore.curate.where import Filter
from dflcore.geometry.template import HEAD_MODEL
from dflcore.io.faceset import INDEX_NAME, Faceset, FacesetWriter
from dflcore.progress import LoggedRun
from dflcore.types import Authorization, FaceType, FloatArray

FACE_COUNT = 100_000
SMALL_PX = 64
"""Side of the pictures of the large set, so that it is made in seconds."""
REAL_PX = 256
"""Side of those that rates of reading and measuring are taken on."""
REAL_COUNT = 128
PLATE_COUNT = 4
PICTURE_KINDS = 64
QUADRATIC = ("hist", "hist-dissim", "absdiff", "best", "best-fast", "near-duplicate")
"""Sorts that compare faces with each other."""
QUADRATIC_COUNT = 4000
FILTERS = (
    "abs(yaw) < 40 and sharpness > 0.002",
    'plate like "*shot2*" and not (track in (1, 3))',
    "mouth_open > 0.1 or eye_left < 0.05",
)
_INSERT_BLOCK = 10_000
_WRITE_FACE = (
    "INSERT INTO face (name, plate_id, frame, face_index, plate_width, plate_height, box, score, layout, landmarks, "
    "aligned_from_plate, pitch, yaw, roll, sharpness, detector, landmarker, identity, track_id) "
    "VALUES (?, ?, ?, 0, 1920, 1080, ?, ?, 'ibug68', ?, ?, ?, ?, ?, ?, 'dlib_hog', 'dlib68', ?, ?)"
)


def bench_facesets(
    folder: Path,
    *,
    face_count: int = FACE_COUNT,
    quadratic_count: int = QUADRATIC_COUNT,
    real_count: int = REAL_COUNT,
    repeats: int = 3,
) -> list[Figure]:
    """Open, list, filter, sort, sample and measure a set of ``face_count`` faces made in ``folder``.

    Args:
        quadratic_count: faces on which sorts that compare all faces with each other are timed; what they would take on
            the whole set is a figure of its own that says it is extrapolated.
        real_count: full-size faces on which reading and measuring are timed.
        repeats: of everything short.
    """
    large = folder / "large"
    started = time.perf_counter()
    make_faceset(large, face_count, SMALL_PX)
    made_s = time.perf_counter() - started
    note = f"{face_count} faces, {SMALL_PX} px, files in the system's cache"
    figures = [Figure(stage="facesets", name="making the set", value=made_s, unit="s", note=note)]
    figures += _bench_opening(large, repeats, note)
    figures += _bench_sorts(large, repeats, note)
    figures += _bench_sampling(large, note)
    figures += _bench_disk(large, face_count)
    fill_metrics(large)
    figures += _bench_measured_sorts(large, repeats, note)
    figures += _bench_quadratic_sorts(large, min(quadratic_count, face_count), face_count)
    return figures + _bench_real_size(folder / "real", real_count, face_count)


def make_faceset(path: Path, face_count: int, size: int) -> None:
    """A faceset of ``face_count`` faces in :data:`PLATE_COUNT` plates; few pictures, written over and over.

    The rows go into the index in one transaction: the writer's own way, flushing every picture, is for real faces.
    """
    with FacesetWriter(
        path, face_type=FaceType.FULL, aligned_size=size, settings={}, authorization=Authorization()
    ) as writer:
        writer.add_frame("made-up_shot1.####.exr", 1, (1920, 1080), [])
    rng = np.random.default_rng(0)
    encoded = [cv2.imencode(".png", _picture(rng, size))[1].tobytes() for _ in range(PICTURE_KINDS)]
    names = [f"shot{number % PLATE_COUNT + 1}_{number // PLATE_COUNT + 1001:06d}_0.png" for number in range(face_count)]
    for number, name in enumerate(names):
        descriptor = os.open(path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, encoded[number % PICTURE_KINDS])
        os.close(descriptor)
    with contextlib.closing(sqlite3.connect(path / INDEX_NAME)) as database, database:
        for number in range(PLATE_COUNT):
            database.execute("INSERT OR IGNORE INTO plate (name) VALUES (?)", (f"made-up_shot{number + 1}.####.exr",))
        for start in range(0, face_count, _INSERT_BLOCK):
            database.executemany(_WRITE_FACE, _rows(rng, names[start : start + _INSERT_BLOCK], start, size))


def fill_metrics(path: Path) -> None:
    """Measures for every face of a made-up set: real ones of its few pictures, varied by chance."""
    rng = np.random.default_rng(1)
    table = FaceTable.open(path)
    with Faceset.open(path) as faceset, MetricStore.open(path, create=True) as store:
        kinds = [
            measure_face(faceset.read_image(table.names[row]), table.aligned_landmarks[row])
            for row in range(min(PICTURE_KINDS, len(table)))
        ]
        stamps = store.stamps_on_disk()
        for start in range(0, len(table), _INSERT_BLOCK):
            names = table.names[start : start + _INSERT_BLOCK]
            store.put([(name, stamps[name], _varied(rng, kinds[int(rng.integers(len(kinds)))])) for name in names])


def _varied(rng: np.random.Generator, found: FaceMetrics) -> FaceMetrics:
    gray, masked = (np.roll(counts, int(rng.integers(0, 60))) for counts in (found.gray, found.gray_masked))
    noise = rng.integers(0, 12, found.thumb.shape, dtype=np.uint8)
    return FaceMetrics(
        blur=float(rng.uniform(0.1, 0.9)),
        motion_blur=found.motion_blur * float(rng.uniform(0.5, 2.0)),
        brightness=float(rng.uniform(40.0, 200.0)),
        hue=float(rng.uniform(0.0, 179.0)),
        black=int(rng.integers(0, 2000)),
        phash=int(rng.integers(-(2**63), 2**63)),
        gray_masked=masked,
        gray=gray,
        color=np.roll(found.color, int(rng.integers(0, 60))),
        thumb=np.asarray(cv2.add(found.thumb, noise), dtype=np.uint8),
    )


def _picture(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    blocks = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(blocks, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _rows(rng: np.random.Generator, names: list[str], start: int, size: int) -> Iterator[tuple[object, ...]]:
    count = len(names)
    yaw, pitch, roll = rng.normal(0.0, (0.4, 0.2, 0.1), (count, 3)).T
    marks = _turned_heads(rng, yaw, pitch, size)
    shift = rng.uniform(100.0, 900.0, (count, 2))
    sides = rng.uniform(60.0, 500.0, (count, 2))
    boxes = np.concatenate([shift, shift + sides], axis=1).astype("<f8")
    aligned = np.zeros((count, 2, 3), dtype="<f8")
    aligned[:, 0, 0] = aligned[:, 1, 1] = 1.0
    aligned[:, :, 2] = -shift
    plate_marks = (marks + shift[:, None]).astype("<f4")
    identity = rng.normal(0.0, 0.1, (count, 128)).astype("<f4")
    score, sharpness = rng.uniform(0.0, 3.0, count), rng.gamma(2.0, 0.002, count)
    for row, name in enumerate(names):
        number = start + row
        yield (
            name,
            number % PLATE_COUNT + 1,
            number // PLATE_COUNT + 1001,
            boxes[row].tobytes(),
            float(score[row]),
            plate_marks[row].tobytes(),
            aligned[row].tobytes(),
            float(pitch[row]),
            float(yaw[row]),
            float(roll[row]),
            float(sharpness[row]),
            identity[row].tobytes(),
            number % 5 or None,
        )


def _turned_heads(
    rng: np.random.Generator, yaw: NDArray[np.float64], pitch: NDArray[np.float64], size: int
) -> FloatArray:
    """(n, 68, 2) aligned pixels of heads that talk, seen without perspective."""
    heads = np.repeat(HEAD_MODEL[None], len(yaw), axis=0)
    heads[:, [65, 66, 67, *range(55, 60)], 1] += rng.gamma(1.0, 8.0, (len(yaw), 1))
    x = heads[..., 0] * np.cos(yaw)[:, None] + heads[..., 2] * np.sin(yaw)[:, None]
    y = heads[..., 1] * np.cos(pitch)[:, None] - heads[..., 2] * np.sin(pitch)[:, None]
    return np.asarray(np.stack([x, y], axis=-1) * (size / 200.0) + size / 2.0, dtype=np.float32)


def _bench_opening(path: Path, repeats: int, note: str) -> list[Figure]:
    def open_faceset() -> None:
        Faceset.open(path).close()

    def list_records() -> None:
        with Faceset.open(path) as faceset:
            for _ in faceset.records():
                pass

    figures = [
        _seconds("open", open_faceset, repeats, note),
        _seconds("open as columns", lambda: FaceTable.open(path), repeats, note),
        _seconds("list every record", list_records, 1, note),
    ]
    for where in FILTERS:
        figures.append(
            _seconds(
                "filter, columns read before", _filtering(FaceTable.open(path), where), repeats, f"{where}; {note}"
            )
        )
    return figures


def _filtering(table: FaceTable, where: str) -> Callable[[], object]:
    return lambda: Filter(where).select(table)


def _bench_sorts(path: Path, repeats: int, note: str) -> list[Figure]:
    """Sorts that need no pixels, on a table just opened: reading the columns they need counts."""

    def sort(by: str) -> Callable[[], object]:
        def work() -> None:
            table = FaceTable.open(path)
            started = time.perf_counter()
            sort_faces(table, by)
            taken.append(time.perf_counter() - started)

        return work

    figures = []
    for by, entry in SORTS.items():
        if not entry.needs_pixels:
            taken: list[float] = []
            median_seconds(sort(by), repeats)
            value = float(np.median(taken[1:]))
            figures.append(Figure(stage="facesets", name=f"sort {by}", value=value, unit="s", note=note))
    return figures


def _bench_measured_sorts(path: Path, repeats: int, note: str) -> list[Figure]:
    return [
        _seconds(f"sort {by}", lambda by=by: sort_faces(FaceTable.open(path), by), repeats, f"measured before; {note}")  # type: ignore[misc]
        for by, entry in SORTS.items()
        if entry.needs_pixels and by not in QUADRATIC
    ]


def _bench_quadratic_sorts(path: Path, count: int, face_count: int) -> list[Figure]:
    table = FaceTable.open(path)
    part = table.take(np.arange(count))
    figures = []
    for by in QUADRATIC:
        started = time.perf_counter()
        sort_faces(part, by)
        seconds = time.perf_counter() - started
        note = f"{count} faces, measured before"
        figures.append(Figure(stage="facesets", name=f"sort {by}", value=seconds, unit="s", note=note))
        if by in ("hist", "absdiff"):  # chunk by chunk above a limit
            pairs = sum(min(CHUNK_FACES, face_count - start) ** 2 for start in range(0, face_count, CHUNK_FACES))
        else:
            pairs = face_count**2
        if by in ("hist", "hist-dissim", "absdiff") and face_count > count:
            whole = f"{face_count} faces, extrapolated from {count} by the square"
            value = seconds * pairs / count**2
            figures.append(Figure(stage="facesets", name=f"sort {by}", value=value, unit="s", note=whole))
    return figures


def _bench_sampling(path: Path, note: str, *, seconds: float = 2.0) -> list[Figure]:
    """Random faces with their rows, one after the other in one thread."""
    rng = np.random.default_rng(2)
    with Faceset.open(path) as faceset:
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            name = faceset.names[int(rng.integers(len(faceset.names)))]
            faceset.record(name)
            faceset.read_image(name)
            done += 1
        rate = done / (time.perf_counter() - started)
    return [
        Figure(stage="facesets", name="random sampling", value=rate, unit="faces/s", note=f"picture and row; {note}")
    ]


def _bench_disk(path: Path, face_count: int) -> list[Figure]:
    pictures = sum(entry.stat().st_size for entry in os.scandir(path) if entry.name.endswith(".png"))
    index = (path / INDEX_NAME).stat().st_size
    note = f"{face_count} faces"
    return [
        Figure(stage="facesets", name="index on disk", value=index / 1e6, unit="MB", note=note),
        Figure(stage="facesets", name="index per face", value=index / face_count, unit="bytes", note=note),
        Figure(
            stage="facesets", name="pictures on disk", value=pictures / 1e6, unit="MB", note=f"{SMALL_PX} px; {note}"
        ),
    ]


def _bench_real_size(path: Path, count: int, face_count: int) -> list[Figure]:
    """Rates on pictures of the usual size."""
    make_faceset(path, count, REAL_PX)
    started = time.perf_counter()
    measure(path, LoggedRun())
    rate = count / (time.perf_counter() - started)
    cores = os.cpu_count() or 1
    note = f"{count} faces, {REAL_PX} px PNG, {cores} threads"
    cache = (path / "metrics.sqlite").stat().st_size / count
    whole = f"{face_count} faces, extrapolated from {count}"
    return [
        *_bench_sampling(path, f"{count} faces, {REAL_PX} px PNG, files in the system's cache"),
        Figure(stage="facesets", name="measure", value=rate, unit="faces/s", note=note),
        Figure(stage="facesets", name="measure all", value=face_count / rate, unit="s", note=whole),
        Figure(stage="facesets", name="measures on disk", value=cache, unit="bytes per face", note=note),
    ]


def _seconds(name: str, work: Callable[[], object], repeats: int, note: str) -> Figure:
    return Figure(stage="facesets", name=name, value=median_seconds(work, repeats), unit="s", note=note)
