import ctypes

import pytest

from dflcore import environment
from dflcore.errors import Unsupported


def test_missing_libgl_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(Unsupported, match="apt-get install libgl1"):
        environment.check_system_libraries()


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MODULES", ("no_such_module_here",))
    with pytest.raises(Unsupported, match="no_such_module_here"):
        environment.check_system_libraries()


def test_this_machine_is_ready() -> None:
    assert environment.main() == 0
    assert environment.installed_versions()["torch"].startswith("2.13.0")
    assert "cores" in environment.machine_name()
