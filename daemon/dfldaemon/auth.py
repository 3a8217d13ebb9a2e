"""Who may call: a bearer token in a file that only the user can read, new at every start."""

from __future__ import annotations

import os
import secrets
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


class TokenInterceptor(Interceptor):
    """Refuses every call without the token, before anything of it is read."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

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
        if not secrets.compare_digest(offered, self._expected):
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
