"""``python -m dflcore.demo shoot|measure|review|looks``: the parts of ``dfl demo`` that need the imaging libraries.

The command line itself stays free of them and runs these as processes of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from dflcore.demo.layout import EXIT_CHECKS_NOT_MET, EXIT_ERROR
from dflcore.errors import ERROR_CLASSES, DflError


def main(arguments: list[str] | None = None) -> int:
    """Run one part.

    Returns:
        0 when it worked, else :data:`EXIT_CHECKS_NOT_MET` or :data:`EXIT_ERROR`.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.part == "shoot":
            return _shoot(options)
        if options.part == "review":
            return _review(options)
        if options.part == "looks":
            return _looks(options)
        return _measure(options)
    except DflError as error:
        category = next((one.default_reason for one in ERROR_CLASSES if isinstance(error, one)), "INTERNAL")
        sys.stderr.write(json.dumps({"category": category, "reason": error.reason, "message": error.message}) + "\n")
        return EXIT_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dflcore.demo", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    shoot = parts.add_parser("shoot", help="shoot the two plates")
    shoot.add_argument("--output", type=Path, required=True, help="folder the plates are written into")
    shoot.add_argument("--frame-count", type=int, default=48, help="frames per plate")
    shoot.add_argument("--seed", type=int, default=7, help="seed of camera, light and noise")
    measure = parts.add_parser("measure", help="measure a finished demo and write its report")
    measure.add_argument("--demo", type=Path, required=True, help="folder of the demo")
    looks = parts.add_parser("looks", help="a frame of a demo through every mode, colour transfer and effect")
    looks.add_argument("--demo", type=Path, required=True, help="folder of the demo")
    looks.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    looks.add_argument("--detail", type=Path, help="detail model of the demo's source, for the enhancer's picture")
    review = parts.add_parser("review", help="pictures and likeness of a swap on any footage")
    review.add_argument("--plate", type=Path, required=True, help="the plate that was merged")
    review.add_argument("--result", type=Path, required=True, help="pattern of the merged frames")
    review.add_argument("--source", type=Path, required=True, help="faceset of the identity put on")
    review.add_argument("--target", type=Path, required=True, help="faceset of the plate")
    review.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    return parser


def _review(options: argparse.Namespace) -> int:
    from dflcore.demo.review import ReviewLayout, review_swap

    figures = review_swap(
        ReviewLayout(
            target_plate=options.plate,
            result=options.result,
            source_faceset=options.source,
            target_faceset=options.target,
            folder=options.output,
        )
    )
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


def _looks(options: argparse.Namespace) -> int:
    from dflcore.demo.layout import DemoLayout
    from dflcore.demo.looks import write_looks

    made = write_looks(DemoLayout(options.demo), options.output, detail=options.detail)
    for line in (*made.pictures, *made.figures):
        sys.stdout.write(f"{line}\n")
    return 0


def _shoot(options: argparse.Namespace) -> int:
    from dflcore.demo.plates import shoot_plates

    def report(done: int, total: int) -> None:
        sys.stdout.write(json.dumps({"done": done, "total": total}) + "\n")
        sys.stdout.flush()

    shoot_plates(options.output, frame_count=options.frame_count, seed=options.seed, on_frame=report)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from dflcore.demo.report import measure_demo

    report = measure_demo(options.demo)
    return 0 if report["passed"] else EXIT_CHECKS_NOT_MET


if __name__ == "__main__":
    raise SystemExit(main())
