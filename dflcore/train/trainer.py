"""Training of face models: from settings and facesets to a model folder. The algorithm of a step is in ``steps.py``,
what goes on around the steps in ``loop.py``.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dflcore.authorization import check_authorization
from dflcore.config.train import TrainSettings
from dflcore.errors import DataCorrupt, NotFound
from dflcore.models.checkpoint import Generation, ModelFolder
from dflcore.models.device import resolve_autocast, resolve_device
from dflcore.models.face_model import SOURCE, TARGET
from dflcore.models.layout import DESCRIPTION_NAME
from dflcore.models.registry import Recipe, load_preset
from dflcore.progress import LoggedRun, Notice, RunControl, StopRequest
from dflcore.train import session
from dflcore.train.clock import StepTimes
from dflcore.train.dataset import TrainingFaces
from dflcore.train.fitting import explain, fit_batch, prepare_memory
from dflcore.train.loop import LoopSettings, TrainingLoop, TrainingState, state_of
from dflcore.train.optim.schedule import Schedule
from dflcore.train.parallel.group import AloneGroup, TrainingGroup
from dflcore.train.plan import filled, resolve_settings
from dflcore.train.review import TrainingReview, review_training
from dflcore.train.steps import FaceSteps
from dflcore.tuning.arithmetic import Arithmetic
from dflcore.tuning.batch import is_out_of_memory
from dflcore.tuning.compiling import should_compile
from dflcore.weights.store import WeightStore


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        iteration, elapsed_s: of the model's whole life. generation: number of the newest save.
        losses: means of the last progress event. step_ms, data_ms: means over this run, the second part of the first.
        stopped: what asked the run to leave early, None when its budget was used up.
        review: what the painted faces look like, None when nobody asked.
    """

    iteration: int
    elapsed_s: float
    generation: int
    losses: dict[str, float]
    step_ms: float
    data_ms: float
    stopped: StopRequest | None
    review: TrainingReview | None = None


def train(
    settings: TrainSettings,
    source: TrainingFaces,
    target: TrainingFaces,
    model_path: Path,
    control: RunControl | None = None,
    *,
    more_sources: Sequence[TrainingFaces] = (),
    store: WeightStore | None = None,
    group: TrainingGroup | None = None,
    tuning_folder: Path | None = None,
) -> TrainResult:
    """Train a model until its budget is used up or somebody asks it to stop. It is saved in every case.

    Args:
        settings: what to do; a model that exists already keeps its own network.
        source, target: open facesets: the identity to put on, and the performer.
        model_path: the model's folder, created when it does not exist.
        control: receives progress, previews, saves and notices; asked once per step whether to stop.
        more_sources: further people to put on the performer, where the network has a decoder for each.
        group: the processes that train together; each calls this with facesets it opened itself. The lead alone
            writes, reports and reviews.
        tuning_folder: where measurements of the device are kept, which decide what the settings leave open; None
            measures nothing.
        store: where the identity encoder is looked for that reviews the result; None leaves the review out.

    Raises:
        InvalidInput: a faceset is empty, its authorisation has expired, a setting does not fit the model, or
            training diverged twice; the newest generation on disk is the last good one.
        Conflict: another process trains this model.
        DataCorrupt: the model, or every face of a side, is damaged.
        ResourceExhausted: the disk is full, or the device's memory; the generations saved before are untouched.
    """
    control = control or LoggedRun()
    group = group or AloneGroup()
    resolve_device(settings.device)
    faces = name_faces(source, target, more_sources)
    facesets = session.infos_of(faces.items())
    for side, info in facesets.items():
        project, use = settings.authorization_project, settings.authorization_use
        subject = f"the {side} faceset {info.path}"
        for notice in check_authorization(info.authorization, subject, project=project, use=use):
            control.emit(notice)
    with contextlib.ExitStack() as stack:
        if group.is_lead:
            is_new = not Path(model_path).exists()
            sources = len(faces) - 1
            folder = session.open_or_create_model(settings, Path(model_path), source.info.face_type, sources)
            stack.enter_context(folder.lock())
            if is_new:  # inside the lock: what another process trains is not ours to undo
                stack.enter_context(_undone_on_error(Path(model_path)))
        group.barrier()
        folder = _open_as_lead(Path(model_path))
        with contextlib.closing(
            Trainer(settings, faces, folder, control, group=group, tuning_folder=tuning_folder)
        ) as trainer:
            result = trainer.run()
        left = result.stopped in (StopRequest.PAUSE, StopRequest.SHUTDOWN)
        if store is None or left or not result.step_ms or not group.is_lead:
            return result
        model, history = trainer.steps.model, trainer.loop.state.history  # the loader threads have left the facesets
        face_type = folder.description.face_type
        with trainer.steps.learner.mean_weights():
            review = review_training(model, source, target, settings, history, store, face_type)
        control.emit(_summary(result, review))
        return replace(result, review=review)


def name_faces(
    source: TrainingFaces, target: TrainingFaces, more_sources: Sequence[TrainingFaces] = ()
) -> dict[str, TrainingFaces]:
    """Identity → faceset, as the models name them."""
    more = {f"{SOURCE}{number}": faces for number, faces in enumerate(more_sources, 2)}
    return {SOURCE: source, TARGET: target, **more}


class Trainer:
    """One run over one model. Use :func:`train`, or step it by hand in a benchmark; the folder's lock must be held."""

    def __init__(
        self,
        settings: TrainSettings,
        faces: Mapping[str, TrainingFaces],
        folder: ModelFolder,
        control: RunControl,
        *,
        group: TrainingGroup | None = None,
        tuning_folder: Path | None = None,
    ) -> None:
        session.check_supported(settings, folder.description.preset)
        recipe = load_preset(folder.description.preset).recipe
        settings = resolve_settings(settings, recipe)
        device = resolve_device(settings.device)
        group = group or AloneGroup()
        generation, state = _resume(settings, folder, control, group)
        self.folder, self._device = folder, device
        if settings.fit_batch:
            settings = _fitted(settings, recipe, folder, device, control, group)
        self._settings = settings
        ahead = None if settings.iterations is None else settings.iterations - state.iteration
        self.steps = FaceSteps(
            settings,
            recipe,
            faces,
            folder,
            device,
            group,
            tuning_folder,
            is_compiled=should_compile(device, settings.compile, ahead),
        )
        try:
            self.steps.go_back(generation)
            short = prepare_memory(settings, folder.description, device, self.steps.arithmetic.autocast)
            if short is not None and group.is_lead:
                control.emit(short)
            schedule = Schedule(
                peak=filled(settings.learning_rate),
                iterations=settings.iterations,
                seconds=None if settings.minutes is None else settings.minutes * 60.0,
                cycle=filled(settings.lr_cycle),
                open_end_factor=recipe.open_end_factor,
            )
            pace = LoopSettings(
                save_interval_s=settings.save_interval_s,
                preview_interval_s=settings.preview_interval_s,
                keep_generations=settings.keep_generations,
                backup_interval_h=settings.backup_interval_h,
                keep_backups=settings.keep_backups,
                preview_history=settings.preview_history,
            )
            self.loop = TrainingLoop(self.steps, folder, control, schedule, generation, state, pace, device, group)
        except BaseException:
            self.steps.close()
            raise

    def run(self) -> TrainResult:
        """Step until the budget is used up or a stop is asked for; then save."""
        try:
            stopped = self.loop.run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            autocast = self.steps.arithmetic.autocast
            raise explain(error, self._settings, self.folder.description, self._device, autocast) from error
        state, times = self.loop.state, self.loop.step_times
        return TrainResult(
            iteration=state.iteration,
            elapsed_s=state.elapsed_s,
            generation=state.generation,
            losses=self.loop.losses,
            step_ms=times.step_ms,
            data_ms=times.data_ms,
            stopped=stopped,
        )

    def step(self) -> None:
        """One iteration, for benchmarks."""
        self.loop.step()

    @property
    def step_times(self) -> StepTimes:
        """Sums over all steps of this run, for benchmarks."""
        return self.loop.step_times

    def close(self) -> None:
        """Stop loader threads and close the event file."""
        self.loop.close()
        self.steps.close()


def _fitted(
    settings: TrainSettings,
    recipe: Recipe,
    folder: ModelFolder,
    device: torch.device,
    control: RunControl,
    group: TrainingGroup,
) -> TrainSettings:
    """With the largest batch that fits; all processes take what the lead found."""
    found = 0
    if group.is_lead:
        dtype = resolve_autocast(settings.precision, device)
        arithmetic = Arithmetic(autocast=dtype, memory_format=torch.contiguous_format, reason="not measured")
        message = f"Trying out how many faces a step has memory for on {device}; this takes some steps."
        control.emit(Notice(message=message, reason="FITTING_BATCH", severity="info"))
        found = fit_batch(settings, recipe, folder.description, device, arithmetic, control)
        message = f"A step has memory for {found} faces of each person on {device}; so many are taken."
        control.emit(Notice(message=message, reason="BATCH_FITTED", severity="info"))
    return settings.model_copy(update={"batch_size": group.agree(found)})


STORAGE_DELAY_S = 90.0
"""Network storage remembers for so long, by default, what was in a folder."""
_BEFORE_THE_FIRST_STEP = frozenset({DESCRIPTION_NAME, ".lock"})
"""All that is in a model's folder by then."""


@contextlib.contextmanager
def _undone_on_error(model_path: Path) -> Iterator[None]:
    """A folder that was made for a training which could not begin does not stay."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            if {entry.name for entry in model_path.iterdir()} <= _BEFORE_THE_FIRST_STEP:
                shutil.rmtree(model_path)
        raise


def _summary(result: TrainResult, review: TrainingReview | None) -> Notice:
    """What a run came to.

    The details say it in parts, for hosts that lay it out: the last losses under their names, the review's figures, its
    advice a sentence per line.
    """
    losses = ", ".join(f"{name} {value:.3f}" for name, value in result.losses.items())
    sentence = f" {review.sentence()}" if review else ""
    message = (
        f"Trained {result.iteration} iterations in {result.elapsed_s / 60:.1f} min, {result.step_ms:.0f} ms each; "
        f"losses: {losses};{sentence}"
    )
    numbers = {"elapsed_s": result.elapsed_s, "step_ms": result.step_ms, **result.losses}
    details = {"iteration": str(result.iteration), **{name: f"{value:.6g}" for name, value in numbers.items()}}
    if review:
        details["identity_to_source"] = f"{review.identity_to_source:.4f}"
        details["source_to_target"] = f"{review.source_to_target:.4f}"
        details["sharpness_ratio"] = f"{review.sharpness_ratio:.4f}"
        details["advice"] = "\n".join(review.advice)
    return Notice(message=message, reason="TRAINING_SUMMARY", severity="info", details=details)


def _load_as_lead(folder: ModelFolder, number: int) -> Generation | None:
    """The generation the lead goes on from; storage may show what another machine has written with a delay.

    Raises:
        DataCorrupt: it is not to be seen from here.
    """
    deadline = time.monotonic() + STORAGE_DELAY_S
    while True:
        generation = folder.load()[0] if number else None
        if (0 if generation is None else generation.number) == number:
            return generation
        if time.monotonic() > deadline:
            raise DataCorrupt(
                f"The lead goes on from generation {number} of {folder.path}, which is not the newest that can be read "
                "here. See that all machines see the same storage.",
                reason="STORAGE_DIFFERS",
                path=folder.path,
            )
        time.sleep(1.0)


def _open_as_lead(path: Path) -> ModelFolder:
    """The folder, which the lead may have made a moment ago on another machine. Raises as :meth:`ModelFolder.open`."""
    deadline = time.monotonic() + STORAGE_DELAY_S
    while True:
        try:
            return ModelFolder.open(path)
        except NotFound:
            if time.monotonic() > deadline:
                raise
        time.sleep(1.0)


def _resume(
    settings: TrainSettings, folder: ModelFolder, control: RunControl, group: TrainingGroup
) -> tuple[Generation | None, TrainingState]:
    """The generation to go on from and its counters.

    When pretraining ends, what the network knows of who somebody is starts anew, and so do the counters.
    """
    generation = session.load_generation(folder, control) if group.is_lead else None
    group.barrier()  # the lead has set aside what is damaged
    number = group.agree(0 if generation is None else generation.number)
    if not group.is_lead:
        generation = _load_as_lead(folder, number)
    if generation is None:
        return None, TrainingState()
    was_pretrained = bool(generation.state.get("pretrain"))
    if was_pretrained is settings.pretrain:
        return generation, state_of(generation)
    if was_pretrained:
        message = (
            f"Pretraining of {folder.path} is over: what it learnt of faces stays, what it learnt of people starts "
            "anew, iterations count from 0."
        )
    else:
        kept = f" What was trained is kept in {folder.back_up(settings.keep_backups)}." if group.is_lead else ""
        message = f"The model {folder.path} goes back to pretraining: its weights stay, iterations count from 0.{kept}"
    if group.is_lead:
        control.emit(Notice(message=message, reason="PRETRAIN_SWITCHED", severity="info"))
    return replace(generation, training={}), TrainingState(generation=generation.number)
