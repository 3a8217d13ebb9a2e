"""Where the daemon is: the session file it writes at start and every client reads.

Layout of the state folder (0700, the user's own)::

    session.json      how to reach the running daemon; gone when it ended in order
    token             32 random bytes in hex, 0600, new at every start
    remote_token      the same for clients of other machines; stays until a new one is asked for
    daemon.lock       held for as long as a daemon lives
    jobs.sqlite       the jobs
    inbox/            files that clients without a common disk have sent
    made/             models and facesets that their jobs have made; never removed
    logs/             daemon.jsonl, and jobs/<id>.log with what a job's worker printed

A daemon that was killed leaves its session file behind; :func:`find_session` recognises that by the process being gone.
This module needs the standard library and :mod:`dflcore.errors` only, so that a client starts at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dflcore.errors import Conflict, DataCorrupt, InvalidInput, NotFound
from dflcore.io.atomic import atomic_path

SESSION_NAME = "session.json"
TOKEN_NAME = "token"
REMOTE_TOKEN_NAME = "remote_token"
LOCK_NAME = "daemon.lock"
INBOX_NAME = "inbox"
MADE_NAME = "made"
SESSION_FORMAT = 1
PROTOCOL = "dflproto.v1"
API_MINOR = 0
"""Grows with every addition inside v1."""
UNREACHABLE_REASONS = frozenset(
    {
        "DAEMON_NOT_RUNNING",
        "DAEMON_GONE",
        "DAEMON_UNREACHABLE",
        "DAEMON_DID_NOT_START",
        "DAEMON_IS_NEWER",
        "DAEMON_TIMEOUT",
        "SESSION_FILE_DAMAGED",
        "TOKEN_NOT_FOUND",
        "TOKEN_NOT_READABLE",
        "TOKEN_REFUSED",
    }
)
ZOMBIE_STATES = ("Z", "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A running daemon as its clients see it.

    Attributes:
        address: ``unix:/path`` or ``127.0.0.1:port``, as gRPC writes targets.
        token_path: file with the bearer token.
        pid: process of the daemon.
        process_identity: tells this process from a later one with its pid; empty where the system has no such thing.
        protocol: package of the wire protocol, ``dflproto.v1``.
        api_minor: grows with every addition inside the protocol.
        software: version of the daemon.
        roots: folders that requests may name paths in.
        log_path: the daemon's log.
        start_time: UTC, ISO 8601.
        format: layout of this file.
        remote_address: ``host:port`` that the daemon listens at besides; empty where there is none.
        remote_token_path: the token that clients there have a copy of.
        made_path: folder for what jobs of clients without a common disk make.
    """

    address: str
    token_path: str
    pid: int
    process_identity: str
    protocol: str
    api_minor: int
    software: str
    roots: tuple[str, ...]
    log_path: str
    start_time: str
    format: int = SESSION_FORMAT
    remote_address: str = ""
    remote_token_path: str = ""
    made_path: str = ""

    @property
    def is_alive(self) -> bool:
        """The process that wrote the file still runs."""
        if self.process_identity:
            return process_identity(self.pid) == self.process_identity
        return _process_exists(self.pid)


def state_folder(environ: Mapping[str, str]) -> Path:
    """``$DFL_STATE_DIR``, else ``$XDG_STATE_HOME/dfl``, else ``~/.local/state/dfl``."""
    if environ.get("DFL_STATE_DIR"):
        return Path(environ["DFL_STATE_DIR"]).absolute()
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]).absolute() / "dfl"
    return Path(environ.get("HOME") or Path.home()).absolute() / ".local" / "state" / "dfl"


def write_session(state_dir: Path, session: Session) -> Path:
    """Announce a daemon: the session file appears whole, readable by its owner only."""
    path = state_dir / SESSION_NAME
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(session), file, indent=2)
    return path


def read_session(state_dir: Path) -> Session:
    """The session file as it is, whether its daemon lives or not.

    Raises:
        NotFound: no daemon was started here, or it ended in order.
        Conflict: the file was written by a newer version.
        DataCorrupt: the file cannot be read.
    """
    path = state_dir / SESSION_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] > SESSION_FORMAT:
            raise Conflict(
                f"The daemon of {state_dir} is newer than this client; update the client.",
                reason="DAEMON_IS_NEWER",
                path=path,
            )
        return Session(**{**values, "roots": tuple(values["roots"])})
    except FileNotFoundError as error:
        raise NotFound(
            f"No daemon is running for {state_dir}; start one with `dfl daemon start`.",
            reason="DAEMON_NOT_RUNNING",
            path=path,
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(
            f"The session file {path} cannot be read ({error}); restart the daemon with `dfl daemon start`.",
            reason="SESSION_FILE_DAMAGED",
            path=path,
        ) from error


def find_session(state_dir: Path) -> Session:
    """The session of a daemon that lives.

    Raises:
        NotFound: none was started, or (reason ``DAEMON_GONE``) it died and left its session file.
        Conflict, DataCorrupt: as :func:`read_session`.
    """
    session = read_session(state_dir)
    if not session.is_alive:
        raise NotFound(
            f"The daemon of {state_dir} (process {session.pid}) is gone; start it again with `dfl daemon start`, "
            "its jobs are kept.",
            reason="DAEMON_GONE",
            path=state_dir / SESSION_NAME,
        )
    return session


def read_token(session: Session) -> str:
    """The bearer token of a session.

    Raises:
        NotFound: the token file is gone.
        InvalidInput: it may not be read, because another user owns it.
    """
    try:
        return Path(session.token_path).read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise NotFound(
            f"The daemon's token {session.token_path} is gone; restart the daemon.",
            reason="TOKEN_NOT_FOUND",
            path=session.token_path,
        ) from error
    except PermissionError as error:
        raise InvalidInput(
            f"The daemon's token {session.token_path} belongs to another user; start a daemon of your own.",
            reason="TOKEN_NOT_READABLE",
            path=session.token_path,
        ) from error


def process_identity(pid: int) -> str:
    """Boot and start tick of a living process, empty when it is gone or the system does not tell (not Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    state, start_ticks = fields[0], fields[19]  # proc(5): fields 3 and 22
    return "" if state in ZOMBIE_STATES else f"{boot}:{start_ticks}"


def _process_exists(pid: int) -> bool:
    if os.name != "posix":
        return True  # signal 0 would end the process on Windows; the connection tells
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
