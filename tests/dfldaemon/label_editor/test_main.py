"""The editor as the process that a user starts."""

import http.client
import re
import signal
import socket
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "dfldaemon.label_editor", "--no-browser"]
DEADLINE_S = 60.0


@pytest.fixture
def start(faceset):
    processes = []

    def run(*arguments):
        command = [*COMMAND, "--faceset", str(faceset), *arguments]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_it_prints_its_address_serves_and_ends_with_control_c(start):
    process = start()
    line = process.stdout.readline().strip()
    matched = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#token=[\w-]{43,}", line)
    assert matched
    connection = http.client.HTTPConnection("127.0.0.1", int(matched[1]), timeout=20)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert said == "The label editor has ended.\n"


def test_left_alone_it_ends(start):
    process = start("--idle-minutes", "0.005", "--stay")
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "Nothing was heard" in said


def test_what_keeps_it_from_starting_is_one_sentence(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, said in (
            (["--port", port], f"Port {port} of this machine cannot be listened on"),
            (["--view", "nothing"], "has no view named 'nothing'"),
            (["--faceset", str(tmp_path / "none")], "There is no faceset folder"),
        ):
            process = start(*arguments)
            out, error = process.communicate(timeout=DEADLINE_S)
            assert process.returncode == 1
            assert said in error
            assert "Traceback" not in error
            assert out == ""


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "x"], ["--idle-minutes", "0"]])
def test_a_wrong_option_is_said(start, arguments):
    process = start(*arguments)
    _, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert arguments[0] in error
