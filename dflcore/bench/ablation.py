"""The paper's Table 2 in small: its networks, each with and without GAN and TrueFace, equally long on the same footage.

Source: the paper (arXiv:2005.05535, §4.3 and Table 2), which lists eight of the sixteen combinations, over five hundred
clips and hours of training. Here it is one pair of clips and minutes; the measures are ours
(:class:`dflcore.bench.held_out.Judgement`), on scales of their own: compare rows with each other, not with the paper. A
network that has learnt nothing lets the target through and is hard to beat in all but identity and sharpness, which is
why the table begins with no swap at all.

GAN and TrueFace come in for the second half of the time: critics of faces that are not faces yet teach nothing. A run
that is finished is kept and not run again; one that was broken off goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dflcore.bench.drawing import label_grid
from dflcore.bench.figures import Figure
from dflcore.bench.held_out import MEASURES, Footage, Judgement, SwapJudge, prepare_footage
from dflcore.bench.timed_training import PREVIEW_INTERVAL_S, SAVE_INTERVAL_S, train_until, trained_seconds
from dflcore.config.train import TrainSettings
from dflcore.environment import machine_name
from dflcore.errors import InvalidInput
from dflcore.io.atomic import write_text
from dflcore.merge.swapper import open_swapper
from dflcore.train.preview import write_png
from dflcore.version import SOFTWARE

NETWORKS: Final = ("df", "dfhd", "liae", "liaehd")
VARIANTS: Final[Mapping[str, Mapping[str, float]]] = {
    "plain": {},
    "trueface": {"true_face_power": 0.01},
    "gan": {"gan_power": 0.1},
    "gan+trueface": {"gan_power": 0.1, "true_face_power": 0.01},
}
"""Variant → what it is trained with in the second half; the powers are those the settings call usual."""
DIMS: Final = {"ae": "ae_dims", "e": "e_dims", "d": "d_dims", "mask": "d_mask_dims"}
"""Short name of a width → the setting."""
LATE_FROM: Final = 0.5
"""Share of the time after which GAN and TrueFace are switched on."""
_RUN_NAME: Final = "run.json"
_FACES_NAME: Final = "faces.png"
_SHOWN_FACES: Final = 6
_STAGE: Final = "ablation"
_HEADINGS: Final = {
    "ssim": "SSIM ↑",
    "perceptual": "perceptual ↓",
    "identity": "identity, to source ↓",
    "identity_to_target": "to target ↑",
    "landmarks": "landmarks, % of eyes ↓",
    "pose": "pose, ° ↓",
    "sharpness": "sharpness of target's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRun:
    """One row of the table.

    Attributes:
        network, variant: names. iteration: steps it made. seconds: in the trainer.
        measures: measure → ``mean`` and ``deviation``, see :class:`dflcore.bench.held_out.Judgement`.
        faces: (S, N S, 3) uint8: some swapped faces side by side.
    """

    network: str
    variant: str
    iteration: int
    seconds: float
    measures: Mapping[str, Mapping[str, float]]
    faces: NDArray[np.uint8]

    @property
    def name(self) -> str:
        """As the paper writes it."""
        extra = {"plain": "", "gan": " (GAN)", "trueface": " (TrueFace)", "gan+trueface": " (GAN + TrueFace)"}
        return self.network.upper() + extra[self.variant]


def bench_ablation(
    source_movie: Path,
    target_movie: Path,
    output: Path,
    *,
    networks: Sequence[str] = NETWORKS,
    variants: Sequence[str] = tuple(VARIANTS),
    minutes: float = 12.0,
    resolution: int | None = None,
    batch_size: int | None = None,
    dims: Mapping[str, int] | None = None,
    frame_step: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """Train every network in every variant for the same time, and measure all on the same held-out faces.

    Args:
        output: ``ablation.md``, ``ablation.json``, ``faces.png`` and one folder per run go here. A model's folder is
            removed once its run is measured.
        networks: presets. variants: of :data:`VARIANTS`.
        minutes: in the trainer, per run.
        resolution, batch_size: None for the presets' own.
        dims: widths by the short names of :data:`DIMS`, for all networks that have them.
        frame_step: every how many frames a face is taken.
        say: told what is going on.

    Raises:
        DflError: a movie shows too few faces, a preset does not exist, training failed.
    """
    footage = prepare_footage(source_movie, target_movie, output / "footage", frame_step=frame_step)
    judge = SwapJudge(footage)
    runs = []
    for network in dict.fromkeys(networks):
        for variant in dict.fromkeys(variants):
            settings = TrainSettings(
                preset=network,
                minutes=minutes,
                resolution=resolution,
                batch_size=batch_size,
                save_interval_s=SAVE_INTERVAL_S,
                preview_interval_s=PREVIEW_INTERVAL_S,
                **{DIMS[name]: width for name, width in (dims or {}).items()},
            )
            folder = output / "runs" / f"{network}_{variant.replace('+', '_')}"
            run = _finished(folder, _key(settings, variant, footage)) or _run(settings, variant, footage, judge, folder)
            say(f"{run.name}: {run.iteration} iterations, identity {run.measures['identity']['mean']:.3f}")
            runs.append(run)
    about = _about(source_movie, target_movie, minutes, runs, resolution, batch_size, dims)
    _report(runs, judge, output, about)
    note = f"{source_movie.stem} on {target_movie.stem}, {minutes:g} min"
    return [
        Figure(stage=_STAGE, name=f"{run.name}: {name}", value=run.measures[name]["mean"], unit="", note=note)
        for run in runs
        for name in MEASURES
    ]


def parse_dims(text: str) -> dict[str, int]:
    """``ae=128,e=32,d=32,mask=16`` → widths by short name.

    Raises:
        InvalidInput: another form, or an unknown width.
    """
    dims = {}
    for part in text.split(","):
        name, _, width = part.strip().partition("=")
        if name not in DIMS or not width.isdecimal() or int(width) < 1:
            raise InvalidInput(
                f"{text!r} names no widths; write them as ae=128,e=32,d=32,mask=16, any of {', '.join(DIMS)}.",
                reason="BAD_DIMS",
                field="dims",
            )
        dims[name] = int(width)
    return dims


def _key(settings: TrainSettings, variant: str, footage: Footage) -> str:
    """What a finished run must have been made from to be kept."""
    facesets = (footage.folder / "footage.json").read_text("utf-8")
    made_from = [settings.values(), dict(VARIANTS[variant]), LATE_FROM, facesets]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def _finished(folder: Path, key: str) -> AblationRun | None:
    path = folder / _RUN_NAME
    if not path.is_file():
        return None
    facts = json.loads(path.read_text("utf-8"))
    faces = cv2.imread(str(folder / _FACES_NAME), cv2.IMREAD_COLOR_RGB)
    if facts.pop("key") != key or faces is None:
        return None
    return AblationRun(faces=np.asarray(faces, dtype=np.uint8), **facts)


def _run(settings: TrainSettings, variant: str, footage: Footage, judge: SwapJudge, folder: Path) -> AblationRun:
    """Train, measure, keep the outcome and let go of the model."""
    key = _key(settings, variant, footage)
    model_path = folder / f"model_{key}"
    for stale in folder.glob("model_*"):
        if stale != model_path:
            shutil.rmtree(stale)
    iteration, seconds = _train(settings, VARIANTS[variant], footage, model_path)
    swapper, _ = open_swapper(model_path)
    judged = judge.judge(swapper)
    run = AblationRun(
        network=settings.preset or "",
        variant=variant,
        iteration=iteration,
        seconds=seconds,
        measures=judged.values(),
        faces=_side_by_side(judged),
    )
    write_png(folder / _FACES_NAME, run.faces)
    write_text(folder / _RUN_NAME, json.dumps({**_facts(run), "key": key}, indent=1) + "\n")
    shutil.rmtree(model_path)
    return run


def _train(settings: TrainSettings, late: Mapping[str, float], footage: Footage, model_path: Path) -> tuple[int, float]:
    """Iterations and seconds of the whole run, of which what an earlier try did is a part."""
    whole_s = 60.0 * (settings.minutes or 1.0)
    trained_s = trained_seconds(model_path)
    if late and trained_s < LATE_FROM * whole_s:
        trained_s = train_until(settings, footage, model_path, LATE_FROM * whole_s, trained_s).elapsed_s
    with_late = TrainSettings.from_values({**settings.values(), **late})
    result = train_until(with_late, footage, model_path, whole_s, trained_s)
    return result.iteration, result.elapsed_s


def _side_by_side(judged: Judgement) -> NDArray[np.uint8]:
    return np.concatenate(_spread(judged.faces), axis=1)


def _spread(faces: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Some of the faces, first and last among them."""
    return [faces[int(index)] for index in np.linspace(0, len(faces) - 1, _SHOWN_FACES).round()]


def _facts(run: AblationRun) -> dict[str, Any]:
    return {
        "network": run.network,
        "variant": run.variant,
        "iteration": run.iteration,
        "seconds": run.seconds,
        "measures": run.measures,
    }


def _about(
    source_movie: Path,
    target_movie: Path,
    minutes: float,
    runs: Sequence[AblationRun],
    resolution: int | None,
    batch_size: int | None,
    dims: Mapping[str, int] | None,
) -> str:
    widths = ", ".join(f"{name} {width}" for name, width in (dims or {}).items()) or "the presets' widths"
    side = f"{resolution} px" if resolution else "the presets' resolution"
    batch = f"batch {batch_size}" if batch_size else "the presets' batch"
    return (
        f"{source_movie.name} on {target_movie.name}; {len(runs)} runs of {minutes:g} min, {side}, {batch}, {widths}; "
        f"GAN and TrueFace from {100 * LATE_FROM:.0f} % of the time; {machine_name()}, {SOFTWARE}"
    )


def _report(runs: Sequence[AblationRun], judge: SwapJudge, output: Path, about: str) -> None:
    write_text(output / "ablation.md", _table(runs, judge, about))
    facts = {
        "about": about,
        "source_to_target": judge.source_to_target,
        "source_itself": judge.source_itself,
        "untouched": judge.untouched,
        "judged_faces": len(judge.pictures),
        "runs": [_facts(run) for run in runs],
    }
    write_text(output / "ablation.json", json.dumps(facts, indent=1) + "\n")
    side = runs[0].faces.shape[0]
    rows = [_spread(judge.pictures)]
    rows += [[run.faces[:, at : at + side] for at in range(0, run.faces.shape[1], side)] for run in runs]
    labels = ["target, held out"]
    for run in runs:
        identity, sharpness = (run.measures[name]["mean"] for name in ("identity", "sharpness"))
        labels.append(f"{run.name}\nidentity {identity:.3f}\nsharpness {sharpness:.2f}")
    write_png(output / _FACES_NAME, label_grid(rows, labels, []))


def _table(runs: Sequence[AblationRun], judge: SwapJudge, about: str) -> str:
    lines = [
        f"{about}.",
        "",
        f"Mean ± deviation over {len(judge.pictures)} held-out target faces. Source to target "
        f"{judge.source_to_target:.3f}; the source's own faces {judge.source_itself:.3f} from their mean.",
        "",
        "| network | " + " | ".join(_HEADINGS[name] for name in MEASURES) + " | iterations |",
        "|---" * (len(MEASURES) + 2) + "|",
    ]
    to_source, to_target = judge.untouched
    lines.append(f"| (no swap at all) | 1 | 0 | {to_source:.3f} | {to_target:.3f} | 0 | 0 | 1 | 0 |")
    for run in runs:
        cells = [f"{run.measures[name]['mean']:.3f} ± {run.measures[name]['deviation']:.3f}" for name in MEASURES]
        lines.append(f"| {run.name} | {' | '.join(cells)} | {run.iteration} |")
    return "\n".join(lines) + "\n"
