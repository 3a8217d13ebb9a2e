"""Network storage shows what another machine wrote with a delay: nobody trains on from something else than the lead."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dflcore.errors import DataCorrupt, NotFound
from dflcore.models.checkpoint import ModelDescription, ModelFolder
from dflcore.train import trainer
from dflcore.types import FaceType


class LateFolder:
    """Shows one generation more with every look."""

    path = Path("model")

    def __init__(self, *numbers: int) -> None:
        self._numbers = list(numbers)

    def load(self) -> tuple[Any, list[object]]:
        number = self._numbers.pop(0) if len(self._numbers) > 1 else self._numbers[0]
        return (SimpleNamespace(number=number) if number else None), []


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.time, "sleep", lambda _: None)


def test_the_leads_generation_is_waited_for() -> None:
    folder: Any = LateFolder(0, 3, 4)
    generation = trainer._load_as_lead(folder, 4)
    assert generation is not None
    assert generation.number == 4
    assert trainer._load_as_lead(folder, 0) is None, "the lead begins anew"


def test_storage_that_never_shows_it_is_another_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "STORAGE_DELAY_S", 0.0)
    folder: Any = LateFolder(3)
    with pytest.raises(DataCorrupt, match="see the same storage") as caught:
        trainer._load_as_lead(folder, 4)
    assert caught.value.reason == "STORAGE_DIFFERS"


def test_a_model_the_lead_has_just_made_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    description = ModelDescription(preset="quick", network={"resolution": 64}, face_type=FaceType.WHOLE)
    maker = threading.Timer(0.2, ModelFolder.create, (path, description))
    maker.start()
    assert trainer._open_as_lead(path).description == description
    maker.join()
    monkeypatch.setattr(trainer, "STORAGE_DELAY_S", 0.0)
    with pytest.raises(NotFound):
        trainer._open_as_lead(tmp_path / "nothing")
