"""``dfl qc``: a merged shot → a page for people and a file for programs."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dflcore.color.ocio import ColorConverter
from dflcore.config.qc import QcSettings
from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.identity.base import identity_distance
from dflcore.io.atomic import write_text
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Plate
from dflcore.merge.output import VERSION_TOKEN
from dflcore.merge.pipeline import select_records
from dflcore.models.device import resolve_device
from dflcore.progress import FrameProgress, Notice, RunControl, StopRequest
from dflcore.qc.delivery import Delivery
from dflcore.qc.faces import FaceExaminer, People
from dflcore.qc.flagging import (
    Flagger,
    faces_of,
    find_runs,
    frames_to_show,
    mark_throughout,
    order_frames,
    summarise,
    untouched_faces,
)
from dflcore.qc.page import GENERATOR, render_page, shot_name
from dflcore.qc.plots import frames_text
from dflcore.qc.report import ShotReport, printable, read_report, report_key, rounded, to_json
from dflcore.qc.shot import Measurements, ShotMaterial, ShotMeter, face_label, smallest_gap
from dflcore.qc.thumbnails import FramePictures, Photographer, spread_evenly, take_pictures
from dflcore.version import SOFTWARE
from dflcore.weights.store import WeightStore

PAGE_SUFFIX: Final = ".html"
DATA_SUFFIX: Final = ".json"
_HEAD_BYTES: Final = 4096
_MIN_STEPPED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Where a report goes."""

    page: Path
    data: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class QcResult:
    """What a review gave.

    Attributes:
        page, data: the files written; None where it was stopped before.
        frames: looked at. flagged_frames: of these, beyond some limit. standing_out: of these, beyond one that most of
            the shot keeps. error_frames: of these, to be repaired.
        stopped: why it ended early; nothing was written then.
    """

    page: Path | None = None
    data: Path | None = None
    frames: int = 0
    flagged_frames: int = 0
    standing_out: int = 0
    error_frames: int = 0
    stopped: StopRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What is reviewed.

    Attributes:
        result: pattern of merged frames, their manifest, or a folder with one manifest; ``{version}`` in it stands for
            the newest version on disk.
        plate: pattern or movie that was merged.
        target: faceset of the plate. source: faceset of the identity put on, None to do without.
        frames: None for every frame of the plate between the first and the last of the result.
    """

    result: str
    plate: str
    target: Path
    source: Path | None = None
    frames: FrameRange | None = None


def review_shot(
    shot: Shot,
    output: Path,
    settings: QcSettings,
    control: RunControl,
    *,
    store: WeightStore | None = None,
    converter: ColorConverter | None = None,
    examiner: FaceExaminer | None = None,
) -> QcResult:
    """Measure a shot and write its page and its JSON file.

    Args:
        output: the page (``.html``, or ``.json``), or a folder for ``<shot>.qc.html`` and ``<shot>.qc.json``;
            ``{version}`` in it is that of the result.

    Raises:
        NotFound: result, plate or a faceset is not there, or network weights are missing.
        Conflict: a file of the report's name is there and is no report of this result.
        InvalidInput: the faceset does not belong to the plate, or something cannot be used as named.
        DataCorrupt: faceset or manifest is damaged.
        ResourceExhausted: the disk is full.
    """
    delivery = Delivery.open(shot.result)
    files = report_files(_versioned(output, delivery), str(delivery.pattern))
    key = report_key(str(delivery.pattern), shot.plate)
    check_replaceable(files, key, overwrite=settings.overwrite)
    converter = converter or ColorConverter(settings.ocio_config)
    with _Review.opened(shot, delivery, settings, control, converter) as review:
        report = review.measure(key, examiner or _create_examiner(settings, store))
        page = None if report is None else review.render(report)
    if report is None or page is None:
        return QcResult(stopped=review.stopped)
    check_replaceable(files, key, overwrite=settings.overwrite)  # somebody may have been quicker
    write_text(files.data, to_json(report))
    write_text(files.page, page)
    return QcResult(
        page=files.page,
        data=files.data,
        frames=report.frame_count,
        flagged_frames=report.flagged_frames,
        standing_out=report.standing_out,
        error_frames=report.error_frames,
    )


def measure_shot(
    shot: Shot,
    settings: QcSettings,
    control: RunControl,
    *,
    store: WeightStore | None = None,
    converter: ColorConverter | None = None,
    examiner: FaceExaminer | None = None,
) -> ShotReport | None:
    """The report as data, nothing written; None when it was stopped. Raises as :func:`review_shot`."""
    delivery = Delivery.open(shot.result)
    key = report_key(str(delivery.pattern), shot.plate)
    converter = converter or ColorConverter(settings.ocio_config)
    with _Review.opened(shot, delivery, settings, control, converter) as review:
        return review.measure(key, examiner or _create_examiner(settings, store))


def _create_examiner(settings: QcSettings, store: WeightStore | None) -> FaceExaminer:
    return FaceExaminer(store, landmarker=settings.landmarker, device=str(resolve_device(settings.device)))


def _versioned(output: Path, delivery: Delivery) -> Path:
    """The output with ``{version}`` as the result has it, so that a report can lie beside its frames."""
    if VERSION_TOKEN not in str(output):
        return output
    if not delivery.version:
        raise InvalidInput(
            f"The output {output} asks for a version, the result {delivery.pattern} was named without one; write "
            f"{VERSION_TOKEN} into the result, or name the output's folder.",
            reason="BAD_OUTPUT",
            field="output",
            path=output,
        )
    return Path(str(output).replace(VERSION_TOKEN, delivery.version))


def report_files(output: Path, result: str) -> ReportFiles:
    """The two files of a report.

    Raises:
        InvalidInput: ``output`` names a file that is neither HTML nor JSON.
    """
    suffix = output.suffix.lower()
    if suffix in (PAGE_SUFFIX, ".htm", DATA_SUFFIX) and not output.is_dir():
        page = output if suffix != DATA_SUFFIX else output.with_suffix(PAGE_SUFFIX)
        return ReportFiles(page=page, data=output.with_suffix(DATA_SUFFIX))
    if output.is_file():
        raise InvalidInput(
            f"The output {output} is a file; name a folder, or a page that ends in {PAGE_SUFFIX}.",
            reason="BAD_OUTPUT",
            field="output",
            path=output,
        )
    name = shot_name(result)
    return ReportFiles(page=output / f"{name}.qc{PAGE_SUFFIX}", data=output / f"{name}.qc{DATA_SUFFIX}")


def check_replaceable(files: ReportFiles, key: str, *, overwrite: bool) -> None:
    """A report is replaced by a newer one of the same result and plate only.

    Raises:
        Conflict: a file is there that is something else.
    """
    for path, is_ours in ((files.page, _is_page), (files.data, _is_data)):
        is_free = not (path.exists() or path.is_symlink())
        if is_free or (path.is_file() and (overwrite or is_ours(path, key))):
            continue
        raise Conflict(
            f"{path} is there already and is no report of this result; choose another output, or say --overwrite.",
            reason="OUTPUT_EXISTS",
            path=path,
        )


def _is_page(path: Path, key: str) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return f'content="{GENERATOR}"'.encode() in head and f'name="dfl-qc-key" content="{key}"'.encode() in head


def _is_data(path: Path, key: str) -> bool:
    try:
        return read_report(path).key == key
    except DataCorrupt:
        match = re.search(rb'"key": "([0-9a-f]+)"', path.read_bytes()[:_HEAD_BYTES])  # of another format of ours
        return match is not None and match[1].decode() == key


class _Review:
    """One review: what its steps share."""

    def __init__(self, shot: Shot, material: ShotMaterial, settings: QcSettings, control: RunControl) -> None:
        self._shot = shot
        self._material = material
        self._settings = settings
        self._control = control
        self._notes: list[str] = []
        self.stopped: StopRequest | None = None

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls, shot: Shot, delivery: Delivery, settings: QcSettings, control: RunControl, converter: ColorConverter
    ) -> Iterator[_Review]:
        """A review whose faceset and plate are open."""
        with Faceset.open(shot.target) as faceset, _open_plate(shot, delivery, settings, converter) as opened:
            plate, remarks = opened
            records, notices = select_records(plate, faceset)
            material = ShotMaterial(
                plate=plate,
                delivery=delivery,
                faceset=faceset,
                records=records,
                frames=plate.frames,
                converter=converter,
            )
            review = cls(shot, material, settings, control)
            review._notes += remarks
            for notice in (*plate.notices, *notices):
                review._tell(notice)
            yield review

    def measure(self, key: str, examiner: FaceExaminer) -> ShotReport | None:
        """Look at every frame; None when asked to stop."""
        people, source_to_target = self._people(examiner)
        meter = ShotMeter(self._material, examiner, people=people)
        measured = meter.measure(self._control)
        self.stopped = measured.stopped
        if measured.stopped is not None:
            return None
        return self._report(key, measured, source_to_target)

    def render(self, report: ShotReport) -> str | None:
        """The page with its pictures; None when asked to stop."""
        worst = frames_to_show(report.look_first, report.findings, self._settings.worst_frames)
        spread = spread_evenly([one.frame for one in report.figures], self._settings.spread_frames)
        wanted = sorted({*worst, *spread})
        pictures: dict[int, FramePictures] = {}
        photographer = Photographer(self._material)
        for frame, one in take_pictures(photographer, wanted):
            pictures[frame] = one
            done, total = len(pictures), len(wanted)
            self._control.emit(FrameProgress(done=done, total=total, frame=frame, stage="pictures"))
            self.stopped = self._control.stop_requested()
            if self.stopped is not None:
                return None
        return render_page(
            report, {frame: pictures[frame] for frame in worst}, {frame: pictures[frame] for frame in spread}
        )

    def _people(self, examiner: FaceExaminer) -> tuple[dict[str, People], float | None]:
        """Whom every face is compared with, and how far source and target are apart."""
        source = None
        if self._shot.source is not None:
            with Faceset.open(self._shot.source) as faceset:
                source = examiner.typical_face(faceset)
            if source is None:
                self._notes.append("No face of the source's faceset could be described: likeness is not measured.")
        names: dict[str, list[str]] = {}
        for faces in self._material.records.values():
            for record in faces:
                names.setdefault(face_label(record), []).append(record.name)
        people: dict[str, People] = {}
        distances: list[float] = []
        for label, of_label in names.items():
            target = examiner.typical_face(self._material.faceset, of_label)
            people[label] = People(source=source, target=target)
            if source is not None and target is not None:
                distances.append(identity_distance(source, target))
        return people, rounded(min(distances)) if distances else None

    def _report(self, key: str, measured: Measurements, source_to_target: float | None) -> ShotReport:
        untouched = untouched_faces(measured.frames)
        self._remark(measured, untouched)
        flagger = Flagger(self._settings, measured.frames, untouched)
        figures = mark_throughout([flagger.figures(frame) for frame in measured.frames])
        findings = find_runs(figures)
        facts = self._material.delivery.facts
        texts = {
            "result": str(self._material.delivery.pattern),
            "plate": self._shot.plate,
            "target": str(self._shot.target),
            "source": str(self._shot.source or ""),
            "model": facts.model,
        }
        return ShotReport(
            key=key,
            software=SOFTWARE,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **printable(texts),
            profile=self._material.delivery.profile,
            color_space=measured.color_space,
            merge_settings=printable(dict(facts.settings)),
            frames=str(self._material.frames),
            frame_count=len(self._material.frames),
            source_to_target=source_to_target,
            notes=printable(self._notes),
            measures=list(flagger.measures.values()),
            faces=summarise(figures, faces_of(measured.frames)),
            findings=findings,
            look_first=order_frames(figures, findings),
            figures=figures,
        )

    def _remark(self, measured: Measurements, untouched: Sequence[str]) -> None:
        if measured.has_lossy:
            self._notes.append(
                "The frames are compressed with loss, which changes pixels everywhere: bits outside the matte are not "
                "compared. Merge with zip or piz to deliver them exactly."
            )
        if self._shot.source is None:
            self._notes.append("No source faceset was named: the distance to the source is not measured.")
        if untouched:
            faces = ", ".join(untouched)
            self._notes.append(f"Nothing was put on {faces}; such a face is not judged.")
        gap = smallest_gap(self._material.frames)
        if gap > 1:
            self._notes.append(f"Steadiness is measured between frames {gap} apart; limits are meant for neighbours.")
        if len(self._material.frames) == 1:
            self._notes.append("A single frame tells nothing about steadiness.")
        if measured.frames and not any("grain" in face.values for one in measured.frames for face in one.faces):
            self._notes.append("The plate has next to no grain, or the faces are small: grain is not compared.")

    def _tell(self, notice: Notice) -> None:
        self._control.emit(notice)
        if notice.severity == "warning":
            self._notes.append(notice.message)


@contextlib.contextmanager
def _open_plate(
    shot: Shot, delivery: Delivery, settings: QcSettings, converter: ColorConverter
) -> Iterator[tuple[Plate, list[str]]]:
    """The plate opened for the frames to look at, and what is to be said about those left out."""
    space = settings.input_colorspace
    if space == "auto":
        space = delivery.facts.color_space or "auto"
    with contextlib.closing(open_plate(shot.plate, color_space=space, resolve_space=converter.find)) as whole:
        there = whole.frames
    asked, remarks = (shot.frames, []) if shot.frames else _covered(there, delivery.frames)
    usable = FrameRange.of(set(asked) & set(there))
    if not usable:
        raise NotFound(
            f"The plate {shot.plate} has none of the frames {asked} of the result; it has {there}.",
            reason="FRAMES_MISSING",
            path=shot.plate,
        )
    if absent := FrameRange.of(set(asked) - set(there)):
        remarks.append(f"The plate has no frames {frames_text(str(absent))}; they are not judged.")
    opened = open_plate(shot.plate, frames=usable, color_space=space, resolve_space=converter.find)
    with contextlib.closing(opened) as plate:
        yield plate, remarks


def _covered(there: FrameRange, merged: FrameRange) -> tuple[FrameRange, list[str]]:
    """Frames between the first and the last of the result, at the result's own step, that either has; remarks."""
    remarks: list[str] = []
    first, last = merged.frames[0], merged.frames[-1]
    step = _common_step(merged.frames)
    if step > 1:
        remarks.append(f"The result has every {step}th frame; those between are taken as not asked for.")
    if rest := FrameRange.of(frame for frame in there if not first <= frame <= last):
        remarks.append(f"The plate also has the frames {frames_text(str(rest))}, outside the merged range.")
    covered = [frame for frame in there if first <= frame <= last and (frame - first) % step == 0]
    return FrameRange.of({*covered, *merged}), remarks


def _common_step(frames: Sequence[int]) -> int:
    """The step of a sequence that has the same between all its frames; else 1."""
    steps = {after - before for before, after in itertools.pairwise(frames)}
    return steps.pop() if len(steps) == 1 and len(frames) >= _MIN_STEPPED else 1
