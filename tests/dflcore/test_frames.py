import pytest
from hypothesis import given
from hypothesis import strategies as st

from dflcore.errors import InvalidInput
from dflcore.frames import FrameRange


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", (7,)),
        ("1001-1004", (1001, 1002, 1003, 1004)),
        ("1-9x3", (1, 4, 7)),
        ("1-9:3", (1, 4, 7)),
        ("-5--3", (-5, -4, -3)),
        ("3, 1-2,2", (1, 2, 3)),
    ],
)
def test_reads_what_artists_write(text: str, frames: tuple[int, ...]) -> None:
    assert FrameRange.parse(text).frames == frames


@pytest.mark.parametrize("text", ["", "a", "1-", "5-1", "1-5x0", "1..5", "1-5x-1", "1-999999999999"])
def test_refuses_the_rest_and_names_the_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        FrameRange.parse(text)
    assert caught.value.details["field"] == "frames"


@given(st.sets(st.integers(-3000, 3000), min_size=1))
def test_text_parses_back_to_the_same_frames(frames: set[int]) -> None:
    wanted = FrameRange.of(frames)
    assert FrameRange.parse(str(wanted)) == wanted


def test_membership_and_length() -> None:
    frames = FrameRange.parse("10-20x5")
    assert 15 in frames
    assert 16 not in frames
    assert len(frames) == 3
    assert list(frames) == [10, 15, 20]
