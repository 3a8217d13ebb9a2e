"""The command as a process: what it loads, and what Ctrl-C does."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from dflproto.v1 import common_pb2

HEAVY = ("torch", "cv2", "dlib", "OpenImageIO", "PyOpenColorIO", "onnxruntime")


def start(environ, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "dfldaemon.cli.main", *arguments],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process, wanted):
    """JSON events until one of a type; it and those before it."""
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["type"] == wanted:
            return events
    pytest.fail(f"the command ended without {wanted}: {process.stderr.read()}")


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import dfldaemon.cli.main; dfldaemon.cli.main.build_parser()", (*HEAVY, "grpc", "google.protobuf")),
        (
            "import importlib, pkgutil, dfldaemon.cli as c\n"
            "for m in pkgutil.iter_modules(c.__path__): importlib.import_module('dfldaemon.cli.' + m.name)",
            HEAVY,
        ),
    ],
)
def test_loads_no_heavy_library(statement, forbidden, environ):
    probe = f"{statement}\nimport sys; print([name for name in {forbidden!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", probe], env=environ, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_first_interrupt_cancels_and_the_exit_code_says_so(daemon, environ):
    process = start(environ, "extract", "/p.exr", "--faceset", "/f", "--json")
    read_until(process, "state")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert {"type": "interrupt", "job": "extract-000000", "action": "cancel"} in events
    assert events[-1]["state"] == "cancelled"
    assert (process.returncode, err) == (130, "")
    assert daemon.jobs["extract-000000"].state == common_pb2.JOB_STATE_CANCELLED


def test_second_interrupt_does_not_wait_for_the_end(daemon, environ):
    daemon.stops_at_once = False
    process = start(environ, "extract", "/p.exr", "--faceset", "/f", "--json")
    read_until(process, "state")
    process.send_signal(signal.SIGINT)
    assert read_until(process, "interrupt")[-1]["action"] == "cancel"
    process.send_signal(signal.SIGINT)
    assert read_until(process, "interrupt")[-1]["action"] == "detach"
    assert process.wait(timeout=20) == 130
    process.communicate()
    assert daemon.jobs["extract-000000"].state == common_pb2.JOB_STATE_QUEUED


def test_who_leaves_a_job_that_is_cancelled_is_not_told_that_it_goes_on(daemon, environ):
    daemon.stops_at_once = False
    process = start(environ, "extract", "/p.exr", "--faceset", "/f")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the daemon cancels job extract-000000" in err
    assert "goes on" not in err


def test_watch_detaches_at_the_first_interrupt(daemon, environ):
    daemon.add_job("a")
    process = start(environ, "job", "watch", "a")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Detached; job a goes on." in err
    assert "Traceback" not in err
    assert daemon.jobs["a"].state == common_pb2.JOB_STATE_RUNNING


def test_terminate_cancels(daemon, environ):
    process = start(environ, "extract", "/p.exr", "--faceset", "/f", "--json")
    read_until(process, "state")
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["state"] == "cancelled"


def test_a_reader_that_leaves_is_no_error(daemon, environ):
    for number in range(50):
        daemon.add_job(f"job-{number}")
    process = start(environ, "job", "list", "--json")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) in (0, 130)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_help_is_quick_to_load(environ):
    """Not a timing test: counts what is loaded, which is what makes it slow."""
    probe = "import sys, dfldaemon.cli.main as m; m.build_parser(); print(len(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", probe], env=environ, capture_output=True, text=True, check=True)
    assert int(answer.stdout) < 900
    assert os.path.exists(sys.executable)
