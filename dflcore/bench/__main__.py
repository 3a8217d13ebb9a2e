"""``python -m dflcore.bench``: the process behind ``dfl bench``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dflcore.config.train import Precision
from dflcore.errors import DflError

if TYPE_CHECKING:
    from dflcore.bench.figures import Figure

STAGES = (
    "exr",
    "extract",
    "detectors",
    "tracks",
    "facesets",
    "masks",
    "train",
    "scaling",
    "likeness",
    "ablation",
    "merge",
    "merging",
    "looks",
    "colors",
    "blending",
)
QUICK_STAGES = ("exr", "extract", "tracks", "train", "merge")
"""What ``all`` measures."""
_MERGING_FRAMES = 8
_NEED_A_MOVIE = ("masks",)
_NEED_TWO_MOVIES = ("likeness", "ablation")
_NEED_FACESETS = ("train", "scaling", "merge")
_DURATIONS = """\
what a stage measures, and about how long it takes on two cores:
  exr        reading and writing EXR, per compression                       5 s
  extract    plate to faceset: whole, cut half alone, step by step         40 s
  detectors  every detector and landmarker, and whole looks at a frame    2 min
  tracks     lag and error of smoothing on made-up moves                   10 s
             jitter before and after, per --movie          4 frames of it a second
  facesets   opening, sorting, filtering, sampling of --faces faces     minutes
  masks      few-shot masks, per --movie of one talking head        --minutes + 2
  train      a training step beside the machine's limits, per --preset      1 min
  scaling    training in one and in two processes                          1 min
  likeness   identity and sharpness over minutes of training, per --preset,
             of the first --movie on the second               --minutes + 2 each
  ablation   the networks, each with and without GAN and TrueFace, likewise
                                            16 times --minutes, resumable
  merge      merging, step by step                                         30 s
  merging    its operations and totals by size of plate and face        minutes
  looks      merging at the reference's own settings, with quick96        1 min
  colors     colour transfers, faces of 256 and 512 px                     20 s
  blending   seamless blending beside an exact solver                      20 s
  all        exr, extract, tracks, train, merge{more}
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the asked stages and print their figures; 0 when they ran."""
    options = build_parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="dfl-bench-", dir=options.folder) as folder:
            _run(options, Path(folder))
    except DflError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


def _run(options: argparse.Namespace, folder: Path) -> None:
    from dflcore.bench.figures import print_figures

    asked = QUICK_STAGES if options.stage == "all" else (options.stage,)
    _open_movies(options.movie)
    figures: list[Figure] = []
    for stage in asked:
        if stage in _NEED_FACESETS:
            _make_facesets(folder, options)
        figures += _STAGE_RUNS[stage](folder, options)
    print_figures(figures, as_json=options.json)


def _exr(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.stages import bench_exr

    return bench_exr(folder)


def _extract(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.stages import bench_extract

    return bench_extract(folder, frame_count=options.frame_count)


def _detectors(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.detectors import bench_detectors
    from dflcore.weights.store import WeightStore, search_folders

    store = WeightStore(search_folders("", os.environ))
    return bench_detectors(folder, store=store, say=_say)


def _tracks(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.tracks import bench_tracks

    return bench_tracks(options.movie)


def _facesets(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.facesets import bench_facesets

    return bench_facesets(folder / "facesets", face_count=options.faces)


def _masks(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.segmentation import bench_few_shot

    figures: list[Figure] = []
    for number, movie in enumerate(options.movie):
        figures += bench_few_shot(movie, folder / f"masks_{number}", minutes=options.minutes)
    return figures


def _train(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.training import bench_train

    figures: list[Figure] = []
    for preset in options.preset or ["quick"]:
        figures += bench_train(
            folder,
            preset=preset,
            resolution=options.resolution,
            steps=options.steps,
            batch_size=options.batch,
            precision=options.precision,
        )
    return figures


def _scaling(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.scaling import bench_scaling

    return bench_scaling(
        folder,
        preset=(options.preset or ["quick"])[0],
        resolution=options.resolution,
        batch_size=options.batch,
        steps=options.steps,
    )


def _likeness(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.likeness import DEFAULT_PRESETS, bench_likeness

    source, target = options.movie
    return bench_likeness(
        source,
        target,
        _output_folder(options),
        presets=options.preset or DEFAULT_PRESETS,
        minutes=options.minutes,
        frame_step=options.frame_step,
        batch_size=options.batch,
        resolution=options.resolution,
        say=_say,
    )


def _ablation(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.ablation import NETWORKS, VARIANTS, bench_ablation, parse_dims

    source, target = options.movie
    return bench_ablation(
        source,
        target,
        _output_folder(options),
        networks=options.preset or NETWORKS,
        variants=options.variant or tuple(VARIANTS),
        minutes=options.minutes,
        resolution=options.resolution,
        batch_size=options.batch,
        dims=parse_dims(options.dims) if options.dims else None,
        frame_step=options.frame_step,
        say=_say,
    )


def _output_folder(options: argparse.Namespace) -> Path:
    return options.output or Path(f"bench_{options.stage}")


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def _merge(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.stages import bench_merge

    return bench_merge(folder, frame_count=options.frame_count)


def _merging(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.merging import bench_merging

    return bench_merging(folder, frame_count=min(options.frame_count, _MERGING_FRAMES))


def _looks(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.looks import bench_looks

    return bench_looks(folder, frame_count=options.frame_count)


def _colors(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.colors import bench_colors

    return bench_colors()


def _blending(folder: Path, options: argparse.Namespace) -> list[Figure]:
    from dflcore.bench.blending import bench_blending

    return bench_blending()


_STAGE_RUNS = {
    "exr": _exr,
    "extract": _extract,
    "detectors": _detectors,
    "tracks": _tracks,
    "facesets": _facesets,
    "masks": _masks,
    "train": _train,
    "scaling": _scaling,
    "likeness": _likeness,
    "ablation": _ablation,
    "merge": _merge,
    "merging": _merging,
    "looks": _looks,
    "colors": _colors,
    "blending": _blending,
}


def _make_facesets(folder: Path, options: argparse.Namespace) -> None:
    """What training and merging begin with, unless an earlier stage left it."""
    from dflcore.bench.stages import extract_side

    for side in ("source", "target"):
        if not (folder / f"{side}_faces").exists():
            extract_side(folder, side, options.frame_count)


def _open_movies(movies: Sequence[Path]) -> None:
    """Raises DflError for one that is no movie, before anything is measured."""
    from dflcore.io.open_plate import open_plate

    for movie in movies:
        with contextlib.closing(open_plate(str(movie))):
            pass


class _BenchParser(argparse.ArgumentParser):
    """Says which stages need movies."""

    def parse_known_args(self, *given, **options):  # type: ignore[no-untyped-def]
        """Refuses what no stage can do anything with."""
        found, unknown = super().parse_known_args(*given, **options)
        if found.stage in _NEED_A_MOVIE and not found.movie:
            self.error(f"{found.stage} needs a movie of one talking head: give --movie PATH")
        if found.stage in _NEED_TWO_MOVIES and len(found.movie) != 2:
            self.error(f"{found.stage} needs two movies, the source and the target: give --movie SOURCE --movie TARGET")
        return found, unknown


def build_parser(*more_stages: str) -> argparse.ArgumentParser:
    """The flags of ``dfl bench``; whoever measures more stages than the core names them."""
    more = "".join(f", {stage}" for stage in more_stages)
    parser = _BenchParser(
        prog="dfl bench",
        description="Measure each stage on this machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_DURATIONS.format(more=more),
    )
    parser.add_argument(
        "stage", nargs="?", default="all", choices=("all", *STAGES, *more_stages), help="what to measure"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--frame-count", type=positive_count, default=24, help="frames of the plate (default 24)")
    parser.add_argument("--steps", type=positive_count, default=20, help="training steps measured (default 20)")
    parser.add_argument(
        "--batch", type=positive_count, default=None, help="faces of each side per step (default: the preset's)"
    )
    _add_training_flags(parser)
    _add_movie_flags(parser)
    parser.add_argument(
        "--faces", type=positive_count, default=100_000, help="faces of the faceset of facesets (default 100000)"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary files go")
    return parser


def _add_training_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        "--arch",
        action="append",
        default=None,
        help="network preset, may be given again (default: quick; of likeness quick and quick96; of ablation df, "
        "dfhd, liae, liaehd)",
    )
    parser.add_argument(
        "--resolution", type=positive_count, default=None, help="side of the painted face (default: the preset's)"
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="train: arithmetic of the network (default auto)",
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=None,
        choices=("plain", "trueface", "gan", "gan+trueface"),
        help="ablation: only this one, may be given again (default all)",
    )
    parser.add_argument("--dims", default="", help="ablation: widths of the networks, as ae=128,e=32,d=32,mask=16")


def _add_movie_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--movie",
        type=existing_path,
        action="append",
        default=[],
        metavar="PATH",
        help="movie for tracks, masks, likeness (source, then target) and ablation (likewise), may be given again",
    )
    parser.add_argument(
        "--minutes",
        type=positive_number,
        default=12.0,
        help="of training: masks, likeness, ablation (default 12)",
    )
    parser.add_argument(
        "--frame-step", type=positive_count, default=1, help="likeness, ablation: take a face every so many frames"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        help="likeness, ablation: where tables and pictures go (default bench_likeness, bench_ablation)",
    )


def positive_count(text: str) -> int:
    """A flag's whole number of one or more; argparse turns the refusal into a sentence with the flag's name."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def positive_number(text: str) -> float:
    """A flag's number above 0 and below a million."""
    with contextlib.suppress(ValueError):
        if 0.0 < float(text) < 1e6:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def existing_path(text: str) -> Path:
    """A flag's file that is there."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


if __name__ == "__main__":
    raise SystemExit(main())
