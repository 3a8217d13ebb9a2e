import hashlib
import io
import subprocess
import sys
import urllib.error
from email.message import Message

import pytest

from dflcore.errors import DataCorrupt, NotFound, ResourceExhausted, Unsupported
from dflcore.weights.store import INDEX_PATH, WeightState, WeightStore, cache_folder, search_folders

DATA = b"weights" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


def write_index(folder, **changes):
    entry = {"file": "net.pth", "sha256": SHA, "size": len(DATA), "licence": "MIT", "origin": "https://a.example"}
    entry |= {"url": "https://a.example/net.pth"} | changes
    lines = [f"{key} = {value!r}" for key, value in entry.items()]
    path = folder / "index.toml"
    path.write_text("[net]\n" + "\n".join(lines))
    return path


class Response(io.BytesIO):
    headers = Message()


class Opener:
    """Answers with fixed bytes and counts how often it was asked."""

    def __init__(self, data=DATA, error=None):
        self.data, self.error, self.calls = data, error, 0

    def open(self, url, timeout):
        self.calls += 1
        if self.error:
            raise self.error
        return Response(self.data)


@pytest.fixture
def store(tmp_path):
    return WeightStore([tmp_path / "first", tmp_path / "cache"], index=write_index(tmp_path))


def test_our_index_is_complete():
    store = WeightStore()
    assert {"dlib_landmarks_68", "dlib_identity", "s3fd", "fan2d", "face_mesh_468"} <= set(store.names())
    for name in store.names():
        info = store.info(name)
        assert info.licence
        assert info.origin
        assert info.sha256 == "" or len(bytes.fromhex(info.sha256)) == 32
        assert info.url == "" or info.url.startswith("https://")
    assert INDEX_PATH.is_file()


def test_embedded_weights_are_found_and_verified_without_importing_the_package():
    code = (
        "import sys; from dflcore.weights.store import WeightStore, WeightState; s = WeightStore();"
        "assert s.verify('dlib_identity').state is WeightState.VERIFIED;"
        "assert 'face_recognition_models' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_search_order_is_setting_environment_cache(tmp_path):
    import os

    folders = search_folders(os.pathsep.join(["/a", "/b"]), {"DFL_WEIGHTS": "/c", "XDG_CACHE_HOME": "/x"})
    assert [str(folder) for folder in folders] == ["/a", "/b", "/c", "/x/dfl/weights"]
    assert search_folders("", {"XDG_CACHE_HOME": "/x"}) == [cache_folder({"XDG_CACHE_HOME": "/x"})]


def test_missing_weights_say_how_to_get_them(store, tmp_path):
    with pytest.raises(NotFound) as caught:
        store.find("net")
    assert caught.value.reason == "WEIGHTS_MISSING"
    assert "dfl weights fetch net" in caught.value.message
    assert str(tmp_path / "cache") in caught.value.message
    assert "net.pth" in caught.value.message
    assert store.list()[0].state is WeightState.MISSING
    assert not store.has("net")


def test_missing_embedded_weights_name_the_package(tmp_path):
    index = write_index(tmp_path, package="no_such_package", member="x", url="")
    with pytest.raises(NotFound, match="install the Python package no-such-package"):
        WeightStore([tmp_path], index=index).find("net")


def test_unknown_name_lists_the_known(store):
    with pytest.raises(NotFound, match="known are net"):
        store.find("other")


def test_first_folder_wins_and_a_flipped_byte_is_seen(store, tmp_path):
    for folder in store.folders:
        folder.mkdir()
        (folder / "net.pth").write_bytes(DATA)
    assert store.find("net") == tmp_path / "first" / "net.pth"
    assert store.verify("net").state is WeightState.VERIFIED
    assert store.list()[0].state is WeightState.PRESENT
    flipped = bytearray(DATA)
    flipped[100] ^= 1
    (tmp_path / "first" / "net.pth").write_bytes(bytes(flipped[:-1]) + b"?")
    assert store.verify("net").state is WeightState.DAMAGED
    with pytest.raises(DataCorrupt, match="not the published file"):
        store.find("net")


def test_unknown_checksum_is_called_unverified(tmp_path):
    store = WeightStore([tmp_path], index=write_index(tmp_path, sha256="", size=0))
    (tmp_path / "net.pth").write_bytes(DATA)
    status = store.verify("net")
    assert status.state is WeightState.UNVERIFIED
    assert status.sha256 == SHA
    assert store.find("net") == tmp_path / "net.pth"


def test_fetch_once(store, tmp_path):
    opener, seen = Opener(), []
    path = store.fetch("net", opener=opener, progress=lambda got, total: seen.append((got, total)))
    assert path == tmp_path / "cache" / "net.pth"
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert store.fetch("net", opener=opener) == path
    assert opener.calls == 1


def test_offline_never_asks(store):
    opener = Opener()
    with pytest.raises(NotFound, match="offline"):
        store.fetch("net", offline=True, opener=opener)
    assert opener.calls == 0


@pytest.mark.parametrize(
    ("opener", "error"),
    [
        (Opener(DATA[:-1] + b"?"), DataCorrupt),
        (Opener(DATA + b"x"), ResourceExhausted),
        (Opener(DATA[:50]), DataCorrupt),
        (Opener(error=urllib.error.URLError("no route")), NotFound),
    ],
)
def test_nothing_is_kept_of_a_bad_download(store, tmp_path, opener, error):
    with pytest.raises(error):
        store.fetch("net", opener=opener)
    assert list((tmp_path / "cache").iterdir()) == []


def test_only_https(tmp_path):
    store = WeightStore([tmp_path], index=write_index(tmp_path, url="http://a.example/net.pth"))
    with pytest.raises(Unsupported, match="https"):
        store.fetch("net", opener=Opener())
    store = WeightStore([tmp_path], index=write_index(tmp_path, url=""))
    with pytest.raises(Unsupported, match="no stable address"):
        store.fetch("net", opener=Opener())


def test_a_redirect_may_not_leave_https():
    from dflcore.weights.store import _HttpsOnly

    with pytest.raises(Unsupported):
        _HttpsOnly().redirect_request(None, None, 302, "", {}, "http://a.example/net.pth")


def test_a_broken_index_is_reported(tmp_path):
    (tmp_path / "index.toml").write_text("[net\n")
    with pytest.raises(DataCorrupt):
        WeightStore(index=tmp_path / "index.toml")
