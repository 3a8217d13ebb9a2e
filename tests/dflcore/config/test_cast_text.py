"""What a casting's text says, what it refuses, and that its shortest form says the same."""

import pytest

from dflcore.config.cast_text import OWN_MODEL, PLATE, Casting, Part, Role, check_casting, parse_casting
from dflcore.errors import InvalidInput

ANNA = Part(model="/models/anna")
BOB = Part(model="/models/bob", identity="source2", morph=0.7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Casting()),
        (" ;\n; ", Casting()),
        ("track 3 = /models/anna", Casting(roles=(Role(tracks=(3,), part=ANNA),))),
        ("tracks 9, 3,7-8=/models/anna", Casting(roles=(Role(tracks=(3, 7, 8, 9), part=ANNA),))),
        (
            "anna: track 3 = /models/anna; Track 5 = /models/bob, identity source2, morph 0.7; others = plate",
            Casting(
                roles=(Role(tracks=(3,), part=ANNA, name="anna"), Role(tracks=(5,), part=BOB)), others=Part(model=PLATE)
            ),
        ),
        (
            "track 0 = model\nothers = /models/anna",
            Casting(roles=(Role(tracks=(0,), part=Part(model=OWN_MODEL)),), others=ANNA),
        ),
        (
            'track 1 = "C:\\m, of ""A""; x=1" , morph 0',
            Casting(roles=(Role(tracks=(1,), part=Part(model='C:\\m, of "A"; x=1', morph=0.0)),)),
        ),
        ("track 1 = C:\\models\\anna=2", Casting(roles=(Role(tracks=(1,), part=Part(model="C:\\models\\anna=2")),))),
    ],
)
def test_what_a_text_says(text, expected):
    casting = parse_casting(text)
    assert casting == expected
    assert parse_casting(str(casting)) == casting
    assert check_casting(text) == str(casting)
    assert bool(casting) == (expected != Casting())


def test_the_shortest_form():
    text = "anna : tracks 3,4,5 , 9 = /models/anna ;others = plate"
    assert check_casting(text) == "anna: track 3-5, 9 = /models/anna; others = plate"


def test_a_table_says_the_same_as_a_text():
    table = {
        "anna: track 3": "/models/anna",
        "track 5, 7": {"model": "/models/bob", "identity": "source2", "morph": 0.7},
        "others": "plate",
    }
    text = "anna: track 3 = /models/anna; track 5, 7 = /models/bob, identity source2, morph 0.7; others = plate"
    assert parse_casting(table) == parse_casting(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("track 3", "'='"),
        ("anna = /models/anna", "'anna' says not whom"),
        ("track = /models/anna", "'track' says not whom"),
        ("track x = /m", "says not whom"),
        ("track 5-3 = /m", "'5-3' is no track"),
        ("track 3,, 4 = /m", "'' is no track"),
        ("track 1-99999999 = /m", "is no track"),
        ("track 3 =", "folder is missing"),
        ('track 3 = ""', "folder is missing"),
        ("track 3 = /m, blur 2", "'blur 2' means nothing"),
        ("track 3 = /m, morph", "'morph' means nothing"),
        ("track 3 = /m, morph 1.5", "not within 0 to 1"),
        ("track 3 = /m, morph nan", "not within 0 to 1"),
        ("track 3 = /m, morph 0.1, morph 0.2", "means nothing"),
        ("track 3 = /m, identity a b", "is no identity"),
        ("track 3 = plate, morph 0.5", "'plate' takes neither"),
        ("track 3, 4 = /m; anna: track 4-5 = /n", "track 4 is cast twice"),
        ("others = /m; others = plate", "said once"),
        ("anna: others = /m", "said once, and has no name"),
        (": track 3 = /m", "'' is no name"),
        ("a/b: track 3 = /m", "'a/b' is no name"),
        ('track 3 = "/m', "not closed"),
        ('track 3 = "/m" x', "cannot be read"),
        ("track 3 = /m" + " " * 10_000, "characters"),
        ('track 3 = ' + '"' * 9_001, "not closed"),
        ("track 3" + " " * 9_000 + "x = /m", "says not whom"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(text, what):
    with pytest.raises(InvalidInput, match="An example: 'track 3 =") as caught:
        parse_casting(text)
    assert what in caught.value.message
    assert (caught.value.reason, caught.value.details["field"]) == ("BAD_CAST", "cast")
    with pytest.raises(ValueError, match="The casting cannot be used"):
        check_casting(text)


@pytest.mark.parametrize(
    "table",
    [
        {"track 3": 5},
        {"track 3": {"identity": "source"}},
        {"track 3": {"model": "/m", "blur": 1}},
        {"track 3": {"model": "/m", "morph": True}},
        {"track 3": {"model": "/m", "morph": "half"}},
        {"track 3": {"model": "/m", "identity": 2}},
    ],
)
def test_tables_that_are_refused(table):
    with pytest.raises(InvalidInput):
        parse_casting(table)


def test_folders_are_listed_once_and_can_be_renamed_for_another_machine():
    casting = parse_casting("track 1 = /a/m; track 2 = /a/m, morph 0.5; track 3 = model; others = /b/n")
    assert casting.folders == ("/a/m", "/b/n")
    assert len(casting.parts) == 4
    moved = casting.with_folders(lambda folder: folder.replace("/a", "/mnt/a"))
    assert str(moved) == "track 1 = /mnt/a/m; track 2 = /mnt/a/m, morph 0.5; track 3 = model; others = /b/n"
