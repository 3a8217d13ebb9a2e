# ruff: noqa: N802  (methods are named as the protocol names them)
"""A scheduler of OpenCue as small as it can be, for a real rqd: ``stand_in_cuebot.py FOLDER``.

Run by an interpreter with opencue-pyoutline and opencue-rqd. Prints its port, takes one job, has rqd run its frames one
after the other, prints what they said as one line of JSON, and ends. rqd listens on every interface for those seconds
and runs what it is told: not on an open network.
"""

import json
import queue
import signal
import socket
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ET
from concurrent import futures
from pathlib import Path

import grpc
from opencue_proto import (
    cue_pb2,
    cue_pb2_grpc,
    job_pb2,
    job_pb2_grpc,
    report_pb2,
    report_pb2_grpc,
    rqd_pb2,
    rqd_pb2_grpc,
)

WAIT_S = 200.0
USER_ID = 1000
"""rqd refuses frames of the superuser; it does not become this user."""


class Cuebot(
    cue_pb2_grpc.CueInterfaceServicer, job_pb2_grpc.JobInterfaceServicer, report_pb2_grpc.RqdReportInterfaceServicer
):
    def __init__(self):
        self.specs = queue.Queue()
        self.completed = queue.Queue()
        self.hosts = queue.Queue()

    def GetSystemStats(self, request, context):
        return cue_pb2.CueGetSystemStatsResponse()

    def LaunchSpecAndWait(self, request, context):
        self.specs.put(request.spec)
        return job_pb2.JobLaunchSpecAndWaitResponse()

    def ReportRqdStartup(self, request, context):
        self.hosts.put(request)
        return report_pb2.RqdReportRqdStartupResponse()

    def ReportStatus(self, request, context):
        return report_pb2.RqdReportStatusResponse()

    def ReportRunningFrameCompletion(self, request, context):
        self.completed.put(request.frame_complete_report)
        return report_pb2.RqdReportRunningFrameCompletionResponse()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run_job(spec, rqd, folder, completed):
    """Every frame of every layer, one after the other: exit status and log."""
    found = []
    for layer in ET.fromstring(spec[spec.index("<spec>") :]).findall("./job/layers/layer"):
        first, _, last = layer.findtext("range").partition("-")
        for number in range(int(first), int(last or first) + 1):
            name = f"{number:04d}-{layer.get('name')}"
            command = layer.findtext("cmd").replace("#IFRAME#", str(number))
            frame = rqd_pb2.RunFrame(
                resource_id=str(uuid.uuid4()), job_id=str(uuid.uuid4()), frame_id=str(uuid.uuid4()),
                layer_id=str(uuid.uuid4()), job_name="job", frame_name=name, command=command, user_name="farm",
                uid=USER_ID, gid=USER_ID, show="show", shot="shot", num_cores=100, log_dir=str(folder / "logs"),
                job_temp_dir=str(folder), frame_temp_dir=str(folder), log_file=f"{name}.rqlog",
                log_dir_file=str(folder / "logs" / f"{name}.rqlog"), start_time=int(time.time()), ignore_nimby=True,
            )  # fmt: skip
            rqd.LaunchFrame(rqd_pb2.RqdStaticLaunchFrameRequest(run_frame=frame), timeout=30)
            report = completed.get(timeout=WAIT_S)
            log = next((folder / "logs").glob(f"*{name}.rqlog")).read_text(errors="replace")
            found.append({"frame": name, "exit_status": report.exit_status, "log": log})
    return found


def main(folder):
    cuebot = Cuebot()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    cue_pb2_grpc.add_CueInterfaceServicer_to_server(cuebot, server)
    job_pb2_grpc.add_JobInterfaceServicer_to_server(cuebot, server)
    report_pb2_grpc.add_RqdReportInterfaceServicer_to_server(cuebot, server)
    port, rqd_port = server.add_insecure_port("127.0.0.1:0"), free_port()
    server.start()
    (folder / "logs").mkdir()
    (folder / "rqd.conf").write_text(
        f"[Override]\nOVERRIDE_CUEBOT = 127.0.0.1\nCUEBOT_GRPC_PORT = {port}\nRQD_GRPC_PORT = {rqd_port}\n"
        "RQD_BECOME_JOB_USER = False\nRQD_USE_ALL_HOST_ENV_VARS = True\nOVERRIDE_NIMBY = False\n"
        "OVERRIDE_HOSTNAME = localhost\n"
    )
    with open(folder / "rqd.log", "wb") as log:
        program = [sys.executable, "-m", "rqd", "-c", str(folder / "rqd.conf")]
        rqd = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        cuebot.hosts.get(timeout=WAIT_S)
        print(port, flush=True)
        spec = cuebot.specs.get(timeout=WAIT_S)
        with grpc.insecure_channel(f"127.0.0.1:{rqd_port}") as channel:
            print(json.dumps(run_job(spec, rqd_pb2_grpc.RqdInterfaceStub(channel), folder, cuebot.completed)))
    finally:
        rqd.send_signal(signal.SIGTERM)
        try:
            rqd.wait(10)
        except subprocess.TimeoutExpired:
            rqd.kill()
        server.stop(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
