"""Exception class ↔ gRPC status, in one table, with the typed details programs decide by."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from dflcore.errors import (
    Cancelled,
    Conflict,
    DataCorrupt,
    DflError,
    Internal,
    InvalidInput,
    NotFound,
    ResourceExhausted,
    Unsupported,
)
from dfldaemon.grpc_types import Context
from dfldaemon.jobs import ErrorReport
from dflproto.v1 import common_pb2

DOMAIN = "dfl"
"""Of every ErrorInfo we send."""

STATUS_CODES: Mapping[type[DflError], grpc.StatusCode] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cancelled: grpc.StatusCode.CANCELLED,
    DataCorrupt: grpc.StatusCode.DATA_LOSS,
    Internal: grpc.StatusCode.INTERNAL,
}
"""Class of the tree → status code. A test proves that every class has a row."""


def status_code(error: DflError) -> grpc.StatusCode:
    """The code of an error or of the nearest class above it."""
    for error_class in type(error).__mro__:
        if error_class in STATUS_CODES:
            return STATUS_CODES[error_class]
    return grpc.StatusCode.INTERNAL


def report_to_message(report: ErrorReport) -> common_pb2.ErrorDetail:
    """An error as the protocol carries it."""
    return common_pb2.ErrorDetail(
        reason=report.reason, message=report.message, details=report.details, category=report.category
    )


def report_from_message(message: common_pb2.ErrorDetail) -> ErrorReport:
    """Inverse of :func:`report_to_message`."""
    return ErrorReport(
        category=message.category, reason=message.reason, message=message.message, details=dict(message.details)
    )


def rpc_status_of(error: DflError, code: grpc.StatusCode | None = None) -> status_pb2.Status:
    """The status of a failed call: message, ErrorInfo for any gRPC client, ErrorDetail for ours."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.details))
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(info)
    details[1].Pack(report_to_message(ErrorReport.of(error)))
    number = (code or status_code(error)).value[0]
    return status_pb2.Status(code=number, message=error.message, details=details)


async def abort_with(context: Context, error: DflError, code: grpc.StatusCode | None = None) -> None:
    """End a call with an error. Raises grpc.aio.AbortError, always."""
    status = rpc_status.to_status(rpc_status_of(error, code))
    await context.abort(status.code, status.details, status.trailing_metadata)


def error_from_call(error: grpc.Call) -> DflError:
    """What the daemon raised, from the client's side of a failed call; Internal when it sent no details of ours."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        detail = common_pb2.ErrorDetail()
        if packed.Is(detail.DESCRIPTOR):
            packed.Unpack(detail)
            return report_from_message(detail).error()
    code = error.code()
    name = code.name if isinstance(code, grpc.StatusCode) else str(code)
    return Internal(f"The call failed: {error.details() or name}.", reason=name, code=name)
