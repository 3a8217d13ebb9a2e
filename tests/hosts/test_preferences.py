"""The user's own file of preferences: kept whole, read whatever lies there, and what goes before what."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dflhost.errors import HostError
from dflhost.preferences import ConnectionPreferences, load_preferences, preferences_path, save_preferences


@dataclass(frozen=True)
class Kept(ConnectionPreferences):
    count: int = 1
    settings: dict[str, Any] = field(default_factory=dict)


def test_what_was_saved_is_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "new folder" / "host.json")
    wanted = Kept(address="farm:7000", path_map="/a=/b", count=3, settings={"erode": 3})
    save_preferences(path, wanted)
    assert load_preferences(Kept, path) == wanted
    assert [one.name for one in (tmp_path / "new folder").iterdir()] == ["host.json"]


@pytest.mark.parametrize("text", ["", "no json", "[]", "null", '{"address": 3, "count": true, "other": "x"}'])
def test_a_damaged_or_foreign_file_is_no_hindrance(tmp_path: Path, text: str) -> None:
    path = tmp_path / "host.json"
    path.write_text(text)
    assert load_preferences(Kept, str(path)) == Kept()


def test_what_is_whole_in_a_damaged_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "host.json"
    path.write_text('{"address": "farm:7000", "count": "many"}')
    assert load_preferences(Kept, str(path)) == Kept(address="farm:7000")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot be saved") as caught:
        save_preferences(str(tmp_path / "file" / "host.json"), Kept())
    assert caught.value.reason == "NOT_WRITABLE"


def test_the_studios_variables_say_what_the_fields_do_not() -> None:
    studio = {"DFL_ADDRESS": "farm:7000", "DFL_CA_FILE": "/ca.pem", "DFL_PATH_MAP": "/a=/b"}
    found = ConnectionPreferences(address="other:7000", certificate_path=" /ws.pem ").connection(studio)
    assert (found.address, found.ca_path, found.certificate_path) == ("other:7000", "/ca.pem", "/ws.pem")
    assert found.path_map.to_daemon("/a/x") == "/b/x"
    assert ConnectionPreferences(path_map="/a=/c").connection(studio).path_map.to_daemon("/a/x") == "/c/x"
    with pytest.raises(HostError) as caught:
        ConnectionPreferences().connection({"DFL_PATH_MAP": "no map"})
    assert caught.value.reason == "BAD_PATH_MAP"


@pytest.mark.parametrize(
    ("host", "system", "path"),
    [
        ("resolve", "darwin", "/u/Library/Application Support/dfl/resolve.json"),
        ("nuke", "win32", "/roaming/dfl/nuke.json"),
        ("nuke", "linux", "/u/.config/dfl/nuke.json"),
    ],
)
def test_where_it_lies(host: str, system: str, path: str) -> None:
    found = preferences_path(host, {"HOME": "/u", "APPDATA": "/roaming"}, system)
    assert found.replace("\\", "/") == path


def test_a_variable_names_another() -> None:
    assert preferences_path("nuke", {"DFL_NUKE_PREFERENCES": "/p.json", "HOME": "/u"}, "linux") == "/p.json"
