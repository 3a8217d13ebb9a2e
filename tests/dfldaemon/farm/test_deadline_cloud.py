"""AWS Deadline Cloud: its own command sends our bundle to a stand-in for its service on this machine."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from frame_shot import FrameShot

Submit = Callable[..., tuple[int, str, str]]
FARM, QUEUE, JOB = (f"{kind}-{'0' * 32}" for kind in ("farm", "queue", "job"))
MADE = {"createdAt": "2026-01-01T00:00:00Z", "createdBy": "test"}


class StandIn(ThreadingHTTPServer):
    """Answers what ``deadline bundle submit`` asks; keeps the jobs it is sent."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        values: dict[str, Any] = {}
        if path.endswith("/environments"):
            values = {"environments": []}
        elif self.command == "POST" and path.endswith("/jobs"):
            self.server.jobs.append(json.loads(body))
            values = {"jobId": JOB}
        elif "/jobs/" in path:
            state = {"lifecycleStatus": "CREATE_COMPLETE", "lifecycleStatusMessage": "made"}
            values = {"jobId": JOB, "name": "job", "priority": 50, **state, **MADE}
        elif "/queues/" in path:
            state = {"status": "IDLE", "defaultBudgetAction": "NONE"}
            values = {"queueId": QUEUE, "farmId": FARM, "displayName": "queue", **state, **MADE}
        data = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def service() -> Iterator[StandIn]:
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def deadline(service: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ``deadline`` program, set up for the stand-in: DFL_DEADLINE_PROGRAM, else the one on the PATH."""
    program = os.environ.get("DFL_DEADLINE_PROGRAM") or shutil.which("deadline")
    if not program:
        pytest.skip("deadline is not here: set DFL_DEADLINE_PROGRAM to the program of the package deadline")
    address = f"http://127.0.0.1:{service.server_port}"
    config = tmp_path / "home" / ".deadline" / "config"
    config.parent.mkdir(parents=True)
    sections = {
        "telemetry": "opt_out = true",
        "profile-(default) defaults": f"farm_id = {FARM}",
        f"profile-(default) {FARM} defaults": f"queue_id = {QUEUE}",
    }
    config.write_text("\n".join(f"[{name}]\n{line}\n" for name, line in sections.items()))
    variables = {
        "HOME": str(config.parent.parent),
        "DEADLINE_CONFIG_FILE_PATH": str(config),
        "AWS_ENDPOINT_URL": address,
        "AWS_ENDPOINT_URL_DEADLINE": address,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-west-2",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "deadline").write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
    (programs / "deadline").chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return Path(program)


@pytest.mark.slow
def test_the_bundle_is_sent_as_it_was_written(
    submit: Submit, shot: FrameShot, service: StandIn, deadline: Path
) -> None:
    code, _, err = submit("--frames", "1001-1003", "--backend", "deadline-cloud")
    assert code == 0, err
    (sent,) = service.jobs
    bundle = shot.folder / "out.farm" / "0001"
    assert json.loads(sent["template"]) == json.loads((bundle / "template.json").read_text())
    assert sent["templateType"] == "JSON"
    assert sent["parameters"]["Frames"] == {"string": "1001-1003"}
    assert sent["parameters"]["OutputFolder"] == {"path": str(shot.folder / "out")}
