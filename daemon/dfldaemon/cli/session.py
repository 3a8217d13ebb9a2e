"""What every command of ``dfl`` is given: who it speaks to and where it speaks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfldaemon.cli.output import Output
from dfldaemon.color_config import is_builtin_config

if TYPE_CHECKING:  # gRPC is loaded by the commands that call the daemon, not by `dfl --help`
    from dfldaemon.client import DaemonClient


TLS_VARIABLES = ("DFL_CA_FILE", "DFL_CERTIFICATE_FILE", "DFL_KEY_FILE")
"""For a daemon on another machine: what it is known by, and this user's own certificate where it asks for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CliSession:
    """One run of ``dfl``.

    Attributes:
        environ: the environment as it was read at the entry point.
        state_dir: the daemon's state folder.
        address: a daemon the user named, empty to look into ``state_dir``.
        token_path: token of that daemon, None for the state folder's.
        working_dir: what relative paths are relative to.
    """

    output: Output
    environ: Mapping[str, str]
    state_dir: Path
    working_dir: Path
    address: str = ""
    token_path: Path | None = None

    def connect(self) -> DaemonClient:
        """A client of the running daemon.

        Raises:
            DflError: it cannot be reached.
        """
        from dfldaemon import client

        if self.address:
            from dfldaemon.client_calls import ClientTls

            tls = ClientTls(*(self.environ.get(name, "") for name in TLS_VARIABLES))
            return client.connect(lambda: client.explicit_endpoint(self.address, self.state_dir, self.token_path, tls))
        return client.connect(lambda: client.session_endpoint(self.state_dir))

    def connect_or_start(self) -> DaemonClient:
        """A client of the running daemon, or of one that is started now and leaves by itself when idle.

        Raises:
            DflError: it cannot be reached or started.
        """
        from dfldaemon import client

        if self.address:
            return self.connect()
        connected, was_started = client.connect_or_start(self.state_dir, environ=self.environ)
        if was_started:
            self.output.remark(f"Started a daemon ({connected.endpoint.address}); it leaves when idle.", style="dim")
        return connected

    def color_config(self, given: str = "") -> str:
        """The OpenColorIO config of a job: the one given, else ``$OCIO``, else empty for the daemon's built-in.

        A file's path is made absolute: the daemon knows neither the user's folder nor the user's environment.
        """
        config = given or self.environ.get("OCIO", "")
        return config if not config or is_builtin_config(config) else self.absolute(config)

    def absolute(self, path: str) -> str:
        """A path of the user's as the daemon needs it; ``~`` is the user's home."""
        return os.path.normpath(self.working_dir / Path(path).expanduser())  # links left alone
