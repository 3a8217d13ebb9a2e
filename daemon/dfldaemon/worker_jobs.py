"""The kinds of work, as calls of the core's pipelines. Loaded by the worker process only."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflcore.color.ocio import ColorConverter
from dflcore.config.curate import OPERATIONS
from dflcore.config.detail import DetailTrainSettings
from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.qc import QcSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.config.train import TrainSettings
from dflcore.frames import FrameRange
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import Plate
from dflcore.progress import RunControl, StopRequest
from dflcore.types import Authorization
from dfldaemon.jobs import JobKind, Work
from dfldaemon.model_facts import read_model_facts

MEMBER_COMMAND = (sys.executable, "-P", "-m", "dflcore.train.parallel.worker")
"""One of several processes that train a model together."""
REVIEW, ADVICE = "review", "advice"
"""Fields of a training's result, and of its review."""


@dataclass(frozen=True, slots=True)
class WorkOutcome:
    """How a pipeline ended: what asked it to leave early, if anything, and facts for a person."""

    stopped: StopRequest | None
    facts: Mapping[str, str]


def run_work(work: Work, control: RunControl, weights: Sequence[str]) -> WorkOutcome:
    """Run the pipeline of a kind; it resumes what an earlier run left by itself.

    Args:
        weights: folders with network weights, searched in order.

    Raises:
        DflError: whatever the pipeline raises.
    """
    runs: Mapping[JobKind, Callable[[], Any]] = {
        JobKind.EXTRACT: lambda: _extract(work, control, weights),
        JobKind.TRAIN: lambda: _train(work, control, weights),
        JobKind.MERGE: lambda: _merge(work, control, weights),
        JobKind.CURATE: lambda: _curate(work, control, weights),
        JobKind.TRAIN_MASK: lambda: _train_mask(work, control, weights),
        JobKind.TRAIN_DETAIL: lambda: _train_detail(work, control),
        JobKind.IMPORT_MODEL: lambda: _import_model(work, control),
        JobKind.EXPORT_MODEL: lambda: _export_model(work, control),
        JobKind.QC: lambda: _review(work, control, weights),
    }
    result = runs[work.kind]()
    return WorkOutcome(getattr(result, "stopped", None), facts_of(result))  # some can only leave early by raising


def _extract(work: Work, control: RunControl, weights: Sequence[str]) -> Any:
    from dflcore.extract.pipeline import extract_faces
    from dflcore.weights.store import WeightStore

    settings = ExtractSettings.from_values(work.settings)
    converter = ColorConverter(settings.ocio_config)
    plate = _open_plate(work, settings.input_colorspace, settings.missing_frames, converter)
    store = WeightStore([Path(folder) for folder in weights])
    return extract_faces(plate, Path(work.paths["faceset"]), settings, control, store=store, converter=converter)


def _train(work: Work, control: RunControl, weights: Sequence[str]) -> Any:
    from dflcore.train.parallel.training import TrainingTask, run_training
    from dflcore.tuning.arithmetic import tuning_folder

    task = TrainingTask(
        settings=TrainSettings.from_values(work.settings),
        source=Path(work.paths["source"]),
        target=Path(work.paths["target"]),
        model=Path(work.paths["model"]),
        more_sources=tuple(Path(path) for path in work.facesets),
        weights=tuple(Path(folder) for folder in weights),
        tuning_folder=tuning_folder(os.environ),
    )
    return run_training(task, control, worker=MEMBER_COMMAND)


def _merge(work: Work, control: RunControl, weights: Sequence[str]) -> Any:
    from dflcore.authorization import check_authorization
    from dflcore.config.cast_text import parse_casting
    from dflcore.merge.casting import open_cast
    from dflcore.merge.pipeline import merge_range
    from dflcore.merge.swapper import ModelSwapper, open_swapper
    from dflcore.merge.tools import open_tools
    from dflcore.models.device import resolve_device
    from dflcore.weights.store import WeightStore

    settings = MergeSettings.from_values(work.settings)
    converter = ColorConverter(settings.ocio_config)
    plate = _open_plate(work, settings.input_colorspace, settings.missing_frames, converter)
    model_path = Path(work.paths["model"])
    device = str(resolve_device(settings.device))
    swapper, notices = open_swapper(model_path, device, identity=settings.identity, morph=settings.morph)

    def authorize(path: Path, model: ModelSwapper) -> Authorization:
        permission = authorization_of(path, model.digest)
        found = check_authorization(
            permission,
            f"the model {model.name}",
            project=settings.authorization_project,
            use=settings.authorization_use,
        )
        for notice in found:
            control.emit(notice)
        return permission

    tools = open_tools(settings, WeightStore([Path(folder) for folder in weights]), device)
    cast, cast_notices = open_cast(parse_casting(settings.cast), swapper, device, authorize=authorize)
    for notice in (*notices, *tools.notices, *cast_notices):
        control.emit(notice)
    with Faceset.open(Path(work.paths["faceset"])) as faceset:
        return merge_range(
            plate,
            swapper,
            faceset,
            work.paths["output"],
            settings,
            control,
            converter=converter,
            authorization=authorization_of(model_path, swapper.digest),
            cast=cast,
            tools=tools,
        )


def _curate(work: Work, control: RunControl, weights: Sequence[str]) -> Any:
    from dflcore.curate.operations import Request, run_operation
    from dflcore.extract.recut import PlateFaces, describe_picture
    from dflcore.weights.store import WeightStore

    store = WeightStore([Path(folder) for folder in weights])
    other, output = work.paths.get("other"), work.paths.get("output")
    with PlateFaces.of_faceset(Path(work.paths["faceset"])) as cutter:
        request = Request(
            faceset=Path(work.paths["faceset"]),
            other=Path(other) if other else None,
            output=Path(output) if output else None,
            settings=OPERATIONS[work.operation].settings_class.from_values(work.settings),
            control=control,
            store=store,
            describe_picture=lambda path: describe_picture(path, store),
            cutter=cutter,
        )
        return run_operation(work.operation, request)


def _train_mask(work: Work, control: RunControl, weights: Sequence[str]) -> Any:
    from dflcore.train.segmenter import train_segmenter
    from dflcore.weights.store import WeightStore

    settings = MaskTrainSettings.from_values(work.settings)
    store = WeightStore([Path(folder) for folder in weights])
    return train_segmenter(
        settings, [Path(path) for path in work.facesets], Path(work.paths["model"]), control, store=store
    )


def _train_detail(work: Work, control: RunControl) -> Any:
    from dflcore.train.detail import train_detail

    settings = DetailTrainSettings.from_values(work.settings)
    return train_detail(settings, [Path(path) for path in work.facesets], Path(work.paths["model"]), control)


@dataclass(frozen=True, slots=True)
class _Imported:
    """A model that was taken over."""

    path: Path
    preset: str
    iteration: int


def _import_model(work: Work, control: RunControl) -> _Imported:
    from dflcore.exchange.importing import import_legacy_model

    settings = ModelImportSettings.from_values(work.settings)
    folder = import_legacy_model(Path(work.paths["legacy"]), Path(work.paths["model"]), settings, control)
    return _Imported(folder.path, folder.description.preset, read_model_facts(folder.path)[0].iteration)


def _export_model(work: Work, control: RunControl) -> Any:
    from dflcore.exchange.exporting import export_model

    settings = ModelExportSettings.from_values(work.settings)
    return export_model(Path(work.paths["model"]), Path(work.paths["output"]), settings, control)


def _review(work: Work, control: RunControl, weights: Sequence[str]) -> Any:
    from dflcore.qc.review import Shot, review_shot
    from dflcore.weights.store import WeightStore

    source = work.paths.get("source")
    shot = Shot(
        result=work.paths["result"],
        plate=work.paths["plate"],
        target=Path(work.paths["faceset"]),
        source=Path(source) if source else None,
        frames=FrameRange.parse(work.frames) if work.frames else None,
    )
    store = WeightStore([Path(folder) for folder in weights])
    return review_shot(shot, Path(work.output), QcSettings.from_values(work.settings), control, store=store)


def _open_plate(work: Work, color_space: str, missing: Any, converter: ColorConverter) -> Plate:
    frames = FrameRange.parse(work.frames) if work.frames else None
    return open_plate(
        work.paths["plate"],
        frames=frames,
        color_space=color_space,
        missing=missing,
        resolve_space=converter.find,
    )


def authorization_of(model_path: Path, digest: str) -> Authorization:
    """Who allowed the face that the loaded weights put on, as their save knows it from the source's faceset.

    A save that a training removed meanwhile is stood in for by the newest.
    """
    facts = read_model_facts(model_path)
    loaded = [one for one in facts if one.weights_sha256 == digest] or facts
    return loaded[0].authorization if loaded else Authorization()


def facts_of(result: Any) -> dict[str, str]:
    """Numbers and words of a pipeline's result, and lengths of lists, by field name; the rest is left out.

    Numbers of the review of a training stand beside the others, its advice as text.
    """
    facts: dict[str, str] = {}
    for name in result.__dataclass_fields__:
        value = getattr(result, name)
        if name == REVIEW and value is not None:
            facts |= facts_of(value)
        elif name == ADVICE:
            facts[name] = " ".join(value)
        elif isinstance(value, str | int | Path) and not isinstance(value, bool) and value != "":
            facts[name] = str(value)
        elif isinstance(value, float) and not math.isnan(value):
            facts[name] = f"{value:.6g}"
        elif isinstance(value, tuple):
            facts[name] = str(len(value))
    return facts
