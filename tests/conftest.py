"""What all tests share: real portraits, footage when it is there, and no machine-wide state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _material_folder() -> Path | None:
    """Footage and weights that are not part of the repository; tests that need them skip without."""
    named = os.environ.get("DFL_TEST_MATERIAL")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    return folder if (folder / "footage").is_dir() else None


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def material() -> Path:
    """Folder with ``footage/`` and ``models/``."""
    folder = _material_folder()
    if folder is None:
        pytest.skip("no test footage here: set DFL_TEST_MATERIAL to a folder with footage/ and models/")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """Eileen Collins (NASA, public domain): (512, 512, 3) uint8 RGB, sRGB-encoded."""
    import skimage.data

    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """Grace Hopper (US Navy, public domain): (600, 512, 3) uint8 RGB, sRGB-encoded."""
    import cv2
    import matplotlib.cbook

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as stream:
        decoded = cv2.imdecode(np.frombuffer(stream.read(), dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    return np.asarray(decoded)


@pytest.fixture(autouse=True)
def _private_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or writes the user's own daemon, caches or colour config."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in ("OCIO", "DFL_STATE_DIR", "DFL_RUNTIME_DIR", "DFL_ADDRESS", "DFL_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    return
