"""An artist whose daemon is on another machine, behind TLS, and sees none of this one's disks: every step."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from conftest import DaemonProcess
from frame_asking import make_pretending_shot

from dflcore.io.exr import read_exr_layers
from dflresolve import place
from dflresolve.app import UNDER_PLAYHEAD, App
from dflresolve.host import Host
from dflresolve.orders import EXTRACT_SOURCE, EXTRACT_TARGET


@pytest.mark.slow
@pytest.mark.usefixtures("is_far")
def test_every_step(far_daemon: DaemonProcess, world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFL_STATE_DIR", raising=False)
    shot = make_pretending_shot(tmp_path / "shot")
    world.item._media = world.media = world.add_media("shot.exr", 4)
    world.media._about["File Path"] = shot.plate.replace("####", "[1001-1004]")
    world.item._offset, world.item._count, world.item._span = 0, 2, 2
    app = App(Host(world.resolve), str(tmp_path / "resolve.json"))
    where = {name: value for name, value in far_daemon.from_afar().items() if name != "state_dir"}
    app.remember(app.preferences.with_values(folder=str(tmp_path / "swap"), **where))

    def finish() -> str:
        end = time.monotonic() + 60.0
        while app.desk.is_busy:
            app.tick()
            assert time.monotonic() < end, app.desk.text
            time.sleep(0.01)
        run = app.desk.run
        assert run is None or run.error is None or run.goal == "train", run.error
        return app.desk.text

    try:
        made = far_daemon.folder / "state"
        app.extract(UNDER_PLAYHEAD, EXTRACT_SOURCE)
        assert str(made) in finish()
        source = app.preferences.source
        assert (Path(source) / "done.txt").is_file()
        assert not Path(source).is_relative_to(tmp_path)
        app.extract(UNDER_PLAYHEAD, EXTRACT_TARGET)
        finish()
        assert list(made.rglob("shot.1002.exr"))
        assert not list(made.rglob("shot.1003.exr"))  # the clip does not show it

        app.train(UNDER_PLAYHEAD)
        finish()
        assert Path(app.preferences.model).is_relative_to(made)  # the pretended worker trains none
        assert app.desk.session is not None
        assert app.desk.session.jobs()[0].kind == "train"

        app.remember(app.preferences.with_values(model=str(shot.model), faces=str(shot.faceset)))
        pictures: list[str] = []
        app.swap_frame(lambda path, error: pictures.append(path or str(error)))
        finish()
        assert Path(pictures[0]).read_bytes().startswith(b"\x89PNG")
        Path(pictures[0]).unlink()

        app.swap_range(UNDER_PLAYHEAD)
        assert finish() == "Take 2 of shot.exr: shot_swap v001 1001-1002"
        app.update(UNDER_PLAYHEAD)
        assert finish() == "Nothing is out of date"
        app.remember(app.preferences.with_values(settings={"opacity": 0.5}))
        app.update(UNDER_PLAYHEAD)
        assert "v002" in finish()

        app.remember(app.preferences.with_values(place=place.FUSION, settings={}))
        app.swap_range(UNDER_PLAYHEAD)
        assert finish() == "Composition Face Swap v003 on shot.exr"
        folder = tmp_path / "swap" / "shot_swap" / "v003"
        beauty, face, matte = (
            read_exr_layers(folder / f"shot_swap{name}.1002.exr") for name in ("", "_face", "_matte")
        )
        plate = read_exr_layers(Path(shot.file(1002)))
        assert sorted(beauty) == sorted(face) == sorted(matte) == ["A", "B", "G", "R"]
        assert float(face["A"].max()) > 0.02
        assert np.array_equal(matte["R"], face["A"])
        assert np.allclose(plate["G"] * (1.0 - face["A"]) + face["G"] * face["A"], beauty["G"], atol=0.01)
        first = read_exr_layers(folder.with_name("v001") / "shot_swap.1002.exr")
        assert np.array_equal(first["G"], beauty["G"])
        app.remember(app.preferences.with_values(place=place.TRACK))
        app.update(UNDER_PLAYHEAD)
        assert finish() == "Nothing is out of date"
        app.show_result(UNDER_PLAYHEAD)
        assert finish().endswith("on video track 2")
        laid = world.project._timeline._tracks[1]["items"][0]._media._about
        assert laid["Alpha mode"] == "Straight"
        assert laid["File Path"].endswith("shot_swap_face.1001.exr")

        known: list[list[str]] = []
        app.look_for_folders(lambda models, facesets: known.append([one.name for one in (*models, *facesets)]))
        end = time.monotonic() + 30.0
        while not known:
            app.tick()
            assert time.monotonic() < end
        assert {shot.model.name, shot.faceset.name} <= set(known[0])
    finally:
        app.desk.close()
