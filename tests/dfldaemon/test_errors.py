import grpc
import pytest
from google.rpc import error_details_pb2

from dflcore.errors import ERROR_CLASSES, Conflict, DflError
from dfldaemon.errors import STATUS_CODES, report_from_message, report_to_message, rpc_status_of, status_code
from dfldaemon.jobs import ErrorReport
from dflproto.v1 import common_pb2


def test_every_class_has_a_row() -> None:
    assert set(STATUS_CODES) == set(ERROR_CLASSES)
    assert len(set(STATUS_CODES.values())) == len(ERROR_CLASSES)


def test_a_subclass_takes_the_row_above_it() -> None:
    class Busy(Conflict):
        pass

    assert status_code(Busy("x")) is grpc.StatusCode.FAILED_PRECONDITION
    assert status_code(DflError("x")) is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_the_status_says_it_twice(error_class: type[DflError]) -> None:
    status = rpc_status_of(error_class("Bild ist weg: ü.", reason="GONE", frame=7))
    assert status.code == STATUS_CODES[error_class].value[0]
    assert status.message == "Bild ist weg: ü."
    info, detail = error_details_pb2.ErrorInfo(), common_pb2.ErrorDetail()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(detail)
    assert (info.reason, info.domain, dict(info.metadata)) == ("GONE", "dfl", {"frame": "7"})
    report = report_from_message(detail)
    assert report == ErrorReport.of(error_class("Bild ist weg: ü.", reason="GONE", frame=7))
    assert report_to_message(report) == detail


def test_categories_are_the_ones_the_protocol_lists(repository) -> None:
    text = (repository / "protos" / "dflproto" / "v1" / "common.proto").read_text()
    for error_class in ERROR_CLASSES:
        assert error_class.default_reason in text
