"""Pictures of a daemon on another machine, copied to this one for as long as a session lasts."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

from .errors import HostError

MAX_BYTES = 1 << 30
DEADLINE_S = 30.0
ATTEMPTS = 3
"""How often a file is begun anew that is replaced while it is read."""


class Copies:
    """Any thread may use it.

    Args:
        call: makes a call of the protocol, as :meth:`DaemonSession.call`.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._folder = ""
        self._lock = threading.Lock()

    def bring(self, path: str) -> str:
        """Copy a file; answers with its place here. The same file has the same place, and appears whole.

        Raises:
            HostError: the daemon does not give it, or it cannot be written here (``NOT_WRITABLE``).
        """
        data = self._read(path)
        name = path.replace("\\", "/").rpartition("/")[2] or "file"
        temporary = ""
        try:
            folder = os.path.join(self._made_folder(), hashlib.sha256(path.encode("utf-8", "replace")).hexdigest()[:16])
            os.makedirs(folder, mode=0o700, exist_ok=True)
            temporary = os.path.join(folder, f".{secrets.token_hex(4)}.part")
            with open(temporary, "wb") as file:
                file.write(data)
            os.replace(temporary, os.path.join(folder, name))
        except OSError as error:
            text = f"A copy of {path} cannot be written here: {error.strerror}."
            raise HostError(text, reason="NOT_WRITABLE", category="RESOURCE_EXHAUSTED") from error
        return os.path.join(folder, name)

    def remove(self) -> None:
        """All copies of this session."""
        with self._lock:
            if self._folder:
                import shutil

                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = ""

    def _made_folder(self) -> str:
        with self._lock:
            if not self._folder:
                import tempfile  # few sessions need it

                self._folder = tempfile.mkdtemp(prefix="dflhost-")
            return self._folder

    def _read(self, path: str) -> bytearray:
        for _ in range(ATTEMPTS):
            data, stamp = bytearray(), None
            while True:
                request = {"path": path, "offset_bytes": len(data)}
                answer = self._call("StorageService", "GetChunk", request, deadline_s=DEADLINE_S)
                if stamp not in (None, answer["stamp"]):
                    break
                if answer["size_bytes"] > MAX_BYTES:
                    text = f"{path} has {answer['size_bytes']} bytes; that is too large for a copy."
                    raise HostError(text, reason="FILE_TOO_LARGE", category="RESOURCE_EXHAUSTED")
                stamp = answer["stamp"]
                data += answer["data"]
                if len(data) >= answer["size_bytes"] or not answer["data"]:
                    return data
        text = f"{path} is replaced again and again; try later."
        raise HostError(text, reason="FILE_CHANGED", category="CONFLICT", details={"path": path})
