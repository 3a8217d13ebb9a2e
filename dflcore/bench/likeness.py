"""Likeness per minute: presets on the same footage, their identity distance and sharpness as training time goes by.

Only time in the trainer counts; painting and measuring stand outside. A preset is trained once, with the whole budget
known to its schedule: what the curve shows at a minute is a run that is to end later, not the best that could be had in
that minute. Sharpness counts noise as detail, and the first seconds of a network are noise: look at the strip of faces
beside the curves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dflcore.bench.drawing import Curve, label_grid, plot_curves, stack, time_label
from dflcore.bench.figures import Figure
from dflcore.bench.held_out import Footage, SwapJudge, prepare_footage
from dflcore.bench.timed_training import PREVIEW_INTERVAL_S, SAVE_INTERVAL_S, open_look, train_and_look
from dflcore.config.train import TrainSettings
from dflcore.environment import machine_name
from dflcore.io.atomic import write_text
from dflcore.train.preview import write_png

FIRST_MOMENT_S: Final = 15.0
DEFAULT_PRESETS: Final = ("quick", "quick96")
_STAGE: Final = "likeness"
_SHOWN_FACES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A preset at one time of its training; means over the held-out faces.

    Attributes:
        seconds: in the trainer. iteration: steps until then.
        identity, identity_to_target, landmarks, sharpness: see :class:`dflcore.bench.held_out.Judgement`.
    """

    seconds: float
    iteration: int
    identity: float
    identity_to_target: float
    landmarks: float
    sharpness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overtaking:
    """When one preset came to where another was at its best.

    Attributes:
        distance: the other's smallest identity distance to the source.
        other_s, own_s: when the other had it first, and when this one had it; infinite for never.
        other_sharpness, own_sharpness: at those times.
    """

    distance: float
    other_s: float
    own_s: float
    other_sharpness: float
    own_sharpness: float

    @property
    def ratio(self) -> float:
        """How many times sooner; 0 for never."""
        return self.other_s / self.own_s


def bench_likeness(
    source_movie: Path,
    target_movie: Path,
    output: Path,
    *,
    presets: Sequence[str] = DEFAULT_PRESETS,
    minutes: float = 12.0,
    frame_step: int = 1,
    batch_size: int | None = None,
    resolution: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Figure]:
    """Train every preset equally long and look at the held-out faces 15, 30, 60... seconds into it, and at the end.

    Args:
        output: facesets and models, ``likeness.md``, ``likeness.json``, ``likeness.png`` and ``faces.png`` go here.
            Extracted facesets of the same movies are used again, models are not.
        minutes: of training, per preset.
        frame_step: every how many frames a face is taken.
        batch_size, resolution: None for the presets' own.
        say: told what is going on.

    Raises:
        DflError: a movie shows too few faces, a preset does not exist, training failed.
    """
    footage = prepare_footage(source_movie, target_movie, output / "footage", frame_step=frame_step)
    judge = SwapJudge(footage)
    moments: dict[str, list[Moment]] = {}
    rows: list[list[NDArray[np.uint8]]] = []
    for name in dict.fromkeys(presets):
        settings = TrainSettings(
            preset=name,
            minutes=minutes,
            batch_size=batch_size,
            resolution=resolution,
            save_interval_s=SAVE_INTERVAL_S,
            preview_interval_s=PREVIEW_INTERVAL_S,
        )
        moments[name], faces = _follow(settings, footage, judge, output / "models" / name, say)
        rows += faces
    return _report(moments, rows, judge, output, f"{source_movie.name} on {target_movie.name}, {minutes:g} min each")


def times_to_look(minutes: float) -> list[float]:
    """15, 30, 60... seconds, and the end."""
    times = [FIRST_MOMENT_S]
    while times[-1] < 60.0 * minutes:
        times.append(times[-1] * 2.0)
    return [time for time in times if time < 60.0 * minutes] + [60.0 * minutes]


def find_overtaking(own: Sequence[Moment], other: Sequence[Moment]) -> Overtaking:
    """When ``own`` came to the smallest distance of ``other``; between two looks, distance is taken to fall evenly."""
    best = min(other, key=lambda moment: moment.identity)
    overtaking_s, sharpness = _first_time(own, best.identity)
    return Overtaking(
        distance=best.identity,
        other_s=best.seconds,
        own_s=overtaking_s,
        other_sharpness=best.sharpness,
        own_sharpness=sharpness,
    )


def _first_time(moments: Sequence[Moment], distance: float) -> tuple[float, float]:
    """Seconds until a distance is reached and the sharpness then; infinity and 0 for never."""
    before: Moment | None = None
    for moment in moments:
        if moment.identity <= distance:
            if before is None:
                return moment.seconds, moment.sharpness
            share = (before.identity - distance) / (before.identity - moment.identity)
            seconds = before.seconds + share * (moment.seconds - before.seconds)
            return seconds, before.sharpness + share * (moment.sharpness - before.sharpness)
        before = moment
    return float("inf"), 0.0


def _follow(
    settings: TrainSettings, footage: Footage, judge: SwapJudge, model_path: Path, say: Callable[[str], None]
) -> tuple[list[Moment], list[list[NDArray[np.uint8]]]]:
    """The moments of one preset, and per shown face a row of what it looked like at each."""
    moments: list[Moment] = []
    faces: list[list[NDArray[np.uint8]]] = [[] for _ in range(_SHOWN_FACES)]
    description, looks = train_and_look(settings, footage, model_path, times_to_look(settings.minutes or 1.0))
    for look in looks:
        judged = judge.judge(open_look(description, look))
        moment = Moment(
            seconds=look.seconds,
            iteration=look.iteration,
            identity=judged.identity.mean,
            identity_to_target=judged.identity_to_target.mean,
            landmarks=judged.landmarks.mean,
            sharpness=judged.sharpness.mean,
        )
        moments.append(moment)
        for row, index in zip(faces, _shown(len(judged.faces)), strict=True):
            row.append(judged.faces[index])
        say(
            f"{settings.preset}, {time_label(look.seconds)}: identity {moment.identity:.3f}, "
            f"sharpness {moment.sharpness:.2f}"
        )
    return moments, faces


def _shown(count: int) -> list[int]:
    return [int(index) for index in np.linspace(0, count - 1, _SHOWN_FACES).round()]


def _report(
    moments: Mapping[str, Sequence[Moment]],
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    judge: SwapJudge,
    output: Path,
    about: str,
) -> list[Figure]:
    overtakings = {
        (own, other): find_overtaking(moments[own], moments[other])
        for own in moments
        for other in moments
        if own != other
    }
    _write_numbers(moments, overtakings, judge, output, about)
    _draw(moments, rows, judge, output)
    figures = [
        figure
        for name, found in moments.items()
        for figure in (
            _figure(f"{name}: identity", min(one.identity for one in found), "", f"{about}, best of the run"),
            _figure(f"{name}: sharpness", found[-1].sharpness, "×", f"{about}, at the end, of the target's"),
        )
    ]
    figures += [_figure("source to target", judge.source_to_target, "", about)]
    figures += [
        _figure(f"{own} sooner than {other}", one.ratio, "×", f"{about}; {_sentence(one)}")
        for (own, other), one in overtakings.items()
    ]
    return figures


def _sentence(one: Overtaking) -> str:
    other = f"{one.distance:.3f} after {time_label(one.other_s)} at sharpness {one.other_sharpness:.2f}"
    if one.own_s == float("inf"):
        return f"{other}; never"
    return f"{other}; after {time_label(one.own_s)} at {one.own_sharpness:.2f}"


def _write_numbers(
    moments: Mapping[str, Sequence[Moment]],
    overtakings: Mapping[tuple[str, str], Overtaking],
    judge: SwapJudge,
    output: Path,
    about: str,
) -> None:
    lines = [
        f"{machine_name()}; {about}. Source to target {judge.source_to_target:.3f}; "
        f"the source's own faces {judge.source_itself:.3f} from their mean.",
        "",
        "Sharpness is a share of the target's own; early in training noise counts as detail.",
        "",
        "| preset | trained | iterations | to source ↓ | to target ↑ | landmarks, % of eyes ↓ | sharpness |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in moments.items():
        lines += [
            f"| {name} | {time_label(one.seconds)} | {one.iteration} | {one.identity:.3f} | "
            f"{one.identity_to_target:.3f} | {one.landmarks:.2f} | {one.sharpness:.2f} |"
            for one in found
        ]
    lines += ["", *(f"{own} against {other}: {_sentence(one)}." for (own, other), one in overtakings.items())]
    write_text(output / "likeness.md", "\n".join(lines) + "\n")
    facts = {
        "machine": machine_name(),
        "about": about,
        "source_to_target": judge.source_to_target,
        "source_itself": judge.source_itself,
        "moments": {name: [asdict(one) for one in found] for name, found in moments.items()},
    }
    write_text(output / "likeness.json", json.dumps(facts, indent=1) + "\n")


def _draw(
    moments: Mapping[str, Sequence[Moment]],
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    judge: SwapJudge,
    output: Path,
) -> None:
    def curves(measure: str) -> dict[str, Curve]:
        return {name: [(one.seconds, getattr(one, measure)) for one in found] for name, found in moments.items()}

    flat = {"source to target": judge.source_to_target, "the source itself": judge.source_itself}
    plots = [
        plot_curves("identity distance to the source (less is better) over training time", curves("identity"), flat),
        plot_curves("sharpness of the painted face over the target's", curves("sharpness")),
    ]
    write_png(output / "likeness.png", stack(plots))
    shown = _shown(len(judge.pictures))
    labels = [name if not index else "" for name in moments for index in range(_SHOWN_FACES)]
    times = [time_label(one.seconds) for one in max(moments.values(), key=len)]
    with_target = [[judge.pictures[shown[number % _SHOWN_FACES]], *row] for number, row in enumerate(rows)]
    write_png(output / "faces.png", label_grid(with_target, labels, ["target", *times], label_width_px=110))


def _figure(name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(stage=_STAGE, name=name, value=value, unit=unit, note=note)
