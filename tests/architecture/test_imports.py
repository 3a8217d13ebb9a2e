"""Who may import whom, as a fact of running processes; the static side is checked by import-linter."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "cv2", "dlib", "OpenImageIO", "onnxruntime", "face_alignment")


def modules_after(statement: str) -> set[str]:
    """Names of all modules loaded in a fresh process after one statement."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import dflcore, dflcore.errors, dflcore.types, dflcore.frames, dflcore.progress, dflcore.registry",
        "import dflcore.config.extract, dflcore.config.train, dflcore.config.merge, dflcore.config.describe",
        "import dfldaemon.server",
        "import dfldaemon.cli.main",
    ],
)
def test_light_processes_stay_light(statement: str) -> None:
    assert not modules_after(statement) & set(HEAVY)


def test_the_host_client_is_the_standard_library() -> None:
    loaded = modules_after("import dflhost, dflhost.schema")
    assert not loaded & {*HEAVY, "grpc", "numpy", "pydantic", "dflcore", "dfldaemon", "dflproto"}
    assert not any(name.startswith("google.protobuf") for name in loaded)


def test_project_folders_are_not_packages(repository: Path) -> None:
    """`daemon` is another distribution's import name; `hosts` would shadow the hosts' own modules."""
    for folder in ("daemon", "hosts", "hosts/shared", "protos"):
        assert not (repository / folder / "__init__.py").exists()


def test_no_module_is_called_utils(repository: Path) -> None:
    vague = {"utils", "util", "helper", "helpers", "misc", "common", "manager"}
    found = [path for root in ("dflcore", "daemon", "hosts") for path in (repository / root).rglob("*.py")]
    assert not [path for path in found if path.stem in vague]
