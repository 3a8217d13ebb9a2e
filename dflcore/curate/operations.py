"""What can be done to whole facesets, by name: the settings of :mod:`dflcore.config.curate` meet the functions here.

Every operation is a function of one :class:`Request`; the table at the end is the only place that lists them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dflcore.config import curate as config
from dflcore.config.base import Settings
from dflcore.curate.coverage import compare_coverage
from dflcore.curate.coverage_picture import write_coverage
from dflcore.curate.enhance import enhance_faceset
from dflcore.curate.interchange_export import export_legacy
from dflcore.curate.interchange_import import UNKNOWN_SIZE, import_legacy
from dflcore.curate.mask_export import export_debug_pictures, export_labels, export_masks
from dflcore.curate.mask_import import import_labels, import_masks, import_mattes
from dflcore.curate.metadata import save_metadata
from dflcore.curate.metrics import measure
from dflcore.curate.pack import pack_faceset, unpack_faceset
from dflcore.curate.rename import recover_names
from dflcore.curate.restore import restore_metadata
from dflcore.curate.retype import PlateCutter, change_faces
from dflcore.curate.sheets import write_sheets
from dflcore.curate.sorts import SortOptions, find_sort, sort_faces
from dflcore.curate.table import FaceTable
from dflcore.curate.trash import empty_trash, move_to_trash, restore, restore_last
from dflcore.curate.views import VIEWS_NAME, list_views, load_view, save_view, view_of, write_browse_folder
from dflcore.curate.where import Filter
from dflcore.enhance.base import create_enhancer
from dflcore.errors import Conflict, InvalidInput
from dflcore.io.faceset import Faceset
from dflcore.io.masks import MaskStore
from dflcore.io.open_plate import open_plate
from dflcore.models.device import resolve_device
from dflcore.progress import Notice, Preview, RunControl, StopRequest
from dflcore.segment.apply import apply_segmenter
from dflcore.types import Authorization, FloatArray
from dflcore.weights.store import WeightStore

_SHEET_NAME = re.compile(r"sheet_\d{3,}\.png")
SHEET_PAGES = 5
"""Contact sheets made of an order; the rest of a long one is left to the browse folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One operation on one faceset.

    Attributes:
        settings: of the operation's class.
        other, output: see :class:`dflcore.config.curate.OperationDescription`; None where not given.
        describe_picture: descriptor of the largest face of a picture; finding faces is not curation's work.
        cutter: cuts faces from their plates where those are still there.
    """

    faceset: Path
    other: Path | None
    output: Path | None
    settings: Settings
    control: RunControl
    store: WeightStore
    describe_picture: Callable[[Path], FloatArray]
    cutter: PlateCutter

    @property
    def source(self) -> Path:
        """``other`` of an operation that needs it."""
        if self.other is None:
            raise InvalidInput("This operation needs another path.", reason="PATH_MISSING", field="other_path")
        return self.other

    @property
    def target(self) -> Path:
        """``output`` of an operation that needs it."""
        if self.output is None:
            raise InvalidInput("This operation needs an output path.", reason="PATH_MISSING", field="output_path")
        return self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an operation without a result of its own did.

    Attributes:
        faces: it was done to.
        path: what it wrote, if anything a person would look for.
        rejected: faces a sort left out.
    """

    faces: int
    path: str = ""
    rejected: int | None = None
    stopped: StopRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What a coverage report says in numbers: faces of the target, those out of the source's reach, and their share."""

    target_faces: int
    out_of_reach: int
    pose_reach: float
    reach: float
    path: str
    stopped: StopRequest | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Faces in an order, and what they were sorted by."""

    names: Sequence[str]
    values: Mapping[str, float] = field(default_factory=dict)


def run_operation(name: str, request: Request) -> Any:
    """Run one.

    Returns:
        the operation's result: a frozen dataclass with ``stopped``.

    Raises:
        DflError: whatever the operation raises.
    """
    return _RUNS[name](request, request.settings)


def select_faces(path: Path, *, where: str = "", sort_by: str = "", reverse: bool = False, view: str = "") -> Selection:
    """Faces of a faceset in any order, without writing anything.

    Args:
        where: only faces for which this holds.
        sort_by: name of a sort; empty keeps plate and frame order, or that of the view.
        view: a saved view to choose from.

    Raises:
        NotFound: no such faceset or view.
        InvalidInput: a filter or sort that is none, or that asks for measures that were not taken.
    """
    table = _filtered(FaceTable.open(path), where)
    values: Mapping[str, float] = {}
    if view:
        with Faceset.open(path) as faceset:
            saved = load_view(faceset, view)
        table, values = _in_order(table, saved.names), saved.values
    if sort_by:
        result = sort_faces(table, sort_by, reverse=reverse)
        return Selection(result.order, result.values)
    names = [str(name) for name in table.names]
    return Selection(names[::-1] if reverse else names, values)


def _measure(request: Request, settings: config.MeasureSettings) -> Any:
    return measure(request.faceset, request.control, threads=settings.threads or None)


def _sort(request: Request, settings: config.SortSettings) -> Any:
    sort = find_sort(settings.by)
    if request.output is not None:
        _check_only_sheets(request.output)
    if sort.needs_pixels or (settings.where and Filter(settings.where).needs_pixels):
        measured = measure(request.faceset, request.control)
        if measured.stopped is not None:
            return Done(faces=0, stopped=measured.stopped)
    table = _filtered(FaceTable.open(request.faceset), settings.where)
    is_face = settings.reference in {str(name) for name in table.names}
    is_picture = bool(settings.reference) and not is_face
    options = SortOptions(
        target_count=settings.count,
        dissimilar=settings.dissimilar,
        reference_face=settings.reference if is_face else None,
        reference=request.describe_picture(Path(settings.reference)) if is_picture else None,
    )
    result = sort_faces(table, settings.by, reverse=settings.reverse, options=options, control=request.control)
    view = view_of(result, settings.view or sort.name)
    if settings.view in list_views(request.faceset):
        text = f"The view {view.name} was there already; it is now this order."
        request.control.emit(Notice(message=text, reason="VIEW_REPLACED", severity="info"))
    path = save_view(request.faceset, view)
    if settings.trash_rejected and result.rejected:
        move_to_trash(request.faceset, result.rejected, f"left out by sort {sort.name}")
    if settings.browse:
        folder = request.faceset / VIEWS_NAME / f"{view.name} browse"
        path = write_browse_folder(request.faceset, view.names, folder).path
    if request.output is not None:
        with Faceset.open(request.faceset) as faceset:
            for old in request.output.glob("sheet_*.png"):
                old.unlink()  # of a longer order
            pages = write_sheets(
                faceset,
                view.names,
                request.output,
                title=view.title,
                values=view.values,
                unit=view.unit,
                max_pages=SHEET_PAGES,
            )
        path = request.output
        if pages:
            request.control.emit(Preview(path=str(pages[0]), title=view.title))
    return Done(faces=len(result.order), path=str(path), rejected=len(result.rejected))


def _check_absent(path: Path) -> None:
    """Raises Conflict: nothing is written over a picture of somebody's."""
    if path.exists():
        raise Conflict(
            f"{path} exists already; name another file, or remove it first.", reason="OUTPUT_EXISTS", path=path
        )


def _check_only_sheets(folder: Path) -> None:
    """Contact sheets of an earlier sort are replaced. Raises Conflict where the folder holds anything else."""
    foreign = [folder.name] if folder.is_file() else []
    if folder.is_dir():
        foreign = sorted(entry.name for entry in folder.iterdir() if not _SHEET_NAME.fullmatch(entry.name))
    if foreign:
        raise Conflict(
            f"{folder} holds other things ({foreign[0]}); name a new folder for the contact sheets.",
            reason="OUTPUT_EXISTS",
            path=folder,
        )


def _check_png(path: Path) -> None:
    """Raises InvalidInput for the path of a picture that is no PNG's, before anything is computed."""
    if path.suffix.lower() != ".png":
        raise InvalidInput(
            f"The picture is written as PNG; name a file ending in .png, not {path.name}.",
            reason="BAD_SUFFIX",
            field="output_path",
            path=path,
        )


def _trash(request: Request, settings: config.TrashSettings) -> Any:
    wishes = [bool(settings.where), bool(settings.view), bool(settings.names)]
    if sum(wishes) != 1:
        raise InvalidInput("Say which faces, by exactly one of where, view and names.", reason="BAD_SETTING")
    if settings.names:
        names, why = _listed(settings.names), "named"
        _check_faces(request.faceset, names)
    elif settings.where:
        table = FaceTable.open(request.faceset)
        names, why = [str(name) for name in _filtered(table, settings.where).names], settings.where
    else:
        with Faceset.open(request.faceset) as faceset:
            chosen = load_view(faceset, settings.view).names
            in_view = set(chosen)
            others = [name for name in faceset.names if name not in in_view]
        names = others if settings.not_in_view else list(chosen)
        why = f"{'not ' if settings.not_in_view else ''}in view {settings.view}"
    result = move_to_trash(request.faceset, names, why)
    return Done(faces=len(result.moved), path=str(request.faceset / "trash"), rejected=len(result.skipped) or None)


def _check_faces(path: Path, names: Sequence[str]) -> None:
    """Raises InvalidInput for a file of the folder that is no face: a set may lie where other pictures do."""
    with Faceset.open(path) as faceset:
        faces = set(faceset.names)
    strangers = [name for name in names if name not in faces and Path(name).name == name and (path / name).is_file()]
    if strangers:
        raise InvalidInput(
            f"{', '.join(strangers[:3])} in {path} is no face of the set; nothing was moved.",
            reason="NOT_A_FACE",
            path=path / strangers[0],
        )


def _restore(request: Request, settings: config.RestoreSettings) -> Any:
    if settings.names:
        result = restore(request.faceset, _listed(settings.names))
    else:
        result = restore_last(request.faceset) if settings.what == "last" else restore(request.faceset)
    return Done(faces=len(result.moved), rejected=len(result.skipped) or None)


def _empty_trash(request: Request, settings: config.EmptyTrashSettings) -> Any:
    return Done(faces=empty_trash(request.faceset))


def _coverage(request: Request, settings: config.CoverageSettings) -> Any:
    source = request.source
    _check_png(request.target)
    _check_absent(request.target)
    report = compare_coverage(FaceTable.open(request.faceset), FaceTable.open(source), reach_deg=settings.reach)
    path = write_coverage(report, request.target)
    request.control.emit(Preview(path=str(path), title="coverage"))
    for line in report.to_text().splitlines():
        request.control.emit(Notice(message=line, reason="COVERAGE", severity="info"))
    return Covered(
        target_faces=report.target_faces,
        out_of_reach=len(report.out_of_reach),
        pose_reach=report.pose_reach,
        reach=report.reach,
        path=str(path),
    )


def _change(request: Request, settings: config.ChangeSettings) -> Any:
    return change_faces(
        request.faceset,
        request.target,
        request.control,
        face_type=settings.face_type,
        aligned_size=settings.aligned_size,
        cutter=request.cutter if settings.from_plate else None,
    )


def _enhance(request: Request, settings: config.EnhanceSettings) -> Any:
    enhancer = create_enhancer(settings.enhancer, request.store, device=str(resolve_device(settings.device)))
    return enhance_faceset(
        request.faceset,
        request.target,
        request.control,
        enhancer=enhancer,
        enhancer_name=settings.enhancer,
        strength=settings.strength,
    )


def _import_legacy(request: Request, settings: config.ImportLegacySettings) -> Any:
    if (settings.face_type is None) != (settings.aligned_size is None):
        raise InvalidInput(
            "Give both face_type and aligned_size, or neither.", reason="BAD_SETTING", field="face_type,aligned_size"
        )
    chosen = (settings.face_type, settings.aligned_size)
    return import_legacy(
        request.source,
        request.faceset,
        request.control,
        authorization=Authorization(
            person=settings.authorization_person,
            project=settings.authorization_project,
            use=settings.authorization_use,
            until=settings.authorization_until,
            reference=settings.authorization_reference,
        ),
        restore_meta=Path(settings.meta_dat) if settings.meta_dat else None,
        plate=settings.plate,
        plate_size=_size_of(settings.plate),
        only=None if None in chosen else cast(Any, chosen),
    )


def _size_of(plate: str) -> tuple[int, int]:
    """Of a plate that is there, in pixels. Raises what opening it raises."""
    if not plate:
        return UNKNOWN_SIZE
    with contextlib.closing(open_plate(plate)) as opened:
        return opened.size


def _export_legacy(request: Request, settings: config.ExportLegacySettings) -> Any:
    return export_legacy(request.faceset, request.target, request.control, jpeg_quality=settings.jpeg_quality)


def _import_mattes(request: Request, settings: config.ImportMattesSettings) -> Any:
    plate = settings.plate or None
    return import_mattes(request.faceset, str(request.source), plate, settings.source, request.control)


def _export_masks(request: Request, settings: config.ExportMasksSettings) -> Any:
    if request.target.exists() and not (request.target.is_dir() and not any(request.target.iterdir())):
        raise Conflict(  # what somebody painted in there since must not be lost
            f"{request.target} exists already and is not an empty folder; name another, or remove it first.",
            reason="OUTPUT_EXISTS",
            path=request.target,
        )
    if settings.what == "labelme":
        return export_labels(request.faceset, request.target, request.control)
    if settings.what == "debug":
        return export_debug_pictures(request.faceset, request.target, request.control, masks=settings.recipe)
    return export_masks(request.faceset, request.target, settings.recipe, request.control)


def _remove_masks(request: Request, settings: config.RemoveMasksSettings) -> Any:
    with Faceset.open(request.faceset), MaskStore.open(request.faceset, create=True) as masks:
        if settings.source == "label":
            count = masks.restore_labels() if settings.restore else masks.remove_labels()
        else:
            change = masks.restore_masks if settings.restore else masks.remove_masks
            count = change(settings.source)
    return Done(faces=count)


def _apply_masks(request: Request, settings: config.ApplyMasksSettings) -> Any:
    return apply_segmenter(
        request.faceset,
        request.source,
        request.control,
        source=settings.source,
        store=request.store,
        device=settings.device,
        batch_size=settings.batch_size,
    )


_RUNS: Mapping[str, Callable[[Request, Any], Any]] = {
    "measure": _measure,
    "sort": _sort,
    "trash": _trash,
    "restore": _restore,
    "empty_trash": _empty_trash,
    "coverage": _coverage,
    "change": _change,
    "enhance": _enhance,
    "pack": lambda request, _: pack_faceset(request.faceset, request.control),
    "unpack": lambda request, _: unpack_faceset(request.faceset, request.control),
    "import_legacy": _import_legacy,
    "export_legacy": _export_legacy,
    "save_metadata": lambda request, _: save_metadata(request.faceset, request.target, request.control),
    "restore_metadata": lambda request, _: restore_metadata(request.faceset, request.source, request.control),
    "recover_names": lambda request, _: recover_names(request.faceset, request.control),
    "import_labels": lambda request, _: import_labels(request.faceset, request.source, request.control),
    "import_masks": lambda request, settings: import_masks(
        request.faceset, request.source, settings.source, request.control
    ),
    "import_mattes": _import_mattes,
    "export_masks": _export_masks,
    "remove_masks": _remove_masks,
    "apply_masks": _apply_masks,
}


def _filtered(table: FaceTable, where: str) -> FaceTable:
    return table.take(Filter(where).select(table)) if where else table


def _in_order(table: FaceTable, names: Sequence[str]) -> FaceTable:
    """The rows of these names, in their order; names that are not there are left out."""
    row_of = {str(name): row for row, name in enumerate(table.names)}
    rows: NDArray[np.int64] = np.array([row_of[name] for name in names if name in row_of], dtype=np.int64)
    return table.take(rows)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
