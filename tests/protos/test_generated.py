"""The committed generated code is what the generator makes, and runs on the oldest and the newest supported runtimes.

Both need the package index, once: their environments are kept below ``build/``.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

OLDEST = ("grpcio==1.71.2", "protobuf==5.29.5")
ROUND_TRIP = """
import sys
from dflproto.v1 import daemon_service_pb2, daemon_service_pb2_grpc, faceset_service_pb2_grpc, job_service_pb2
from dflproto.v1 import job_service_pb2_grpc, merge_service_pb2_grpc, model_service_pb2_grpc, schema_digest
import google.protobuf, grpc
spec = job_service_pb2.JobSpec(train={"model_path": "/m", "settings": {"iterations": 0, "masked_training": False}})
again = job_service_pb2.JobSpec.FromString(spec.SerializeToString())
assert again == spec and again.train.settings.HasField("iterations") and not again.train.settings.HasField("minutes")
job_service_pb2_grpc.JobServiceStub(grpc.insecure_channel("127.0.0.1:1"))
print(google.protobuf.__version__, grpc.__version__)
"""


@pytest.fixture(scope="module")
def generate(repository: Path):
    """The generator, as a module."""
    spec = importlib.util.spec_from_file_location("generate", repository / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def oldest_python(repository: Path) -> Path:
    """An interpreter with the oldest supported runtime."""
    folder = repository / "build" / "oldest-runtime-venv"
    python, marker = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(OLDEST)
    if not marker.is_file() or marker.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        install([str(python), "-m", "pip", "install", "--quiet", *OLDEST])
        marker.write_text(wanted)
    return python


def install(command: list[str]) -> None:
    """Skips where there is no package index."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if re.search(r"No matching distribution|connection|resolve|timed out", done.stderr, re.IGNORECASE):
            pytest.skip("no package index here")
        pytest.fail(done.stderr)


@pytest.mark.slow
def test_generated_code_is_current(repository: Path) -> None:
    command = [sys.executable, str(repository / "protos" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr or "onnection" in done.stderr:
        pytest.skip("no package index here")
    assert done.returncode == 0, f"run protos/generate.py: {done.stderr}"


@pytest.mark.slow
def test_generated_code_runs_on_the_oldest_runtime(repository: Path, oldest_python: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository / "protos")}
    command = [str(oldest_python), "-W", "error", "-c", ROUND_TRIP]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["5.29.5", "1.71.2"]


def test_generated_code_runs_on_this_runtime(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ROUND_TRIP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_oldest_runtime_is_the_one_we_promise(repository: Path) -> None:
    declared = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]["daemon"]
    floors = {line.partition(">=")[0]: line.partition(">=")[2].partition(",")[0] for line in declared}
    assert [f"{name}=={floors[name]}" for name in ("grpcio", "protobuf")] == list(OLDEST)


def test_the_generator_is_pinned(generate) -> None:
    assert "grpcio-tools==1.71.2" in generate.REQUIREMENTS
    assert all("==" in line or "<" in line for line in generate.REQUIREMENTS)


def test_only_generated_files_lie_beside_the_protos(repository: Path) -> None:
    folder = repository / "protos" / "dflproto" / "v1"
    stems = {path.stem for path in folder.glob("*.proto")}
    expected = {f"{stem}.proto" for stem in stems} | {f"{stem}_pb2.py" for stem in stems}
    expected |= {f"{stem}_pb2.pyi" for stem in stems} | {"__init__.py", "schema_digest.py"}
    services = {stem for stem in stems if stem.endswith("_service")}
    expected |= {f"{stem}_pb2_grpc{suffix}" for stem in services for suffix in (".py", ".pyi")}
    assert {path.name for path in folder.iterdir() if path.is_file()} == expected
