"""Types of gRPC's asyncio interface, which are generic in its stubs and plain classes when running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import grpc.aio

if TYPE_CHECKING:
    Interceptor: TypeAlias = grpc.aio.ServerInterceptor[Any, Any]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext

Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]
"""What an interceptor calls to go on."""
