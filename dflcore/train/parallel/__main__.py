"""``python -m dflcore.train.parallel``: train on several GPUs or several machines, without a daemon.

By itself it starts ``processes`` of its settings on this machine, and with ``nodes`` meets other machines. Under
torchrun it is one process of the group that torchrun started.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dflcore.config.train import TrainSettings
from dflcore.errors import Cancelled, DflError, InvalidInput
from dflcore.train.parallel.launch import RESTARTS
from dflcore.train.parallel.member import EXIT_FAILED, SignalControl, leave
from dflcore.train.parallel.place import Place
from dflcore.train.parallel.training import TrainingTask, run_training, train_as_member

_EPILOG = """\
several machines, each with the same files under the same paths: start it on each. They meet in a folder beside the
model, and come and leave at any time. The ports they talk over ask nobody who they are, so let nothing but these
machines reach each other's addresses:
  ... --set nodes=2 --set processes=4

under a torchrun of your own; the file makes it listen nowhere, while by default it listens on every interface of the
machine and unpickles what it is sent:
  TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun --nnodes 2 --nproc-per-node 4 --max-restarts 3
    --rdzv-backend c10d --rdzv-conf store_type=file --rdzv-endpoint /farm/job/private/meeting
    --local-addr 10.0.0.5 -m dflcore.train.parallel ...
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; 0 when it is done or was stopped."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        task = TrainingTask(
            settings=_read_settings(options.settings, options.set),
            source=options.source,
            target=options.target,
            model=options.model,
            more_sources=tuple(options.more_source),
        )
        control = SignalControl()
        if Place.from_environment(os.environ) is not None:
            train_as_member(task.to_json(), control)
        else:
            run_training(task, control, restarts=options.restarts)
    except Cancelled:  # the others go on
        return 0
    except DflError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_FAILED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m dflcore.train.parallel",
        description="Train a face model in several processes: one per GPU, on one machine or on several.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", type=Path, required=True, help="faceset of the person to put on")
    parser.add_argument("--target", type=Path, required=True, help="faceset of the performer")
    parser.add_argument("--more-source", type=Path, action="append", default=[], help="faceset of a further person")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--settings", type=Path, help="file of JSON with settings of training")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting; may be repeated")
    parser.add_argument("--restarts", type=int, default=RESTARTS, help="in a row, without a save between them")
    return parser


def _read_settings(path: Path | None, assignments: Sequence[str]) -> TrainSettings:
    values: dict[str, object] = {}
    if path is not None:
        try:
            values = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput(f"{path} holds no settings: {error}.", reason="BAD_SETTINGS_FILE", path=path) from error
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise InvalidInput(f"--set takes NAME=VALUE, not {assignment!r}.", reason="BAD_SETTING", field=name)
        values[name] = value
    return TrainSettings.from_values(values)


if __name__ == "__main__":
    leave(main())
