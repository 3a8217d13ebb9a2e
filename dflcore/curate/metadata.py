"""Everything a faceset's index knows, as one JSON file, and back.

Our metadata lies beside the images, not in them: images edited in any tool and saved under their name just work. The
file is for what that does not cover: a lost or damaged index, images that came back in another size, a copy for the
archive. ``.json.gz`` is compressed.

Layout, version 1: one object with

* ``format`` ``"dfl-faceset-metadata"``, ``version`` 1, ``software`` that wrote it;
* ``faceset``: ``face_type``, ``aligned_size``, ``settings`` and ``authorization`` as in the index;
* ``examined``: ``[plate, frame, key]`` for each frame that was looked at, with or without a face;
* ``faces``: one object per face, one line each, fields as in :class:`dflcore.types.FaceRecord`. Faces deleted by hand
  are among them. ``landmarks.points``, ``landmarks.depth`` and ``identity`` are little-endian float32 in base64;
  ``aligned_from_plate`` is two rows of three numbers; ``box`` is left, top, right, bottom.

``SavedFaceset.model_json_schema()`` gives the JSON schema.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dflcore.errors import DataCorrupt, InvalidInput, NotFound
from dflcore.io.atomic import atomic_path
from dflcore.io.faceset import Faceset
from dflcore.io.pack import is_image_name
from dflcore.progress import FrameProgress, RunControl, StopRequest
from dflcore.types import Authorization, Box, FaceRecord, FaceType, FloatArray, Landmarks, Origin, Pose
from dflcore.version import SOFTWARE

FORMAT = "dfl-faceset-metadata"
VERSION = 1
MAX_BYTES = 4 << 30
"""Of the file, and of what a compressed one grows to."""
_PROGRESS_EVERY = 256
_BUSY_TIMEOUT_S = 10.0
_HEAD_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveResult:
    """What :func:`save_metadata` wrote. ``stopped``: why it ended early; there is no file then."""

    faces: int
    path: Path
    stopped: StopRequest | None


def _image_name(name: str) -> str:
    if not is_image_name(name):
        raise ValueError("not the plain name of an image")
    return name


ImageName = Annotated[str, AfterValidator(_image_name)]
Text = Annotated[str, Field(max_length=4096)]
Numbers = Annotated[str, Field(max_length=65536)]
"""Base64 of little-endian float32."""
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Count = Annotated[int, Field(ge=0, le=2**31)]
Size = Annotated[int, Field(ge=1, le=2**20)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class SavedPose(_Strict):
    """See :class:`dflcore.types.Pose`."""

    pitch: float
    yaw: float
    roll: float


class SavedLandmarks(_Strict):
    """See :class:`dflcore.types.Landmarks`."""

    layout: Literal["ibug68"]
    points: Numbers
    depth: Numbers | None = None


class SavedFace(_Strict):
    """See :class:`dflcore.types.FaceRecord`."""

    name: ImageName
    plate: Text
    frame: Whole
    face_index: Count
    plate_size: tuple[Size, Size]
    box: tuple[float, float, float, float]
    score: float
    landmarks: SavedLandmarks
    aligned_from_plate: tuple[tuple[float, float, float], tuple[float, float, float]]
    pose: SavedPose
    sharpness: float
    detector: Text
    landmarker: Text
    identity: Numbers | None = None
    track_id: Whole | None = None
    spread: float | None = None
    origin: Literal["detected", "interpolated", "manual", "imported"] = "detected"
    original_name: Text | None = None


class SavedAuthorization(_Strict):
    """See :class:`dflcore.types.Authorization`."""

    person: Text = ""
    project: Text = ""
    use: Text = ""
    until: Text = ""
    reference: Text = ""


class SavedAbout(_Strict):
    """What holds for the whole set."""

    face_type: Literal["half", "midfull", "full", "whole", "head"]
    aligned_size: Annotated[int, Field(ge=1, le=2**14)]
    settings: dict[str, Any]
    authorization: SavedAuthorization


class SavedFaceset(_Strict):
    """The file; see this module."""

    format: Literal["dfl-faceset-metadata"]
    version: Literal[1]
    software: Text = ""
    faceset: SavedAbout
    examined: list[tuple[Text, Whole, Text]] = []
    faces: list[SavedFace]


def save_metadata(path: Path, file: Path, control: RunControl) -> SaveResult:
    """Write everything the index knows to a file, replacing an earlier one.

    Args:
        path: the faceset; only read.
        file: ``.json``, or ``.json.gz`` for a compressed one.
        control: told of faces done, asked for a stop before each.

    Raises:
        NotFound, DataCorrupt, Unsupported: the faceset cannot be opened.
        InvalidInput, ResourceExhausted: the file cannot be written.
    """
    file = Path(file)
    _check_suffix(file)
    with Faceset.open(path) as faceset:
        try:
            with atomic_path(file) as temporary, _open_to_write(temporary, file.suffix == ".gz") as stream:
                count = _write(faceset, stream, control)
        except _Stopped as stop:
            return SaveResult(faces=0, path=file, stopped=stop.request)
    return SaveResult(faces=count, path=file, stopped=None)


def read_metadata(file: Path) -> SavedFaceset:
    """Read and check a saved file.

    Raises:
        NotFound: there is none.
        InvalidInput: its name ends neither in .json nor .gz.
        DataCorrupt: it is damaged, too large, or not such a file; says where.
    """
    file = Path(file)
    _check_suffix(file)
    data = _read_limited(file)
    try:
        saved = SavedFaceset.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataCorrupt(
            f"{file} is not metadata of a faceset: {place}: {first['msg']}.", reason="METADATA_DAMAGED", path=file
        ) from error
    names = [face.name for face in saved.faces]
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataCorrupt(f"{file} names the face {double} twice.", reason="METADATA_DAMAGED", path=file)
    return saved


def to_record(face: SavedFace, about: SavedAbout, file: Path) -> FaceRecord:
    """The record a saved face stands for. Raises DataCorrupt for numbers that are none."""
    points = _floats(face.landmarks.points, f"{face.name}: landmarks", file, 68 * 2)
    depth = face.landmarks.depth
    return FaceRecord(
        name=face.name,
        plate=face.plate,
        frame=face.frame,
        face_index=face.face_index,
        plate_size=face.plate_size,
        box=Box(*face.box),
        score=face.score,
        landmarks=Landmarks(
            points=points.reshape(68, 2),
            layout=face.landmarks.layout,
            depth=None if depth is None else _floats(depth, f"{face.name}: depth", file, 68),
        ),
        face_type=FaceType(about.face_type),
        aligned_size=about.aligned_size,
        aligned_from_plate=np.array(face.aligned_from_plate, dtype=np.float64),
        pose=Pose(face.pose.pitch, face.pose.yaw, face.pose.roll),
        sharpness=face.sharpness,
        detector=face.detector,
        landmarker=face.landmarker,
        identity=None if face.identity is None else _floats(face.identity, f"{face.name}: identity", file),
        track_id=face.track_id,
        spread=face.spread,
        origin=Origin(face.origin),
        original_name=face.original_name,
    )


def from_record(record: FaceRecord) -> dict[str, object]:
    """JSON values of a record."""
    marks, box = record.landmarks, record.box
    return {
        "name": record.name,
        "plate": record.plate,
        "frame": record.frame,
        "face_index": record.face_index,
        "plate_size": list(record.plate_size),
        "box": [box.left, box.top, box.right, box.bottom],
        "score": record.score,
        "landmarks": {
            "layout": marks.layout,
            "points": _base64(marks.points),
            "depth": None if marks.depth is None else _base64(marks.depth),
        },
        "aligned_from_plate": record.aligned_from_plate.tolist(),
        "pose": asdict(record.pose),
        "sharpness": record.sharpness,
        "detector": record.detector,
        "landmarker": record.landmarker,
        "identity": None if record.identity is None else _base64(record.identity),
        "track_id": record.track_id,
        "spread": record.spread,
        "origin": record.origin.value,
        "original_name": record.original_name,
    }


def to_authorization(about: SavedAbout) -> Authorization:
    """Who allowed the face, as saved."""
    return Authorization(**about.authorization.model_dump())


class _Stopped(Exception):
    def __init__(self, request: StopRequest) -> None:
        super().__init__(request)
        self.request = request


def _write(faceset: Faceset, stream: IO[str], control: RunControl) -> int:
    info = faceset.info
    head = {
        "format": FORMAT,
        "version": VERSION,
        "software": SOFTWARE,
        "faceset": {
            "face_type": info.face_type.value,
            "aligned_size": info.aligned_size,
            "settings": info.settings,
            "authorization": asdict(info.authorization),
        },
        "examined": list(faceset.examined_frames()),
    }
    stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ',\n"faces": [')
    total = len(faceset)
    count = 0
    for plate in info.plates:
        for record in faceset.every_record(plate):
            stopped = control.stop_requested()
            if stopped is not None:
                raise _Stopped(stopped)
            stream.write(",\n" if count else "\n")
            stream.write(_to_json(record, faceset.path))
            count += 1
            if count % _PROGRESS_EVERY == 0:
                control.emit(FrameProgress(done=min(count, total), total=total, frame=record.frame))
    stream.write("\n]}\n")
    control.emit(FrameProgress(done=total, total=total))
    return count


def _to_json(record: FaceRecord, path: Path) -> str:
    try:
        return json.dumps(from_record(record), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise DataCorrupt(
            f"The index of {path} holds a value for {record.name} that is no number.",
            reason="FACESET_INDEX_DAMAGED",
            path=path,
        ) from error


def _check_suffix(file: Path) -> None:
    if file.suffix not in (".json", ".gz"):
        raise InvalidInput(f"Metadata is saved as .json or .json.gz, not {file.name}.", reason="BAD_SUFFIX", path=file)


@contextlib.contextmanager
def _open_to_write(path: Path, is_compressed: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw, contextlib.ExitStack() as stack:
        binary: Any = raw
        if is_compressed:  # without name and time: the same faceset makes the same file
            binary = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
        text = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="\n")
        yield text
        text.flush()
        text.detach()


def _read_limited(file: Path) -> bytes:
    try:
        with file.open("rb") as raw:
            stream: Any = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw
            data: bytes = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"There is no file {file}.", reason="METADATA_NOT_FOUND", path=file) from error
    except (OSError, EOFError) as error:  # gzip says OSError of what is not its own
        raise DataCorrupt(f"{file} cannot be read: {error}.", reason="METADATA_DAMAGED", path=file) from error
    except Exception as error:  # zlib.error
        raise DataCorrupt(f"{file} is damaged: {error}.", reason="METADATA_DAMAGED", path=file) from error
    if len(data) > MAX_BYTES:
        raise DataCorrupt(f"{file} is larger than {MAX_BYTES} bytes.", reason="METADATA_DAMAGED", path=file)
    return data


def _base64(values: FloatArray) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode("ascii")


def _floats(text: str, what: str, file: Path, count: int | None = None) -> FloatArray:
    try:
        data = base64.b64decode(text, validate=True)
        values = np.frombuffer(data, dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise DataCorrupt(f"{file}: {what} cannot be read: {error}.", reason="METADATA_DAMAGED", path=file) from error
    if (count is not None and values.size != count) or not np.isfinite(values).all():
        raise DataCorrupt(f"{file}: {what} are not {count} numbers.", reason="METADATA_DAMAGED", path=file)
    return values
