"""One list of scenarios, run against a daemon through any client; also the program that runs it with dflhost.

    python conformance.py <folder with dflhost> <the daemon's state folder> <folder to work in> <a shot as JSON>

prints the outcomes as JSON. Written for Python 3.9 and for no package but dflhost, as hosts run it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

KINDS = ("extract", "train", "merge", "train_mask", "train_detail", "import_model", "export_model", "qc")
LOCAL_CODES = (1, 4, 8, 12, 14, 16)
"""Ends of calls that clients word themselves; of those, only the code is compared."""
VOLATILE = frozenset(
    {"id", "pid", "start_time", "create_time", "end_time", "time", "sequence", "last_sequence", "next_page_token"}
)

_SET_ID = re.compile(r"\binbox/[0-9a-f]{32}")
_JOB_ID = re.compile(r"\b(?:extract|merge|train)-[0-9a-f]{6}\b")


class Failure(Exception):
    """A call that failed, as plain values."""

    def __init__(
        self, code: int, reason: str = "", message: str = "", details: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code, reason)
        self.value = {"code": code}
        if code not in LOCAL_CODES:
            self.value.update(reason=reason, message=message, details=dict(details or {}))  # type: ignore[call-overload]


class Client:
    """What a scenario may do.

    Attributes:
        shot: fields of a request for a single frame that can be rendered.
    """

    shot: Mapping[str, Any] = {}

    def picture(self, **fields: Any) -> bytes:
        """Bytes of a single frame as the client's users fetch it."""
        raise NotImplementedError

    def call(
        self, service: str, method: str, request: Mapping[str, Any], deadline_s: float = 15.0, token: str = ""
    ) -> dict[str, Any]:
        """A unary call; raises Failure."""
        raise NotImplementedError

    def stream(
        self,
        method: str,
        request: Mapping[str, Any],
        deadline_s: float = 15.0,
        take: int = 0,
        cancel_after_s: float = 0.0,
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """Answers, and how the stream failed, if it did.

        Args:
            take: leave after so many answers. cancel_after_s: another thread gives the call up.
        """
        raise NotImplementedError


def service_of_stream(method: str) -> str:
    """The service whose call answers a stream."""
    return "MergeService" if method == "MergeFrame" else "JobService"


def extract_spec(folder: Path, behaviour: str, frames: int = 5, **settings: Any) -> dict[str, Any]:
    """A job for the pretended worker: the faceset's name says what it does."""
    plate = folder / "plate.####.exr"
    for number in (1, 2):
        Path(str(plate).replace("####", f"{number:04d}")).touch()
    spec = {"plate": {"path": str(plate), "frames": f"1-{frames}"}, "faceset_path": str(folder / behaviour)}
    return {"extract": {**spec, "settings": settings}}


def submit(client: Client, folder: Path, behaviour: str, frames: int = 5, request_id: str = "") -> dict[str, Any]:
    request = {"spec": extract_spec(folder, behaviour, frames), "request_id": request_id}
    job: dict[str, Any] = client.call("JobService", "SubmitJob", request)["job"]
    return job


def server_info(client: Client, folder: Path) -> Any:
    return client.call("DaemonService", "GetServerInfo", {})


def all_knobs(client: Client, folder: Path) -> Any:
    requests = [
        {"kind": f"JOB_KIND_{kind.upper()}", "audience": audience}
        for kind in KINDS
        for audience in ("AUDIENCE_ARTIST", "AUDIENCE_INTERNAL")
    ]
    return [client.call("DaemonService", "DescribeSettings", request) for request in requests]


def knobs_of_nothing(client: Client, folder: Path) -> Any:
    return client.call("DaemonService", "DescribeSettings", {"kind": "JOB_KIND_CURATE", "operation": "jonglieren – ü"})


def layers(client: Client, folder: Path) -> Any:
    return client.call("MergeService", "ListLayers", {})


def presets(client: Client, folder: Path) -> Any:
    return client.call("ModelService", "ListPresets", {})


def curation(client: Client, folder: Path) -> Any:
    return client.call("FacesetService", "DescribeCuration", {})


def whole_job(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "good")
    events, failure = client.stream("WatchJob", {"id": job["id"], "after_sequence": 0})
    states = [answer["event"]["state"] for answer in events if "state" in answer["event"]]
    progress = [answer["event"]["frame_progress"] for answer in events if "frame_progress" in answer["event"]]
    ended = client.call("JobService", "GetJob", {"id": job["id"]})["job"]
    return [states[-1], progress[-1], failure, {**ended, "start_time": None}]


def events_after_the_first_half(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "good-half")
    events, _ = client.stream("WatchJob", {"id": job["id"]})
    middle = events[len(events) // 2]["event"]["sequence"]
    later, failure = client.stream("WatchJob", {"id": job["id"], "after_sequence": middle})
    return [[one["event"]["sequence"] > middle for one in later].count(False), later[-1], failure]


def failed_job(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "missing")
    events, _ = client.stream("WatchJob", {"id": job["id"]})
    return events[-1]


def notice(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "notice")
    events, _ = client.stream("WatchJob", {"id": job["id"]})
    return [answer for answer in events if "notice" in answer["event"]]


def cancelled_job(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "good-cancel", frames=1000)
    client.stream("WatchJob", {"id": job["id"]}, take=4)
    client.call("JobService", "CancelJob", {"id": job["id"]})
    events, failure = client.stream("WatchJob", {"id": job["id"], "after_sequence": 1})
    return [events[-1], failure]


def cancel_twice(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "good-twice")
    client.stream("WatchJob", {"id": job["id"]})
    return client.call("JobService", "CancelJob", {"id": job["id"]})


def one_request_one_job(client: Client, folder: Path) -> Any:
    ids = {submit(client, folder, "good-once", request_id=f"once-{folder.name}")["id"] for _ in range(3)}
    return len(ids)


def pages(client: Client, folder: Path) -> Any:
    first = client.call("JobService", "ListJobs", {"page_size": 1})
    second = client.call("JobService", "ListJobs", {"page_size": 1, "page_token": first["next_page_token"]})
    return [len(first["jobs"]), len(second["jobs"]), first["jobs"][0]["id"] != second["jobs"][0]["id"]]


def bad_page(client: Client, folder: Path) -> Any:
    return client.call("JobService", "ListJobs", {"page_token": "x"})


def empty_spec(client: Client, folder: Path) -> Any:
    return client.call("JobService", "SubmitJob", {"spec": {}})


def setting_out_of_range(client: Client, folder: Path) -> Any:
    return client.call("JobService", "SubmitJob", {"spec": extract_spec(folder, "good", aligned_size=-5)})


def path_in_many_scripts(client: Client, folder: Path) -> Any:
    return client.call("ModelService", "GetModel", {"path": "/nirgends/Größe 100 %/顔/🎬\n"})


def relative_path(client: Client, folder: Path) -> Any:
    return client.call("FacesetService", "GetFaceset", {"path": "faces"})


def unknown_job(client: Client, folder: Path) -> Any:
    return client.call("JobService", "GetJob", {"id": "nonsense"})


def unknown_job_watched(client: Client, folder: Path) -> Any:
    return client.stream("WatchJob", {"id": "nonsense"})


def deadline_in_a_stream(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "good-deadline", frames=1000)
    begun = time.monotonic()
    _, failure = client.stream("WatchJob", {"id": job["id"]}, deadline_s=0.4)
    took = time.monotonic() - begun
    client.call("JobService", "CancelJob", {"id": job["id"]})
    client.stream("WatchJob", {"id": job["id"]})
    return [failure, 0.3 < took < 10.0]


def stream_given_up(client: Client, folder: Path) -> Any:
    job = submit(client, folder, "good-given-up", frames=1000)
    client.stream("WatchJob", {"id": job["id"]}, take=4)  # it runs
    _, failure = client.stream("WatchJob", {"id": job["id"]}, cancel_after_s=0.3)
    going_on = client.call("JobService", "GetJob", {"id": job["id"]})["job"]["state"]
    client.call("JobService", "CancelJob", {"id": job["id"]})
    client.stream("WatchJob", {"id": job["id"]})
    return [failure, going_on]


def wrong_token(client: Client, folder: Path) -> Any:
    return client.call("DaemonService", "GetServerInfo", {}, token="0" * 64)


def large_request(client: Client, folder: Path) -> Any:
    """About 1.5 MB, of which the daemon finds that its faceset does not exist."""
    correction = {"frame": 1, "landmarks_px": [number + 0.5 for number in range(136)]}
    request = {"path": str(folder / "none"), "corrections": [{**correction, "frame": frame} for frame in range(1400)]}
    return client.call("FacesetService", "CorrectFaces", request)


def too_large_a_request(client: Client, folder: Path) -> Any:
    return client.call("FacesetService", "GetFaceset", {"path": "x" * (9 << 20)})


def frame_of_no_model(client: Client, folder: Path) -> Any:
    request = {"plate_path": str(folder / "plate.####.exr"), "frame": 1, "model_path": str(folder / "no")}
    return client.stream("MergeFrame", {**request, "faceset_path": str(folder / "none")})


def frame_through_memory(client: Client, folder: Path) -> Any:
    """Where it lies, and that the bytes are the stream's, in every format."""
    found = []
    for pixel_format in ("EXR", "PNG", "HALF", "FLOAT"):
        request = {**client.shot, "pixel_format": f"PIXEL_FORMAT_{pixel_format}", "client_key": "conformance"}
        streamed, failure = client.stream("MergeFrame", {**request, "road": "PIXEL_ROAD_STREAM"}, deadline_s=60.0)
        data = b"".join(answer.get("chunk", b"") for answer in streamed[1:])
        shared, _ = client.stream("MergeFrame", {**request, "road": "PIXEL_ROAD_SHARED_MEMORY"}, deadline_s=60.0)
        header = shared[0]["header"]
        size = header["size_bytes"]
        lies_there = Path(header["path"]).read_bytes()[header["offset_bytes"] :][:size] == data
        fetched = client.picture(pixel_format=pixel_format.lower(), client_key="conformance") == data
        found.append([pixel_format, size == len(data) > 0, lies_there, fetched, len(shared), failure])
    return found


def memory_without_a_key(client: Client, folder: Path) -> Any:
    return client.stream("MergeFrame", {**client.shot, "road": "PIXEL_ROAD_SHARED_MEMORY"})


def frames_of_no_output(client: Client, folder: Path) -> Any:
    return client.call("MergeService", "GetMergeOutput", {"output_path": str(folder / "none.####.exr")})


def merged_output(folder: Path, frames: int) -> str:
    """The pattern of an output that has a manifest and empty files."""
    entry = {"key": "k", "files": {}}
    document = {"run_key": "r", "unfinished": {}, "frames": {str(number): entry for number in range(frames)}}
    (folder / "merged.provenance.json").write_text(json.dumps(document))
    for number in range(frames):
        (folder / f"merged.{number:04d}.exr").touch()
    return str(folder / "merged.####.exr")


def frames_of_an_output_in_pages(client: Client, folder: Path) -> Any:
    request: dict[str, Any] = {"output_path": merged_output(folder, 25)}
    whole = client.call("MergeService", "GetMergeOutput", request)
    pages = []
    while not pages or pages[-1]["next_page_token"]:
        token = pages[-1]["next_page_token"] if pages else ""
        pages.append(client.call("MergeService", "GetMergeOutput", {**request, "page_size": 10, "page_token": token}))
    found = [frame for page in pages for frame in page["frames"]]
    told = [[len(page["frames"]), page["next_page_token"]] for page in (whole, *pages)]
    rest = client.call("MergeService", "GetMergeOutput", {"output_path": request["output_path"], "page_token": "19"})
    return [told, found == whole["frames"], [one["frame"] for one in rest["frames"]]]


def page_of_frames_that_is_none(client: Client, folder: Path) -> Any:
    refused = []
    for page in ({"page_token": "first"}, {"page_size": -1}):
        try:
            client.call("MergeService", "GetMergeOutput", {"output_path": str(folder / "none.####.exr"), **page})
        except Failure as failure:
            refused.append(failure.value)
    return refused


def announced(folder: Path, files: Mapping[str, int]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files of these sizes that no other run has, and what announces them."""
    made = {name: (hashlib.sha256(f"{folder}{name}".encode()).digest() * (size // 32 + 1))[:size]
            for name, size in files.items()}  # fmt: skip
    facts = [
        {"name": name, "size_bytes": len(data), "sha256": hashlib.sha256(data).digest()} for name, data in made.items()
    ]
    return made, {"name": "sent", "files": facts}


def put(client: Client, opened: Mapping[str, Any], name: str, offset: int, data: bytes) -> Any:
    request = {"set_id": opened["set_id"], "name": name, "offset_bytes": offset, "data": data}
    return client.call("StorageService", "PutChunk", request)


def files_arrive(client: Client, folder: Path) -> Any:
    files, request = announced(folder, {"a/ü 顔.0001.exr": 3000, "empty": 0, "large": (4 << 20) + 77})
    opened = client.call("StorageService", "OpenSet", request)
    told = []
    for missing in opened["missing"]:
        name, place, is_whole = list(files)[missing["index"]], missing["received_bytes"], False
        while not is_whole:
            answer = put(client, opened, name, place, files[name][place : place + (4 << 20)])
            place, is_whole = answer["received_bytes"], answer["complete"]
            told.append(answer)
    whole = client.call("StorageService", "OpenSet", request)
    found = {name: Path(whole["path"], name).read_bytes() == data for name, data in files.items()}
    return [opened["missing"], told, whole["missing"], whole["set_id"] == opened["set_id"], found]


def file_broken_off(client: Client, folder: Path) -> Any:
    files, request = announced(folder, {"a": 3000, "b": 5})
    opened = client.call("StorageService", "OpenSet", request)
    told = [put(client, opened, "a", offset, files["a"][offset:2000]) for offset in (0, 1000, 2500)]
    again = client.call("StorageService", "OpenSet", request)
    return [told, again["missing"], Path(again["path"], "a").exists()]


def file_with_another_hash(client: Client, folder: Path) -> Any:
    _, request = announced(folder, {"a": 10})
    return put(client, client.call("StorageService", "OpenSet", request), "a", 0, b"0123456789")


def file_larger_than_announced(client: Client, folder: Path) -> Any:
    files, request = announced(folder, {"a": 10})
    return put(client, client.call("StorageService", "OpenSet", request), "a", 0, files["a"] + b"more")


def file_nobody_announced(client: Client, folder: Path) -> Any:
    _, request = announced(folder, {"a": 10})
    return put(client, client.call("StorageService", "OpenSet", request), "../a", 0, b"")


def set_nobody_announced(client: Client, folder: Path) -> Any:
    return put(client, {"set_id": "0" * 32}, "a", 0, b"")


def chunk_too_large(client: Client, folder: Path) -> Any:
    _, request = announced(folder, {"a": 10})
    return put(client, client.call("StorageService", "OpenSet", request), "a", 0, bytes((4 << 20) + 1))


def names_that_lead_elsewhere(client: Client, folder: Path) -> Any:
    refused = []
    for name in ("", "/etc/passwd", "../x", "a/../../x", "a\\b", "a\nb", ".", "x" * 300):
        try:
            client.call("StorageService", "OpenSet", announced(folder, {name: 3})[1])
        except Failure as failure:
            refused.append(failure.value)
    return refused


def set_without_files(client: Client, folder: Path) -> Any:
    return client.call("StorageService", "OpenSet", {"name": "sent"})


def set_without_the_token(client: Client, folder: Path) -> Any:
    return client.call("StorageService", "OpenSet", announced(folder, {"a": 1})[1], token="0" * 64)


def models_in_the_inbox(client: Client, folder: Path) -> Any:
    files, request = announced(folder, {"generations/00000001/weights": 50})
    opened = client.call("StorageService", "OpenSet", request)
    put(client, opened, *files, 0, *files.values())
    answer = client.call("StorageService", "ListFolders", {"kind": "FOLDER_KIND_MODEL"})
    return [(one["in_inbox"], sorted(one)) for one in answer["folders"] if one["path"] == opened["path"]]


def models_that_were_made(client: Client, folder: Path) -> Any:
    made = client.call("DaemonService", "GetServerInfo", {})["made_path"]
    model = Path(made, "models", hashlib.sha256(str(folder).encode()).hexdigest())
    (model / "generations" / "00000001").mkdir(parents=True)
    (model / "generations" / "00000001" / "weights").touch()
    answer = client.call("StorageService", "ListFolders", {"kind": "FOLDER_KIND_MODEL"})
    return [one["in_inbox"] for one in answer["folders"] if one["path"] == str(model)]


def picture_read_back(client: Client, folder: Path) -> Any:
    made = Path(client.call("DaemonService", "GetServerInfo", {})["made_path"])
    path = made / f"{hashlib.sha256(str(folder).encode()).hexdigest()}.png"
    data = hashlib.sha256(b"picture").digest() * (150_000)
    path.write_bytes(data)
    told, place = [], 0
    while not told or told[-1][0]:
        answer = client.call("StorageService", "GetChunk", {"path": str(path), "offset_bytes": place})
        told.append([len(answer["data"]), answer["size_bytes"], answer["data"] == data[place : place + (4 << 20)]])
        place += len(answer["data"])
    return told


def file_nobody_may_read(client: Client, folder: Path) -> Any:
    (folder / "diary.txt").touch()
    return client.call("StorageService", "GetChunk", {"path": str(folder / "diary.txt")})


def folders_of_no_kind(client: Client, folder: Path) -> Any:
    return client.call("StorageService", "ListFolders", {})


SCENARIOS: tuple[Callable[[Client, Path], Any], ...] = (
    server_info,
    all_knobs,
    knobs_of_nothing,
    layers,
    presets,
    curation,
    whole_job,
    events_after_the_first_half,
    failed_job,
    notice,
    cancelled_job,
    cancel_twice,
    one_request_one_job,
    pages,
    bad_page,
    empty_spec,
    setting_out_of_range,
    path_in_many_scripts,
    relative_path,
    unknown_job,
    unknown_job_watched,
    deadline_in_a_stream,
    stream_given_up,
    wrong_token,
    large_request,
    too_large_a_request,
    frame_of_no_model,
    frames_of_no_output,
    frames_of_an_output_in_pages,
    page_of_frames_that_is_none,
    files_arrive,
    file_broken_off,
    file_with_another_hash,
    file_larger_than_announced,
    file_nobody_announced,
    set_nobody_announced,
    chunk_too_large,
    names_that_lead_elsewhere,
    set_without_files,
    set_without_the_token,
    models_in_the_inbox,
    models_that_were_made,
    picture_read_back,
    file_nobody_may_read,
    folders_of_no_kind,
    frame_through_memory,
    memory_without_a_key,
)


def run(client: Client, folder: Path) -> dict[str, Any]:
    """Scenario → outcome as plain JSON, without what differs between any two runs.

    Args:
        folder: of this run's own; its path and the ids of jobs are taken out of the outcomes.
    """
    outcomes: dict[str, Any] = {}
    for scenario in SCENARIOS:
        work = folder / scenario.__name__
        work.mkdir(parents=True)
        try:
            outcome = scenario(client, work)
        except Failure as failure:
            outcome = failure.value
        text = json.dumps(_stable(outcome), sort_keys=True).replace(str(folder), "FOLDER")
        outcomes[scenario.__name__] = json.loads(_SET_ID.sub("SET", _JOB_ID.sub("JOB", text)))
    return outcomes


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): "*" if key in VOLATILE else _stable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stable(inner) for inner in value]
    return value


class HostClient(Client):
    """The scenarios' view of dflhost."""

    def __init__(self, state_dir: Path) -> None:
        from dflhost import calls, discovery, errors, frames, session  # found once the path is set

        self._calls, self._errors, self._discovery = calls, errors, discovery
        self._frames, self._session = frames, session
        self._settings = discovery.ConnectionSettings(state_dir=str(state_dir))
        self._caller = calls.Caller(self._settings, {})

    def close(self) -> None:
        self._caller.close()

    def call(
        self, service: str, method: str, request: Mapping[str, Any], deadline_s: float = 15.0, token: str = ""
    ) -> dict[str, Any]:
        caller = self._other(token) if token else self._caller
        try:
            return caller.call(service, method, request, deadline_s=deadline_s)
        except self._errors.HostError as error:
            raise Failure(error.code, error.reason, error.message, error.details) from error
        finally:
            if token:
                caller.close()

    def stream(
        self,
        method: str,
        request: Mapping[str, Any],
        deadline_s: float = 15.0,
        take: int = 0,
        cancel_after_s: float = 0.0,
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        service = service_of_stream(method)
        taken: list[dict[str, Any]] = []
        try:
            answers = self._caller.stream(service, method, request, deadline_s=deadline_s)
            timer = threading.Timer(cancel_after_s, answers.cancel)
            if cancel_after_s:
                timer.start()
            for answer in answers:
                taken.append(answer)
                if take and len(taken) >= take:
                    answers.cancel()
                    break
        except self._errors.HostError as error:
            return taken, Failure(error.code, error.reason, error.message, error.details).value
        return taken, None

    def picture(self, **fields: Any) -> bytes:
        shot = self.shot
        paths = (shot["plate_path"], shot["frame"], shot["model_path"], shot["faceset_path"])
        with self._session.connect(self._settings, {}) as opened:
            return bytes(opened.merge_frame(self._frames.FrameRequest(*paths, **fields)).data)

    def _other(self, token: str) -> Any:
        """A caller with a token of its own."""
        address = self._discovery.find_endpoint(self._settings, {}).address
        path = Path(self._settings.state_dir) / f"other-{threading.get_ident()}"
        path.write_text(token)
        return self._calls.Caller(self._discovery.ConnectionSettings(address=address, token_path=str(path)), {})


def main(arguments: list[str]) -> None:
    client_folder, state_dir, folder, shot = arguments
    sys.path.insert(0, client_folder)
    begun = time.perf_counter()
    import dflhost.session  # noqa: F401

    import_ms = (time.perf_counter() - begun) * 1e3
    for path in sorted((Path(client_folder) / "dflhost").glob("*.py")):  # every module reads on this Python
        importlib.import_module(f"dflhost.{path.stem}")
    client = HostClient(Path(state_dir))
    client.shot = json.loads(shot)
    begun = time.perf_counter()
    outcomes = run(client, Path(folder))
    took_s = time.perf_counter() - begun
    client.close()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("dflhost")]
    foreign = sorted({"grpc", "google", "numpy", "torch", "h2", "hpack", "hyperframe"} & set(sys.modules))
    facts = {
        "python": sys.version.split()[0],
        "import_ms": import_ms,
        "took_s": took_s,
        "left": left,
        "foreign": foreign,
    }
    json.dump({"facts": facts, "outcomes": outcomes}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
