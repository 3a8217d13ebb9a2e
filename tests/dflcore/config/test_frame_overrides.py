"""What differs on some frames, as text: read, looked up, refused."""

from __future__ import annotations

import pytest

from dflcore.config.frame_overrides import format_overrides, parse_overrides, values_at
from dflcore.errors import InvalidInput

ALLOWED = frozenset({"opacity", "mode", "matte_erode"})


def test_blocks_hold_on_their_frames_and_later_ones_count() -> None:
    blocks = parse_overrides("1001-1010: opacity=0.5 mode=seamless; 1005-1020x5: opacity=1;", ALLOWED)
    assert values_at(blocks, 1001) == {"opacity": "0.5", "mode": "seamless"}
    assert values_at(blocks, 1005) == {"opacity": "1", "mode": "seamless"}
    assert values_at(blocks, 1011) == {}
    assert values_at(blocks, 1015) == {"opacity": "1"}


def test_a_ramp_runs_from_the_first_frame_to_the_last() -> None:
    blocks = parse_overrides("-4-4: opacity=0>1 matte_erode=2>-2", ALLOWED)
    assert [values_at(blocks, frame)["opacity"] for frame in (-4, -2, 0, 4)] == [0.0, 0.25, 0.5, 1.0]
    assert values_at(blocks, 0)["matte_erode"] == 0.0
    assert values_at(parse_overrides("7: opacity=0>1", ALLOWED), 7) == {"opacity": 0.0}


@pytest.mark.parametrize("text", ["", "  ", ";;"])
def test_nothing_overrides_nothing(text: str) -> None:
    assert parse_overrides(text, ALLOWED) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("opacity=1", "frames: setting=value"),
        ("1-5:", "frames: setting=value"),
        ("1-5: opacity", "'opacity'"),
        ("1-5: layers=swap", "layers, which cannot differ"),
        ("5-1: opacity=1", "5-1"),
        ("a: opacity=1", "a"),
    ],
)
def test_what_is_not_understood_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_overrides(text, ALLOWED)


def test_words_do_not_run_from_one_to_another() -> None:
    (block,) = parse_overrides("1-5: mode=overlay>seamless", ALLOWED)
    with pytest.raises(InvalidInput, match="only numbers"):
        block.at(3)


def test_tables_become_the_text_that_reads_back() -> None:
    text = format_overrides({"1001-1010": {"opacity": "0>1", "mode": "seamless"}, "5": {"opacity": 0.25}})
    first, second = parse_overrides(text, ALLOWED)
    assert first.values == {"opacity": "0>1", "mode": "seamless"}
    assert second.at(5) == {"opacity": "0.25"}
    with pytest.raises(InvalidInput):
        format_overrides({"5": {"mode": "a; 6: opacity=0"}})
