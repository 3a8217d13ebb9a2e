"""``python -m dflcore.bench``: the process behind ``dfl bench``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from dflcore.errors import DflError

STAGES = ("exr", "extract", "train", "merge")


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
    from dflcore.bench import stages
    from dflcore.bench.figures import print_figures

    asked = [stage for stage in STAGES if options.stage in ("all", stage)]
    figures = []
    if "exr" in asked:
        figures += stages.bench_exr(folder)
    if asked != ["exr"]:
        extraction = stages.bench_extract(folder, frame_count=options.frame_count)
        figures += extraction if "extract" in asked else []
    if "train" in asked:
        for preset in options.preset or ["quick"]:
            figures += stages.bench_train(folder, preset=preset, steps=options.steps, batch_size=options.batch)
    if "merge" in asked:
        figures += stages.bench_merge(folder, frame_count=options.frame_count)
    print_figures(figures, as_json=options.json)


def build_parser(*more_stages: str) -> argparse.ArgumentParser:
    """The flags of ``dfl bench``; whoever measures more stages than the core names them."""
    parser = argparse.ArgumentParser(prog="dfl bench", description="Measure each stage on this machine.")
    parser.add_argument(
        "stage", nargs="?", default="all", choices=("all", *STAGES, *more_stages), help="what to measure"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--frame-count", type=positive_count, default=24, help="frames of the plate (default 24)")
    parser.add_argument("--steps", type=positive_count, default=20, help="training steps measured (default 20)")
    parser.add_argument(
        "--batch", type=positive_count, default=None, help="faces of each side per step (default: the preset's)"
    )
    parser.add_argument(
        "--preset", action="append", default=None, help="network preset, may be given again (default quick)"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary files go")
    return parser


def positive_count(text: str) -> int:
    """A flag's whole number of one or more; argparse turns the refusal into a sentence with the flag's name."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
