"""The benchmarks themselves, one function per stage; each returns figures measured in this run."""

from __future__ import annotations

import contextlib
import statistics
import time
from pathlib import Path

import numpy as np

from dflcore.bench.figures import Figure, median_seconds
from dflcore.bench.material import PLATE_SIZE, shoot_bench_plate
from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.train import TrainSettings
from dflcore.extract.pipeline import extract_faces
from dflcore.io.exr import COMPRESSIONS, ExrLayer, write_exr
from dflcore.io.faceset import Faceset
from dflcore.io.plate import Window, open_plate
from dflcore.io.stills import read_still
from dflcore.merge.pipeline import merge_range
from dflcore.merge.swapper import open_swapper
from dflcore.models.registry import load_preset
from dflcore.progress import LoggedRun
from dflcore.train import session
from dflcore.train.trainer import Trainer, train
from dflcore.weights.store import WeightStore

WARM_UP_STEPS = 3
_SIZE_TEXT = f"{PLATE_SIZE[0]}x{PLATE_SIZE[1]}"


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
    """Plate to faceset with the default settings; leaves ``target_faces`` and ``source_faces`` for other stages."""
    figures = []
    for side in ("target", "source"):
        seconds, faces = _extract(folder, side, frame_count)
        if side == "target":
            note = f"{_SIZE_TEXT} EXR, one face, {frame_count} frames, models loaded inside"
            figures.append(
                Figure(stage="extract", name="rate", value=frame_count / seconds, unit="frames/s", note=note)
            )
            figures.append(
                Figure(stage="extract", name="faces found", value=faces / frame_count, unit="per frame", note=note)
            )
    return figures


def bench_train(folder: Path, *, preset: str = "quick", steps: int = 20, batch_size: int | None = None) -> list[Figure]:
    """Time of a training step, split into data and computing. Needs the facesets of :func:`bench_extract`."""
    settings = TrainSettings(preset=preset, batch_size=batch_size, iterations=10_000_000)
    model_path = folder / f"model_{preset}_{time.monotonic_ns()}"
    data_ms: list[float] = []
    step_ms: list[float] = []
    with (
        Faceset.open(folder / "source_faces") as source,
        Faceset.open(folder / "target_faces") as target,
    ):
        model_folder = session.open_or_create_model(settings, model_path, source.face_type)
        with (
            model_folder.lock(),
            contextlib.closing(Trainer(settings, source, target, model_folder, LoggedRun())) as trainer,
        ):
            for _ in range(WARM_UP_STEPS):
                trainer.step()
            for _ in range(steps):
                before = (trainer.step_times.data_s, trainer.step_times.compute_s)
                trainer.step()
                data_ms.append(1000.0 * (trainer.step_times.data_s - before[0]))
                step_ms.append(data_ms[-1] + 1000.0 * (trainer.step_times.compute_s - before[1]))
    batch = batch_size or load_preset(preset).recipe.batch_size
    note = f"{preset}, batch {batch}+{batch}, {steps} steps"
    step, data = statistics.median(step_ms), statistics.median(data_ms)
    return [
        Figure(stage="train", name="step", value=step, unit="ms", note=note),
        Figure(stage="train", name="data", value=data, unit="ms", note=note),
        Figure(stage="train", name="data share of the step", value=100.0 * data / step, unit="%", note=note),
        Figure(stage="train", name="rate", value=2000.0 * batch / step, unit="faces/s", note=note),
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


def _extract(folder: Path, side: str, frame_count: int) -> tuple[float, int]:
    """Seconds and faces of extracting one side."""
    plate = open_plate(shoot_bench_plate(folder / side, frame_count, side))
    started = time.perf_counter()
    result = extract_faces(plate, folder / f"{side}_faces", ExtractSettings(), LoggedRun(), store=WeightStore())
    seconds = time.perf_counter() - started
    plate.close()
    return seconds, result.faces
