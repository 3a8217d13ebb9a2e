"""``python -m dflcore.train.parallel.agent``: torchrun's elastic agent on a machine; :mod:`nodes` starts it.

The agent (torch.distributed.elastic, as torchrun runs it) meets those of the other machines, starts this machine's
processes, and starts them anew when one is lost or when machines come or leave. It meets through a file, and so do the
processes it starts: nothing listens for a store, which in torch would be on every interface of the machine and unpickle
what it is sent.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.distributed.elastic.agent.server.api import WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
)
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

from dflcore.train.parallel.member import CHANNEL_FLAG, EXIT_FAILED, die_with_parent, leave
from dflcore.train.parallel.place import STORE_VARIABLE
from dflcore.train.parallel.roll import Roll
from dflcore.train.parallel.wire import encode_line

logger = logging.getLogger(__name__)

EXIT_CLOSED = 17
"""The run is over: this machine came when the others were done."""
EXIT_TERMINATED = 15
SAVING_S = 120
"""For processes that are asked to leave: the lead saves first."""
EXIT_BARRIER_S = 10.0
"""For the agents of the other machines to be done as well; nothing depends on it."""
MONITOR_S = 0.2
KEEP_ALIVE_S, KEEP_ALIVE_TRIES = 5, 3
"""A machine that does not say so often that it is there is gone."""
_UNCOUNTED = 1_000_000
"""Restarts: the launcher counts them, as it knows which came after a save."""
_GROUP_KEY = "dfl.group"


class Rounds(RendezvousHandler):
    """Torch's rendezvous, which tells the launcher of every group and gives each a file of its own to meet in."""

    def __init__(self, inner: RendezvousHandler, folder: Path, channel: socket.socket) -> None:
        self._inner = inner
        self._folder = folder
        self._channel = channel
        self._is_regroup = False

    def next_rendezvous(self) -> RendezvousInfo:
        """Wait until it is known who takes part; every machine calls this for every group."""
        self._tell({"type": "waits", "is_regroup": self._is_regroup})
        self._is_regroup = False
        info = self._inner.next_rendezvous()
        if info.rank == 0:
            name = secrets.token_hex(8)
            for old in self._folder.glob("group-*"):  # nobody waits in them: all agents have ended their processes
                old.unlink(missing_ok=True)
            info.store.set(_GROUP_KEY, json.dumps({"name": name, "lead": socket.gethostname()}))
        said = json.loads(info.store.get(_GROUP_KEY))
        os.environ[STORE_VARIABLE] = str(self._folder / f"group-{said['name']}")  # inherited by what the agent starts
        self._tell({"type": "group", **said, "nodes": info.world_size, "index": info.rank})
        return info

    def num_nodes_waiting(self) -> int:
        """Machines that would like to take part; any makes the agent regroup."""
        waiting = self._inner.num_nodes_waiting()
        self._is_regroup = waiting > 0
        return waiting

    @property
    def use_agent_store(self) -> bool:
        return False

    def get_backend(self) -> str:
        return self._inner.get_backend()

    def is_closed(self) -> bool:
        return self._inner.is_closed()

    def set_closed(self) -> None:
        self._inner.set_closed()  # type: ignore[no-untyped-call]

    def get_run_id(self) -> str:
        return self._inner.get_run_id()

    def shutdown(self) -> bool:
        return self._inner.shutdown()

    def _tell(self, message: Mapping[str, object]) -> None:
        try:
            self._channel.sendall(encode_line(message))
        except OSError:
            leave(EXIT_FAILED)  # the launcher is gone


class _Agent(LocalElasticAgent):
    """Torch's, with more time for a last save."""

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = SAVING_S) -> None:
        super()._shutdown(death_sig, timeout)


def run_agent(plan: Mapping[str, Any], channel: socket.socket) -> int:
    """Take part until the training is over; answers with the exit code.

    Args:
        plan: ``roll``, ``store`` and ``groups``, paths; ``run``, its name; ``nodes`` and ``wait_s`` for them;
            ``processes`` and ``command`` of this machine; ``address``, its own; ``scratch``, a folder.
    """
    parameters = RendezvousParameters(
        "dfl-roll",
        plan["roll"],
        plan["run"],
        1,
        plan["nodes"],
        local_addr=plan["address"],
        last_call_timeout=plan["wait_s"],
        keep_alive_interval=KEEP_ALIVE_S,
        keep_alive_max_attempt=KEEP_ALIVE_TRIES,
    )
    try:
        store = FileStore(plan["store"])
        handler = Rounds(create_handler(store, Roll(Path(plan["roll"])), parameters), Path(plan["groups"]), channel)
        program, *words = plan["command"]
        spec = WorkerSpec(
            role="train",
            local_world_size=plan["processes"],
            rdzv_handler=handler,
            entrypoint=program,
            args=tuple(words),
            max_restarts=_UNCOUNTED,
            monitor_interval=MONITOR_S,
            local_addr=plan["address"],
        )
        logs = DefaultLogsSpecs(log_dir=plan["scratch"])
        agent = _Agent(spec, logs_specs=logs, exit_barrier_timeout=EXIT_BARRIER_S, shutdown_timeout=SAVING_S)
        result = agent.run()
    except RendezvousClosedError:
        return EXIT_CLOSED
    except SignalException:
        return EXIT_TERMINATED
    except (RendezvousError, RuntimeError):
        logger.exception("the machines could not meet")
        return EXIT_FAILED
    if result is None:  # it was to spare, until the end
        return EXIT_CLOSED
    if result.is_failed():
        return EXIT_FAILED
    handler.shutdown()  # machines that come from now on begin another run, and find nothing to do
    return 0


def main(arguments: Sequence[str]) -> int:
    """``--channel=<descriptor>`` and the plan, as JSON."""
    die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    flag, plan = arguments
    descriptor = int(flag.removeprefix(CHANNEL_FLAG))
    os.set_inheritable(descriptor, False)
    return run_agent(json.loads(plan), socket.socket(fileno=descriptor))


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
