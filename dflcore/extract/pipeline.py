"""Plate → what its frames show → tracked, steadied, chosen faces → faceset.

Two passes over the plate. The first *looks*: detection, landmarks and identity of every frame not yet looked at, kept
in the sighting store. Then everything known of the plate is planned as a whole (:mod:`dflcore.extract.plan`), and the
second pass *cuts* the faces that are not in the faceset as planned. Other settings thus repeat only the half they
concern. One thread reads files; the calling thread converts colours and does the rest. A frame is looked at or written
whole or not at all, so a run may be stopped or killed anywhere and goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.detect.base import choose_detector
from dflcore.errors import Conflict, InvalidInput, NotFound
from dflcore.extract.corrections import Correction
from dflcore.extract.cut import FaceCutter
from dflcore.extract.ledger import Ledger
from dflcore.extract.look import Looker, Networks
from dflcore.extract.person_folders import known_numbers, number_people, person_folder
from dflcore.extract.plan import Plan, PlannedFace, plan_faces
from dflcore.extract.recut import with_plate_colors
from dflcore.extract.sightings import SightingStore
from dflcore.frames import FrameRange
from dflcore.io.atomic import translate_disk_errors
from dflcore.io.faceset import INDEX_NAME, Faceset, FacesetWriter, lock_faceset
from dflcore.io.mask_carry import MaskMover
from dflcore.io.plate import Plate, PlateImage
from dflcore.landmark.base import choose_landmarker
from dflcore.landmark.locate import DEFAULT_LOOKS
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.types import Authorization, FaceRecord, FloatArray, Origin
from dflcore.weights.store import WeightStore

READ_AHEAD_FRAMES = 3
GPU_BATCH_FRAMES = 8
MAX_SINGLE_NOTICES = 3
"""Frames without a face that are reported one by one; the rest are summed up."""
ANY_DISTANCE = 1.0
"""Where no face has a descriptor and faces are linked by place alone."""
SMALL_FACES_UNSEEN = "dlib_hog"
SLOW_LANDMARKER = "fan2d"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractResult:
    """What an extraction left for the frames it was asked for, earlier runs included.

    Attributes:
        frames: frames examined.
        frames_with_faces: of those.
        faces: faces in them that are in the faceset, or in the facesets of all people.
        interpolated_faces: of those, the ones no detector saw, filled in between their neighbours.
        tracks, people, shots: what the plate as far as it is known holds.
        stopped: why it ended early, None when every frame was done.
    """

    frames: int
    frames_with_faces: int
    faces: int
    interpolated_faces: int = 0
    tracks: int = 0
    people: int = 0
    shots: int = 0
    stopped: StopRequest | None = None


def extract_faces(
    plate: Plate,
    faceset_path: Path,
    settings: ExtractSettings,
    control: RunControl,
    *,
    store: WeightStore,
    converter: ColorConverter | None = None,
    device: str = "auto",
) -> ExtractResult:
    """Find every face of a plate and add it to a faceset, or to one per person.

    Args:
        plate: opened with the range, colour space and missing-frame policy of the settings.
        faceset_path: folder of the faceset, made when needed; of the people's facesets with ``people="separate"``.
        control: told of every frame, asked for a stop before each.
        store: where weights come from.
        converter: of the OCIO config to use; by default that of the settings.
        device: torch device for detector and landmarker; ``auto`` takes CUDA where it is.

    Raises:
        InvalidInput: no frame of the plate shows a face, the person or track asked for is not there, a correction
            leads nowhere, or the colour space is unknown.
        NotFound: unknown component, or its weights are missing.
        Conflict: the faceset holds faces of another type or size, or is being written.
        Unsupported: the faceset was written by a version with another layout.
        DataCorrupt: a frame cannot be read; what was found before it is kept.
    """
    converter = converter or ColorConverter(settings.ocio_config)
    converter.resolve(plate.color_space)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    _check_person(settings)
    settings = _resolve(settings, plate, store, device)
    networks = Networks.create(settings, store, device)
    _report_plate(plate, control)
    run = _Run(plate, settings, converter, control, Looker(networks, settings, converter))
    references = run.describe_references()
    own_distance = ANY_DISTANCE if networks.encoder is None else networks.encoder.same_person_distance
    distance = settings.same_person_distance or own_distance
    with (
        _Home.open(Path(faceset_path), plate.name, settings) as home,
        SightingStore.open(Path(faceset_path)) as sightings,
    ):
        done, stopped = run.look(sightings, batch=settings.detect_batch or _default_batch(settings.detector, device))
        looks = sightings.looks(plate.name, settings.look_digest())
        if stopped is not None:
            return ExtractResult(frames=done, frames_with_faces=0, faces=0, stopped=stopped)
        plan = plan_faces(
            looks,
            settings,
            same_person_distance=distance,
            references=references,
            corrections=sightings.corrections(plate.name),
        )
        faces, done, stopped = run.cut(home.parts(plan, same_person_distance=distance))
    with_faces = {face.frame for face in faces}
    if stopped is None:
        if not any(frame in plan.faces for frame in plate.frames):
            raise _no_face_error(plate, settings)
        run.report_empty([frame for frame in plate.frames if frame not in with_faces])
    return ExtractResult(
        frames=done,
        frames_with_faces=len(with_faces),
        faces=len(faces),
        interpolated_faces=sum(face.origin is Origin.INTERPOLATED for face in faces),
        tracks=plan.track_count,
        people=plan.person_count,
        shots=len(plan.cuts) + 1,
        stopped=stopped,
    )


class _Home:
    """Where the faces go: one faceset, or a folder with one per person. Holds the lock of the folder."""

    def __init__(self, folder: Path, plate: str, settings: ExtractSettings, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._plate = plate
        self._settings = settings
        self._stack = stack

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, plate: str, settings: ExtractSettings) -> Iterator[_Home]:
        """Raises Conflict where the folder is in use or is the other of the two."""
        with contextlib.ExitStack() as stack:
            home = cls(folder, plate, settings, stack)
            is_faceset = (folder / INDEX_NAME).exists()
            if settings.people == "together":
                if not is_faceset and known_numbers(folder):
                    raise Conflict(
                        f"{folder} holds the facesets of several people; give another folder for one of them all.",
                        reason="FACESET_DIFFERS",
                        path=folder,
                    )
                home._whole = home._writer(folder)
            else:
                if is_faceset:
                    raise Conflict(
                        f"{folder} is a faceset already; give another folder for the facesets of the people in it.",
                        reason="FACESET_DIFFERS",
                        path=folder,
                    )
                with translate_disk_errors(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                stack.callback(os.close, lock_faceset(folder))
            yield home

    def parts(
        self, plan: Plan, *, same_person_distance: float
    ) -> list[tuple[FacesetWriter, Mapping[int, tuple[PlannedFace, ...]]]]:
        """Writers, and which faces of the plan each is for: none, where a faceset has faces of nobody there is now.

        Of a run that keeps only some people, the facesets of the others are left alone.
        """
        settings = self._settings
        if settings.people == "together":
            return [(self._whole, plan.faces)]
        encoder = settings.identity_encoder if settings.compute_identity else ""
        numbers, others = number_people(
            self.folder, self._plate, plan, encoder=encoder, same_person_distance=same_person_distance
        )
        parts = {number: plan.of_person(person) for person, number in numbers.items()}
        if not settings.keep_person and not settings.keep_tracks:
            parts |= {number: {} for number in others}
        return [(self._writer(person_folder(self.folder, number)), faces) for number, faces in sorted(parts.items())]

    def _writer(self, folder: Path) -> FacesetWriter:
        settings, before = self._settings, dict[str, object]()
        with contextlib.suppress(NotFound), Faceset.open(folder) as faceset:
            before = faceset.info.settings
        return self._stack.enter_context(
            FacesetWriter(
                folder,
                face_type=settings.face_type,
                aligned_size=settings.aligned_size,
                settings=with_plate_colors(settings.values(), before, self._plate),
                authorization=_authorization(settings),
                aligned_format=settings.aligned_format,
                jpeg_quality=settings.jpeg_quality,
            )
        )

    _whole: FacesetWriter


@dataclass(frozen=True, slots=True)
class _Run:
    """What stays the same during one extraction."""

    plate: Plate
    settings: ExtractSettings
    converter: ColorConverter
    control: RunControl
    looker: Looker

    def look(self, sightings: SightingStore, *, batch: int) -> tuple[int, StopRequest | None]:
        """Look at every frame that was not yet, as it is now, with these settings; returns how many are done."""
        digest = self.settings.look_digest()
        corrections = sightings.corrections(self.plate.name)
        keys = {
            frame: _look_key(digest, self.plate.identity(frame), corrections.get(frame, ()))
            for frame in self.plate.frames
        }
        known = sightings.keys(self.plate.name)
        todo = FrameRange(tuple(frame for frame in self.plate.frames if known.get(frame) != keys[frame]))
        total = len(self.plate.frames)
        done = total - len(todo)
        if not todo:
            return done, None
        self.control.emit(FrameProgress(done=done, total=total, stage="look"))
        for images in _grouped(_read_ahead(self.plate, todo, ahead=READ_AHEAD_FRAMES + batch), batch):
            stopped = self.control.stop_requested()
            if stopped is not None:
                return done, stopped
            for look in self.looker.look(images, [corrections.get(image.frame, ()) for image in images]):
                sightings.add(self.plate.name, look, digest=digest, key=keys[look.frame])
                done += 1
                count = len(look.sightings)
                self.control.emit(FrameProgress(done=done, total=total, frame=look.frame, faces=count, stage="look"))
        return done, None

    def cut(
        self, parts: Sequence[tuple[FacesetWriter, Mapping[int, tuple[PlannedFace, ...]]]]
    ) -> tuple[list[FaceRecord], int, StopRequest | None]:
        """Write every face that is not in its faceset as planned.

        Args:
            parts: facesets, and the faces that belong there.

        Returns:
            the faces there are now, how many frames are done, and why it ended early, if it did.
        """
        faces: list[FaceRecord] = []
        for writer, planned in parts:
            with Ledger(writer.path, self.plate, planned) as ledger:
                done, stopped = self._cut_part(writer, planned, ledger)
                faces += ledger.faces_now()
            if stopped is not None:
                return faces, done, stopped
        return faces, len(self.plate.frames), None

    def _cut_part(
        self, writer: FacesetWriter, faces: Mapping[int, tuple[PlannedFace, ...]], ledger: Ledger
    ) -> tuple[int, StopRequest | None]:
        cutter = FaceCutter(self.plate, self.settings, self.converter, ledger.stem, ledger.recall)
        keys = {frame: cutter.key(frame, faces.get(frame, ())) for frame in self.plate.frames}
        known = writer.examined_frames(self.plate.name)
        restored = ledger.frames_with_deleted() if self.settings.restore_deleted else frozenset[int]()
        todo = [frame for frame in self.plate.frames if known.get(frame) != keys[frame] or frame in restored]
        total = len(self.plate.frames)
        done = total - len(todo)
        self.control.emit(FrameProgress(done=done, total=total, stage="cut"))
        with MaskMover.open(writer.path, self.plate.name, todo) as masks:

            def write(frame: int, pairs: Sequence[tuple[FaceRecord, FloatArray]]) -> list[str]:
                settled = ledger.settle(frame, pairs, restore=self.settings.restore_deleted)
                stale = ledger.stale_images(frame, settled)
                with masks.moving(frame, [record for record, _ in settled]):
                    writer.add_frame(self.plate.name, frame, self.plate.size, settled, key=keys[frame], stale=stale)
                return [str(writer.path / record.name) for record, image in settled if image is not None]

            for frame in [frame for frame in todo if not faces.get(frame)]:
                write(frame, ())
                done += 1
            shown = FrameRange(tuple(frame for frame in todo if faces.get(frame)))
            for image in _read_ahead(self.plate, shown, ahead=READ_AHEAD_FRAMES):
                stopped = self.control.stop_requested()
                if stopped is not None:
                    return done, stopped
                pairs = cutter.cut(image, faces[image.frame])
                paths = write(image.frame, pairs)
                done += 1
                path = paths[0] if paths else None
                self.control.emit(
                    FrameProgress(done=done, total=total, frame=image.frame, path=path, faces=len(pairs), stage="cut")
                )
        return done, None

    def describe_references(self) -> list[FloatArray]:
        """Descriptors of the pictures of the only person to keep.

        Raises:
            InvalidInput: a picture shows no face, or descriptors are switched off.
            NotFound: there is no such picture.
        """
        paths = [Path(part) for part in self.settings.keep_person.split(os.pathsep) if part]
        if paths and not self.settings.compute_identity:
            raise InvalidInput(
                "A person is told from others by identity descriptors; switch compute_identity on.",
                reason="BAD_SETTING",
                field="keep_person",
            )
        return [self.looker.describe_picture(path) for path in paths]

    def report_empty(self, frames: Sequence[int]) -> None:
        """Say which frames show no face."""
        if len(frames) <= MAX_SINGLE_NOTICES:
            for frame in frames:
                self.control.emit(_no_face_notice(f"Frame {frame} shows no face.", [frame]))
            return
        text = FrameRange.of(frames)
        count = len(self.plate.frames)
        self.control.emit(_no_face_notice(f"{len(frames)} of {count} frames show no face: {text}.", frames))


def _look_key(digest: str, identity: str, corrections: Sequence[Correction]) -> str:
    stated = [correction.values() for correction in corrections]
    return hashlib.sha256(f"{digest}\0{identity}\0{stated if stated else ''}".encode()).hexdigest()[:16]


def _default_batch(detector: str, device: str) -> int:
    if device != "cpu":
        return GPU_BATCH_FRAMES
    return min(os.cpu_count() or 1, GPU_BATCH_FRAMES) if detector == SMALL_FACES_UNSEEN else 1


def _grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _read_ahead(plate: Plate, frames: FrameRange, *, ahead: int) -> Iterator[PlateImage]:
    """Frames in order, read by a thread of their own, a few ahead (see the warning in :mod:`dflcore.color.ocio`)."""
    waiting: deque[Future[PlateImage]] = deque()
    numbers = iter(frames)
    with ThreadPoolExecutor(1, thread_name_prefix="dfl-read") as pool:
        try:
            for number in numbers:
                waiting.append(pool.submit(plate.read, number))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _resolve(settings: ExtractSettings, plate: Plate, store: WeightStore, device: str) -> ExtractSettings:
    """The settings with everything left to us replaced by what it means here and now, as they are saved."""
    detector = choose_detector(settings.detector, store)
    landmarker = choose_landmarker(settings.landmarker, store)
    is_slow = landmarker == SLOW_LANDMARKER and device == "cpu"
    return settings.model_copy(
        update={
            "detector": detector,
            "landmarker": landmarker,
            "detect_size": settings.detect_size or (960 if detector == SMALL_FACES_UNSEEN else 640),
            "landmark_looks": settings.landmark_looks or (1 if is_slow else DEFAULT_LOOKS),
            "input_colorspace": plate.color_space,
        }
    )


def _report_plate(plate: Plate, control: RunControl) -> None:
    """Everything the plate wants said, and its colour space unless that was among it."""
    for notice in plate.notices:
        control.emit(notice)
    if not any(notice.reason == "COLOR_SPACE_ASSUMED" for notice in plate.notices):
        control.emit(
            Notice(
                message=plate.color_space_note or f"{plate.name} is read as {plate.color_space}.",
                reason="COLOR_SPACE",
                severity="info",
                details={"path": plate.name, "color_space": plate.color_space},
            )
        )


def _check_person(settings: ExtractSettings) -> None:
    """Raises InvalidInput where one person's permission would be written to the facesets of several people."""
    if settings.people == "separate" and settings.authorization_person and not settings.keep_person:
        raise InvalidInput(
            "authorization_person names one person, but people = separate makes facesets of everybody in the plate. "
            "Leave it empty, or say with keep_person who is meant.",
            reason="BAD_SETTING",
            field="authorization_person",
        )


def _authorization(settings: ExtractSettings) -> Authorization:
    return Authorization(
        person=settings.authorization_person,
        project=settings.authorization_project,
        use=settings.authorization_use,
        until=settings.authorization_until,
        reference=settings.authorization_reference,
    )


def _no_face_notice(message: str, frames: Sequence[int]) -> Notice:
    return Notice(message=message, reason="NO_FACE_IN_FRAME", details={"frame": str(FrameRange.of(frames))})


def _no_face_error(plate: Plate, settings: ExtractSettings) -> InvalidInput:
    return InvalidInput(
        f"None of the {len(plate.frames)} frames of {plate.name} shows a face of at least {settings.min_face_size} px. "
        f"Check that the colour space is right (it was read as {plate.color_space}), raise detect_size (now "
        f"{settings.detect_size} px), lower min_score (now {settings.min_score:g}) or min_face_size, or try another "
        "detector.",
        reason="NO_FACE_FOUND",
        path=plate.name,
    )
