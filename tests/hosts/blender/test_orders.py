"""What a press asks the daemon for."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def orders(part: Callable[[str], Any]) -> Any:
    return part("orders")


@pytest.fixture
def host_error(part: Callable[[str], Any]) -> Any:
    return part("_dflhost.errors").HostError


@pytest.fixture
def plate(part: Callable[[str], Any]) -> Any:
    plates = part("_dflhost.plates")
    return plates.Plate("/s/shot.####.exr", plates.FrameSet.span(1001, 1003))


def order(orders: Any, plate: Any, place: str, **settings: Any) -> Any:
    return orders.SwapOrder(plate, "/m", "/f", "/o/{version}/s.####.exr", place, settings)


def test_each_editor_gets_the_files_it_can_read(orders: Any, plate: Any) -> None:
    assert order(orders, plate, "nodes").merge_settings == {"profile": "layered"}
    assert order(orders, plate, "strip").merge_settings == {"profile": "flat", "layers": "matte"}
    chosen = order(orders, plate, "nodes", layers="raw, matte").merge_settings
    assert chosen["layers"] == "raw,matte,swap"


def test_the_result_is_made_in_the_space_in_which_blender_shows_the_plate(
    orders: Any, plate: Any, part: Callable[[str], Any]
) -> None:
    shown = part("_dflhost.plates").Plate(plate.path, plate.frames, "ACEScg")
    assert order(orders, shown, "strip").merge_settings["input_colorspace"] == "ACEScg"
    chosen = order(orders, shown, "strip", input_colorspace="srgb_tx").merge_settings
    assert chosen["input_colorspace"] == "srgb_tx"


class Session:
    """What a merge asks a session for."""

    server = SimpleNamespace(version="1")
    settings = SimpleNamespace(is_remote=False)

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[Any, ...]] = []

    def faceset(self, path: str) -> None:
        if self.error is not None:
            raise self.error

    def model(self, path: str) -> Any:
        return SimpleNamespace(digest="d" * 64)

    def settings_there(self, settings: dict[str, Any]) -> dict[str, Any]:
        return dict(settings)

    def submit_extract(self, *arguments: Any) -> str:
        self.calls.append(("extract", *arguments))
        return "extract"

    def submit_merge(self, *arguments: Any) -> str:
        self.calls.append(("merge", *arguments))
        return "merge"


def test_faces_are_extracted_only_where_there_are_none(orders: Any, plate: Any, host_error: Any) -> None:
    send, find, *_ = order(orders, plate, "strip").steps()
    there, absent = Session(), Session(host_error("None.", reason="FACESET_NOT_FOUND", category="NOT_FOUND"))
    assert send(there, {}) is None
    assert find(there, {}) is None
    assert find(absent, {}) == "extract"
    with pytest.raises(host_error):
        find(Session(host_error("Torn.", reason="INDEX_DAMAGED", category="DATA_CORRUPT")), {})


def test_the_merge_leaves_the_key_of_what_it_was_made_from(orders: Any, plate: Any, part: Callable[[str], Any]) -> None:
    session, left = Session(), {}
    _, _, merge, *_ = order(orders, plate, "strip").steps()
    assert merge(session, left) == "merge"
    key = part("_dflhost.results").ResultKey.from_text(left["key"])
    assert key.model_digest == "d" * 64
    assert sorted(key.frames) == [1001, 1002, 1003]
