import pytest

from dflcore.errors import ERROR_CLASSES, Conflict, InvalidInput
from dfldaemon.jobs import ENDED_STATES, MOVES, ErrorReport, JobKind, JobState, Verb, error_category, next_state
from dflproto.v1 import common_pb2


def test_states_and_kinds_are_the_words_of_the_protocol() -> None:
    wire = {name.removeprefix("JOB_STATE_") for name, _ in common_pb2.JobState.items()} - {"UNSPECIFIED"}
    assert {state.name for state in JobState} == wire
    kinds = {name.removeprefix("JOB_KIND_") for name, _ in common_pb2.JobKind.items()} - {"UNSPECIFIED"}
    assert {kind.name for kind in JobKind} == kinds


def test_the_table_says_what_the_protocol_says() -> None:
    pairs = {(state.value, target.value) for allowed, target in MOVES.values() for state in allowed}
    assert pairs == {
        ("queued", "running"),
        ("queued", "paused"),
        ("queued", "cancelled"),
        ("running", "succeeded"),
        ("running", "failed"),
        ("running", "cancelled"),
        ("running", "paused"),
        ("running", "queued"),
        ("paused", "queued"),
        ("paused", "cancelled"),
        ("failed", "queued"),
        ("cancelled", "queued"),
    }


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("state", list(JobState))
def test_what_is_not_in_the_table_is_a_conflict_that_names_the_state(state: JobState, verb: Verb) -> None:
    allowed, target = MOVES[verb]
    if state in allowed:
        assert next_state("train-1", state, verb) is target
        return
    with pytest.raises(Conflict, match=f"train-1.*{state.value}") as caught:
        next_state("train-1", state, verb)
    assert caught.value.details["state"] == state.value


def test_only_a_retry_leaves_an_ended_state() -> None:
    leaving = {verb for verb, (allowed, _) in MOVES.items() if allowed & ENDED_STATES}
    assert leaving == {Verb.RETRY}
    assert JobState.SUCCEEDED not in MOVES[Verb.RETRY][0]


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_an_error_comes_back_as_what_it_was(error_class: type) -> None:
    error = error_class("The plate is gone.", reason="PLATE_GONE", path="/p", frame=3, reason_text="x")
    report = ErrorReport.of(error)
    again = report.error()
    assert type(again) is error_class
    assert (again.message, again.reason, again.details) == (error.message, error.reason, error.details)


def test_a_subclass_belongs_to_its_branch() -> None:
    class PlateInput(InvalidInput):
        pass

    assert error_category(PlateInput) == "INVALID_INPUT"


def test_details_named_like_arguments_do_not_break_an_error() -> None:
    report = ErrorReport(category="NOT_FOUND", reason="R", message="m", details={"message": "x", "path": "/p"})
    assert report.error().details == {"path": "/p"}
