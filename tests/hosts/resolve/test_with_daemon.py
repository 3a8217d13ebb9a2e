"""An artist's session in Resolve against a real daemon that really merges: take, what lacks, another setting, track."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from conftest import DaemonProcess

from dflcore.io.exr import read_exr_layers
from dflresolve import place
from dflresolve.app import UNDER_PLAYHEAD, App
from dflresolve.host import Host
from frame_shot import make_frame_shot


@pytest.mark.slow
def test_an_artists_session(
    merging_daemon: DaemonProcess, world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot = make_frame_shot(tmp_path / "shot")
    monkeypatch.setenv("DFL_STATE_DIR", merging_daemon.host.state_dir)
    world.item._media = world.media = world.add_media("shot.mov", 4)
    world.media._about["File Path"] = shot.plate.replace("####", "[1001-1004]")
    world.item._offset, world.item._count, world.item._span = 0, 2, 2
    app = App(Host(world.resolve), str(tmp_path / "resolve.json"))
    chosen = app.preferences.with_values(model=str(shot.model), faces=str(shot.faceset), folder=str(tmp_path / "swap"))
    app.remember(chosen)

    def finish() -> str:
        end = time.monotonic() + 60.0
        while app.desk.is_busy:
            app.tick()
            assert time.monotonic() < end, app.desk.text
            time.sleep(0.01)
        error = app.desk.run.error if app.desk.run is not None else None
        assert error is None, error
        return app.desk.text

    pictures: list[str] = []
    try:
        app.swap_frame(lambda path, error: pictures.append(path or str(error)))
        finish()
        data = Path(pictures[0]).read_bytes()
        Path(pictures[0]).unlink()
        assert data.startswith(b"\x89PNG")

        app.remember(app.preferences.with_values(frames="1001"))
        app.swap_range(UNDER_PLAYHEAD)
        assert finish().endswith("v001 1001 on video track 2")
        first = tmp_path / "swap" / "shot_swap" / "v001" / "shot_swap.1001.exr"
        made_at = first.stat().st_mtime_ns
        app.remember(app.preferences.with_values(frames=""))
        app.update(UNDER_PLAYHEAD)
        assert finish().startswith("Take 2 of")
        assert first.stat().st_mtime_ns == made_at, "only the frame that lacked was made"
        beauty = Path(world.item._takes[1][0]._about["File Path"])
        assert "/v001/" in str(beauty)

        patch = read_exr_layers(beauty.with_name(beauty.name.replace("_swap.", "_swap_patch.")))
        plate, merged = read_exr_layers(Path(shot.file(1001))), read_exr_layers(beauty)
        laid_over = plate["R"] * (1.0 - patch["A"]) + patch["R"]
        assert float(patch["A"].max()) > 0.02  # a network that learnt nothing paints a thin matte
        assert np.allclose(laid_over, merged["R"], atol=0.01), "the patch over the plate is the daemon's composite"

        app.update(UNDER_PLAYHEAD)
        assert finish() == "Nothing is out of date"
        app.remember(app.preferences.with_values(settings={"opacity": 0.5}, place=place.TRACK))
        app.update(UNDER_PLAYHEAD)
        assert finish().endswith("on video track 3")  # frame 1001 lies on track 2
        made = world.project._timeline._tracks[2]["items"][0]
        assert "/v002/" in made._media._about["File Path"]
        assert "_swap_patch." in made._media._about["File Path"]
    finally:
        app.desk.close()
