"""Frame numbers out of frame names."""

from hypothesis import given
from hypothesis import strategies as st

from dflcore.io.legacy.frame_names import UNNUMBERED, FramePlace, place_frames


def test_numbers_are_the_last_digits_of_the_stem() -> None:
    assert place_frames(["00012.png", "00012.png", "00013.png"]) == [
        FramePlace("#####.png", 12),
        FramePlace("#####.png", 12),
        FramePlace("#####.png", 13),
    ]
    assert place_frames(["shot2_v03.0009.jpg"]) == [FramePlace("shot2_v03.####.jpg", 9)]
    assert place_frames(["frame_7_denoised.png"]) == [FramePlace("frame_#_denoised.png", 7)]
    assert place_frames(["a1.jp2"]) == [FramePlace("a#.jp2", 1)]


def test_padding_is_the_shortest_seen() -> None:
    places = place_frames(["9.png", "10.png", "100.png"])
    assert [place.frame for place in places] == [9, 10, 100]
    assert {place.plate for place in places} == {"#.png"}


def test_names_that_cannot_be_numbered_are_numbered_in_order() -> None:
    places = place_frames(["", "portrait.png", "", "portrait.png", "1.png", "001.png", "12345678901.png", "٣.png"])
    assert places[4] == FramePlace("#.png", 1)
    numbered = [place.frame for place in places if place.plate == UNNUMBERED]
    assert numbered == [1, 2, 3, 2, 4, 5, 6]


def test_a_name_is_never_a_path() -> None:
    for name in ("../../etc/x_01.png", "..\\..\\x_01.png", "x_01\n.png"):
        (place,) = place_frames([name])
        assert not set(place.plate) & set("/\\\n")


@given(names=st.lists(st.text(max_size=30), max_size=20))
def test_equal_names_share_a_frame_and_others_do_not(names: list[str]) -> None:
    places = place_frames(names)
    for name, place in zip(names, places, strict=True):
        for other, elsewhere in zip(names, places, strict=True):
            if name and name == other:
                assert place == elsewhere
