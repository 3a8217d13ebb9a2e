"""Merging at the reference's own settings, look by look: whole merges, and the work on a face by itself.

The plate, the face and the network (``quick96``, untrained; what it paints is put aside for a stand-in's picture, so
that mattes are as large as a trained network's) are those at which the reference was measured elsewhere: two cores,
8-bit PNG in, nothing written. So the factors beside the figures are a scale rather than a proof.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dflcore.bench.figures import Figure
from dflcore.bench.merging import CASES, MergeCase, PassingSwapper, shoot_plates, write_case_faceset
from dflcore.color.ocio import ColorConverter
from dflcore.config.cast_text import parse_casting
from dflcore.config.merge import MergeSettings
from dflcore.errors import NotFound
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import PlateImage
from dflcore.merge.aovs import FrameLayout
from dflcore.merge.casting import Cast
from dflcore.merge.pipeline import merge_range, select_records
from dflcore.merge.rendering import FrameRenderer, arrange_files
from dflcore.merge.stages import StepClock
from dflcore.merge.swapper import FaceSwapper
from dflcore.merge.temporal import Tracks
from dflcore.models.registry import load_preset
from dflcore.progress import LoggedRun

_STAGE = "looks"
_PRESET = "quick96"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One row of the reference's table.

    Attributes:
        settings: what differs from an overlay without colour transfer.
        total_ms: of the reference at 1280x720 and a face of 324 px, network and reading of an 8-bit PNG included.
        rest_ms: the same without the network.
    """

    title: str
    settings: Mapping[str, str] = field(default_factory=dict)
    total_ms: float
    rest_ms: float


LOOKS = (
    Look(title="overlay, no colour transfer", total_ms=172.0, rest_ms=105.0),
    Look(title="overlay, rct", settings={"color_transfer": "rct"}, total_ms=174.0, rest_ms=119.0),
    Look(title="overlay, mkl", settings={"color_transfer": "mkl"}, total_ms=190.0, rest_ms=97.0),
    Look(title="overlay, idt", settings={"color_transfer": "idt"}, total_ms=231.0, rest_ms=150.0),
    Look(title="overlay, sot", settings={"color_transfer": "sot"}, total_ms=556.0, rest_ms=429.0),
    Look(title="seamless", settings={"mode": "seamless"}, total_ms=201.0, rest_ms=124.0),
    Look(title="seamless, rct", settings={"mode": "seamless", "color_transfer": "rct"}, total_ms=231.0, rest_ms=189.0),
)
"""Read inside both figures: 23 ms."""


class WorkingSwapper(PassingSwapper):
    """Runs an untrained network for the time it takes, and answers what the stand-in paints."""

    def __init__(self, resolution: int, preset_name: str = _PRESET) -> None:
        super().__init__(resolution)
        preset = load_preset(preset_name)
        self._model = preset.build(preset.resolve_network({"resolution": resolution})).eval()

    def swap(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`dflcore.merge.swapper.FaceSwapper`."""
        with torch.inference_mode():
            self._model.swap(target)
        return super().swap(target)


def bench_looks(folder: Path, *, frame_count: int = 24, case: MergeCase = CASES[0], repeats: int = 9) -> list[Figure]:
    """Every look: a whole merge of the beauty with the network, and the work on a face with nothing beside."""
    pattern = shoot_plates(folder / "plate", case.plate, frame_count)
    write_case_faceset(folder / "faces", pattern, case, frame_count)
    swapper = WorkingSwapper(case.resolution)
    figures: list[Figure] = []
    with Faceset.open(folder / "faces") as faceset, contextlib.closing(open_plate(pattern)) as plate:
        with ThreadPoolExecutor(1) as pool:  # OpenColorIO is slow in a thread that has read files
            image = pool.submit(plate.read, plate.frames.frames[0]).result()
        records, _ = select_records(plate, faceset)
        tracks = Tracks.steadied(records, 0)
        for number, look in enumerate(LOOKS):
            settings = MergeSettings.model_validate(
                {"layers": "", "color_transfer": "none", "overwrite": True, **look.settings}
            )
            alone_ms = _alone_ms(image, swapper, tracks, settings, repeats)
            output = str(folder / f"merged_{number}" / "merged.####.exr")
            started = time.perf_counter()
            merge_range(plate, swapper, faceset, output, settings, LoggedRun(), converter=ColorConverter())
            total_ms = 1000.0 * (time.perf_counter() - started) / frame_count
            figures += _figures(look, case, frame_count, total_ms, alone_ms)
    return figures


def _alone_ms(image: PlateImage, swapper: FaceSwapper, tracks: Tracks, settings: MergeSettings, repeats: int) -> float:
    """Median of everything between reading and writing but the network."""
    clock = StepClock()
    cast = Cast(parse_casting(""), swapper, _no_part)
    renderer = FrameRenderer(cast, ColorConverter(), tracks, settings, clock=clock)
    layout = FrameLayout(settings.profile, (), people=(), square=swapper.resolution, compression=settings.compression)

    def work() -> float:
        network_ms = clock.milliseconds_per(1).get("network", 0.0)
        started = time.perf_counter()
        light = renderer.develop(image)
        arrange_files(layout, renderer.finish(light, renderer.prepare(light, {})))
        return 1000.0 * (time.perf_counter() - started) - (clock.milliseconds_per(1)["network"] - network_ms)

    work()
    return statistics.median(work() for _ in range(repeats))


def _figures(look: Look, case: MergeCase, frame_count: int, total_ms: float, alone_ms: float) -> list[Figure]:
    conditions = f"{case.title}, {_PRESET}, half EXR in and out, beauty only, {frame_count} frames"
    values = (
        ("total", total_ms, "ms/frame", conditions),
        ("total, reference over ours", look.total_ms / total_ms, "x", f"{look.total_ms:.0f} ms, measured elsewhere"),
        ("no network, no files, alone", alone_ms, "ms/frame", case.title),
        ("the same, reference over ours", look.rest_ms / alone_ms, "x", f"{look.rest_ms:.0f} ms, its reading included"),
    )
    return [
        Figure(stage=_STAGE, name=f"{look.title}: {name}", value=value, unit=unit, note=note)
        for name, value, unit, note in values
    ]


def _no_part(part: object) -> FaceSwapper:
    raise NotFound(f"The benchmark has no model {part}.", reason="MODEL_NOT_LOADED")
