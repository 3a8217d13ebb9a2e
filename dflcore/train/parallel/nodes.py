"""This machine's part in a training of several: starts torch's elastic agent, listens to what it started, and tells.

Machines come and leave at any time. Whoever is there forms a group that goes on from the last save; the group's first
process, on whichever machine, is the lead, the one that writes. Two things are kept apart here: a *run* lasts until the
training is over, and has one meeting folder; a *group* lasts until machines or processes come, leave or are lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dflcore.errors import Cancelled, DflError, Internal, ResourceExhausted
from dflcore.progress import Event, Notice, RunControl, StopRequest
from dflcore.train.parallel.launch import LEAVING_S, POLL_S, RESTARTS, THREAD_VARIABLES, fair_threads
from dflcore.train.parallel.lost import GROUP_LOST
from dflcore.train.parallel.meeting import Facts, Meeting, take_part
from dflcore.train.parallel.member import CHANNEL_FLAG, UNEXPECTED
from dflcore.train.parallel.place import ADDRESS_VARIABLE, find_own_address
from dflcore.train.parallel.wire import LineReader, encode_line, error_from_json, event_from_json

logger = logging.getLogger(__name__)

AGENT = (sys.executable, "-P", "-m", "dflcore.train.parallel.agent")
WAIT_S = 20
"""For the other machines, before those that are there begin without them; who comes later is taken in then."""
FELLOW_LOSSES = 10
"""Groups in a row that ended by another machine's fault and without a save between them."""
BUSY_TRIES = 4
"""The lock of a lead that vanished is held until its storage notices."""
ENDING_S = 20.0
"""For the agent, once its processes are done."""
_MAX_SOCKET_PATH = 100
_BUSY = "MODEL_BUSY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What this machine brings, and what it must agree on with the others.

    Attributes:
        model: whose meeting it comes to. facts: see :func:`dflcore.train.parallel.meeting.take_part`.
        nodes: most machines. processes: of this machine.
        address: its own, see :func:`dflcore.train.parallel.place.find_own_address`.
        newest: tells one save from the next, whoever wrote it.
        wait_s: for other machines, each time a group is formed.
    """

    model: Path
    facts: Facts
    nodes: int
    processes: int
    address: str = ""
    newest: Callable[[], object] = lambda: None
    wait_s: int = WAIT_S


def run_node(
    worker: Sequence[str], node: Node, task: Mapping[str, Any], control: RunControl, *, restarts: int = RESTARTS
) -> dict[str, Any]:
    """Take part until the training is over, or until this machine is asked to stop.

    Args:
        worker, task, control, restarts: as for :func:`dflcore.train.parallel.launch.run_processes`. Where this machine
            has the lead, a stop saves first; elsewhere it leaves at once, and the others go on from the last save.

    Returns:
        What the work of the lead returned; on other machines, what that of their first process did.

    Raises:
        DflError: what a process reported.
        Cancelled: a machine that has not the lead was asked to stop.
        Conflict, InvalidInput, Unsupported: see :func:`dflcore.train.parallel.meeting.take_part`.
        ResourceExhausted, Internal: processes were lost once too often.
    """
    address = find_own_address(node.address)
    ledger = _Ledger(control, restarts, node.newest)
    over, is_broken = "", False
    while True:
        with take_part(node.model, node.facts, over=over) as meeting, _scratch_folder() as scratch:
            run = _Run(worker, node, task, control, meeting, scratch, address, ledger)
            result = run.follow()
        if result is not None:
            return result
        # What torch keeps in the meeting's files may have been spoilt by a machine that was killed while it wrote.
        over = meeting.run if run.is_closed or (is_broken and not run.groups) else ""
        is_broken = not run.groups


@dataclass(slots=True)
class _Ledger:
    """What was lost since the last save, and what a person is told of it."""

    control: RunControl
    restarts: int
    newest: Callable[[], object]
    _losses: int = 0
    _fellow_losses: int = 0
    _last_save: object = None

    def __post_init__(self) -> None:
        self._last_save = self.newest()

    def enter(self, error: DflError, *, is_own: bool) -> None:
        """A group was lost. Raises the error when that happened once too often."""
        newest = self.newest()
        if newest != self._last_save:
            self._losses = self._fellow_losses = 0
            self._last_save = newest
        self._losses += is_own
        self._fellow_losses += not is_own
        if self._losses > self.restarts:
            raise error
        if error.reason == _BUSY and self._fellow_losses >= BUSY_TRIES:
            raise error
        if self._fellow_losses > FELLOW_LOSSES:
            raise Internal(
                f"The machines came together {self._fellow_losses} times and lost each other before a save. "
                "See that they reach each other at their addresses (setting node_address), and that nothing between "
                "them blocks ports.",
                reason=GROUP_LOST,
            )
        is_elsewhere = error.reason == GROUP_LOST
        what = "A process on another machine is gone, or does not answer." if is_elsewhere else error.message
        count = f" (restart {self._losses} of {self.restarts})" if is_own else ""
        self.control.emit(
            Notice(
                message=f"{what} Training goes on from the last save{count}.",
                reason="TRAINING_RESTARTED",
                details={"cause": error.reason},
            )
        )


@dataclass(slots=True)
class _Process:
    """A process of this machine, as its channel shows it."""

    reader: LineReader
    rank: int = -1
    result: dict[str, Any] | None = None
    error: DflError | None = None
    is_gone: bool = False


@dataclass(slots=True)
class _Group:
    """The group that is being formed, or trains."""

    name: str = ""
    nodes: int = 0
    index: int = -1
    processes: list[_Process] = field(default_factory=list)
    is_lead_awake: bool = False

    @property
    def lead(self) -> _Process | None:
        """Of the group, if it is on this machine."""
        return next((one for one in self.processes if one.rank == 0 and not one.is_gone), None)

    def is_done(self, count: int) -> bool:
        """All of this machine's processes came to the end of their work, or were stopped in order."""
        return len(self.processes) == count and all(one.result is not None for one in self.processes)

    @property
    def was_stopped(self) -> bool:
        return any((one.result or {}).get("stopped") for one in self.processes)

    def result(self) -> dict[str, Any]:
        """Of the lead, or of this machine's first."""
        return min(self.processes, key=lambda one: one.rank).result or {}


class _Over(Exception):
    """The run has ended without this machine having seen the end."""


@dataclass(slots=True)
class _Run:
    """One run on this machine: the agent, and the groups it makes, from start to end."""

    worker: Sequence[str]
    node: Node
    task: Mapping[str, Any]
    control: RunControl
    meeting: Meeting
    scratch: Path
    address: str
    ledger: _Ledger
    stop: StopRequest | None = None
    _group: _Group = field(default_factory=_Group)
    groups: int = 0
    is_closed: bool = False
    _told: set[tuple[str, str]] = field(default_factory=set)
    _greeting: list[_Process] = field(default_factory=list)

    def follow(self) -> dict[str, Any] | None:
        """The result; None when the run ended without this machine."""
        ours, theirs = socket.socketpair()
        with ours, _listening(self.scratch / "socket") as listener, selectors.DefaultSelector() as selector:
            with theirs:
                agent = self._start(theirs, str(self.scratch / "socket"))
            ours.setblocking(False)
            from_agent = LineReader(ours)
            selector.register(ours, selectors.EVENT_READ, from_agent)
            selector.register(listener, selectors.EVENT_READ, None)
            try:
                return self._watch(agent, from_agent, listener, selector)
            except _Over:
                return None
            finally:
                self._end(agent)

    def _start(self, channel: socket.socket, path: str) -> subprocess.Popen[bytes]:
        plan = {
            "roll": str(self.meeting.roll_path),
            "store": str(self.meeting.store_path),
            "groups": str(self.meeting.folder),
            "run": self.meeting.run,
            "nodes": self.node.nodes,
            "wait_s": self.node.wait_s,
            "processes": self.node.processes,
            "command": [*self.worker, f"{CHANNEL_FLAG}{path}"],
            "address": self.address,
            "scratch": str(self.scratch),
        }
        threads = dict.fromkeys(THREAD_VARIABLES, str(fair_threads(self.node.processes)))
        own = {ADDRESS_VARIABLE: self.address, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        try:
            return subprocess.Popen(
                [*AGENT, f"{CHANNEL_FLAG}{channel.fileno()}", json.dumps(plan)],
                env={**os.environ, **threads, **own},
                pass_fds=(channel.fileno(),),
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise ResourceExhausted(
                f"A training process could not be started: {error}.", reason="WORKER_NOT_STARTED"
            ) from error

    def _watch(
        self,
        agent: subprocess.Popen[bytes],
        from_agent: LineReader,
        listener: socket.socket,
        selector: selectors.BaseSelector,
    ) -> dict[str, Any]:
        deadline: float | None = None
        while True:
            ready = [key.fileobj for key, _ in selector.select(POLL_S)]
            is_agent_here = True
            if from_agent.channel in ready:  # first: it says what group those are of whom the rest comes from
                messages, is_agent_here = from_agent.read()
                for message in messages:
                    self._take_from_agent(message, selector)
            if listener in ready:
                self._accept(listener, selector)
            for process in [*self._greeting, *self._group.processes]:
                if process.reader.channel in ready:
                    self._read(process, selector)
            if self._is_finished():
                deadline = deadline or time.monotonic() + ENDING_S
                if self.stop is not None or agent.poll() is not None or time.monotonic() > deadline:
                    return self._group.result()
                continue
            if not is_agent_here or agent.poll() is not None:
                self._take_end_of_agent(agent, selector)
            else:
                self._pass_stop_on()

    def _is_finished(self) -> bool:
        """The training is over, or was stopped from here."""
        group = self._group
        return group.is_done(self.node.processes) and (self.stop is not None or not group.was_stopped)

    def _take_from_agent(self, message: Mapping[str, Any], selector: selectors.BaseSelector) -> None:
        if message["type"] == "waits":
            self._close_group(selector, is_regroup=message["is_regroup"])
            if not self._is_finished():
                self._group = _Group()
                self._tell_waiting()
        elif message["type"] == "group":
            self.groups += 1
            self._told.clear()
            self._group = _Group(name=message["name"], nodes=message["nodes"], index=message["index"])
            self._tell_group(str(message["lead"]))

    def _tell_waiting(self) -> None:
        if not self.groups:
            self._tell(
                f"This machine waits up to {self.node.wait_s:g} s for others that train {self.node.model} with it; at "
                f"most {self.node.nodes} do.",
                "NODES_AWAITED",
            )

    def _tell_group(self, lead: str) -> None:
        nodes = self._group.nodes
        if nodes == 1:
            text = f"No other machine came within {self.node.wait_s:g} s: this one trains alone until one comes."
        elif self._group.index == 0:
            text = f"{nodes} machines train together. This one leads: it saves, draws previews and tells the progress."
        else:
            text = f"{nodes} machines train together. {lead} leads: progress and previews are told there."
        details = {"nodes": str(nodes), "index": str(self._group.index), "lead": lead}
        self.control.emit(Notice(message=text, reason="NODES_TRAIN", severity="info", details=details))

    def _tell(self, text: str, reason: str) -> None:
        self.control.emit(Notice(message=text, reason=reason, severity="info"))

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            channel, _ = listener.accept()
        except OSError:
            return
        with contextlib.suppress(OSError):  # it died at once
            channel.sendall(encode_line({"type": "start", "task": dict(self.task)}))
        channel.setblocking(False)
        self._greeting.append(_Process(LineReader(channel)))
        selector.register(channel, selectors.EVENT_READ, None)

    def _read(self, process: _Process, selector: selectors.BaseSelector) -> None:
        """Take what a process sent."""
        try:
            messages, is_here = process.reader.read()
            for message in messages:
                self._take(process, message)
        except DflError as error:
            process.error, is_here = error, False
        is_known = process in self._greeting or process in self._group.processes
        if not is_here or not is_known:
            self._close(process, selector)
        if process.error is not None and process in self._group.processes:
            self._raise_cause(process.error)

    def _close(self, process: _Process, selector: selectors.BaseSelector) -> None:
        if process.is_gone:
            return
        process.is_gone = True
        selector.unregister(process.reader.channel)
        process.reader.channel.close()
        if process in self._greeting:
            self._greeting.remove(process)

    def _take(self, process: _Process, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            self._greeting.remove(process)
            process.rank = int(message["rank"])
            if message["group"].removeprefix("group-") == self._group.name:  # else of one that is over
                self._group.processes.append(process)
        elif kind == "event":
            self._pass_event_on(event_from_json(message["event"]))
        elif kind == "asked":
            self._group.is_lead_awake = True
        elif kind == "done":
            process.result = message["result"]
        elif kind == "failed":
            process.error = error_from_json(message["error"])

    def _pass_event_on(self, event: Event) -> None:
        if isinstance(event, Notice):
            if (event.reason, event.message) in self._told:  # every process may have noticed it
                return
            self._told.add((event.reason, event.message))
        self.control.emit(event)

    def _raise_cause(self, error: DflError) -> None:
        """An error that would come again ends this machine's part; not what is only a consequence of another's end."""
        if error.reason in (GROUP_LOST, UNEXPECTED):
            return
        if error.reason == _BUSY and self.groups > 1:  # a lead that was lost is not known to be gone yet
            return
        raise error

    def _close_group(self, selector: selectors.BaseSelector, *, is_regroup: bool) -> None:
        """The agent has ended the processes of the group: what came of it?"""
        group, count = self._group, self.node.processes
        for process in group.processes:
            while not process.is_gone and _has_more(process):  # its end is in the channel already
                self._read(process, selector)
            self._close(process, selector)
        if not group.name or self._is_finished():
            return
        if self.stop is not None:
            raise Cancelled("The training was stopped here; it was saved before, not now.", reason="CANCELLED")
        if group.is_done(count):
            self._tell("The machines that train together change; it goes on from the save just made.", "NODES_CHANGE")
        elif is_regroup:
            self._tell("The machines that train together change; it goes on from the last save.", "NODES_CHANGE")
        else:
            self._enter_loss(group)

    def _enter_loss(self, group: _Group) -> None:
        errors = [process.error for process in group.processes if process.error is not None]
        silent = self.node.processes - sum(one.error is not None or one.result is not None for one in group.processes)
        defects = [error for error in errors if error.reason == UNEXPECTED]
        busy = [error for error in errors if error.reason == _BUSY]
        if defects and not silent:
            raise defects[0]
        if silent and not busy:
            self.ledger.enter(_lost_here(), is_own=True)
        else:
            self.ledger.enter((busy or errors)[0], is_own=False)

    def _take_end_of_agent(self, agent: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
        """Raises _Over, or what ended it."""
        from dflcore.train.parallel.agent import EXIT_CLOSED

        code = agent.wait()
        self.is_closed = code == EXIT_CLOSED
        self._close_group(selector, is_regroup=self.is_closed)
        if self._is_finished():
            return
        if not self.is_closed:
            self.ledger.enter(
                Internal(
                    f"This machine lost the meeting in {self.meeting.folder} (code {code}); the log says more.",
                    reason="NODES_LOST",
                    exit_code=code,
                ),
                is_own=True,
            )
        raise _Over

    def _pass_stop_on(self) -> None:
        """Ask as often as the lead asks, where it is on this machine and at work; else whenever there is time."""
        lead = self._group.lead
        if self.stop is not None or (lead is not None and not self._group.is_lead_awake):
            return
        self._group.is_lead_awake = False
        self.stop = self.control.stop_requested()
        if self.stop is None:
            return
        if lead is None:
            raise Cancelled("This machine left the training; the others go on.", reason="CANCELLED")
        with contextlib.suppress(OSError):
            lead.reader.channel.sendall(encode_line({"type": "stop", "request": self.stop.value}))

    def _end(self, agent: subprocess.Popen[bytes]) -> None:
        """Nobody is left behind: the processes die with the agent."""
        agent.kill()
        agent.wait()
        deadline = time.monotonic() + LEAVING_S
        for process in [*self._greeting, *self._group.processes]:
            if not process.is_gone:
                process.reader.channel.setblocking(True)
                process.reader.channel.settimeout(max(0.1, deadline - time.monotonic()))
                with contextlib.suppress(OSError):
                    while process.reader.channel.recv(1 << 20):
                        continue
                process.reader.channel.close()


def _has_more(process: _Process) -> bool:
    """Whether there is something in the channel of a process that has ended."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.reader.channel, selectors.EVENT_READ)
        return bool(selector.select(LEAVING_S))


def _lost_here() -> DflError:
    return ResourceExhausted(
        "A training process of this machine was lost, perhaps because the machine ran out of memory; the log says how.",
        reason="WORKER_KILLED",
    )


@contextlib.contextmanager
def _scratch_folder() -> Iterator[Path]:
    """For the channel and the agent's own files; only the user can enter it, and a socket's path in it is short."""
    place = None if len(tempfile.gettempdir()) + 30 < _MAX_SOCKET_PATH else "/tmp"
    with tempfile.TemporaryDirectory(prefix="dfl-node-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        yield listener
