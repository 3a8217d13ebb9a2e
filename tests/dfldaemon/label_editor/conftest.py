"""A faceset of real faces, editors that serve it, and a client that can also misbehave."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from dflcore.geometry.landmarks import aligned_from_landmarks
from dflcore.io.faceset import FacesetWriter
from dflcore.types import Authorization, Box, FaceRecord, FaceType, Landmarks, Pose
from dfldaemon.label_editor import server
from dfldaemon.label_editor.lifetime import Lifetime
from dfldaemon.label_editor.server import LabelEditorServer
from dfldaemon.label_editor.workspace import Workspace

SIZE = 256
"""Side of the aligned faces in pixels."""
NAMES = tuple(f"Zoë & Søn #{frame}?_0.png" for frame in range(1001, 1009))
"""With what an address, a shell or an old file system trips over."""
# What dlib finds in the portrait.
_LANDMARKS = """
179,104 180,116 181,127 182,139 185,150 191,160 200,168 209,176 220,178 232,177 243,171 253,163 260,154 265,143 268,131
270,120 272,108 186,94 192,88 200,87 208,89 216,92 236,93 244,91 252,91 260,92 265,99 226,102 225,111 225,119 225,127
214,131 219,133 224,134 229,133 234,132 195,101 200,98 207,98 212,104 206,104 199,104 237,106 243,100 250,100 255,105
250,107 244,107 201,139 209,139 218,139 224,141 230,140 238,140 246,141 238,151 229,155 222,156 216,155 208,150 204,141
218,143 223,144 230,143 243,142 229,150 223,151 217,150
"""


def landmarks() -> np.ndarray:
    """(68, 2) float32 in pixels of the portrait."""
    return np.array([pair.split(",") for pair in _LANDMARKS.split()], dtype=np.float32)


def make_faceset(folder: Path, portrait: np.ndarray, names: tuple[str, ...] = NAMES) -> Path:
    """A faceset of one portrait, each face a little darker than the one before."""
    points = landmarks()
    matrix = aligned_from_landmarks(points, FaceType.WHOLE, SIZE)
    face = cv2.warpAffine(portrait, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
    plate = "/plates/shot.####.exr"
    arguments: dict[str, Any] = {"face_type": FaceType.WHOLE, "aligned_size": SIZE, "settings": {}}
    with FacesetWriter(folder, **arguments, authorization=Authorization(person="Eileen Collins")) as writer:
        for index, name in enumerate(names):
            record = FaceRecord(
                name=name,
                plate=plate,
                frame=1001 + index,
                face_index=0,
                plate_size=(512, 512),
                box=Box(180.0, 85.0, 270.0, 180.0),
                score=1.0,
                landmarks=Landmarks(points=points),
                face_type=FaceType.WHOLE,
                aligned_size=SIZE,
                aligned_from_plate=matrix,
                pose=Pose(0.0, 0.0, 0.0),
                sharpness=0.01,
                detector="dlib_hog",
                landmarker="dlib68",
            )
            shade = (face * (1.0 - 0.1 * (index % 8))).astype(np.uint8)
            writer.add_frame(plate, 1001 + index, (512, 512), [(record, shade)])
    return folder


@pytest.fixture
def faceset(tmp_path: Path, astronaut: np.ndarray) -> Path:
    return make_faceset(tmp_path / "faces of Zoë", astronaut)


class Editor:
    """An editor that serves in a thread of its own, and a client of it."""

    def __init__(self, faceset: Path, lifetime: Lifetime, view: str | None = None) -> None:
        self.workspace = Workspace(faceset, view=view)
        self.server = LabelEditorServer(self.workspace, lifetime)
        self.access = self.server.access
        self.end_reason = ""
        self._lifetime = lifetime
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self.end_reason = self.server.serve_until_done()

    def raw(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """One call exactly as given; nothing is added but the connection."""
        host, port = self.access.host.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def headers(self, method: str = "GET", body: bytes = b"") -> dict[str, str]:
        """What the page's own calls carry."""
        headers = {"Host": self.access.host, "X-DFL-Token": self.access.token, "Sec-Fetch-Site": "same-origin"}
        if method != "GET":
            headers |= {"Origin": self.access.origin}
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return headers

    def call(self, method: str, path: str, value: object = None) -> tuple[int, Any]:
        """A call as the page makes it, with its answer read as JSON."""
        body = b"" if value is None else json.dumps(value).encode()
        status, _, data = self.raw(method, path, list(self.headers(method, body).items()), body)
        return status, json.loads(data)

    def face(self, name: str, what: str) -> str:
        return f"/api/faces/{quote(name, safe='')}/{what}"

    def join(self, timeout_s: float = 20.0) -> bool:
        """Whether it ended by itself."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        self._lifetime.end("The test is over.")
        self._thread.join()
        self.workspace.close()


@pytest.fixture(autouse=True)
def _quick_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers notice sooner that it is time to end."""
    monkeypatch.setattr(server, "POLL_S", 0.02)


@pytest.fixture
def start_editor() -> Iterator[Callable[..., Editor]]:
    """Starts editors that end with the test."""
    editors: list[Editor] = []

    def start(faceset: Path, *, lifetime: Lifetime | None = None, view: str | None = None) -> Editor:
        editors.append(Editor(faceset, lifetime or Lifetime(stay=True), view))
        return editors[-1]

    yield start
    for editor in editors:
        editor.close()


@pytest.fixture
def editor(faceset: Path, start_editor: Callable[..., Editor]) -> Editor:
    return start_editor(faceset)


@pytest.fixture
def names() -> tuple[str, ...]:
    """The faces of the faceset, in order."""
    return NAMES
