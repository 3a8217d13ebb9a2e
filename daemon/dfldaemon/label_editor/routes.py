"""Every method and path the editor answers to.

==========  ================================  =====  ==============================================================
method      path                              token  answer
==========  ================================  =====  ==============================================================
GET         /, /<asset>                       no     the page; holds nothing of the faceset
POST        /api/session                      no     {ticket} → {token}, once
POST        /api/hello, /api/goodbye          yes    {page}: a page was opened, is still open, or was closed
GET         /api/faceset?face=                yes    name, size, how many faces, which are labelled, where one is
GET         /api/faces?start=&count=          yes    a stretch of the list, with what each face has
GET         /api/faces/<name>/image           yes    the aligned face as PNG or JPEG
GET         /api/faces/<name>/thumbnail       yes    the same, small, as JPEG
GET         /api/faces/<name>/label           yes    {version, label}; version 0 where there never was one
PUT         /api/faces/<name>/label           yes    {based_on, label} → {version}; 409 with what is there now
GET         /api/faces/<name>/masks           yes    {sources: {name: version}}
GET         /api/faces/<name>/masks/<source>  yes    a stored mask as grey PNG
GET         /api/faces/<name>/hull            yes    {points}: the outline of the landmarks' hull
POST        /api/faces/<name>/trash           yes    moves the face to the faceset's trash; the faceset as it is now
POST        /api/restore                      yes    {name}: brings a face back from there; the same answer
==========  ================================  =====  ==============================================================

Names are percent-encoded. A face is found in the faceset's index or not at all; no part of a path is ever opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from dflcore.errors import InvalidInput
from dfldaemon.label_editor.access import Access
from dfldaemon.label_editor.lifetime import Lifetime
from dfldaemon.label_editor.workspace import Workspace

PAGE_PACKAGE: Final = "dfldaemon.label_editor"
MAX_LISTED: Final = 1000
_MAX_PAGE_ID: Final = 64
_MAX_NAME: Final = 4096
_ASSET_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call that was let in.

    Attributes:
        body: the JSON object that came with it, empty where a call has none.
        arguments: the named parts of the path, decoded.
    """

    query: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    data: bytes
    content_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: object, *, status: int = 200) -> Answer:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(data=data, content_type="application/json; charset=utf-8", status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table. ``path`` is split at its slashes; ``{name}`` takes exactly one part."""

    method: str
    path: tuple[str, ...]
    handle: Callable[[Request], Answer]
    needs_token: bool = True
    takes_body: bool = False


def find_route(
    table: Sequence[Route], method: str, path: str
) -> tuple[Route | None, Mapping[str, str], tuple[str, ...]]:
    """The row for a call, the named parts of its path, and every method that the path knows: none for no such path."""
    allowed: list[str] = []
    found: Route | None = None
    arguments: Mapping[str, str] = {}
    parts = path.split("/")[1:]
    for route in table:
        matched = _match(route.path, parts)
        if matched is None:
            continue
        allowed.append(route.method)
        if route.method == method:
            found, arguments = route, matched
    return found, arguments, tuple(allowed)


def _match(pattern: Sequence[str], parts: Sequence[str]) -> Mapping[str, str] | None:
    if len(pattern) != len(parts):
        return None
    arguments: dict[str, str] = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            arguments[wanted.strip("{}")] = unquote(part)
        elif wanted != part:
            return None
    return arguments


class Routes:
    """What the rows of the table do."""

    def __init__(self, workspace: Workspace, lifetime: Lifetime, access: Access) -> None:
        self._workspace = workspace
        self._lifetime = lifetime
        self._access = access
        face = "api/faces/{name}/"
        self.table: tuple[Route, ...] = (
            *_page_routes(),
            _row("POST", "api/session", self._session, needs_token=False, takes_body=True),
            _row("POST", "api/hello", self._hello, takes_body=True),
            _row("POST", "api/goodbye", self._goodbye, takes_body=True),
            _row("GET", "api/faceset", self._faceset),
            _row("GET", "api/faces", self._faces),
            _row("GET", face + "image", lambda call: _picture(workspace.image(call.arguments["name"]))),
            _row("GET", face + "thumbnail", lambda call: _picture(workspace.thumbnail(call.arguments["name"]))),
            _row("GET", face + "label", lambda call: Answer.of_json(workspace.label(call.arguments["name"]).as_json())),
            _row("PUT", face + "label", self._save_label, takes_body=True),
            _row("GET", face + "masks", self._masks),
            _row("GET", face + "masks/{source}", self._mask),
            _row("GET", face + "hull", lambda call: Answer.of_json({"points": workspace.hull(call.arguments["name"])})),
            _row("POST", face + "trash", self._trash, takes_body=True),
            _row("POST", "api/restore", self._restore, takes_body=True),
        )

    def _session(self, call: Request) -> Answer:
        return Answer.of_json({"token": self._access.redeem(_text(call.body, "ticket"))})

    def _hello(self, call: Request) -> Answer:
        self._lifetime.hello(_text(call.body, "page", longest=_MAX_PAGE_ID))
        return Answer.of_json({})

    def _goodbye(self, call: Request) -> Answer:
        self._lifetime.goodbye(_text(call.body, "page", longest=_MAX_PAGE_ID))
        return Answer.of_json({})

    def _faceset(self, call: Request) -> Answer:
        face = parse_qs(call.query).get("face", [""])[0]
        return Answer.of_json(self._workspace.describe(face=face, look_again=True))

    def _faces(self, call: Request) -> Answer:
        query = parse_qs(call.query)
        start, count = (_whole_number(query, name) for name in ("start", "count"))
        return Answer.of_json(self._workspace.faces(start, min(count, MAX_LISTED)))

    def _save_label(self, call: Request) -> Answer:
        based_on = call.body.get("based_on")
        if not isinstance(based_on, int) or isinstance(based_on, bool) or based_on < 0:
            raise InvalidInput("based_on has to be the version the drawing began with.", reason="BAD_CALL")
        version = self._workspace.save_label(call.arguments["name"], call.body.get("label"), based_on=based_on)
        return Answer.of_json({"version": version})

    def _masks(self, call: Request) -> Answer:
        return Answer.of_json({"sources": self._workspace.masks_of(call.arguments["name"])})

    def _mask(self, call: Request) -> Answer:
        return _picture(self._workspace.mask(call.arguments["name"], call.arguments["source"]))

    def _trash(self, call: Request) -> Answer:
        self._workspace.trash(call.arguments["name"])
        return Answer.of_json(self._workspace.describe())

    def _restore(self, call: Request) -> Answer:
        name = _text(call.body, "name", longest=_MAX_NAME)
        self._workspace.restore(name)
        return Answer.of_json(self._workspace.describe(face=name, look_again=True))


def _row(
    method: str,
    path: str,
    handle: Callable[[Request], Answer],
    *,
    needs_token: bool = True,
    takes_body: bool = False,
) -> Route:
    return Route(
        method=method, path=tuple(path.split("/")), handle=handle, needs_token=needs_token, takes_body=takes_body
    )


def _page_routes() -> list[Route]:
    """The page's files, read once; a file that is not listed here cannot be asked for."""
    rows: list[Route] = []
    for entry in sorted(resources.files(PAGE_PACKAGE).joinpath("page").iterdir(), key=lambda entry: entry.name):
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix not in _ASSET_TYPES:
            continue
        answer = Answer(data=entry.read_bytes(), content_type=_ASSET_TYPES[suffix])
        address = "" if entry.name == "index.html" else entry.name
        rows.append(_row("GET", address, lambda _, answer=answer: answer, needs_token=False))  # type: ignore[misc]
    return rows


def _picture(picture: tuple[bytes, str]) -> Answer:
    data, content_type = picture
    return Answer(data=data, content_type=content_type)


def _text(body: Mapping[str, Any], name: str, *, longest: int = 256) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise InvalidInput(f"{name} has to be a text of 1 to {longest} characters.", reason="BAD_CALL")
    return value


def _whole_number(query: Mapping[str, Sequence[str]], name: str) -> int:
    values = query.get(name, ())
    if len(values) != 1 or not (values[0].isascii() and values[0].isdecimal() and len(values[0]) < 10):
        raise InvalidInput(f"{name} has to be a whole number.", reason="BAD_CALL")
    return int(values[0])
