"""Plates, models and facesets for a daemon on another machine: what is sent first, and where its jobs write."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import DaemonProcess

from dflhost import events
from dflhost.discovery import ConnectionSettings
from dflhost.errors import HostError
from dflhost.events import Event, FramesDone, PreviewReady
from dflhost.frames import FrameRequest
from dflhost.paths import PathMap
from dflhost.places import Places, made_name
from dflhost.plates import FrameSet, Plate
from dflhost.sending import LocalFile, Sender
from dflhost.session import DaemonSession

FAR = ConnectionSettings(address="farm.example:5")


class Sent(Sender):
    """Remembers what it was to send."""

    def __init__(self) -> None:
        super().__init__(lambda *_, **__: {})
        self.names: list[tuple[str, list[str]]] = []

    def send(self, name: str, files: Sequence[LocalFile], *_: object) -> str:
        self.names.append((name, sorted(file.name for file in files)))
        return f"/inbox/{name}"

    def places(self, settings: ConnectionSettings) -> Places:
        return Places(settings, self.send_plate, self.send_folder, send_config=self.send_config)


def test_only_what_lies_here_and_is_not_mapped_is_sent(tmp_path: Path) -> None:
    for name in ("mapped", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index").touch()
    asked = FrameRequest("/far/plate.####.exr", 1, str(tmp_path / "mapped"), str(tmp_path / "here"))
    sender = Sent()
    mapped = replace(FAR, path_map=PathMap(((str(tmp_path / "mapped"), "/models"),)))
    frames = FrameSet((1,))
    found = sender.places(mapped).inputs(asked, frames, lambda _: None, lambda: False)
    assert found == replace(asked, faceset_path="/inbox/here")
    assert sender.names == [("here", ["index"])]
    near = sender.places(ConnectionSettings())
    assert near.inputs(asked, frames, lambda _: None, lambda: False) == asked
    assert len(sender.names) == 1


def test_a_plate_and_a_folder_are_named_as_the_daemon_can_open_them(
    far: DaemonSession, tmp_path: Path, is_far: None
) -> None:
    (tmp_path / "sh").mkdir()
    for frame in (1, 2, 3):
        (tmp_path / "sh" / f"p.{frame:04d}.exr").write_bytes(os.urandom(1000))
    plate = Plate(str(tmp_path / "sh" / "p.####.exr"), FrameSet((1, 2, 3)), "ACEScg", "graph")
    there = far.plate_there(plate, (2,))
    assert (there.frames, there.color_space, there.graph_hash) == (plate.frames, "ACEScg", "graph")
    assert os.listdir(os.path.dirname(there.path)) == ["p.0002.exr"]
    right = far.plate_there(replace(plate, path=f"{plate.path}?view=right"), (2,))
    assert right.path == f"{there.path}?view=right"
    folder = far.folder_there(str(tmp_path / "sh"))
    assert sorted(os.listdir(folder)) == ["p.0001.exr", "p.0002.exr", "p.0003.exr"]


def test_a_daemon_of_this_machine_opens_the_artists_own_files(session: DaemonSession, plate: str) -> None:
    asked = Plate(plate)
    assert session.plate_there(asked) is asked
    assert session.folder_there("/models/anna") == "/models/anna"
    assert session.place_for("model", "/models/anna") == "/models/anna"


def test_what_a_distant_client_has_made_is_kept_and_offered(
    far: DaemonSession, far_daemon: DaemonProcess, tmp_path: Path, is_far: None
) -> None:
    place = far.place_for("faceset", str(tmp_path / "sh010" / "faces"))
    made = far_daemon.folder / "state" / "made"
    assert Path(place).parent == made / "facesets"
    assert Path(place).name.startswith("faces-")
    assert far.place_for("faceset", str(tmp_path / "sh010" / "faces") + "/") == place
    assert far.place_for("faceset", place) == place  # a panel gives back what it shows
    assert far.place_for("faceset", str(tmp_path / "sh020" / "faces")) != place
    assert far.place_for("model", str(tmp_path / "sh010" / "faces")) != place
    model = Path(far.place_for("model", "anna"))
    (model / "generations" / "00000001").mkdir(parents=True)
    assert [(one.path, one.is_in_inbox) for one in far.models()] in ([], [(str(model), False)])
    assert str(made) in far.server.roots
    assert far.server.made_path == str(made)


def test_a_job_writes_to_its_place(far: DaemonSession, tmp_path: Path, is_far: None) -> None:
    for frame in (1, 2):
        (tmp_path / f"plate.{frame:04d}.exr").write_bytes(b"")
    plate = far.plate_there(Plate(str(tmp_path / "plate.####.exr")))
    place = far.place_for("faceset", str(tmp_path / "good"))
    assert far.submit_extract(plate, place).wait(60).text == "Done"


def test_a_path_the_daemon_can_use_stays(tmp_path: Path) -> None:
    mapped = replace(FAR, path_map=PathMap((("/mnt/shots", "/shots"), ("/cache", "/farm/cache"))))
    places = Sent().places(mapped)

    def place(kind: str, name: str, has: bool = False) -> str:
        return places.for_made(kind, name, "/farm/cache/made", lambda _: has)

    assert place("model", "/mnt/shots/anna") == "/mnt/shots/anna"
    assert place("model", "/models/anna", has=True) == "/models/anna"  # chosen from the daemon's list
    assert place("model", "/models/anna").startswith("/cache/made/models/anna-")  # as the path map names it here
    assert place("model", str(tmp_path), has=True).startswith("/cache/made/models/")  # one of this name lies here
    for kind, name, made, reason in (
        ("matte", "anna", "/made", "BAD_KIND"),
        ("model", "  ", "/made", "NAME_MISSING"),
        ("model", "/", "/made", "NAME_MISSING"),
        ("model", "anna", "", "DAEMON_IS_OLDER"),
    ):
        with pytest.raises(HostError) as failure:
            places.for_made(kind, name, made, lambda _: False)
        assert failure.value.reason == reason


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..",
        "a\0b",
        "anna\n",
        "-rf",
        ".hidden",
        "x" * 500,
        "ä" * 300,
        "C:\\faces\\anna",
        "a;b=c",
    ],
)
def test_a_name_becomes_one_part_of_a_path(name: str) -> None:
    made = made_name("model", name)
    assert "/" not in made
    assert "\\" not in made
    assert made not in (".", "..")
    assert not made.startswith(".")
    assert made.isprintable()
    assert len(made.encode()) < 128


def test_another_workstation_has_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = made_name("model", "anna")
    assert made_name("model", " anna ") == ours
    assert made_name("model", "a\u0308nna") == made_name("model", "\u00e4nna")
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    theirs = made_name("model", "anna")
    assert theirs != ours
    assert theirs.rpartition("-")[0] == ours.rpartition("-")[0] == "anna"


CONFIG = """ocio_profile_version: 2
search_path: luts:../elsewhere:/etc
colorspaces:
  - {src: film.cube}
  - {src: sub/print.spi1d}
  - {src: passwd}
  - {src: beside.csp}
"""


def test_files_that_settings_name_are_sent_with_what_belongs_to_them(tmp_path: Path) -> None:
    config = ("c/luts/film.cube", "c/luts/sub/print.spi1d", "c/luts/other.cube", "c/beside.csp", "c/diary")
    folders = ("anna/generations/1/weights", "anna/backups/old", "p1/faces.idx", "elsewhere/film.cube")
    for name in ("net.onnx", *config, *folders):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "c" / "show.ocio").write_text(CONFIG)
    sender = Sent()
    asked = {
        "segmenter": str(tmp_path / "net.onnx"),
        "enhancer": f"onnx:{tmp_path}/net.onnx?range=unit",
        "ocio_config": str(tmp_path / "c" / "show.ocio"),
        "keep_person": f"{tmp_path}/p1:/daemons/p2",
        "cast": f"left = {tmp_path}/anna",
        "face_model": "builtin",
        "blend_mode": "seamless",
        "opacity": 0.5,
        "plate": None,
    }
    found = sender.places(FAR).settings(asked, None, lambda: False)
    there = f"/inbox/{tmp_path.name}/net.onnx"
    assert found == {
        "segmenter": there,
        "enhancer": f"onnx:{there}?range=unit",
        "ocio_config": "/inbox/c/show.ocio",
        "keep_person": "/inbox/p1:/daemons/p2",
        "cast": "left = /inbox/anna",
        "face_model": "builtin",
        "blend_mode": "seamless",
        "opacity": 0.5,
    }
    assert dict(sender.names)["c"] == ["beside.csp", "luts/film.cube", "luts/sub/print.spi1d", "show.ocio"]
    assert dict(sender.names)["anna"] == ["generations/1/weights"]
    near = sender.places(ConnectionSettings()).settings(asked, None, lambda: False)
    assert near == {name: value for name, value in asked.items() if value is not None}


def test_a_picture_that_a_job_made_is_copied_here_and_gone_with_the_session(
    far_daemon: DaemonProcess, tmp_path: Path, is_far: None
) -> None:
    made = far_daemon.folder / "state" / "made" / "models" / "m"
    made.mkdir(parents=True, exist_ok=True)
    data = os.urandom((4 << 20) + 5)
    for name, content in (("preview.png", data), ("odd name.html", b"")):
        (made / name).write_bytes(content)
    with far_daemon.connect(**far_daemon.from_afar()) as session:
        here = Path(session.file_here(str(made / "preview.png")))
        assert (here.name, here.read_bytes()) == ("preview.png", data)
        (made / "preview.png").write_bytes(b"newer")
        assert session.file_here(str(made / "preview.png")) == str(here)
        assert here.read_bytes() == b"newer"
        assert Path(session.file_here(str(made / "odd name.html"))).read_bytes() == b""
        for path, wanted in ((made / "none.png", "FILE_NOT_FOUND"), (tmp_path / "x.png", "PATH_OUTSIDE_ROOTS")):
            with pytest.raises(HostError) as failure:
                session.file_here(str(path))
            assert failure.value.reason == wanted
    assert not here.parents[1].exists()


def test_a_preview_comes_with_a_path_of_this_workstation(
    far: DaemonSession, far_daemon: DaemonProcess, tmp_path: Path, is_far: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pretended worker makes none: its frames stand for them."""
    (tmp_path / "plate.0001.exr").write_bytes(b"")
    picture = far_daemon.folder / "state" / "made" / "models" / "shown.png"
    picture.write_bytes(b"a preview")

    def event_of(message: Mapping[str, Any], paths: PathMap) -> Event | None:
        event = events.event_of(message, paths)
        is_frame = isinstance(event, FramesDone) and event.frame in (1, 2)
        name = str(picture if is_frame and event.frame == 1 else picture.with_name("gone.png"))
        return PreviewReady(name, "Preview", sequence=event.sequence) if is_frame else event

    monkeypatch.setattr("dflhost.jobs.event_of", event_of)
    plate = far.plate_there(Plate(str(tmp_path / "plate.####.exr")))
    job = far.submit_extract(plate, far.place_for("faceset", str(tmp_path / "good-shown")))
    shown = [event.path for event in job.follow() if isinstance(event, PreviewReady)]
    assert job.status.text == "Done"
    assert [Path(path).name for path in shown] == ["shown.png", "gone.png"]
    assert Path(shown[0]).read_bytes() == b"a preview"
    assert shown[0] != str(picture)


def test_a_file_of_this_machine_is_not_copied(session: DaemonSession) -> None:
    assert session.file_here("/any/preview.png") == "/any/preview.png"
