"""What is looked at before a job is taken: paths inside the roots, plates and folders that are there."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dflcore.config.cast_text import parse_casting
from dflcore.config.curate import OPERATIONS
from dflcore.errors import DflError, InvalidInput, NotFound
from dflcore.frames import FrameRange
from dflcore.io.sequence import MOVIE_SUFFIXES, SequencePattern
from dflcore.train.parallel.meeting import meeting_folder
from dfldaemon.color_config import is_builtin_config
from dfldaemon.faceset_plates import plates_of_faceset
from dfldaemon.jobs import FACESET_PREFIX, SEVERAL_FACESETS, JobKind, Work

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255
MAX_REQUEST_ID = 64
VERSION_TOKEN = "{version}"
"""Of an output pattern, as :mod:`dflcore.merge.output` reads it."""
_FRAME_TOKEN = re.compile(r"[#@]|%0?\d*d")

Makers = tuple[JobKind, ...]
"""Kinds of jobs that make a folder."""
FACESET_MAKERS: Makers = (JobKind.EXTRACT,)
MODEL_MAKERS: Makers = (JobKind.TRAIN, JobKind.IMPORT_MODEL)
_NEEDED_FOLDERS: Mapping[JobKind, Mapping[str, Makers]] = {
    JobKind.EXTRACT: {},
    JobKind.TRAIN: {"source": FACESET_MAKERS, "target": FACESET_MAKERS},
    JobKind.MERGE: {"faceset": FACESET_MAKERS, "model": MODEL_MAKERS},
    JobKind.CURATE: {"faceset": FACESET_MAKERS},
    JobKind.TRAIN_MASK: {},
    JobKind.TRAIN_DETAIL: {},
    JobKind.IMPORT_MODEL: {"legacy": ()},
    JobKind.EXPORT_MODEL: {"model": MODEL_MAKERS},
    JobKind.QC: {"faceset": FACESET_MAKERS, "source": FACESET_MAKERS},
}
"""Folders a kind reads, and what makes them."""
_ALWAYS_PATHS = frozenset({("import_legacy", "meta_dat"), ("import_legacy", "plate")})
"""Settings of operations that are paths even without a separator; elsewhere a plain word is a name."""


def check_path(path: str, field: str, roots: Sequence[str]) -> str:
    """The path again, if a request may name it.

    Links are followed before the comparison, so a link inside a root that leads out of it is refused.

    Raises:
        InvalidInput: it is empty, relative, has ``..`` or a NUL character, it or a name in it is too long, or it lies
            outside the roots.
    """
    if not path:
        raise InvalidInput(f"{field} is empty; name an absolute path.", reason="PATH_MISSING", field=field)
    if "\0" in path or len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise InvalidInput(f"{field} is no usable path.", reason="BAD_PATH", field=field)
    if not os.path.isabs(path) or ".." in Path(path).parts:
        raise InvalidInput(
            f"{field} = {path!r} must be an absolute path without `..`; the daemon does not know your folder.",
            reason="BAD_PATH",
            field=field,
            path=path,
        )
    too_long = next((part for part in Path(path).parts if len(os.fsencode(part)) > MAX_NAME_BYTES), None)
    if too_long is not None:
        raise InvalidInput(
            f"{field}: the name {too_long[:40]}... has more than {MAX_NAME_BYTES} bytes, too many for a file system; "
            "choose a shorter one.",
            reason="NAME_TOO_LONG",
            field=field,
        )
    real = os.path.realpath(path)
    if not any(os.path.commonpath([real, root]) == root for root in roots):
        raise InvalidInput(
            f"{field} = {path!r} is outside the folders this daemon may use ({', '.join(roots)}); "
            "its setting `roots` widens them.",
            reason="PATH_OUTSIDE_ROOTS",
            field=field,
            path=path,
        )
    return path


def check_work_paths(work: Work, roots: Sequence[str]) -> None:
    """All paths of a job, those in its settings too, and its frame range's text; touches no plate.

    Raises:
        InvalidInput: see :func:`check_path`; or the output would lie on top of the plate; or frames cannot be read.
    """
    for name, path in work.paths.items():
        check_path(path, _field_of(work.kind, name), roots)
    config = str(work.settings.get("ocio_config") or "")
    if config and not is_builtin_config(config):
        check_path(config, "ocio_config", roots)
    for picture in str(work.settings.get("keep_person") or "").split(os.pathsep):
        if picture:
            check_path(picture, "keep_person", roots)
    if work.kind is JobKind.MERGE:
        for path in _tool_paths(work.settings):
            check_path(path, "settings", roots)
    if work.kind is JobKind.TRAIN and int(str(work.settings.get("nodes") or 1)) > 1:
        check_path(str(meeting_folder(Path(work.paths["model"]))), "model_path", roots)
    if work.kind is JobKind.CURATE:
        _check_operation_paths(work, roots)
    if work.kind is JobKind.TRAIN_MASK and not work.facesets:
        raise InvalidInput(
            "No faceset is named; name at least one with labels.", reason="PATH_MISSING", field="faceset_paths"
        )
    if work.kind is JobKind.TRAIN_DETAIL:
        if not work.facesets:
            raise InvalidInput(
                "No faceset is named; name at least one of the person's.", reason="PATH_MISSING", field="faceset_paths"
            )
        face_model = str(work.settings.get("face_model") or "")
        if face_model:
            check_path(face_model, "face_model", roots)
    plate = work.paths.get("plate")
    if plate is not None and os.path.realpath(work.output) == os.path.realpath(plate):
        raise InvalidInput(
            f"The output {work.output} is the plate itself; write somewhere else.",
            reason="OUTPUT_IS_INPUT",
            path=work.output,
        )
    model = work.paths.get("model")
    if work.kind is JobKind.EXPORT_MODEL and os.path.realpath(work.output) == os.path.realpath(str(model)):
        raise InvalidInput(
            f"The output {work.output} is the model itself; name a file to write.",
            reason="OUTPUT_IS_INPUT",
            path=work.output,
        )
    if work.frames:
        FrameRange.parse(work.frames)


def _field_of(kind: JobKind, name: str) -> str:
    """The field of the request that a path of the work came from."""
    if name == "plate":
        return "plate.path"
    return SEVERAL_FACESETS[kind] if name.startswith(FACESET_PREFIX) else f"{name}_path"


def _tool_paths(settings: Mapping[str, object]) -> list[str]:
    """Networks that a merge's settings name by path."""
    named = (str(settings.get("segmenter") or ""), _enhancer_path(str(settings.get("enhancer") or "")))
    models = parse_casting(str(settings.get("cast") or "")).folders
    return [path for path in (*named, *models) if os.sep in path]


def _enhancer_path(name: str) -> str:
    """``onnx:/path/to/file.onnx?range=unit`` → its path."""
    return name.partition(":")[2].partition("?")[0]


def _check_operation_paths(work: Work, roots: Sequence[str]) -> None:
    """What an operation needs is there, and nothing else. Raises InvalidInput."""
    operation = OPERATIONS[work.operation]
    wanted = {
        "other": (operation.other, operation.is_other_optional),
        "output": (operation.output, operation.is_output_optional),
    }
    for name, (meaning, is_optional) in wanted.items():
        path = work.paths.get(name, "")
        if path and not meaning:
            raise InvalidInput(f"{work.operation} takes no {name} path.", reason="PATH_UNUSED", field=f"{name}_path")
        if meaning and not path and not is_optional:
            raise InvalidInput(
                f"{work.operation} needs a path: {meaning}.", reason="PATH_MISSING", field=f"{name}_path"
            )
    for name in ("reference", "meta_dat", "plate", "enhancer"):
        path = str(work.settings.get(name) or "")
        if name == "enhancer":
            path = _enhancer_path(path)
        if os.sep in path or (path and (work.operation, name) in _ALWAYS_PATHS):
            check_path(path, name, roots)
    if work.paths.get("output") and os.path.realpath(work.paths["output"]) == os.path.realpath(work.paths["faceset"]):
        raise InvalidInput(
            f"The output {work.paths['output']} is the faceset itself; write somewhere else.",
            reason="OUTPUT_IS_INPUT",
            path=work.paths["output"],
        )


def check_links(work: Work, roots: Sequence[str]) -> None:
    """What a pattern stands for on disk: no frame and no version folder may be a link that leads out of the roots.

    Raises:
        InvalidInput: one does.
    """
    if os.sep in roots:
        return
    sequences = {"plate.path": work.paths.get("plate", "")}
    if work.operation == "import_mattes":
        sequences["other_path"] = work.paths.get("other", "")
    pictures = [picture for picture in str(work.settings.get("keep_person") or "").split(os.pathsep) if picture]
    for field, text in [*sequences.items(), *(("keep_person", picture) for picture in pictures)]:
        if text and Path(text).suffix.lower() not in MOVIE_SUFFIXES:
            pattern = SequencePattern.parse(text)
            for frame in pattern.frames_on_disk():
                check_path(str(pattern.path(frame)), field, roots)
    if work.operation == "change" and work.settings.get("from_plate"):
        _check_plates_of_faceset(Path(work.paths["faceset"]), roots)
    if work.kind is JobKind.MERGE:
        for path in _output_paths(work.output):
            check_path(str(path), "output_path", roots)
    if work.kind is JobKind.QC:
        for path in _links_of_result(Path(work.paths["result"])):
            check_path(str(path), "result_path", roots)


def _check_plates_of_faceset(path: Path, roots: Sequence[str]) -> None:
    """Faces are cut anew from the plates the index names, and anybody may have written that index."""
    for plate in plates_of_faceset(path):
        if not os.path.isabs(plate):
            continue  # a made-up name
        files = [plate]
        with contextlib.suppress(DflError):  # a movie, or a plate that is gone
            pattern = SequencePattern.parse(plate)
            files += [str(pattern.path(frame)) for frame in pattern.frames_on_disk()]
        try:
            for file in files:
                check_path(file, "plate", roots)
        except InvalidInput as error:
            raise InvalidInput(
                f"The faceset's plate cannot be cut from: {error.message} Switch from_plate off to use the aligned "
                "faces.",
                reason=error.reason,
                field="from_plate",
                path=plate,
            ) from error


def _links_of_result(path: Path) -> Iterator[Path]:
    """Links among merged frames, their siblings and their manifest, however the result was named."""
    folder = path if path.is_dir() else path.parent
    head = "" if path.is_dir() else _FRAME_TOKEN.split(path.name.removesuffix(".provenance.json"))[0].rstrip("._- ")
    yield from _links_in(folder, head)


def _output_paths(text: str) -> Iterator[Path]:
    """The folder above the version, and per version on disk its folder and the links in it that look like frames."""
    for expanded in _expanded(text):
        yield expanded.parent
        head = _FRAME_TOKEN.split(expanded.name)[0]
        yield from _links_in(expanded.parent, head)


def _links_in(folder: Path, head: str) -> Iterator[Path]:
    """Links whose names begin with ``head``; the listing says what is one, no file of a million is asked."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from (folder / entry.name for entry in entries if entry.is_symlink() and entry.name.startswith(head))


def _expanded(text: str) -> Iterator[Path]:
    """An output pattern for every version on disk, and as it is."""
    yield Path(text)
    parts = Path(text).parts
    position = next((index for index, part in enumerate(parts) if VERSION_TOKEN in part), None)
    if position is None:
        return
    folder = Path(*parts[:position])
    matcher = re.compile(re.escape(parts[position].split(VERSION_TOKEN)[0]) + r"(v\d+)")
    found = (matcher.match(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    for version in sorted({match[1] for match in found if match}):
        yield Path(text.replace(VERSION_TOKEN, version))


def needed_folders(work: Work) -> list[tuple[str, Makers]]:
    """Folders the job reads that are not there yet, with the kinds of jobs that could still make each."""
    if work.kind is JobKind.CURATE and OPERATIONS[work.operation].makes_faceset:
        return []
    wanted = _NEEDED_FOLDERS[work.kind]
    needed = [(work.paths[name], makers) for name, makers in wanted.items() if name in work.paths]
    needed += [(path, FACESET_MAKERS) for path in work.facesets]
    return [(os.path.normpath(path), makers) for path, makers in needed if not Path(path).is_dir()]


def folder_missing(path: str, makers: Makers) -> NotFound:
    """For a folder that is not there and that no waiting job will make."""
    if not makers:
        return NotFound(f"There is no folder {path}; check the path.", reason="FOLDER_NOT_FOUND", path=path)
    what = "faceset" if makers == FACESET_MAKERS else "model"
    return NotFound(
        f"There is no {what} folder {path}, and no job that has not ended will make it; run `dfl {makers[0].value}` "
        "first.",
        reason=f"{what.upper()}_NOT_FOUND",
        path=path,
    )


def check_plate(work: Work) -> None:
    """At least one frame of the plate is there.

    Raises:
        NotFound: no such file, folder or frame.
        InvalidInput: not a pattern, or a folder with several sequences.
    """
    plate = work.paths.get("plate")
    if plate is None or (Path(plate).suffix.lower() in MOVIE_SUFFIXES and Path(plate).is_file()):
        return
    pattern = SequencePattern.parse(plate)
    if not pattern.frames_on_disk():
        raise NotFound(f"No frame of the plate {plate} is there; check its path.", reason="PLATE_NOT_FOUND", path=plate)


def check_request_id(request_id: str) -> None:
    """Raises InvalidInput when it is too long."""
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidInput(
            f"request_id has {len(request_id)} characters; at most {MAX_REQUEST_ID} are remembered.",
            reason="BAD_REQUEST_ID",
            field="request_id",
        )
