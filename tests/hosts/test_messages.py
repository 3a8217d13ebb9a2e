"""Words that artists read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dflhost import messages
from dflhost.errors import UNREACHABLE_REASONS, HostError
from dflhost.messages import explain, report
from dflhost.version import VERSION


def error(reason: str, **details: str) -> HostError:
    return HostError("The daemon's own words.", reason=reason, category="NOT_FOUND", details=details)


def test_every_way_of_not_reaching_the_daemon_has_words_and_a_button() -> None:
    for reason in UNREACHABLE_REASONS:
        words = explain(error(reason))
        assert words.sentence != "The daemon's own words."
        assert words.remedy
        assert words.action or reason.startswith("DAEMON_IS_")


def test_words_name_the_frame_and_the_path() -> None:
    assert explain(error("FRAME_NOT_FOUND", frame="7")).sentence == "Frame 7 of the plate is not on disk."
    assert explain(error("NO_FACE_FOUND", frame="7")).sentence == "Frame 7: No face was found."
    assert explain(error("PLATE_NOT_FOUND", path="/p")).text.startswith("The plate /p was not found. Check")


def test_without_words_or_details_the_daemons_own_are_shown() -> None:
    assert explain(error("PLATE_NOT_FOUND")).sentence == "The daemon's own words."
    assert explain(error("SOMETHING_NEW")).text == "The daemon's own words."
    ours = HostError("", reason="ODD", category="INTERNAL")
    assert (explain(ours).sentence, explain(ours).action) == ("ODD", messages.OPEN_REPORT)


def test_every_text_is_a_sentence_without_jargon() -> None:
    for reason, (sentence, remedy, action) in messages._WORDS.items():
        for text in filter(None, (sentence, remedy)):
            assert text.endswith("."), reason
            assert text[0].isupper() or text[0] == "{", reason
            assert not re.search(r"gRPC|protobuf|exception|traceback|errno", text, re.IGNORECASE), reason
        assert action in ("", "start", "preferences", "again", "report")


def test_reasons_with_words_are_raised_somewhere(repository: Path) -> None:
    folders = (repository / "dflcore", repository / "daemon", repository / "hosts" / "shared")
    source = "".join(
        path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py") if path.name != "messages.py"
    )
    unknown = [reason for reason in messages._WORDS if f'"{reason}"' not in source]
    assert unknown == []


@pytest.mark.parametrize("given", [None, error("DISK_FULL", path="/full")])
def test_a_report_has_versions_and_facts_and_no_trace(given: HostError | None) -> None:
    text = report(given, host="Nuke 15.1", settings={"a": 1}, log="line 1\nline 2")
    assert VERSION in text
    assert "host: Nuke 15.1" in text
    assert "    line 2" in text
    assert "Traceback" not in text
    if given is not None:
        assert "path: /full" in text
        assert "DISK_FULL" in text
