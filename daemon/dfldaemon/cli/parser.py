"""The shape of the command line: names here are stable, scripts use them. Settings flags come from the settings."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dflcore.config.base import Settings
from dflcore.config.curate import OPERATIONS
from dflcore.config.detail import DetailTrainSettings
from dflcore.config.exchange import ModelExportSettings, ModelImportSettings
from dflcore.config.extract import ExtractSettings
from dflcore.config.merge import MergeSettings
from dflcore.config.qc import QcSettings
from dflcore.config.segment import MaskTrainSettings
from dflcore.config.train import TrainSettings
from dflcore.errors import InvalidInput
from dflcore.version import __version__
from dfldaemon.cli.exit_codes import HELP as EXIT_CODES_HELP
from dfldaemon.cli.flags import FlagsFormatter, add_settings_flags

DESCRIPTION = "Face replacement for compositors: extract faces, train a model, merge it into the plate."
EPILOG = f"""\
a shot:
  dfl extract 'source.####.exr' --faceset facesets/source
  dfl extract 'plate.####.exr' --faceset facesets/target
  dfl train --source facesets/source --target facesets/target --model models/shot --minutes 30
  dfl merge 'plate.####.exr' --model models/shot --faceset facesets/target --output 'out/{{version}}/shot.####.exr'

The work is done by a daemon, which is started when there is none. Ctrl-C cancels a job, a second Ctrl-C leaves it
running; `dfl job watch` shows it again.

{EXIT_CODES_HELP}
environment: DFL_STATE_DIR (the daemon's folder), DFL_ADDRESS and DFL_TOKEN_FILE (another daemon), DFL_CA_FILE,
DFL_CERTIFICATE_FILE and DFL_KEY_FILE (of a daemon on another machine), DFL_WEIGHTS (folders)
"""
FARMS = ("openjd", "deadline-cloud", "opencue", "deadline10", "flamenco")
DEFAULT_DEMO_FOLDER = "build/demo"
DEFAULT_DEMO_MINUTES = 8.5


_NEGATIVE_FRAMES = re.compile(r"-\d[\d,:x-]*")


class CommandParser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others, so that ``--json`` sees them too."""

    def parse_known_args(  # type: ignore[override]  # argparse declares overloads
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As of the base class; ``--frames -5-5`` is a range from -5 on, not two flags."""
        return super().parse_known_args(_joined(sys.argv[1:] if args is None else args), namespace)

    def error(self, message: str) -> NoReturn:
        """Raises InvalidInput."""
        text = message[:1].upper() + message[1:]
        raise InvalidInput(f"{text.rstrip('.')}. See `{self.prog} --help`.", reason="BAD_USAGE")


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``dfl``; every command leaves ``command`` = ``module:function`` in the options."""
    shared = _shared_flags()
    parser = CommandParser(
        prog="dfl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dfl {__version__}")
    _add_shared(parser, is_top=True)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_work(commands, shared)
    _add_facesets(commands, shared)
    _add_models(commands, shared)
    _add_jobs(commands, shared)
    _add_farm(commands, shared)
    _add_daemon(commands, shared)
    _add_weights(commands, shared)
    _add_others(commands, shared)
    return parser


def _joined(arguments: Sequence[str]) -> list[str]:
    """Flags and the ranges after them that begin with a minus sign as one word each."""
    joined: list[str] = []
    for word in arguments:
        before = joined[-1] if joined else ""
        if before.startswith("--") and "=" not in before and len(before) > 2 and _NEGATIVE_FRAMES.fullmatch(word):
            joined[-1] = f"{before}={word}"
        else:
            joined.append(word)
    return joined


_Commands = argparse._SubParsersAction  # argparse gives it no public name


def _shared_flags() -> CommandParser:
    shared = CommandParser(add_help=False, allow_abbrev=False)
    _add_shared(shared, is_top=False)
    return shared


def _add_shared(parser: argparse.ArgumentParser, *, is_top: bool) -> None:
    """The flags that may stand before or after the command; below the top they leave the top's value alone."""
    group = parser.add_argument_group("for every command")
    suppressed = argparse.SUPPRESS
    group.add_argument(
        "--json", action="store_true", default=False if is_top else suppressed, help="print one JSON object per line"
    )
    group.add_argument(
        "--quiet", action="store_true", default=False if is_top else suppressed, help="print results and errors only"
    )
    group.add_argument(
        "--address",
        metavar="ADDRESS",
        default="" if is_top else suppressed,
        help="the daemon to use, unix:/path or host:port (of another machine: with DFL_CA_FILE); default: the one of "
        "the state folder",
    )


def _command(
    commands: _Commands[CommandParser],
    shared: CommandParser,
    name: str,
    help_text: str,
    command: str,
) -> CommandParser:
    parser = commands.add_parser(
        name,
        help=help_text,
        description=help_text[0].upper() + help_text[1:] + ".",
        parents=[shared],
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def _group(commands: _Commands[CommandParser], name: str, help_text: str) -> _Commands[CommandParser]:
    parser = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _add_work(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    extract = _command(
        commands, shared, "extract", "find the faces of a plate and put them into a faceset", "work:extract"
    )
    _add_plate(extract)
    extract.add_argument("--faceset", required=True, metavar="DIR", help="folder of the faceset, made if not there")
    extract.add_argument(
        "--corrections", metavar="FILE", help="JSON file of boxes and landmarks set by hand, remembered for this plate"
    )
    _finish_work(extract, ExtractSettings)
    train = _command(commands, shared, "train", "train a model on two facesets, or go on training it", "work:train")
    train.add_argument(
        "--source",
        required=True,
        action="append",
        metavar="DIR",
        help="faceset of the identity put on; given again, a further person with a decoder of their own (df presets)",
    )
    train.add_argument("--target", required=True, metavar="DIR", help="faceset of the performer in the plate")
    train.add_argument("--model", required=True, metavar="DIR", help="folder of the model, made if not there")
    _finish_work(train, TrainSettings, can_be_watched=True)
    merge = _command(commands, shared, "merge", "put the model's face into a plate and write EXR layers", "work:merge")
    _add_plate(merge)
    merge.add_argument("--model", required=True, metavar="DIR", help="folder of the model")
    merge.add_argument("--faceset", required=True, metavar="DIR", help="faceset of this plate: where the faces are")
    merge.add_argument(
        "--output",
        required=True,
        metavar="PATTERN",
        help="frames to write, for example 'out/{version}/shot.####.exr'; {version} makes versioned folders",
    )
    merge.add_argument(
        "--chunk", default="", metavar="I/N", help="only the I-th of N equal parts of the range, for a farm's tasks"
    )
    _finish_work(merge, MergeSettings)
    _add_review(commands, shared)
    _add_frame(commands, shared)


def _add_farm(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    farm = _group(commands, "farm", "submit jobs to a render farm")
    kinds = _group(farm, "submit", "write a job for a farm and send it; openjd runs it on this machine")
    merge = _command(kinds, shared, "merge", "merge a plate, in chunks of frames", "farm_command:submit")
    _add_plate(merge)
    merge.add_argument("--chunk", dest="chunk_size", type=int, default=50, metavar="N",
                       help="frames per task, at most [default 50]")  # fmt: skip
    merge.add_argument("--model", required=True, metavar="DIR", help="folder of the model")
    merge.add_argument("--faceset", required=True, metavar="DIR", help="faceset of this plate: where the faces are")
    merge.add_argument("--output", required=True, metavar="PATTERN", help="frames to write, as of `dfl merge`")
    extract = _command(kinds, shared, "extract", "find the faces of a plate, as one task", "farm_command:submit")
    _add_plate(extract)
    extract.add_argument("--faceset", required=True, metavar="DIR", help="folder of the faceset, made if not there")
    train = _command(kinds, shared, "train", "train a model, one task per machine (--nodes)", "farm_command:submit")
    train.add_argument("--source", required=True, action="append", metavar="DIR",
                       help="faceset of the identity put on; may be given again")  # fmt: skip
    train.add_argument("--target", required=True, metavar="DIR", help="faceset of the performer in the plate")
    train.add_argument("--model", required=True, metavar="DIR", help="folder of the model, made if not there")
    extract.add_argument("--chunk", type=_whole("an extraction is one task, as people are followed through the whole "
                         "plate"), help=argparse.SUPPRESS)  # fmt: skip
    train.add_argument("--chunk", type=_whole("a training is one task"), help=argparse.SUPPRESS)
    for parser, settings in ((merge, MergeSettings), (extract, ExtractSettings), (train, TrainSettings)):
        parser.formatter_class = FlagsFormatter
        parser.add_argument("--backend", choices=FARMS, default=FARMS[0], metavar="|".join(FARMS),
                            help="the farm [default openjd]")  # fmt: skip
        parser.add_argument("--dry-run", default="", metavar="DIR", help="write what would be sent, and send nothing")
        parser.add_argument("--name", default="", metavar="TEXT", help="what the farm shows [default: kind and plate]")
        parser.add_argument("--gpus", type=int, default=0, metavar="N", help="a worker must have so many [default 0]")
        parser.add_argument("--dfl", default="dfl", metavar="PATH", help="dfl as workers call it [default dfl]")
        parser.set_defaults(kind=parser.prog.rpartition(" ")[2], settings_class=settings)
        add_settings_flags(parser, settings)
    for verb, help_text in (
        ("enter", "begin a session of a farm's worker: start its daemon"),
        ("leave", "end a session of a farm's worker: stop its daemon"),
    ):
        parser = _command(farm, shared, verb, help_text, f"farm_command:{verb}")
        parser.add_argument("--session-folder", required=True, metavar="DIR", help="the session's working folder")
    task = _command(farm, shared, "task", "do one task of a farm's job; twice is harmless", "farm_command:task")
    task.add_argument("--job", required=True, metavar="FILE", help="description of the job")
    task.add_argument("--folder", action="append", default=[], metavar="ROLE=DIR", help="a folder as it is called here")
    task.add_argument("--path-mapping", default="", metavar="FILE", help="rules (pathmapping-1.0) for all other paths")
    task.add_argument("--frames", default="", metavar="RANGE", help="frames of the task")
    task.add_argument("--chunk", default="", metavar="I/N", help="the I-th of N equal parts of the job's frames")


def _whole(reason: str) -> Callable[[str], NoReturn]:
    """Of a flag for chunks where there are none: refuses it and says why."""

    def refuse(_: str) -> NoReturn:
        raise argparse.ArgumentTypeError(f"{reason}; leave --chunk out")

    return refuse


def _add_frame(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    frame = _command(commands, shared, "frame", "merge one frame now, to look at it", "frame_command:frame")
    frame.formatter_class = FlagsFormatter
    frame.add_argument("input", metavar="INPUT", help="the plate, as of `dfl merge`")
    frame.add_argument("--frame", type=int, required=True, metavar="N", help="frame number on disk")
    frame.add_argument("--model", required=True, metavar="DIR", help="folder of the model")
    frame.add_argument("--faceset", required=True, metavar="DIR", help="faceset of this plate: where the faces are")
    frame.add_argument("--output", required=True, metavar="FILE", help="file to write; - writes to standard output")
    frame.add_argument(
        "--format", choices=["exr", "png", "half", "float"], metavar="exr|png|half|float",
        help="8-bit sRGB for png; half and float are bare pixels, row by row [default: by the file's name]",
    )  # fmt: skip
    frame.add_argument(
        "--layer", action="append", default=[], metavar="NAME",
        help="beauty, or a layer; may be given again [default: all of --layers for exr, else the beauty]",
    )  # fmt: skip
    frame.add_argument(
        "--size", choices=["full", "half", "quarter"], default="full", metavar="full|half|quarter",
        help="means over whole pixels of the full result [default full]",
    )  # fmt: skip
    frame.add_argument("--max-side", type=int, default=0, metavar="N", help="reduce until no side is longer [px]")
    frame.add_argument(
        "--region", default="whole", metavar="whole|faces|X,Y,W,H", help="part of the plate to answer [default whole]"
    )
    frame.add_argument("--deadline-s", type=float, default=120.0, metavar="X", help="give up after so long [s]")
    frame.set_defaults(settings_class=MergeSettings)
    add_settings_flags(frame, MergeSettings)


def _add_review(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    review = _command(
        commands, shared, "qc", "measure a merged shot and write a report of the frames to look at", "qc_command:review"
    )
    review.add_argument(
        "result",
        metavar="RESULT",
        help="merged frames as 'name.####.exr', their manifest, or a folder with one; {version} is the newest on disk",
    )
    review.add_argument("--plate", required=True, metavar="PLATE", help="the plate that was merged into")
    review.add_argument("--faceset", required=True, metavar="DIR", help="faceset of this plate: where the faces are")
    review.add_argument(
        "--source", default="", metavar="DIR", help="faceset of the identity put on, to measure the likeness to it"
    )
    review.add_argument(
        "--frames", default="", metavar="RANGE", help="1001-1100, 1-9x2 or 1,5,7-9; default: the merged range"
    )
    review.add_argument(
        "--output", required=True, metavar="PATH", help="folder of the report, or its page, ending in .html"
    )
    review.add_argument("--fail-on-flags", action="store_true", help="leave with 1 when a frame is flagged")
    _finish_work(review, QcSettings)


def _add_facesets(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    facesets = _group(commands, "faceset", "look into facesets, sort, filter, correct, mask and convert them")
    info = _command(facesets, shared, "info", "show what a faceset says about itself", "faceset_commands:show_info")
    listing = _command(facesets, shared, "list", "list faces", "faceset_commands:list_faces")
    tracks = _command(facesets, shared, "tracks", "list people followed through shots", "faceset_commands:list_tracks")
    _command(facesets, shared, "fields", "list what filters may ask, and sorts", "faceset_commands:list_fields")
    correct = _command(
        facesets, shared, "correct", "set boxes and landmarks by hand; the next extract acts on it",
        "faceset_commands:correct",
    )  # fmt: skip
    for parser in (info, listing, tracks, correct):
        parser.add_argument("faceset", metavar="DIR", help="folder of the faceset")
    listing.add_argument("--where", default="", metavar="TEXT", help='filter, for example "abs(yaw) < 40"')
    listing.add_argument("--sort", default="", metavar="NAME", help="order, see `dfl faceset fields`")
    listing.add_argument("--reverse", action="store_true", help="last first")
    listing.add_argument("--view", default="", metavar="NAME", help="a saved view")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many [default 50; 0 lists all]")
    correct.add_argument(
        "--plate", default="", metavar="PLATE", help="as it was extracted; needed if there are several"
    )
    correct.add_argument("--file", metavar="FILE", help="JSON file of corrections; without it, those made are shown")
    correct.add_argument("--add", action="store_true", help="keep earlier corrections of the same frames")
    correct.add_argument("--forget", default="", metavar="RANGE", help="take the corrections of these frames back")
    for name, operation in OPERATIONS.items():
        parser = _command(
            facesets, shared, name.replace("_", "-"), _as_help(operation.help), "faceset_commands:operate"
        )
        parser.add_argument("faceset", metavar="DIR", help="folder of the faceset")
        if operation.other:
            flag = f"--{operation.other_flag}"
            parser.add_argument(flag, dest="other", required=True, metavar="PATH", help=operation.other)
        if operation.output:
            is_needed = not operation.is_output_optional
            parser.add_argument("--output", required=is_needed, default="", metavar="PATH", help=operation.output)
        parser.set_defaults(operation=name)
        _finish_work(parser, operation.settings_class)
    segmenter = _command(
        commands, shared, "train-mask", "train a segmenter on labelled faces, or go on training it",
        "faceset_commands:train_mask",
    )  # fmt: skip
    segmenter.add_argument(
        "--faceset",
        required=True,
        action="append",
        metavar="DIR",
        help="faceset with labels; may be given again",
    )
    segmenter.add_argument("--model", required=True, metavar="DIR", help="folder of the segmenter, made if not there")
    _finish_work(segmenter, MaskTrainSettings, can_be_watched=True)
    detail = _command(
        commands, shared, "train-detail", "train a personal detail enhancer on a person's faces, or go on training it",
        "faceset_commands:train_detail",
    )  # fmt: skip
    detail.add_argument(
        "--faceset", required=True, action="append", metavar="DIR", help="the person's faceset; may be given again"
    )
    detail.add_argument("--model", required=True, metavar="DIR", help="folder of the enhancer, made if not there")
    _finish_work(detail, DetailTrainSettings, can_be_watched=True)
    labels = _group(commands, "labels", "draw masks by hand")
    edit = _command(labels, shared, "edit", "open the label editor in a browser, on this machine only",
                    "label_command:edit")  # fmt: skip
    edit.add_argument("faceset", metavar="DIR", help="folder of the faceset")
    edit.add_argument("--view", default="", metavar="NAME", help="faces of a saved view, in its order")
    edit.add_argument("--port", type=int, default=0, metavar="N", help="port on the loopback [default: any free one]")
    edit.add_argument("--stay", action="store_true", help="keep serving when the page is closed")
    edit.add_argument("--idle-minutes", type=int, default=60, metavar="N", help="end after so long unused [default 60]")
    edit.add_argument("--no-browser", action="store_true", help="print the address only")


def _add_models(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    models = _group(commands, "model", "look into models, take them over from other programs and hand them on")
    info = _command(models, shared, "info", "show what a model says about itself, and its backups",
                    "model_commands:show_info")  # fmt: skip
    info.add_argument("model", metavar="MODEL", help="folder of the model")
    importing = _command(
        models, shared, "import", "take over a SAEHD, AMP or Quick96 model of the reference implementation",
        "model_commands:import_model",
    )  # fmt: skip
    importing.add_argument("folder", metavar="FOLDER", help="folder with the reference's model files; it is only read")
    importing.add_argument("--model", required=True, metavar="DIR", help="folder of the new model")
    _finish_work(importing, ModelImportSettings)
    exporting = _command(models, shared, "export", "write a model as one file for other programs",
                         "model_commands:export_model")  # fmt: skip
    exporting.add_argument("model", metavar="MODEL", help="folder of the trained model")
    exporting.add_argument("--output", required=True, metavar="FILE", help="file to write")
    _finish_work(exporting, ModelExportSettings)


def _as_help(sentence: str) -> str:
    """A sentence as argparse shows it in a list of commands."""
    return (sentence[:1].lower() + sentence[1:]).rstrip(".").replace("%", "%%")


def _add_plate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", metavar="INPUT", help="'name.####.exr', 'name.%%04d.exr', a folder, a still or a movie"
    )
    parser.add_argument(
        "--frames", default="", metavar="RANGE", help="1001-1100, 1-9x2 or 1,5,7-9; default: all on disk"
    )


def _finish_work(
    parser: argparse.ArgumentParser, settings_class: type[Settings], *, can_be_watched: bool = False
) -> None:
    parser.formatter_class = FlagsFormatter
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--detach", action="store_true", help="print the job's id and leave it running")
    if can_be_watched:
        ways.add_argument("--watch", action="store_true", help="draw losses and speed while it trains, on a terminal")
    parser.set_defaults(settings_class=settings_class)
    add_settings_flags(parser, settings_class)


def _add_jobs(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    jobs = _group(commands, "job", "look at jobs and steer them")
    listing = _command(jobs, shared, "list", "list jobs, newest first", "job_commands:list_jobs")
    listing.add_argument(
        "--state",
        action="append",
        default=[],
        choices=["queued", "running", "paused", "succeeded", "failed", "cancelled"],
        help="only jobs in this state; may be given several times",
    )
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default 50)")
    verbs = {
        "watch": "follow a job to its end, a training with its curves; Ctrl-C detaches",
        "get": "show one job",
        "cancel": "stop a job at the next frame or step; finished work is kept",
        "pause": "save and give the device free",
        "resume": "let a paused job go on",
        "retry": "put a failed or cancelled job back into the queue",
    }
    for verb, help_text in verbs.items():
        parser = _command(jobs, shared, verb, help_text, f"job_commands:{verb}_job")
        parser.add_argument("job", metavar="JOB", help="id of the job, or the beginning of it")


def _add_daemon(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    daemon = _group(commands, "daemon", "start, stop and look at the daemon")
    start = _command(daemon, shared, "start", "start the daemon unless it runs", "daemon_commands:start")
    start.add_argument("--foreground", action="store_true", help="stay in the terminal and log to it")
    start.add_argument("--idle-exit-s", type=float, metavar="X", help="end after so long without work [s]")
    start.add_argument("--listen", metavar="HOST:PORT", help="listen at this one address of the machine too; for "
                       "other machines only with TLS")  # fmt: skip
    start.add_argument("--tls-certificate", metavar="FILE", help="the daemon's certificate (PEM)")
    start.add_argument("--tls-key", metavar="FILE", help="its key (PEM), readable by you alone")
    start.add_argument("--tls-client-ca", metavar="FILE", help="what signs clients' certificates; others are refused")
    start.add_argument("--new-token", action="store_true", help="refuse every copy of the token of distant clients")
    _command(daemon, shared, "stop", "end the daemon; running work is saved and goes on at the next start",
             "daemon_commands:stop")  # fmt: skip
    _command(daemon, shared, "status", "say whether the daemon runs, and where", "daemon_commands:status")


def _add_weights(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    weights = _group(commands, "weights", "look at and get the files of pretrained networks")
    _command(weights, shared, "list", "list known weights and whether they are here", "weights_commands:list_weights")
    fetch = _command(weights, shared, "fetch", "download weights from their origin", "weights_commands:fetch")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="names as `dfl weights list` shows them")
    verify = _command(weights, shared, "verify", "compare weights with their checksums", "weights_commands:verify")
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    for parser in (fetch, verify):
        parser.add_argument("--offline", action="store_true", help="never touch the network")
    for parser in weights.choices.values():
        parser.add_argument("--weights", default="", metavar="DIRS", help="folders to look in before the usual ones")


def _add_others(commands: _Commands[CommandParser], shared: CommandParser) -> None:
    _command(commands, shared, "info", "show versions, devices, weights, folders and the daemon", "info:info")
    demo = _command(commands, shared, "demo", "shoot two plates, swap a face, measure the result", "demo_command:demo")
    demo.add_argument("--output", default=DEFAULT_DEMO_FOLDER, metavar="DIR", help=f"default {DEFAULT_DEMO_FOLDER}")
    demo.add_argument(
        "--minutes",
        type=float,
        default=DEFAULT_DEMO_MINUTES,
        metavar="X",
        help=f"training time [min; default {DEFAULT_DEMO_MINUTES:g}]",
    )
    demo.add_argument("--frame-count", type=int, default=48, metavar="N", help="frames per plate [default 48]")
    # No flag is looked at in the following, --help and --json neither: the processes they start know them.
    bench = commands.add_parser("bench", help="run benchmarks", add_help=False, prefix_chars="+")
    bench.add_argument("arguments", nargs=argparse.REMAINDER)
    bench.set_defaults(command="bench_command:bench")
    installer = commands.add_parser(
        "hosts", help="install into Nuke, Blender and DaVinci Resolve", add_help=False, prefix_chars="+"
    )
    installer.add_argument("arguments", nargs=argparse.REMAINDER)
    installer.set_defaults(command="hosts_command:hosts")
