"""Who may call: a bearer token in a file that only the user can read.

Clients of this machine read one that is new at every start. Those of other machines have a copy of another, which stays
until somebody asks for a new one: nobody copies a file after every start.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

import grpc

from dflcore.errors import InvalidInput
from dfldaemon.errors import abort_with
from dfldaemon.grpc_types import Context, Continuation, Handler, Interceptor

TOKEN_BYTES = 32
AUTHORIZATION_KEY = "authorization"
OPEN_SERVICES = ("/grpc.health.v1.Health/",)
"""Callable without a token; nothing else ever is."""


def create_token(path: Path) -> str:
    """Write a new token, hex, to a file of mode 0600 that did not exist a moment before."""
    token = secrets.token_hex(TOKEN_BYTES)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)
    return token


def kept_token(path: Path) -> str:
    """The token of this file, which is made where it is not there.

    Raises:
        InvalidInput: others may read or write it, it is a link, or nobody has made it here (``TOKEN_FILE_DAMAGED``).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return create_token(path)
    except OSError as error:
        raise _damaged(path, error.strerror or "it cannot be opened") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077:
            raise _damaged(path, "it is no file that you alone can read (mode 0600)")
        text = file.read(4 * TOKEN_BYTES).strip()
    if not re.fullmatch(rb"[0-9a-f]{%d}" % (2 * TOKEN_BYTES), text):
        raise _damaged(path, f"it has no {TOKEN_BYTES} bytes in hex")
    return text.decode("ascii")


def _damaged(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"The token of distant clients, {path}, is not used: {why}. Remove it, or start with --new-token; distant "
        "clients then need a copy of the new one.",
        reason="TOKEN_FILE_DAMAGED",
        path=path,
    )


class TokenInterceptor(Interceptor):
    """Refuses every call without one of the tokens, before anything of it is read."""

    def __init__(self, *tokens: str) -> None:
        self._expected = tuple(f"Bearer {token}".encode() for token in tokens)

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        method = handler_call_details.method or ""
        if method.startswith(OPEN_SERVICES):
            return await continuation(handler_call_details)
        given = [value for key, value in handler_call_details.invocation_metadata or () if key == AUTHORIZATION_KEY]
        if not given:
            return _refuse("This call needs the daemon's token as `authorization: Bearer ...`.", "TOKEN_MISSING")
        offered = given[0].encode() if isinstance(given[0], str) else given[0]
        if not any(secrets.compare_digest(offered, expected) for expected in self._expected):
            return _refuse(
                "The token is not this daemon's; it was restarted or another one answers here. Read the token again.",
                "TOKEN_WRONG",
            )
        return await continuation(handler_call_details)


def _refuse(message: str, reason: str) -> Handler:
    error = InvalidInput(message, reason=reason)

    async def refuse(_: object, context: Context) -> None:
        await abort_with(context, error, grpc.StatusCode.UNAUTHENTICATED)

    return grpc.unary_unary_rpc_method_handler(refuse)
