"""The report as one HTML page: everything in one file, nothing fetched, readable without scripts, light or dark or on
paper. All text that comes from outside goes through :func:`html.escape`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Final

from dflcore.frames import FrameRange
from dflcore.qc.flagging import summary_of
from dflcore.qc.measures import GROUPS, IDENTITY, INTEGRITY, MEASURES, STATES
from dflcore.qc.plots import (
    BAND_WIDTH,
    LABEL_WIDTH,
    LEFT,
    RIGHT,
    WIDTH,
    FrameScale,
    Series,
    draw_plot,
    draw_timeline,
    frames_text,
    number_text,
)
from dflcore.qc.report import Finding, Flag, FrameFigures, MeasureInfo, ShotReport, to_json
from dflcore.qc.shot import smallest_gap
from dflcore.qc.thumbnails import FramePictures

GENERATOR: Final = "dfl-qc"
STYLES: Final = ("s0", "s1", "s2", "s3")
PLATE_STYLE: Final = "s4"
MAX_LISTED: Final = 60
"""Frames named in a sentence."""
MAX_RUNS: Final = 6
"""Runs of frames named in a cell of the table."""
MAX_TABLE_FRAMES: Final = 1500
"""Longer shots get a table of the flagged frames only."""
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_TILES: Final = {
    "identity_to_source": "Distance to source",
    "identity_to_target": "Distance to target",
    "sharpness": "Sharpness",
    "seam": "Seam",
    "flicker": "Flicker",
    "boil": "Boiling",
}
"""Measures of the headline, with names short enough for one line."""


def render_page(report: ShotReport, worst: Mapping[int, FramePictures], spread: Mapping[int, FramePictures]) -> str:
    """The page.

    Args:
        worst: pictures of frames to look at first, in that order.
        spread: pictures of frames spread over the shot.
    """
    title = f"QC {shot_name(report.result)}"
    body = "\n".join(
        part
        for part in (
            _heading(report),
            _tiles(report),
            _notes(report),
            _look_first(report, worst),
            _timeline(report),
            _found(report),
            _all_plots(report),
            _spread(report, spread),
            _table(report),
            _footer(report),
        )
        if part
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="generator" content="{GENERATOR}">\n<meta name="dfl-qc-key" content="{escape(report.key)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_asset('style.css')}</style>\n</head>\n"
        f'<body data-left="{LEFT}" data-right="{RIGHT}" data-width="{WIDTH}">\n<main>\n{body}\n</main>\n'
        f'<script type="application/json" id="report">{_script_text(report)}</script>\n'
        f"<script>\n{_asset('script.js')}</script>\n</body>\n</html>\n"
    )


def shot_name(result: str) -> str:
    """``shot010`` for ``/out/v001/shot010.####.exr``."""
    stem = Path(result).name.removesuffix(Path(result).suffix)
    return stem.rstrip("#@._- ") or "shot"


def verdict(report: ShotReport) -> tuple[str, str]:
    """A sentence that says it all, and its level."""
    errors, total = report.error_frames, report.frame_count
    if not report.findings:
        return f"Nothing is beyond its limit in {_count(total, 'frame')}.", "good"
    words: list[str] = ["Nothing has to be repaired."]
    if errors:
        words = [f"{errors} of {_count(total, 'frame')} must be repaired before this goes out."]
    if rest := report.standing_out - errors:
        words.append(f"{rest}{' more' if errors else f' of {total}'} {'stands' if rest == 1 else 'stand'} out.")
    if throughout := [one for one in report.findings if one.throughout]:
        titles = dict.fromkeys(report.measure(one.measure).title.lower() for one in throughout)
        words.append(f"Through the whole shot: {', '.join(titles)}.")
    return " ".join(words), "error" if errors else "look"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@cache
def _asset(name: str) -> str:
    return resources.files("dflcore.qc").joinpath("assets", name).read_text("utf-8")


def _script_text(report: ShotReport) -> str:
    """JSON that no HTML parser takes for markup."""
    text = json.dumps(json.loads(to_json(report)), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _heading(report: ShotReport) -> str:
    words, level = verdict(report)
    faces = ", ".join(f"{one.face} in {_count(len(FrameRange.parse(one.frames)), 'frame')}" for one in report.faces)
    facts = {
        "Result": report.result,
        "Plate": report.plate,
        "Frames": f"{frames_text(report.frames)} ({report.frame_count})",
        "Faces": faces or "none",
        "Target faceset": report.target,
        "Source faceset": report.source or "none given: likeness to the source is not measured",
        "Model": report.model,
        "Delivered as": f"{report.profile} EXR, {report.color_space}".rstrip(", "),
        "Measured": f"{report.created.replace('T', ' ').removesuffix('+00:00')} UTC, {report.software}",
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value)
    return (
        f'<p class="kicker">Quality report</p>\n<h1>{escape(shot_name(report.result))}</h1>\n'
        f'<p class="verdict {level}">{escape(words)}</p>\n<dl class="facts">{rows}</dl>'
    )


def _tiles(report: ShotReport) -> str:
    tiles: list[str] = []
    if report.faces:
        main = report.faces[0]
        for name in _TILES:
            summary, info = main.measures.get(name), report.measure(name)
            if summary is None or (name == "identity_to_target" and "identity_to_source" in main.measures):
                continue
            is_peak = info.worse == "high" and info.group != IDENTITY
            value = summary.high if is_peak else summary.median
            words = "95 % of frames below" if is_peak else f"median, worst {number_text(summary.worst, info.digits)}"
            if name == "identity_to_source" and report.source_to_target is not None:
                words = f"source and target: {number_text(report.source_to_target, 2)}"
            text = number_text(value, min(info.digits, 2))
            tiles.append(_tile(_TILES[name], text, info.unit, words, _side(value, info)))
    changed = sum(frame.values.get("outside_px", 0.0) for frame in report.figures)
    if any("outside_px" in frame.values for frame in report.figures):
        level = "error" if changed else ""
        tiles.append(_tile("Outside the matte", number_text(changed, 0), "px", "changed pixels", level))
    without = sum(frame.values.get("no_face", 0.0) for frame in report.figures)
    words = f"of {_count(report.frame_count, 'frame')}"
    tiles.append(_tile("Without a face", number_text(without, 0), "", words, "look" if without else ""))
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _side(value: float, info: MeasureInfo) -> str:
    is_beyond = (info.high is not None and value > info.high) or (info.low is not None and value < info.low)
    return info.level if is_beyond and info.level != "info" else ""


def _tile(name: str, value: str, unit: str, note: str, level: str) -> str:
    small = f" <small>{escape(unit)}</small>" if unit else ""
    return (
        f'<div class="tile {level}"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)}{small}</div><div class="note">{escape(note)}</div></div>'
    )


def _notes(report: ShotReport) -> str:
    if not report.notes:
        return ""
    return '<ul class="notes">' + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>"


def _look_first(report: ShotReport, worst: Mapping[int, FramePictures]) -> str:
    if not report.look_first:
        return ""
    by_frame = {one.frame: one for one in report.figures}
    cards = [_card(report, by_frame[frame], pictures) for frame, pictures in worst.items()]
    order = ", ".join(_frame_link(frame, frame in worst) for frame in report.look_first[:MAX_LISTED])
    more = " and so on" if len(report.look_first) > MAX_LISTED else ""
    return (
        f'<h2>Look at these frames first</h2>\n<p class="lead">Worst first: {order}{more}.</p>\n'
        f'<div class="frames">{"".join(cards)}</div>'
    )


def _frame_link(frame: int, has_card: bool) -> str:
    return f'<a href="#f{frame}">{frame}</a>' if has_card else str(frame)


def _card(report: ShotReport, frame: FrameFigures, pictures: FramePictures) -> str:
    rows = "".join(_flag_row(report, flag) for flag in frame.flags)
    subject = _subject(report, frame)
    meaning = report.measure(subject.measure).change if subject else ""
    has_seam = any(one.measure == "seam" and (one is subject or not one.throughout) for one in frame.flags)
    places = [f"The {face.note}." for face in frame.faces if has_seam and face.note]
    hint = " ".join(part for part in (frame.note, meaning, *places) if part)
    faces = _count(int(frame.values.get("faces", 0.0)), "face")
    return (
        f'<article class="frame" id="f{frame.frame}"><header><b>{frame.frame}</b><span>{faces}</span></header>'
        f"{_strip(pictures)}<ul>{rows}</ul>" + (f'<p class="why">{escape(hint)}</p>' if hint else "") + "</article>"
    )


def _subject(report: ShotReport, frame: FrameFigures) -> Flag | None:
    """What a frame is shown for: its own worst flag, else that of the shot which it is the worst frame of."""
    if not frame.flags or not frame.flags[0].throughout:
        return frame.flags[0] if frame.flags else None
    shown = {(one.measure, one.face) for one in report.findings if one.worst_frame == frame.frame}
    return next((flag for flag in frame.flags if (flag.measure, flag.face) in shown), frame.flags[0])


def _flag_row(report: ShotReport, flag: Flag) -> str:
    info = report.measure(flag.measure)
    title = info.title + (f", {flag.face}" if flag.face and len(report.faces) > 1 else "")
    words = "through the shot" if flag.throughout else ""
    figure = "" if flag.measure in STATES else _beyond_words(flag, info)
    style = ' class="quiet"' if flag.throughout else ""
    return (
        f'<li{style}><span class="mark {flag.level}"></span>{escape(title)}<small>{words}</small>'
        f'<span class="figure">{escape(figure)}</span></li>'
    )


def _beyond_words(flag: Flag, info: MeasureInfo) -> str:
    """The value, and the limit or the usual value it is beyond: ``0.06 < 0.3``."""
    value = f"{number_text(flag.value, info.digits)} {info.unit}".strip()
    if flag.limit is not None:
        return f"{value} {'>' if flag.value > flag.limit else '<'} {flag.limit:g}"
    return f"{value}, usually {number_text(flag.usual or 0.0, info.digits)}"


def _limit_words(info: MeasureInfo) -> str:
    """``at most 8``; empty for what has no limit."""
    if info.low is not None and info.high is not None:
        return f"between {info.low:g} and {info.high:g}"
    if info.low is not None:
        return f"at least {info.low:g}"
    return "" if info.high is None else f"at most {info.high:g}"


def _strip(pictures: FramePictures) -> str:
    tiles = ((pictures.plate, "plate"), (pictures.result, "result"), (pictures.matte, "matte"))
    return '<div class="strip">' + "".join(_figure(data, caption) for data, caption in tiles) + "</div>"


def _figure(data: bytes | None, caption: str) -> str:
    if data is None:
        picture = f'<div class="none">no {caption}</div>'
    else:
        text = base64.b64encode(data).decode("ascii")
        picture = f'<img alt="{caption}" src="data:image/jpeg;base64,{text}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _scale(report: ShotReport, left: float = LEFT, right: float = RIGHT) -> FrameScale:
    return FrameScale(report.figures[0].frame, report.figures[-1].frame, left, right)


def _gap(report: ShotReport) -> int:
    return smallest_gap(FrameRange.of(one.frame for one in report.figures))


def _timeline(report: ShotReport) -> str:
    if not report.findings:
        return ""
    grouped = _by_reason(report)
    rows = [(_reason_words(report, key), findings) for key, findings in grouped.items()]
    drawing = draw_timeline(rows, _scale(report, LABEL_WIDTH, BAND_WIDTH - 8), _gap(report))
    return f"<h2>Where in the shot</h2>\n{drawing}"


def _by_reason(report: ShotReport) -> dict[tuple[str, str | None], list[Finding]]:
    """Findings of one measure and face together, in the order of the report."""
    grouped: dict[tuple[str, str | None], list[Finding]] = {}
    for finding in report.findings:
        grouped.setdefault((finding.measure, finding.face), []).append(finding)
    return grouped


def _reason_words(report: ShotReport, key: tuple[str, str | None]) -> str:
    measure, face = key
    return report.measure(measure).title + (f", {face}" if face and len(report.faces) > 1 else "")


def _found(report: ShotReport) -> str:
    if not report.findings:
        return ""
    rows = "".join(_found_row(report, key, findings) for key, findings in _by_reason(report).items())
    return (
        '<h2>What was found</h2>\n<div class="scroll"><table class="found"><thead><tr><th>Flagged</th><th>Frames</th>'
        '<th class="n">Worst</th><th>What it means</th><th>What to change</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _found_row(report: ShotReport, key: tuple[str, str | None], findings: Sequence[Finding]) -> str:
    info, worst = report.measure(key[0]), findings[0]
    frames = FrameRange.of(frame for one in findings for frame in FrameRange.parse(one.frames))
    value = "" if info.name in STATES else f"{number_text(worst.worst, info.digits)} {info.unit}".strip()
    limits = "" if info.name in STATES else _limit_words(info)
    if limits == "at most 0":
        limits = ""
    if limits and info.departure is not None:
        limits += f", and within {info.departure:g} of what is usual"
    limits = f"Wanted: {limits}." if limits else ""
    return (
        f'<tr><td><span class="mark {info.level}"></span>{escape(_reason_words(report, key))}</td>'
        f'<td class="range">{escape(_some_runs(str(frames)))}<br><small>{_count(len(frames), "frame")}</small></td>'
        f'<td class="n">{escape(value)}<br><small>at {worst.worst_frame}</small></td>'
        f"<td>{escape(info.meaning)} <small>{escape(limits)}</small></td>"
        f"<td>{escape(info.change)}</td></tr>"
    )


def _some_runs(frames: str) -> str:
    """A frame range, cut short where it is scattered over the shot."""
    runs = frames.split(",")
    if len(runs) <= MAX_RUNS:
        return frames_text(frames)
    return f"{frames_text(','.join(runs[: MAX_RUNS - 1]))} and {len(runs) - MAX_RUNS + 1} more"


def _all_plots(report: ShotReport) -> str:
    companions = {measure.beside for measure in MEASURES.values()}
    parts: list[str] = []
    for group in GROUPS:
        plots = [
            _plot(report, report.measure(name))
            for name, measure in MEASURES.items()
            if measure.group == group and name not in STATES and (name not in companions or _stands_alone(report, name))
        ]
        if any(plots):
            parts.append(f'<h2>{escape(group)}</h2>\n<div class="plots">{"".join(plots)}</div>')
    return "\n".join(parts)


def _stands_alone(report: ShotReport, name: str) -> bool:
    """A companion whose curve is not there is drawn by itself."""
    leaders = [measure.name for measure in MEASURES.values() if measure.beside == name]
    return bool(leaders) and not any(_series(report, report.measure(leader), "s0") for leader in leaders)


def _plot(report: ShotReport, info: MeasureInfo) -> str:
    series = _series(report, info, STYLES[0])
    if not series or _is_dull(info, series):
        return ""
    beside = MEASURES[info.name].beside
    companion = _series(report, report.measure(beside), PLATE_STYLE) if beside else []
    zone = not companion
    drawing = draw_plot(info, [*companion, *series], _scale(report), _gap(report), zone=zone)
    if beside:
        drawing = drawing.replace("<svg ", f'<svg data-beside="{escape(beside)}" ', 1)
    unit = f", {info.unit}" if info.unit else ""
    legend = _legend(info, series, companion, has_limit='class="limit"' in drawing)
    return (
        f'<section class="measure"><header><h3>{escape(info.title + unit)}</h3>'
        f"<output>{escape(_at_rest(series, info))}</output></header>"
        f"{legend}{drawing}<p>{escape(info.meaning)}</p></section>"
    )


def _is_dull(info: MeasureInfo, series: Sequence[Series]) -> bool:
    """A flat line that says nothing: no faults of integrity, the same number of faces all the time."""
    values = {value for one in series for _, value in one.points}
    return len(values) == 1 and (info.name == "faces" or (info.group == INTEGRITY and values == {0.0}))


def _series(report: ShotReport, info: MeasureInfo, style: str) -> list[Series]:
    """One curve per face, or one for the frames; dots mark flags that the rest of the shot has not."""
    labels: list[str | None] = [one.face for one in report.faces] if info.of_face else [None]
    found: list[Series] = []
    for number, label in enumerate(labels):
        points = [(frame.frame, value) for frame in report.figures if (value := _value(frame, info, label)) is not None]
        if not points:
            continue
        flagged = {
            frame.frame: flag.level
            for frame in report.figures
            for flag in frame.flags
            if flag.measure == info.name and flag.face == label and not flag.throughout
        }
        own_style = style if style == PLATE_STYLE else STYLES[number % len(STYLES)]
        found.append(Series(label=label or "", style=own_style, points=points, flagged=flagged))
    return found


def _value(frame: FrameFigures, info: MeasureInfo, label: str | None) -> float | None:
    if label is None:
        return frame.values.get(info.name)
    return next((face.values.get(info.name) for face in frame.faces if face.face == label), None)


def _at_rest(series: Sequence[Series], info: MeasureInfo) -> str:
    """What stands beside a plot's title while nobody points at it."""
    whole = summary_of([point for one in series for point in one.points], info.worse)
    worst = (
        f"{'highest' if info.worse == '' else 'worst'} {number_text(whole.worst, info.digits)} at {whole.worst_frame}"
    )
    return worst if len(series) > 1 else f"median {number_text(whole.median, info.digits)}, {worst}"


def _legend(info: MeasureInfo, series: Sequence[Series], companion: Sequence[Series], *, has_limit: bool) -> str:
    entries: list[str] = []
    has_plate = bool(companion)
    if len(series) > 1 or has_plate:
        entries += [
            f'<span><i class="{one.style}"></i>{escape(one.label if len(series) > 1 else _own_word(info))}</span>'
            for one in series
        ]
    if has_plate:
        entries.append(f'<span><i class="{PLATE_STYLE}"></i>{escape(_other_word(info))}</span>')
    if words := _limit_words(info):
        mark = '<i class="dash"></i>' if has_limit else ""
        entries.append(f"<span>{mark}{escape(words)}</span>")
    return f'<div class="legend">{"".join(entries)}</div>'


def _own_word(info: MeasureInfo) -> str:
    return "to the source" if info.name == "identity_to_source" else "result"


def _other_word(info: MeasureInfo) -> str:
    return "to the target" if info.name == "identity_to_source" else "plate"


def _spread(report: ShotReport, spread: Mapping[int, FramePictures]) -> str:
    if not spread:
        return ""
    cards = "".join(
        f'<article class="frame"><header><b>{frame}</b></header>{_strip(pictures)}</article>'
        for frame, pictures in spread.items()
    )
    return f'<h2>Across the shot</h2>\n<div class="frames">{cards}</div>'


def _table(report: ShotReport) -> str:
    """Every number; the page's only place for those without a plot."""
    is_whole = len(report.figures) <= MAX_TABLE_FRAMES
    frames = [one for one in report.figures if is_whole or one.flags]
    names = [
        name
        for name in MEASURES
        if any(name in one.values or any(name in face.values for face in one.faces) for one in frames)
    ]
    head = "".join(f'<th class="n">{escape(_column(report.measure(name)))}</th>' for name in names)
    rows = "".join(row for frame in frames for row in _table_rows(report, frame, names))
    what = "All figures" if is_whole else "Figures of the flagged frames"
    return (
        f'<details><summary>{what}</summary><div class="scroll"><table class="all">'
        f"<thead><tr><th>Frame</th><th>Face</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _column(info: MeasureInfo) -> str:
    return f"{info.title}, {info.unit}" if info.unit else info.title


def _table_rows(report: ShotReport, frame: FrameFigures, names: Sequence[str]) -> list[str]:
    levels = {(flag.measure, flag.face): flag.level for flag in frame.flags}
    rows: list[str] = []
    for index, face in enumerate(frame.faces or [None]):
        cells: list[str] = []
        for name in names:
            label = face.face if face is not None and MEASURES[name].of_face else None
            values = frame.values if index == 0 else {}
            if MEASURES[name].of_face:
                values = face.values if face is not None else {}
            text = number_text(values[name], report.measure(name).digits) if name in values else ""
            cells.append(f'<td class="n {levels.get((name, label), "")}" data-m="{name}">{text}</td>')
        label = face.face if face is not None else ""
        rows.append(
            f'<tr data-frame="{frame.frame}"><td>{frame.frame}</td><td>{escape(label)}</td>{"".join(cells)}</tr>'
        )
    return rows


def _footer(report: ShotReport) -> str:
    return (
        "<footer><p>Colours, brightness, sharpness and seams are judged as a display shows them (sRGB, clipped), in "
        "the face’s own square of 256 pixels; grain at the plate’s resolution; pixels outside the matte bit by bit, as "
        "the files hold them. Figures of other landmarkers or identity encoders are not comparable. Pictures show "
        f"light up to 1.0. Report format {report.format}, key {escape(report.key)}.</p></footer>"
    )
