"""What the daemon itself can be told; the settings of jobs are in :mod:`dflcore.config`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dflcore.config.base import Audience, Settings, knob
from dflcore.weights.store import search_folders
from dfldaemon.discovery import state_folder

ENVIRONMENT_PREFIX = "DFL_"
Listen = Literal["unix", "tcp"]
LogLevel = Literal["debug", "info", "warning", "error"]


class DaemonSettings(Settings):
    """Everything the daemon can be told, by flag or by a variable ``DFL_<NAME>``."""

    state_dir: str = knob("", "Folder of jobs, token and logs; empty takes $XDG_STATE_HOME/dfl or ~/.local/state/dfl.")
    runtime_dir: str = knob(
        "",
        "Folder of the socket, readable by you alone; empty takes $XDG_RUNTIME_DIR/dfl or a folder in state_dir.",
        audience=Audience.TD,
    )
    listen: Listen = knob("unix", "unix: a socket file; tcp: a free port of this machine's loopback.")
    roots: str = knob("/", "Folders requests may name paths in, joined as in $PATH; / means anywhere.")
    weights: str = knob("", "Folders with network weights, joined as in $PATH; the user's cache is searched last.")
    idle_exit_s: float | None = knob(
        None, "End after this long without a job or a call; empty never ends.", ge=1.0, le=1e7, unit="s"
    )
    max_attempts: int = knob(
        3, "How often a job is started when the daemon is lost while it runs.", ge=1, le=100, audience=Audience.TD
    )
    worker_retries: int = knob(
        1, "How often a job goes on from its last save after its worker was lost.", ge=0, le=100, audience=Audience.TD
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
    def weight_folders(self) -> tuple[str, ...]:
        return tuple(folder for folder in self.weights.split(os.pathsep) if folder)

    @property
    def root_paths(self) -> tuple[str, ...]:
        """The roots as resolved folders."""
        return tuple(os.path.realpath(root) for root in self.roots.split(os.pathsep) if root)


def daemon_settings(values: Mapping[str, object], environ: Mapping[str, str]) -> DaemonSettings:
    """Settings from explicit values first, then ``DFL_*`` variables, then the defaults; folders are filled in.

    Raises:
        InvalidInput: a value is unknown or out of range.
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
    return DaemonSettings.from_values(merged)
