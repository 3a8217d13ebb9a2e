"""The benchmarks themselves, one function per stage; each returns figures measured in this run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np

from dflcore.bench.figures import Figure, median_seconds
from dflcore.bench.material import FIRST_FRAME, PATTERN, PLATE_SIZE, shoot_bench_plate
from dflcore.bench.watched import (
    Stopwatch,
    WatchedConverter,
    frames_at_once,
    resolved_settings,
    watched_networks,
)
from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.extract.cut import FaceCutter
from dflcore.extract.look import Looker
from dflcore.extract.pipeline import extract_faces
from dflcore.extract.plan import plan_faces
from dflcore.extract.sightings import Look
from dflcore.io.exr import COMPRESSIONS, ExrLayer, write_exr
from dflcore.io.faceset import Faceset, FacesetWriter
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Window
from dflcore.io.stills import read_still
from dflcore.merge.pipeline import merge_range
from dflcore.merge.swapper import open_swapper
from dflcore.progress import LoggedRun
from dflcore.train.trainer import train
from dflcore.types import Authorization
from dflcore.weights.store import WeightStore

_SIZE_TEXT = f"{PLATE_SIZE[0]}x{PLATE_SIZE[1]}"
_REST = "rest of looking"
_STEPS = ("read", "convert", "detect", "locate", "identity", _REST, "plan", "cut", "write")
"""Of an extraction. Frames are read twice, once for looking and once for cutting; ``convert`` is in both too."""


def bench_exr(folder: Path, *, repeats: int = 5) -> list[Figure]:
    """Reading and writing RGBA half frames; MB are those of the pixels in memory."""
    plate = shoot_bench_plate(folder / "exr", 1, "target")
    rgb = read_still(Path(plate.replace("####", "1001"))).pixels
    pixels = np.concatenate([rgb[..., :3], np.ones_like(rgb[..., :1])], axis=-1)
    window = Window(x=0, y=0, width=PLATE_SIZE[0], height=PLATE_SIZE[1])
    layer = ExrLayer(name="", channels=("R", "G", "B", "A"), pixels=pixels)
    megabytes = pixels.nbytes / 1e6
    figures = []
    for compression in ("zip", "zips", "piz", "none"):
        if compression not in COMPRESSIONS:
            continue
        path = folder / "exr" / f"{compression}.exr"

        def write(path: Path = path, compression: str = compression) -> None:
            write_exr(path, layers=[layer], data_window=window, display_window=window, compression=compression)

        note = f"{_SIZE_TEXT} RGBA half, {compression}, flushed to disk"
        figures.append(
            Figure(stage="exr", name="write", value=megabytes / median_seconds(write, repeats), unit="MB/s", note=note)
        )
        seconds = median_seconds(lambda path=path: read_still(path), repeats)  # type: ignore[misc]
        figures.append(Figure(stage="exr", name="read", value=megabytes / seconds, unit="MB/s", note=note))
    return figures


def bench_extract(folder: Path, *, frame_count: int = 24) -> list[Figure]:
    """Plate to faceset with the default settings, then the target again, cut anew only, and step by step.

    Leaves ``target_faces`` and ``source_faces`` for other stages.
    """
    extract_side(folder, "source", frame_count)
    seconds, faces = extract_side(folder, "target", frame_count)
    note = f"{_SIZE_TEXT} EXR, one face, dlib_hog + dlib68, identity, {frame_count} frames, models loaded inside"
    again = ExtractSettings(smoothing_radius=ExtractSettings().smoothing_radius - 1)
    cut_seconds, _ = extract_side(folder, "target", frame_count, again)
    cut_note = f"the same, landmarks known from the run before, all {frame_count} faces smoothed and cut anew"
    return [
        Figure(stage="extract", name="rate", value=frame_count / seconds, unit="frames/s", note=note),
        Figure(stage="extract", name="faces found", value=faces / frame_count, unit="per frame", note=note),
        Figure(stage="extract", name="faces", value=faces / seconds, unit="faces/s", note=note),
        Figure(stage="extract", name="rate, cut half", value=frame_count / cut_seconds, unit="frames/s", note=cut_note),
        *_bench_steps(folder, frame_count),
    ]


def extract_side(
    folder: Path, side: str, frame_count: int, settings: ExtractSettings | None = None
) -> tuple[float, int]:
    """Seconds and faces of extracting one portrait's plate, which is shot when needed, to ``<side>_faces``."""
    pattern = folder / side / PATTERN
    if not pattern.parent.exists():
        shoot_bench_plate(folder / side, frame_count, side)
    with contextlib.closing(open_plate(str(pattern))) as plate:
        started = time.perf_counter()
        result = extract_faces(
            plate, folder / f"{side}_faces", settings or ExtractSettings(), LoggedRun(), store=WeightStore()
        )
        return time.perf_counter() - started, result.faces


def _bench_steps(folder: Path, frame_count: int) -> list[Figure]:
    """What an extraction does, one step after the other in one thread; models are loaded before."""
    watch = Stopwatch()
    converter = WatchedConverter(watch)
    settings = resolved_settings("dlib_hog", "dlib68", "cpu")
    networks = watched_networks(settings, WeightStore(), "cpu", watch)
    assert networks.encoder is not None
    distance = networks.encoder.same_person_distance
    looker = Looker(networks, settings, converter)
    batch = frames_at_once(settings.detector, "cpu")
    with contextlib.ExitStack() as stack:
        plate = stack.enter_context(contextlib.closing(open_plate(str(folder / "target" / PATTERN))))
        looker.look([plate.read(FIRST_FRAME)], [()])
        watch.seconds.clear()
        looks: list[Look] = []
        frames = list(plate.frames)
        for at in range(0, len(frames), batch):
            with watch.part("read"):
                images = [plate.read(number) for number in frames[at : at + batch]]
            with watch.part(_REST):
                looks += looker.look(images, [()] * len(images))
        with watch.part("plan"):
            plan = plan_faces(looks, settings, same_person_distance=distance)
        writer = stack.enter_context(
            FacesetWriter(
                folder / "step_faces",
                face_type=settings.face_type,
                aligned_size=settings.aligned_size,
                settings={},
                authorization=Authorization(),
            )
        )
        cutter = FaceCutter(plate, settings, converter, "bench", lambda _track, _frame: None)
        for number in plate.frames:
            with watch.part("read"):
                image = plate.read(number)
            with watch.part("cut"):
                pairs = cutter.cut(image, plan.faces.get(number, ()))
            with watch.part("write"):
                writer.add_frame(plate.name, number, plate.size, list(pairs))
    total = sum(watch.seconds.values())
    return [
        Figure(
            stage="extract",
            name=name,
            value=1000.0 * watch.seconds[name] / frame_count,
            unit="ms/frame",
            note=f"{100.0 * watch.seconds[name] / total:.0f} % of the steps, one after the other, {frame_count} frames",
        )
        for name in _STEPS
    ]


def bench_merge(folder: Path, *, frame_count: int = 24) -> list[Figure]:
    """Merging half-float EXR in and out with the quick network. Needs the facesets of :func:`bench_extract`."""
    with Faceset.open(folder / "source_faces") as source, Faceset.open(folder / "target_faces") as target:
        model_path = folder / "model_merge"
        train(TrainSettings(iterations=1), source, target, model_path)
        swapper, _ = open_swapper(model_path)
        figures = []
        for layers, what in ((MergeSettings().layers, "all layers"), ("", "beauty only")):
            settings = MergeSettings(layers=layers)
            plate = open_plate(str(folder / "target" / "bench.####.exr"))
            output = str(folder / f"merged_{'all' if layers else 'beauty'}" / "merged.####.exr")
            started = time.perf_counter()
            result = merge_range(plate, swapper, target, output, settings, LoggedRun(), converter=ColorConverter())
            wall_ms = 1000.0 * (time.perf_counter() - started) / frame_count
            plate.close()
            note = f"{_SIZE_TEXT} half EXR in and out, one face, {what}, {frame_count} frames"
            figures += _merge_figures(wall_ms, dict(result.steps_ms), note)
    return figures


def _merge_figures(wall_ms: float, steps_ms: dict[str, float], note: str) -> list[Figure]:
    files = steps_ms.get("read", 0.0) + steps_ms.get("write", 0.0)
    network = steps_ms.get("network", 0.0)
    rest = sum(steps_ms.values()) - files - network
    figures = [Figure(stage="merge", name="total", value=wall_ms, unit="ms/frame", note=note)]
    figures += [
        Figure(stage="merge", name=name, value=value, unit="ms/frame", note=note) for name, value in steps_ms.items()
    ]
    figures.append(
        Figure(stage="merge", name="everything but network and files", value=rest, unit="ms/frame", note=note)
    )
    return figures
