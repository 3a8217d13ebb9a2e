"""Fakes made from stubs refuse what the real API would refuse."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from strict_fake import NoBehaviourError, load_table, make_module
from stub_table import read_stubs

STUB = """
from typing import overload, Any
LIMIT: int
class Base:
    def __init__(self, *args, **kwargs) -> None: ...
    def name(self) -> str: ...
    def move(self, x: int, y: int = ...) -> None: ...
class Thing(Base):
    color: str
    def paint(self, color, *, alpha: float = ...) -> None: ...
@overload
def run(node, first: int, last: int) -> None: ...
@overload
def run(node, ranges) -> None: ...
def loose(*args, **kwargs) -> Any: ...
render = run
"""


@pytest.fixture
def table(tmp_path: Path):
    (tmp_path / "api.pyi").write_text(textwrap.dedent(STUB))
    return read_stubs(tmp_path, ["api"], "a test")


def make(table, **given):
    filled = {"functions": {}, "classes": {}, "values": {}, "tightened": {}, "guard": lambda name: None, **given}
    return make_module("api", table, **filled)


def test_the_table_has_names_and_arity(table):
    assert table["functions"]["run"] == ["node first last", "node ranges"]
    assert table["functions"]["render"] == table["functions"]["run"]
    assert table["classes"]["Thing"]["methods"]["paint"] == ["color * alpha="]
    assert table["classes"]["Thing"]["bases"] == ["Base"]
    assert table["constants"] == ["LIMIT"]


def test_unknown_names_and_wrong_arity_fail(table):
    class Base:
        def name(self):
            return "it"

    api = make(table, functions={"run": lambda *given: given}, classes={"Base": Base})
    assert api.run("node", 1, 2) == ("node", 1, 2)
    with pytest.raises(TypeError, match="first"):
        api.run("node")
    with pytest.raises(AttributeError, match="walk"):
        _ = api.walk
    thing = api.Thing()
    assert thing.name() == "it"
    with pytest.raises(AttributeError):
        thing.nmae()
    with pytest.raises(TypeError):
        thing.paint("red", 0.5)
    with pytest.raises(NoBehaviourError):
        thing.paint("red", alpha=0.5)


def test_a_behaviour_cannot_invent_names(table):
    class Base:
        def fly(self): ...

    with pytest.raises(TypeError, match="fly"):
        make(table, classes={"Base": Base})
    with pytest.raises(TypeError, match="walk"):
        make(table, functions={"walk": print})


def test_loose_stubs_can_be_tightened(table):
    api = make(table, functions={"loose": lambda *given: given}, tightened={"loose": ["one two="]})
    assert api.loose(1, 2) == (1, 2)
    with pytest.raises(TypeError):
        api.loose(1, 2, 3)


def test_every_call_is_guarded(table):
    seen = []
    api = make(table, functions={"run": lambda *given: None}, guard=seen.append)
    api.run("node", 1, 2)
    assert seen == ["api.run"]


def test_the_table_of_nuke_is_there():
    table = load_table("nuke_13_2")
    assert len(table["classes"]) > 90
    assert len(table["functions"]) > 200
    assert "types-nuke 13.2.8.0" in table["source"]
