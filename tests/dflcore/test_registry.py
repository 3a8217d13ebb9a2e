import pytest

from dflcore.errors import NotFound, Unsupported
from dflcore.registry import Registry

REGISTRY: Registry[object] = Registry(
    "shape", "dflcore.test_shapes", {"ordered": "collections:OrderedDict", "broken": "no_such_package_at_all:x"}
)


def test_loads_by_name() -> None:
    import collections

    assert REGISTRY.load("ordered") is collections.OrderedDict


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFound, match="ordered, broken"):
        REGISTRY.load("square")


def test_missing_package_is_said() -> None:
    with pytest.raises(Unsupported, match="no_such_package_at_all"):
        REGISTRY.load("broken")


def test_third_party_entry_points_show_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    point = EntryPoint(name="theirs", value="collections:deque", group="dflcore.test_shapes")
    monkeypatch.setattr("dflcore.registry.metadata.entry_points", lambda group: [point])
    assert REGISTRY.names() == ["ordered", "broken", "theirs"]
    import collections

    assert REGISTRY.load("theirs") is collections.deque
