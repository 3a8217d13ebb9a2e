"""Trained models as files for other programs: DFM, ONNX, TorchScript. Every file is tried before it gets its name."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from dflcore.authorization import check_authorization
from dflcore.config.exchange import ExportKind, ModelExportSettings
from dflcore.errors import Cancelled, Conflict, DflError, InvalidInput, Unsupported
from dflcore.exchange.graphs import SwapGraph, build_graph
from dflcore.exchange.onnx_files import DFM, ONNX, OnnxFile, require_packages, write_onnx
from dflcore.exchange.torchscript import HalfTorchScriptFile, TorchScriptFile, write_torchscript
from dflcore.exchange.verify import MAX_DIFFERENCE, MAX_HALF_DIFFERENCE, measure_difference, require_same
from dflcore.io.atomic import atomic_path
from dflcore.merge.provenance import DIGITAL_SOURCE_TYPE
from dflcore.models.checkpoint import Generation, ModelFolder, load_model
from dflcore.models.face_model import FaceModel
from dflcore.progress import FrameProgress, Notice, RunControl
from dflcore.types import Authorization
from dflcore.version import SOFTWARE

SUFFIXES: Final[dict[ExportKind, str]] = {"dfm": ".dfm", "onnx": ".onnx", "torchscript": ".pt"}
_FORMS: Final = {"dfm": DFM, "onnx": ONNX}
_STEPS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """A finished file.

    Attributes:
        size_bytes, sha256: of the file.
        model_digest: of the weights it was made from, as in frame headers.
        difference: the largest between what the file and the model painted on trial, of values in [0, 1]; of the half
            precision copy where there is one.
    """

    path: Path
    kind: ExportKind
    size_bytes: int
    sha256: str
    model_digest: str
    difference: float


def export_model(
    model_folder: Path, output_path: Path, settings: ModelExportSettings, control: RunControl
) -> ExportResult:
    """Write a trained face model as one file that other programs read, and try it against the model.

    Args:
        output_path: ends in ``.dfm``, ``.onnx`` or ``.pt``, as the kind asks.

    Raises:
        NotFound: there is no model, or it has never been saved.
        Conflict: there is a file of that name and it may not be replaced.
        InvalidInput: the model is no face model or does not know the person, the permission has expired, the file's
            suffix is another kind's, its folder cannot be written, or the file paints something else than the model.
        Unsupported: a package is missing, or the model is larger than the kind of file holds.
        DataCorrupt: the model is damaged.
        ResourceExhausted: the disk is full.
        Cancelled: it was asked to stop; nothing was written.
    """
    output_path = Path(output_path)
    _check_output(output_path, settings)
    if settings.kind != "torchscript":
        require_packages()
    _step(control, 0, "load")
    model, folder, generation, notices = load_model(model_folder)
    authorization = _authorization(generation)
    notices += check_authorization(authorization, f"the model {folder.path.name}")
    for notice in notices:
        control.emit(notice)
    graph = build_graph(model, settings.identity)
    about = describe_model(folder, generation, authorization, settings)
    _step(control, 1, "write")
    data = _write(graph, model.resolution, about, settings, folder)
    with atomic_path(output_path) as temporary:
        temporary.write_bytes(data)
        _step(control, 2, "try")
        difference = _try(temporary, output_path.name, model, settings)
        _check_output(output_path, settings)  # somebody may have been quicker
    _finish(control, folder, output_path, difference)
    return ExportResult(
        path=output_path,
        kind=settings.kind,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        model_digest=generation.weights_sha256,
        difference=difference,
    )


def describe_model(
    folder: ModelFolder, generation: Generation, authorization: Authorization, settings: ModelExportSettings
) -> dict[str, str]:
    """What an exported file says about itself, as text.

    Names are those of frame headers. ``dfl/digitalSourceType`` is IPTC's term for what is made with the file.
    """
    description = folder.description
    about = {
        "dfl/synthetic": "1",
        "dfl/digitalSourceType": DIGITAL_SOURCE_TYPE,
        "dfl/model": folder.path.name,
        "dfl/modelId": description.model_id,
        "dfl/modelDigest": generation.weights_sha256,
        "dfl/iteration": str(generation.iteration),
        "dfl/preset": description.preset,
        "dfl/resolution": str(description.resolution),
        "dfl/faceType": description.face_type.value,
        "dfl/identity": settings.identity,
        "dfl/colorSpace": "sRGB, display-referred, 0 to 1",
        "dfl/channelOrder": "BGR" if settings.kind == "dfm" else "RGB",
        "dfl/precision": "half" if settings.half else "single",
        "dfl/software": SOFTWARE,
    }
    stated = {f"dfl/authorization{name.capitalize()}": value for name, value in asdict(authorization).items()}
    return about | {name: value for name, value in stated.items() if value}


def _check_output(output_path: Path, settings: ModelExportSettings) -> None:
    suffix = SUFFIXES[settings.kind]
    if output_path.suffix.lower() != suffix:
        raise InvalidInput(
            f"{output_path} is to be a {settings.kind} file, which other programs know by its suffix; let its name end "
            f"in {suffix}.",
            reason="BAD_SUFFIX",
            path=output_path,
            field="kind",
        )
    if output_path.is_dir() or (output_path.exists() and not settings.overwrite):
        raise Conflict(
            f"{output_path} is there already; choose another name, or say --overwrite.",
            reason="FILE_EXISTS",
            path=output_path,
        )


def _write(
    graph: SwapGraph, side: int, about: dict[str, str], settings: ModelExportSettings, folder: ModelFolder
) -> bytes:
    try:
        if settings.kind == "torchscript":
            return write_torchscript(graph, side, about, half=settings.half, scene_linear=settings.scene_linear)
        return write_onnx(graph, side, _FORMS[settings.kind], about, half=settings.half)
    except DflError:
        raise
    except RuntimeError as error:  # a network of another package may do what no recorder understands
        raise Unsupported(
            f"The network {folder.description.preset} of {folder.path} cannot be exported as {settings.kind}: "
            f"{str(error).strip().splitlines()[0]}",
            reason="NOT_EXPORTABLE",
            path=folder.path,
            field="kind",
        ) from error


def _try(path: Path, name: str, model: FaceModel, settings: ModelExportSettings) -> float:
    identity = settings.identity
    if settings.kind != "torchscript":
        difference = measure_difference(model, identity, OnnxFile(str(path), _FORMS[settings.kind]))
        require_same(difference, MAX_HALF_DIFFERENCE if settings.half else MAX_DIFFERENCE, name)
        return difference
    difference = measure_difference(model, identity, TorchScriptFile(str(path)))
    require_same(difference, MAX_DIFFERENCE, name)
    if settings.half:
        difference = measure_difference(model, identity, HalfTorchScriptFile(str(path)))
        require_same(difference, MAX_HALF_DIFFERENCE, name)
    return difference


def _authorization(generation: Generation) -> Authorization:
    source = generation.state.get("provenance", {}).get("source", {})
    stated = source.get("authorization", {}) if isinstance(source, dict) else {}
    known = asdict(Authorization())
    return Authorization(**{name: str(value) for name, value in stated.items() if name in known})


def _step(control: RunControl, done: int, stage: str) -> None:
    if control.stop_requested() is not None:
        raise Cancelled("The export was stopped; nothing was written.", reason="CANCELLED")
    control.emit(FrameProgress(done=done, total=_STEPS, stage=stage))


def _finish(control: RunControl, folder: ModelFolder, path: Path, difference: float) -> None:
    control.emit(FrameProgress(done=_STEPS, total=_STEPS, path=str(path)))
    message = f"The model {folder.path.name} was exported as {path}; on trial it differed by at most {difference:.2g}."
    details = {"path": str(path), "difference": f"{difference:.3g}"}
    control.emit(Notice(message=message, reason="MODEL_EXPORTED", severity="info", details=details))
