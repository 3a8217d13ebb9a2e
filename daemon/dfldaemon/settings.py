"""What the daemon itself can be told; the settings of jobs are in :mod:`dflcore.config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dflcore.config.base import Settings
from dflcore.config.knobs import Audience, knob
from dflcore.weights.store import search_folders
from dfldaemon.discovery import INBOX_NAME, MADE_NAME, state_folder
from dfldaemon.listening import TlsFiles, named_address

ENVIRONMENT_PREFIX = "DFL_"
LogLevel = Literal["debug", "info", "warning", "error"]


class DaemonSettings(Settings):
    """Everything the daemon can be told, by flag or by a variable ``DFL_<NAME>``."""

    state_dir: str = knob("", "Folder of jobs, token and logs; empty takes $XDG_STATE_HOME/dfl or ~/.local/state/dfl.")
    runtime_dir: str = knob(
        "",
        "Folder of the socket, readable by you alone; empty takes $XDG_RUNTIME_DIR/dfl or a folder in state_dir.",
        audience=Audience.TD,
    )
    listen: str = knob(
        "unix",
        "unix: a socket file; tcp: a free port of this machine's loopback; host:port: also that address of this "
        "machine, with TLS on both sides where other machines reach it.",
    )
    tls_certificate: str = knob("", "The daemon's certificate (PEM) and what signed it, for listen = host:port.")
    tls_key: str = knob("", "The certificate's key (PEM), readable by you alone.")
    tls_client_ca: str = knob(
        "", "Certificates (PEM) that sign those of clients; needed where other machines reach the daemon."
    )
    roots: str = knob("/", "Folders requests may name paths in, joined as in $PATH; / means anywhere.")
    weights: str = knob("", "Folders with network weights, joined as in $PATH; the user's cache is searched last.")
    inbox_gb: float = knob(
        100.0,
        "Files that clients without a common disk have sent are kept up to this much; then the longest unused go.",
        ge=0.0,
        le=1e6,
        unit="GB",
    )
    made_path: str = knob(
        "",
        "Folder for models and facesets that jobs of clients without a common disk make; empty takes made/ in "
        "state_dir. Nothing in it is ever removed.",
    )
    idle_exit_s: float | None = knob(
        None, "End after this long without a job or a call; empty never ends.", ge=1.0, le=1e7, unit="s"
    )
    max_attempts: int = knob(
        3, "How often a job is started when the daemon is lost while it runs.", ge=1, le=100, audience=Audience.TD
    )
    worker_retries: int = knob(
        1,
        "How often a job goes on from its last save after its worker was lost; a newer save starts the count anew.",
        ge=0,
        le=100,
        audience=Audience.TD,
    )
    worker_threads: int = knob(
        0, "CPU threads of a worker; 0 leaves the choice to the libraries.", ge=0, le=1024, audience=Audience.TD
    )
    stop_grace_s: float = knob(
        60.0,
        "How long a worker may take to save when it is asked to stop, before it is ended.",
        ge=0.1,
        le=3600.0,
        unit="s",
        audience=Audience.TD,
    )
    hang_timeout_s: float = knob(
        300.0,
        "A worker that shows no sign of life for so long is ended.",
        ge=0.5,
        le=1e6,
        unit="s",
        audience=Audience.TD,
    )
    stall_timeout_s: float = knob(
        3600.0,
        "A worker that lives but finishes no frame or step for so long is ended.",
        ge=1.0,
        le=1e7,
        unit="s",
        audience=Audience.TD,
    )
    max_queued: int = knob(
        10_000, "More waiting jobs than this are refused.", ge=1, le=10_000_000, audience=Audience.TD
    )
    retention_days: float = knob(
        30.0, "Ended jobs, their events and logs are forgotten after so many days.", ge=0.0, le=36500.0, unit="days"
    )
    frame_idle_s: float = knob(
        300.0,
        "The process that renders single frames leaves when nobody has asked for so long.",
        ge=0.1,
        le=1e6,
        unit="s",
        audience=Audience.TD,
    )
    frame_cache_mb: int = knob(
        1024, "Plates that process keeps decoded, in MB.", ge=0, le=1_000_000, audience=Audience.TD
    )
    log_level: LogLevel = knob("info", "Least important line that is written to the log.", audience=Audience.TD)
    reflection: bool = knob(
        False, "Let tools such as grpcurl ask for the protocol (token needed).", audience=Audience.TD
    )

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir)

    @property
    def tls_files(self) -> TlsFiles:
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def weight_folders(self) -> tuple[str, ...]:
        return tuple(folder for folder in self.weights.split(os.pathsep) if folder)

    @property
    def root_paths(self) -> tuple[str, ...]:
        """The roots as resolved folders."""
        return tuple(os.path.realpath(root) for root in self.roots.split(os.pathsep) if root)

    @property
    def inbox_path(self) -> Path:
        """Where files that clients send are kept."""
        return self.state_path / INBOX_NAME

    @property
    def made_folder(self) -> Path:
        """Where jobs of clients without a common disk write, resolved."""
        return Path(os.path.realpath(self.made_path or self.state_path / MADE_NAME))

    @property
    def allowed_paths(self) -> tuple[str, ...]:
        """Folders that requests may name paths in: the roots, the inbox and the folder of what was made."""
        roots = self.root_paths
        return roots if os.sep in roots else (*roots, os.path.realpath(self.inbox_path), str(self.made_folder))


def daemon_settings(values: Mapping[str, object], environ: Mapping[str, str]) -> DaemonSettings:
    """Settings from explicit values first, then ``DFL_*`` variables, then the defaults; folders are filled in.

    Raises:
        InvalidInput: a value is unknown or out of range, or ``listen`` names what must not be listened at.
    """
    known = DaemonSettings.model_fields
    from_environment = {
        name: environ[ENVIRONMENT_PREFIX + name.upper()]
        for name in known
        if environ.get(ENVIRONMENT_PREFIX + name.upper())
    }
    merged: dict[str, object] = {**from_environment, **values}
    state_dir = Path(str(merged.get("state_dir") or state_folder(environ))).absolute()
    merged["state_dir"] = str(state_dir)
    if not merged.get("runtime_dir"):
        runtime = environ.get("XDG_RUNTIME_DIR")
        merged["runtime_dir"] = str(Path(runtime) / "dfl" if runtime else state_dir / "run")
    merged["weights"] = os.pathsep.join(map(str, search_folders(str(merged.get("weights", "")), environ)))
    settings = DaemonSettings.from_values(merged)
    named_address(settings.listen, settings.tls_files)
    return settings
