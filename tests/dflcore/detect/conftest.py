from dataclasses import replace

import pytest

from dflcore.weights.store import WeightStore


@pytest.fixture
def store_of(tmp_path, monkeypatch):
    """Makes a store of weights written by the test, whose checksums are not those published."""

    def make(**files):
        store = WeightStore([tmp_path])
        for name, write in files.items():
            info = replace(store.info(name), sha256="", size=0)
            monkeypatch.setitem(store._index, name, info)
            write(tmp_path / info.file)
        return store

    return make


@pytest.fixture
def no_network(monkeypatch):
    import socket

    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
