from pathlib import Path

import pytest

from dflcore.config.describe import describe_settings
from dflcore.errors import InvalidInput
from dfldaemon.settings import DaemonSettings, daemon_settings


def test_the_environment_is_read_and_explicit_values_win(tmp_path: Path) -> None:
    environ = {
        "DFL_STATE_DIR": str(tmp_path / "a"),
        "DFL_MAX_ATTEMPTS": "7",
        "DFL_IDLE_EXIT_S": "30",
        "DFL_REFLECTION": "true",
        "DFL_WEIGHTS": "/w1:/w2",
        "DFL_LISTEN": "tcp",
        "HOME": "/h",
    }
    settings = daemon_settings({"max_attempts": 2}, environ)
    assert (settings.max_attempts, settings.idle_exit_s, settings.reflection) == (2, 30.0, True)
    assert settings.state_dir == str(tmp_path / "a")
    assert settings.runtime_dir == str(tmp_path / "a" / "run")
    assert settings.listen == "tcp"
    assert settings.weight_folders[:2] == ("/w1", "/w2")
    assert daemon_settings({}, {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/h"}).runtime_dir == "/run/user/7/dfl"


def test_bad_values_name_the_setting_and_its_range() -> None:
    with pytest.raises(InvalidInput, match=r"max_attempts.*1 to 100"):
        daemon_settings({}, {"DFL_MAX_ATTEMPTS": "0"})
    with pytest.raises(InvalidInput, match="listen"):
        daemon_settings({"listen": "0.0.0.0"}, {})


def test_roots_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    settings = daemon_settings({"roots": f"{tmp_path / 'link'}:/srv"}, {"HOME": "/h"})
    assert settings.root_paths == (str(tmp_path / "real"), "/srv")


def test_every_knob_has_help() -> None:
    assert all(knob.help.endswith(".") for knob in describe_settings(DaemonSettings))
