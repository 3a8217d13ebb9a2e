"""Where a process stands, as its environment says, and where a group meets."""

from __future__ import annotations

import socket
import sys

import pytest

from dflcore.errors import InvalidInput
from dflcore.train.parallel.place import Place, find_own_address, interface_of, open_store

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.5",
    "MASTER_PORT": "29500",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_torchrun_sets_is_understood() -> None:
    place = Place.from_environment({**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True"})
    assert place == Place(rank=3, world=4, local_rank=1, local_world=2, address="10.0.0.5", port=29500, is_served=True)


@pytest.mark.parametrize(
    "place",
    [
        Place(rank=1, world=2, local_rank=1, local_world=2, store_path="/run/meeting", address="10.0.0.7"),
        Place(rank=1, world=2, local_rank=1, local_world=2, store_path="/run/meeting", address="127.0.0.1", attempt=2),
        Place(rank=3, world=4, local_rank=1, local_world=2, address="10.0.0.5", port=29500),
    ],
)
def test_a_place_goes_through_the_environment(place: Place) -> None:
    assert Place.from_environment(place.environment()) == place


def test_a_process_that_nobody_placed_is_alone() -> None:
    assert Place.from_environment({}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RANK": "four"}, "RANK is no number"),
        ({"RANK": "4"}, "RANK must lie below WORLD_SIZE"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK below LOCAL_WORLD_SIZE"),
        ({"MASTER_PORT": ""}, "MASTER_PORT are missing"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        Place.from_environment({**TORCHRUN, **change})


def test_the_first_machine_listens_at_its_address_alone() -> None:
    port = free_port()
    store = open_store(Place(rank=0, world=2, address="127.0.0.1", port=port), 5)
    store.set("who", "lead")
    other = open_store(Place(rank=1, world=2, address="127.0.0.1", port=port), 5)
    assert other.get("who") == b"lead"
    # Whoever listens on every interface also answers at another address of the loopback interface.
    with pytest.raises(OSError):  # noqa: PT011
        socket.create_connection(("127.0.0.2", port), timeout=2).close()


def test_an_address_that_is_not_this_machines_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"192\.0\.2\.1:29500") as caught:
        open_store(Place(rank=0, world=2, address="192.0.2.1", port=29500), 1)
    assert caught.value.reason == "NO_SUCH_ADDRESS"


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its interfaces")
@pytest.mark.parametrize("wanted", ["lo", "localhost", "127.0.0.1", "127.0.0.2"])
def test_a_machine_is_named_by_interface_name_or_address(wanted: str) -> None:
    assert find_own_address(wanted) == "127.0.0.1"


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its interfaces")
def test_a_machine_finds_its_own_address() -> None:
    found = find_own_address("")
    assert interface_of(Place(rank=0, world=2, store_path="x", address=found)) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its interfaces")
@pytest.mark.parametrize("wanted", ["203.0.113.9", "no.such.name.invalid"])
def test_what_is_not_this_machines_is_refused(wanted: str) -> None:
    with pytest.raises(InvalidInput, match="no address and no interface of the machine") as caught:
        find_own_address(wanted)
    assert caught.value.details["field"] == "node_address"


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its interfaces")
def test_processes_of_one_machine_talk_over_loopback() -> None:
    assert interface_of(Place(rank=0, world=2, store_path="x")) == "lo"
    assert interface_of(Place(rank=0, world=2, address="localhost", port=29500)) == "lo"
