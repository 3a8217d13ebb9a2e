"""What finding and describing faces costs: every detector and landmarker, identity, and the usual paths through them.

Weights that are not here are replaced by untrained ones of the same network: they take as long. Decoding is timed as it
is on a frame with few faces; what an untrained network answers is replaced by what the embedded detector saw.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import dlib
import torch

from dflcore.bench.figures import Figure
from dflcore.bench.material import PLATE_SIZE, shoot_bench_plate
from dflcore.bench.untrained import fill_store
from dflcore.bench.watched import (
    MeanHeadLandmarker,
    Stopwatch,
    WatchedConverter,
    WatchedLocator,
    detect_size,
    frames_at_once,
    looks_at_once,
    resolved_settings,
    watched_networks,
)
from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import DETECTORS, create_detector, scale_detections
from dflcore.detect.batch import detect_batch
from dflcore.errors import InvalidInput, NotFound, Unsupported
from dflcore.extract.frame_view import FaceView, FrameView
from dflcore.extract.look import Looker, Networks
from dflcore.identity.base import DEFAULT_ENCODER, create_identity_encoder
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import PlateImage
from dflcore.landmark.base import LANDMARKERS, Landmarker, create_landmarker
from dflcore.types import Detection
from dflcore.weights.store import WeightStore

STAGE: Final = "detectors"
FRAMES: Final = 6
LEAST_CALLS: Final = 3
REFERENCE_FRAMES_PER_S: Final = {"cpu": 0.62, "cuda": 3.0}
"""The reference implementation with S3FD and 2DFAN, as its users posted: on a CPU, and on a GeForce RTX 3070 Ti."""
REFERENCE_PATH: Final = ("s3fd", "fan2d")
_PATHS: Final = (("dlib_hog", "dlib68"), REFERENCE_PATH)
_WEIGHTS_OF_LANDMARKER: Final = {"dlib68": "dlib_landmarks_68", "mesh468": "face_mesh_468", "fan2d": "fan2d"}
_ON_THE_DEVICE: Final = ("s3fd", "retinaface", "blazeface", "fan2d")
"""Components that run where torch does; dlib's networks and those of onnxruntime only in builds made for it."""
_EMBEDDED: Final = "dlib_hog"

T = TypeVar("T")


def bench_detectors(
    folder: Path,
    *,
    store: WeightStore | None = None,
    frame_count: int = FRAMES,
    names: Collection[str] | None = None,
    devices: Sequence[str] | None = None,
    say: Callable[[str], object] | None = None,
) -> list[Figure]:
    """Time of every detector and landmarker, of the identity encoder, and of whole looks at a frame with one face.

    Args:
        folder: where the plate and untrained weights go.
        store: weights to use where it has them.
        names: components to measure; all that are registered by default.
        devices: torch devices; by default the CPU, and CUDA where it is.
        say: told of every component that is left out, and why.
    """
    store, untrained = fill_store(folder / "weights", WeightStore() if store is None else store, components=names)
    bench = _Bench.create(folder, store, untrained, frame_count, names)
    say = say or (lambda _: None)
    figures: list[Figure] = []
    for device in devices or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]):
        for name in bench.asked(DETECTORS.names(), device):
            with _leaving_out(name, say):
                figures.append(bench.detector(name, device))
        for name in bench.asked(LANDMARKERS.names(), device):
            with _leaving_out(name, say):
                figures.append(bench.landmarker(name, device))
        for name in bench.asked([DEFAULT_ENCODER], device):
            figures.append(bench.identity(name, device))
        for path in _PATHS:
            if len(bench.asked(path, device)) == len(path):
                figures += bench.path(*path, device)
    return figures


@contextlib.contextmanager
def _leaving_out(name: str, say: Callable[[str], object]) -> Iterator[None]:
    try:
        yield
    except NotFound:
        say(f"{name} is left out: its weights are not here; `dfl weights list` says where they may be put.")
    except Unsupported as error:
        say(f"{name} is left out: {error.message}")


@dataclass(frozen=True, slots=True)
class _Bench:
    """Frames with a face that is known, and what is measured on them.

    Attributes:
        images: the frames.
        views: the same for the networks.
        known: per frame its face as the embedded detector sees it, in pixels of the frame shrunk to ``known_size``.
        faces: per frame what the landmarkers are shown.
        names: components asked for, None for all.
    """

    store: WeightStore
    untrained: frozenset[str]
    images: list[PlateImage]
    views: list[FrameView]
    known: list[list[Detection]]
    faces: list[FaceView]
    names: Collection[str] | None

    @classmethod
    def create(
        cls,
        folder: Path,
        store: WeightStore,
        untrained: frozenset[str],
        frame_count: int,
        names: Collection[str] | None,
    ) -> _Bench:
        with contextlib.closing(open_plate(shoot_bench_plate(folder / "detect", frame_count, "target"))) as plate:
            images = [plate.read(number) for number in plate.frames]
        converter = ColorConverter()
        views = [FrameView(image, converter) for image in images]
        small = [view.shrunk(detect_size(_EMBEDDED)) for view in views]
        known = detect_batch(create_detector(_EMBEDDED, store), small)
        if not all(known):
            raise InvalidInput("The face of the benchmark's plate is not found.", reason="NO_FACE_FOUND")
        faces = [
            view.face(view.in_plate(found[0], shrunk).box)
            for view, found, shrunk in zip(views, known, small, strict=True)
        ]
        return cls(store, untrained, images, views, [found[:1] for found in known], faces, names)

    def asked(self, components: Sequence[str], device: str) -> list[str]:
        """Those to be measured on a device."""
        return [
            name
            for name in components
            if (self.names is None or name in self.names) and (device == "cpu" or _runs_on_gpu(name))
        ]

    def detector(self, name: str, device: str) -> Figure:
        """Network and decoding; the frame is shrunk and converted before."""
        size, batch = detect_size(name), frames_at_once(name, device)
        detector = create_detector(name, self.store, device=device)
        small = [view.shrunk(size) for view in self.views]
        works = [partial(detect_batch, detector, group) for group in _groups(small, batch)]
        seconds = _median(works) / batch
        height, width = small[0].shape[:2]
        note = self._note(f"{width}x{height}, {_counted(batch, 'frame')} at once", [name], device)
        return _figure(name, seconds, "frame", note)

    def landmarker(self, name: str, device: str) -> Figure:
        """From a box to the landmarks as an extraction has them."""
        looks = looks_at_once(name, device)
        locator = WatchedLocator(self._landmarker(name, device), name, Stopwatch(), looks=looks)
        seconds = _median([partial(locator.locate, face.image, face.box) for (face,) in _groups(self.faces, 1)])
        note = self._note(f"2 passes, the last of {_counted(looks, 'look')}", [_weights(name)], device)
        return _figure(name, seconds, "face", note)

    def identity(self, name: str, device: str) -> Figure:
        """From landmarks to the descriptor."""
        encoder = create_identity_encoder(name, self.store, device=device)
        landmarker = create_landmarker("dlib68", self.store)
        shown = [(face.image, landmarker.locate(face.image, face.box)) for face in self.faces]
        seconds = _median([partial(encoder.describe, *one) for (one,) in _groups(shown, 1)])
        return _figure(name, seconds, "face", self._note("one face at once", [], device))

    def path(self, detector: str, landmarker: str, device: str) -> list[Figure]:
        """Looks at whole frames as an extraction does: convert, detect, landmarks, identity."""
        watch = Stopwatch()
        settings = resolved_settings(detector, landmarker, device)
        networks = self._networks(settings, watch, device)
        looker = Looker(networks, settings, WatchedConverter(watch))
        batch = frames_at_once(detector, device)
        warm_up, *groups = _groups(self.images, batch)
        looker.look(warm_up, [()] * batch)
        watch.seconds.clear()
        per_frame: list[float] = []
        faces = 0
        processor = time.process_time()
        for group in groups:
            started = time.perf_counter()
            found = looker.look(group, [()] * batch)
            per_frame.append((time.perf_counter() - started) / batch)
            faces += sum(len(look.sightings) for look in found)
        processor = (time.process_time() - processor) / (len(groups) * batch)
        return self._path_figures(settings, device, (statistics.median(per_frame), processor), faces, watch)

    def _path_figures(
        self, settings: ExtractSettings, device: str, times: tuple[float, float], faces: int, watch: Stopwatch
    ) -> list[Figure]:
        """``times``: seconds and processor seconds of a frame."""
        seconds, processor = times
        detector, landmarker = settings.detector, settings.landmarker
        name, at_once = f"{detector} + {landmarker}", _counted(frames_at_once(detector, device), "frame")
        what = f"{PLATE_SIZE[0]}x{PLATE_SIZE[1]} EXR read before, one face, {at_once} at once, identity included"
        note = self._note(what, [detector, _weights(landmarker)], device)
        per_face = (watch.seconds["locate"] + watch.seconds["identity"]) / max(faces, 1)
        figures = [
            Figure(stage=STAGE, name=name, value=1.0 / seconds, unit="frames/s", note=note),
            Figure(
                stage=STAGE,
                name=f"{name}, landmarks and identity",
                value=1.0 / per_face,
                unit="faces/s",
                note=self._note("the same run", [_weights(landmarker)], device),
            ),
            Figure(
                stage=STAGE,
                name=f"{name}, processor time",
                value=1000.0 * processor,
                unit="ms/frame",
                note="the same run, all threads together",
            ),
        ]
        kind = device.partition(":")[0]
        if (detector, landmarker) == REFERENCE_PATH and kind in REFERENCE_FRAMES_PER_S:
            reference = REFERENCE_FRAMES_PER_S[kind]
            name, ratio = f"{name}, over the reference", 1.0 / seconds / reference
            note = f"the reference's {reference:g} frames/s were posted by a user, on another {kind.upper()}"
            figures.append(Figure(stage=STAGE, name=name, value=ratio, unit="x", note=note))
        return figures

    def _networks(self, settings: ExtractSettings, watch: Stopwatch, device: str) -> Networks:
        answers = itertools.cycle(self._answers(settings.detect_size)) if settings.detector in self.untrained else None
        landmarker = self._landmarker(settings.landmarker, device)
        return watched_networks(settings, self.store, device, watch, landmarker=landmarker, answers=answers)

    def _answers(self, size: int) -> list[list[Detection]]:
        """The known face of every frame in pixels of the frame shrunk to ``size``."""
        scale = size / detect_size(_EMBEDDED)
        return [scale_detections(found, scale, scale) for found in self.known]

    def _landmarker(self, name: str, device: str) -> Landmarker:
        landmarker = create_landmarker(name, self.store, device=device)
        return MeanHeadLandmarker(landmarker) if _weights(name) in self.untrained else landmarker

    def _note(self, what: str, weights: Sequence[str], device: str) -> str:
        threads = _counted(torch.get_num_threads(), "thread")
        where = f"CPU, {threads}" if device == "cpu" else torch.cuda.get_device_name(device)
        speed_only = "; untrained weights, speed only" if self.untrained.intersection(weights) else ""
        return f"{what}, {where}{speed_only}"


def _weights(landmarker: str) -> str:
    return _WEIGHTS_OF_LANDMARKER.get(landmarker, landmarker)


def _runs_on_gpu(name: str) -> bool:
    if name == "dlib_cnn":
        return bool(dlib.DLIB_USE_CUDA)
    return name in (*_ON_THE_DEVICE, DEFAULT_ENCODER)


def _groups(items: Sequence[T], size: int) -> list[list[T]]:
    """All in order, over and over, in groups: the first to warm up with, then as many as there are, or three."""
    endless = itertools.cycle(items)
    count = 1 + max(len(items) // size, LEAST_CALLS)
    return [list(itertools.islice(endless, size)) for _ in range(count)]


def _median(works: Sequence[Callable[[], object]]) -> float:
    """Seconds of one of them; the first does not count."""
    works[0]()
    times: list[float] = []
    for work in works[1:]:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _figure(name: str, seconds: float, what: str, note: str) -> Figure:
    note = f"{1.0 / seconds:.3g} {what}s/s; {note}"
    return Figure(stage=STAGE, name=name, value=1000.0 * seconds, unit=f"ms/{what}", note=note)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
