"""The HTTP server of the editor: loopback only, small limits, the same strict headers on every answer."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from dflcore.errors import (
    Conflict,
    DataCorrupt,
    DflError,
    InvalidInput,
    NotFound,
    ResourceExhausted,
    Unsupported,
)
from dfldaemon.label_editor.access import LOOPBACK, Access, Refused, TicketShownTwice
from dfldaemon.label_editor.lifetime import Lifetime
from dfldaemon.label_editor.routes import Answer, Request, Route, Routes, find_route
from dfldaemon.label_editor.workspace import LabelChanged, Workspace

MAX_BODY_BYTES: Final = 1 << 20
"""A label of ten thousand points is a quarter of it."""
MAX_CONNECTIONS: Final = 64
SOCKET_TIMEOUT_S: Final = 15.0
"""A connection that says nothing for so long is closed; the browser opens another when it needs one."""
POLL_S: Final = 0.2
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_STATUS: Final[tuple[tuple[type[DflError], int], ...]] = (
    (Refused, 403),
    (InvalidInput, 400),
    (NotFound, 404),
    (Conflict, 409),
    (DataCorrupt, 422),
    (Unsupported, 501),
    (ResourceExhausted, 507),
)

_log = logging.getLogger(__name__)


class LabelEditorServer(ThreadingHTTPServer):
    """Serves one faceset's labels until its lifetime says otherwise.

    Args:
        workspace: the faceset; closed by whoever opened it.
        lifetime: when to end.
        port: 0 for any free one.

    Raises:
        Conflict: the port is taken.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, workspace: Workspace, lifetime: Lifetime, *, port: int = 0) -> None:
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise Conflict(
                f"Port {port} of this machine cannot be listened on: {error.strerror}. "
                "Choose another with --port, or leave it out.",
                reason="PORT_TAKEN",
                port=port,
            ) from error
        self.workspace = workspace
        self.lifetime = lifetime
        self.access = Access(self.server_address[1])
        self.routes = Routes(workspace, lifetime, self.access)
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def serve_until_done(self, when_serving: Callable[[], None] = lambda: None) -> str:
        """Answer calls until it is time to end; says why it ended.

        Args:
            when_serving: called once calls are answered; may take its time.
        """
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True)
        thread.start()
        waiting = threading.Event()
        try:
            when_serving()
            while (reason := self.lifetime.reason_to_end()) is None:
                waiting.wait(POLL_S)
        finally:
            self.shutdown()
            self.server_close()
        return reason

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread per connection, but never more than a browser could want."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def server_bind(self) -> None:
        """As the base class, without asking the name service what this machine is called."""
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up in the middle is no news; anything else is logged."""
        _log.debug("A connection of the label editor broke off.", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection. Every answer, also a refusal, leaves through :meth:`_send`."""

    server: LabelEditorServer
    protocol_version = "HTTP/1.1"
    server_version = "dfl-label-editor"
    sys_version = ""
    timeout = SOCKET_TIMEOUT_S

    def _handle(self) -> None:
        try:
            answer = self._answer()
        except ConnectionError:
            self.close_connection = True
            return
        except Exception as error:
            answer = self._from_error(error)
        with contextlib.suppress(ConnectionError):
            self._send(answer)

    def _answer(self) -> Answer:
        """The whole way of a call: sender, path, method, token, body, work. Raises what :meth:`_from_error` answers."""
        headers = {name.lower(): self.headers.get_all(name) or [] for name in self.headers}
        self.server.access.check_sender(self.command, headers)
        path, _, query = self.path.partition("?")
        route, arguments, allowed = find_route(self.server.routes.table, self.command, path)
        if not allowed:
            raise NotFound("The editor has no such page.", reason="NO_SUCH_PAGE")
        if route is None:
            return self._refuse(405, "METHOD_NOT_ALLOWED", "This cannot be done here.", Allow=", ".join(allowed))
        if route.needs_token:
            self.server.access.check_call(headers)
            self.server.lifetime.touch()
        body = self._read_body(route, headers)
        if isinstance(body, Answer):
            return body
        return route.handle(Request(query=query, body=body, arguments=arguments))

    def _from_error(self, error: Exception) -> Answer:
        if isinstance(error, TicketShownTwice):
            self.server.lifetime.end(error.message)
        if isinstance(error, DflError):
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
            more = error.answer if isinstance(error, LabelChanged) else {}
            return self._refuse(status, error.reason, error.message, more)
        _log.error("The label editor failed.", exc_info=error)
        return self._refuse(500, "INTERNAL", "The editor failed; its terminal says why.")

    def _read_body(self, route: Route, headers: dict[str, list[str]]) -> Any:
        """The JSON object that came with a call; an Answer that refuses it."""
        lengths = headers.get("content-length", [])
        if headers.get("transfer-encoding"):
            return self._refuse(411, "LENGTH_REQUIRED", "Say how long the body is.")
        if not route.takes_body:
            is_empty = lengths in ([], ["0"])
            return {} if is_empty else self._refuse(413, "BODY_NOT_EXPECTED", "This call has no body.")
        if len(lengths) != 1 or not (lengths[0].isascii() and lengths[0].isdecimal()):
            return self._refuse(411, "LENGTH_REQUIRED", "Say how long the body is.")
        length = int(lengths[0][:12])
        if length > MAX_BODY_BYTES:
            return self._refuse(413, "BODY_TOO_LARGE", f"A body may be {MAX_BODY_BYTES} bytes long.")
        if headers.get("content-type") != ["application/json"]:
            return self._refuse(415, "NOT_JSON", "The body has to be application/json.")
        try:
            data = self.rfile.read(length)
        except TimeoutError:
            return self._refuse(408, "TOO_SLOW", "The body did not arrive in time.")
        if len(data) < length:
            return self._refuse(400, "BODY_CUT_SHORT", "The body ended early.")
        return _parse_object(data)

    def _refuse(
        self, status: int, reason: str, message: str, more: Mapping[str, object] | None = None, **headers: str
    ) -> Answer:
        """An answer that says no. What is left of a body is not read, so the connection is closed after it."""
        self.close_connection = True
        answer = Answer.of_json({"message": message, "reason": reason, **(more or {})}, status=status)
        answer.headers.update(headers)
        return answer

    def _send(self, answer: Answer) -> None:
        self.request_version = self.protocol_version  # what claims to be older than headers gets them all the same
        self.send_response(answer.status)
        for name, value in {**HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses itself, a request it cannot read, gets our headers too, and no HTML."""
        self.command = getattr(self, "command", None) or ""
        with contextlib.suppress(ConnectionError):
            self._send(self._refuse(code, "BAD_REQUEST", "This is no request the editor understands."))

    def log_message(self, format: str, *arguments: Any) -> None:
        """No log of requests: they name faces, and nobody reads them."""


for _method in METHODS:  # where the base class looks them up; which a path knows is in the table of routes
    setattr(_Handler, f"do_{_method}", _Handler._handle)


def _parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 without the numbers JSON does not have. Raises InvalidInput."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The body is not a JSON object.", reason="BAD_JSON") from error
    if not isinstance(value, dict):
        raise InvalidInput("The body is not a JSON object.", reason="BAD_JSON")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
