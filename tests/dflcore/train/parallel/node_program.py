"""One of several machines that train together, as a process: says what it hears as lines of JSON.

Told by its argument: ``worker`` and ``task`` of :func:`run_node`, values of its node, and ``stop``, a file that asks it
to stop once it is there.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from dflcore.errors import DflError
from dflcore.progress import Event, StopRequest
from dflcore.train.parallel.member import die_with_parent
from dflcore.train.parallel.nodes import Node, run_node


class Told:
    """Tells its events to whoever started it."""

    def __init__(self, stop: Path) -> None:
        self._stop = stop

    def emit(self, event: Event) -> None:
        say(kind=type(event).__name__, **asdict(event))

    def stop_requested(self) -> StopRequest | None:
        return StopRequest.PAUSE if self._stop.exists() else None


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def newest(path: Path) -> object:
    return json.loads(path.read_text())["step"] if path.exists() else None


def main() -> None:
    die_with_parent()
    given = json.loads(sys.argv[1])
    model = Path(given["task"]["path"])
    node = Node(
        model=model,
        facts=given.get("facts", {}),
        nodes=2,
        processes=given.get("processes", 1),
        address=given.get("address", "127.0.0.1"),
        newest=lambda: newest(model),
        wait_s=given.get("wait_s", 60),
    )
    try:
        told = Told(Path(given["stop"]))
        result = run_node(given["worker"], node, given["task"], told, restarts=given.get("restarts", 3))
    except DflError as error:
        say(kind="error", reason=error.reason, message=error.message)
    else:
        say(kind="result", **result)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
