"""Where the daemon is: an explicit setting, an environment variable, or the session file it writes at start.

The state folder is the user's own (0700) and holds ``session.json`` (address, process, protocol, roots) and ``token``
(0600). A daemon that was killed leaves its session file behind; that is told apart from none having been started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import HostError
from .paths import PathMap
from .transport.link import Security, is_loopback, parse_address

SESSION_NAME, TOKEN_NAME = "session.json", "token"
COMMAND_NAME = "command.json"
"""Beside an installed client: the words that start ``dfl``, for artists who never see a terminal."""
_COMMAND_CHARACTERS = 1 << 16
SESSION_FORMAT = 1
PROTOCOL = "dflproto.v1"
_HOST_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "LD_LIBRARY_PATH", "LD_PRELOAD")
"""What hosts set for themselves and another program must not inherit."""


@dataclass(frozen=True)
class ConnectionSettings:
    """What an artist or a TD may set; all may stay empty on one machine. See :func:`connection_from_environment`.

    Attributes:
        address: ``unix:/path``, ``host:port``; empty takes ``$DFL_ADDRESS``, then the daemon's session file.
        token_path: file with the bearer token; empty takes ``$DFL_TOKEN_FILE``, then the daemon's state folder.
        state_dir: the daemon's state folder; empty takes ``$DFL_STATE_DIR``, then the user's own.
        ca_path: certificates (PEM) that a daemon on another machine is known by; must be set for one.
        certificate_path, key_path: this workstation's own, where that daemon asks for them.
        server_name: name in the daemon's certificate, where it is not the host's.
        path_map: paths of this workstation ↔ paths of the daemon.
        command: program that starts the daemon, and arguments: ``("dfl",)``; empty takes the installation that this
            client came from, then ``dfl`` in ``$PATH``.
        call_deadline_s: of an ordinary call. frame_deadline_s: of a single frame; the first loads the model.
        reconnect_s: how long a job's watch looks for a daemon that went away before it tells so; it goes on looking.
    """

    address: str = ""
    token_path: str = ""
    state_dir: str = ""
    ca_path: str = ""
    certificate_path: str = ""
    key_path: str = ""
    server_name: str = ""
    path_map: PathMap = field(default_factory=PathMap)
    command: tuple[str, ...] = ()
    call_deadline_s: float = 10.0
    frame_deadline_s: float = 120.0
    reconnect_s: float = 20.0

    @property
    def is_remote(self) -> bool:
        """The address names another machine: hosts ask before they use the network (Blender's *online access*)."""
        try:
            path, host, _ = parse_address(self.address)
        except ValueError:
            return False
        return not path and not is_loopback(host)

    def over(self, other: ConnectionSettings) -> ConnectionSettings:
        """These; texts, the path map and the command that are empty here are the other's."""
        given = {name: getattr(self, name) or getattr(other, name) for name in _TEXTS}
        path_map = self.path_map if self.path_map.pairs else other.path_map
        return replace(self, **given, path_map=path_map, command=self.command or other.command)

    @property
    def security(self) -> Security:
        """The TLS part."""
        return Security(self.ca_path, self.certificate_path, self.key_path, self.server_name)


_TEXTS = ("address", "token_path", "state_dir", "ca_path", "certificate_path", "key_path", "server_name")


def connection_from_environment(environ: Mapping[str, str]) -> ConnectionSettings:
    """What the studio's variables say, the same for all hosts; a host's preferences go before: :meth:`over`.

    ``DFL_ADDRESS``, ``DFL_TOKEN_FILE``, ``DFL_STATE_DIR``, ``DFL_CA_FILE``, ``DFL_CERTIFICATE_FILE``, ``DFL_KEY_FILE``,
    ``DFL_PATH_MAP`` (``here=there;here=there``) and ``DFL_COMMAND`` (a program, or one with arguments as a shell reads
    them).

    Raises:
        HostError: the path map (``BAD_PATH_MAP``) or the command (``BAD_COMMAND``) cannot be read.
    """

    def said(name: str) -> str:
        return environ.get(name, "").strip()

    return ConnectionSettings(
        address=said("DFL_ADDRESS"),
        token_path=said("DFL_TOKEN_FILE"),
        state_dir=said("DFL_STATE_DIR"),
        ca_path=said("DFL_CA_FILE"),
        certificate_path=said("DFL_CERTIFICATE_FILE"),
        key_path=said("DFL_KEY_FILE"),
        path_map=PathMap.parse(said("DFL_PATH_MAP")),
        command=_command(said("DFL_COMMAND")),
    )


def _command(text: str) -> tuple[str, ...]:
    if not text or os.path.isfile(text):
        return (text,) if text else ()
    try:
        return tuple(part.strip('"') for part in shlex.split(text, posix=os.name == "posix"))
    except ValueError as error:
        raise HostError(
            f"DFL_COMMAND = {text} cannot be read: {error}; close the quotes.",
            reason="BAD_COMMAND",
            category="INVALID_INPUT",
            details={"field": "command"},
        ) from error


@dataclass(frozen=True)
class Endpoint:
    """How to reach a daemon."""

    address: str
    token: str = field(repr=False)


def find_endpoint(settings: ConnectionSettings, environ: Mapping[str, str]) -> Endpoint:
    """The daemon these settings lead to.

    Raises:
        HostError: no daemon was started (``DAEMON_NOT_RUNNING``), it died and left its session file
            (``DAEMON_GONE``), it speaks a newer protocol (``DAEMON_IS_NEWER``), or its files cannot be read
            (``SESSION_FILE_DAMAGED``, ``TOKEN_NOT_FOUND``, ``TOKEN_NOT_READABLE``).
    """
    folder = state_folder(settings, environ)
    address = settings.address or environ.get("DFL_ADDRESS", "")
    token_path = settings.token_path or environ.get("DFL_TOKEN_FILE", "")
    if address:
        return Endpoint(address, _read_token(Path(token_path) if token_path else folder / TOKEN_NAME))
    session = _read_session(folder)
    if not _is_alive(session):
        raise HostError(
            f"The daemon of {folder} (process {session['pid']}) is gone; start it again, its jobs are kept.",
            reason="DAEMON_GONE",
            category="NOT_FOUND",
            details={"path": str(folder / SESSION_NAME)},
        )
    return Endpoint(session["address"], _read_token(Path(token_path or session["token_path"])))


def state_folder(settings: ConnectionSettings, environ: Mapping[str, str]) -> Path:
    """The setting, else ``$DFL_STATE_DIR``, else ``$XDG_STATE_HOME/dfl``, else ``~/.local/state/dfl``."""
    named = settings.state_dir or environ.get("DFL_STATE_DIR", "")
    if named:
        return Path(named).expanduser().absolute()
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"]).absolute() / "dfl"
    return Path(environ.get("HOME") or Path.home()).absolute() / ".local" / "state" / "dfl"


def start_daemon(settings: ConnectionSettings, environ: Mapping[str, str], deadline_s: float = 15.0) -> None:
    """Start a daemon that outlives the host, and wait until it has announced itself. Waits: run it as a task.

    Raises:
        HostError: the program is not there (``DFL_NOT_INSTALLED``) or it did not come up (``DAEMON_DID_NOT_START``).
    """
    settings = settings.over(connection_from_environment(environ))
    command = settings.command or _found_command(environ)
    variables = {name: value for name, value in environ.items() if name not in _HOST_VARIABLES}
    variables["DFL_STATE_DIR"] = str(state_folder(settings, environ))
    try:
        done = subprocess.run(
            [*command, "daemon", "start"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables,
            timeout=deadline_s,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _did_not_start(f"it took longer than {deadline_s:g} s") from error
    except OSError as error:
        raise HostError(
            f"The program {command[0]} cannot be run: {error.strerror}.",
            reason="DFL_NOT_INSTALLED",
            category="NOT_FOUND",
            details={"path": command[0]},
        ) from error
    if done.returncode:
        raise _did_not_start(done.stdout.decode("utf-8", "replace").strip()[-1000:] or f"exit code {done.returncode}")
    end = time.monotonic() + 2.0
    while True:
        try:
            find_endpoint(settings, variables)
        except HostError as error:
            if time.monotonic() > end:
                raise _did_not_start(error.message) from error
            time.sleep(0.05)
        else:
            return


def installed_command(client: Path) -> tuple[str, ...]:
    """What starts the daemon, as the installer wrote it beside this client; empty where it wrote nothing.

    Args:
        client: folder of the client.

    Raises:
        HostError: the Python that installed it is gone, or the file is damaged (``DFL_NOT_INSTALLED``).
    """
    path = client / COMMAND_NAME
    try:
        with open(path, encoding="utf-8") as file:
            words = json.loads(file.read(_COMMAND_CHARACTERS))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise _no_command(f"{path} cannot be read ({error})", path) from error
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise _no_command(f"{path} is no list of words", path)
    program = words[0]
    if not os.path.isabs(program) or "\0" in "".join(words):
        raise _no_command(f"{path} names no program by its whole path", path)
    if not (os.path.isfile(program) and os.access(program, os.X_OK)):
        raise _no_command(f"{program}, which the integration was installed with, is gone", Path(program))
    return tuple(words)


def _no_command(why: str, path: Path) -> HostError:
    text = f"{why}; run `dfl hosts install` again."
    return HostError(text, reason="DFL_NOT_INSTALLED", category="NOT_FOUND", details={"path": str(path)})


def _found_command(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The installer's, else ``dfl`` in the search path. Raises HostError."""
    missing = HostError(
        "There is no program `dfl` in the search path.", reason="DFL_NOT_INSTALLED", category="NOT_FOUND"
    )
    try:
        command = installed_command(Path(__file__).parent)
        if command:
            return command
    except HostError as error:
        missing = error
    program = shutil.which("dfl", path=environ.get("PATH"))
    if not program:
        raise missing
    return (program,)


def _did_not_start(why: str) -> HostError:
    return HostError(f"The daemon did not start: {why}", reason="DAEMON_DID_NOT_START", category="NOT_FOUND")


def _read_session(folder: Path) -> dict[str, Any]:
    path = folder / SESSION_NAME
    details = {"path": str(path)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = {name: str(values[name]) for name in ("address", "token_path", "protocol", "process_identity")}
        file_format, pid = int(values["format"]), int(values["pid"])
    except FileNotFoundError as error:
        raise HostError(
            f"No daemon is running for {folder}.", reason="DAEMON_NOT_RUNNING", category="NOT_FOUND", details=details
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"The session file {path} cannot be read ({error}); restart the daemon.",
            reason="SESSION_FILE_DAMAGED",
            category="DATA_CORRUPT",
            details=details,
        ) from error
    if file_format > SESSION_FORMAT or _protocol_number(found["protocol"]) > _protocol_number(PROTOCOL):
        raise newer_daemon(f"protocol {found['protocol']}")
    if _protocol_number(found["protocol"]) < _protocol_number(PROTOCOL):
        raise older_daemon(f"protocol {found['protocol']}")
    return {**found, "pid": pid}


def newer_daemon(what: str) -> HostError:
    """It speaks a later protocol than this client."""
    text = f"The daemon is newer than this integration ({what}, known here is {PROTOCOL}); update the integration."
    return HostError(text, reason="DAEMON_IS_NEWER", category="CONFLICT")


def older_daemon(what: str) -> HostError:
    """It does not know what this client needs."""
    text = f"The daemon is older than this integration ({what}); update and restart it."
    return HostError(text, reason="DAEMON_IS_OLDER", category="CONFLICT")


def _protocol_number(protocol: str) -> int:
    digits = protocol.rpartition(".v")[2]
    return int(digits) if digits.isdigit() else 0


def _read_token(path: Path) -> str:
    details = {"path": str(path)}
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        text = f"The token file {path} is not there; restart the daemon, or copy its token there."
        raise HostError(text, reason="TOKEN_NOT_FOUND", category="NOT_FOUND", details=details) from error
    except (OSError, ValueError) as error:
        text = f"The token file {path} cannot be read ({error}); is it another user's?"
        raise HostError(text, reason="TOKEN_NOT_READABLE", category="INVALID_INPUT", details=details) from error


def _is_alive(session: Mapping[str, Any]) -> bool:
    """The process that wrote the file still runs, as far as this system tells."""
    if os.name != "posix":
        return True  # signal 0 would end the process there; the connection tells
    pid = int(session["pid"])
    if session["process_identity"]:
        return _process_identity(pid) in (session["process_identity"], None)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_identity(pid: int) -> str | None:
    """Boot and start tick of a living process, as the daemon wrote them; empty when it is gone, None when this system
    does not tell (a container without /proc)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        if fields[0] not in ("Z", "X"):
            return f"{boot}:{fields[19]}"
    return ""
