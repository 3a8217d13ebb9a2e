"""Devices: their names and their memory."""

from pathlib import Path

import pytest
import torch

from dflcore.errors import Unsupported
from dflcore.models import device as devices
from dflcore.models.device import available_memory, resolve_autocast, resolve_device


def test_unknown_devices_are_refused_with_what_there_is() -> None:
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(
        Unsupported, match=r"'abacus' cannot be used here: there is no such kind\. Use auto, cpu or cuda\.$"
    ):
        resolve_device("abacus")


def test_without_a_measurement_a_cpu_paints_in_float32() -> None:
    assert resolve_autocast("auto", torch.device("cpu")) is None
    assert resolve_autocast("bfloat16", torch.device("cpu")) is torch.bfloat16


def test_memory_is_what_the_system_and_the_container_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16000 kB\nMemAvailable:    8000 kB\n")
    assert devices._meminfo_bytes("MemAvailable", meminfo) == 8000 * 1024
    assert devices._meminfo_bytes("MemAvailable", tmp_path / "none") is None
    (tmp_path / "memory.max").write_text("4096000\n")
    (tmp_path / "memory.current").write_text("96000\n")
    assert devices._container_bytes(tmp_path) == 4_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert devices._container_bytes(tmp_path) is None
    monkeypatch.setattr(devices, "_meminfo_bytes", lambda name: 5_000_000)
    monkeypatch.setattr(devices, "_container_bytes", lambda: 4_000_000)
    assert available_memory(torch.device("cpu")) == 4_000_000
    monkeypatch.setattr(devices, "_meminfo_bytes", lambda name: None)
    monkeypatch.setattr(devices, "_container_bytes", lambda: None)
    assert available_memory(torch.device("cpu")) is None
