"""Where a process stands in its training group, and where the group meets.

The processes that we start, on one machine or on several, meet in a file inside a folder that only the user can enter;
nothing listens for it. A group that torchrun was asked for by hand meets at an address of its first machine's, which
listens at that address alone: torch's own store would listen on every interface of the machine.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from dflcore.errors import InvalidInput

STORE_VARIABLE = "DFL_GROUP_STORE"
"""Set by our launcher: the file where the processes meet."""
ADDRESS_VARIABLE = "DFL_GROUP_ADDRESS"
"""Set by our launcher: this machine's own address, which its processes talk over; loopback where it is not set."""
LOOPBACK = "127.0.0.1"
_SIOCGIFADDR = 0x8915
"""ioctl(2) on Linux: the address of a network interface."""
_BACKLOG = 1024
_ELSEWHERE = ("192.0.2.1", 9)
"""An address reserved for documentation (RFC 5737); the way to it leads out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process of a group.

    Attributes:
        rank, world: this process and how many there are. local_rank, local_world: the same on this machine.
        store_path: the file where the group meets; empty when it meets at ``address`` and ``port``.
        address: with a file, this machine's own; without one, that of the first machine.
        is_served: somebody else (torchrun) listens at the address; otherwise the process of rank 0 does.
        attempt: how often the group was started anew.
    """

    rank: int
    world: int
    local_rank: int = 0
    local_world: int = 1
    store_path: str = ""
    address: str = ""
    port: int = 0
    is_served: bool = False
    attempt: int = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Place | None:
        """What our launcher or torchrun set; None for a process that neither started.

        Raises:
            InvalidInput: a variable is missing or is no number.
        """
        if "RANK" not in environ or "WORLD_SIZE" not in environ:
            return None

        def number(name: str, default: int) -> int:
            try:
                return int(environ.get(name) or default)
            except ValueError:
                raise _bad_environment(f"{name} is no number") from None

        store_path = environ.get(STORE_VARIABLE, "")
        own = environ.get(ADDRESS_VARIABLE) or LOOPBACK
        place = cls(
            rank=number("RANK", 0),
            world=number("WORLD_SIZE", 1),
            local_rank=number("LOCAL_RANK", 0),
            local_world=number("LOCAL_WORLD_SIZE", 1),
            store_path=store_path,
            address=own if store_path else environ.get("MASTER_ADDR", ""),
            port=0 if store_path else number("MASTER_PORT", 0),
            is_served=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=number("TORCHELASTIC_RESTART_COUNT", 0),
        )
        if not 0 <= place.rank < place.world or not 0 <= place.local_rank < place.local_world:
            raise _bad_environment("RANK must lie below WORLD_SIZE, and LOCAL_RANK below LOCAL_WORLD_SIZE")
        if place.world > 1 and not place.store_path and not (place.address and place.port):
            raise _bad_environment("MASTER_ADDR and MASTER_PORT are missing")
        return place

    def environment(self) -> dict[str, str]:
        """Inverse of :meth:`from_environment`, for a process to be started."""
        values = {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_world),
            "TORCHELASTIC_RESTART_COUNT": str(self.attempt),
            "TORCHELASTIC_USE_AGENT_STORE": str(self.is_served),
        }
        if self.store_path:
            return {**values, STORE_VARIABLE: self.store_path, ADDRESS_VARIABLE: self.address}
        return {**values, STORE_VARIABLE: "", "MASTER_ADDR": self.address, "MASTER_PORT": str(self.port)}


def open_store(place: Place, timeout_s: float) -> Store:
    """Where the group's processes tell each other their addresses.

    Raises:
        InvalidInput: this machine does not have the address that it shall listen at.
        RuntimeError: nobody answers there in time.
    """
    if place.store_path:
        return FileStore(place.store_path, place.world)
    timeout = timedelta(seconds=timeout_s)
    if place.is_served or place.rank > 0:
        store: Store = TCPStore(place.address, place.port, None, False, timeout=timeout)
        # What a dead group left in a store that outlived it must not be taken for this group's.
        is_alone = place.is_served and place.world == place.local_world
        return PrefixStore(f"attempt {place.attempt}", store) if is_alone else store
    listener = _listen(place.address, place.port)
    server = TCPStore(
        place.address,
        place.port,
        None,
        True,
        timeout=timeout,
        wait_for_workers=False,
        master_listen_fd=listener.fileno(),
    )
    listener.detach()  # the store closes it
    return server


def _listen(address: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, endpoint = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a group started anew takes the same port
        listener.bind(endpoint)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise InvalidInput(
            f"The training group cannot meet at {address}:{port}: {error.strerror or error}. Name an address of the "
            "first machine, as the others reach it, and a port that is free there.",
            reason="NO_SUCH_ADDRESS",
            field="address",
        ) from error
    return listener


def interface_of(place: Place) -> str | None:
    """The network interface the group talks over: that of this machine's address, or the one that leads to the first's.

    None when it cannot be told.
    """
    wanted = (place.address or LOOPBACK) if place.store_path else _own_address(place.address, place.port)
    names = {address: name for name, address in _interfaces()}
    return names.get(wanted) or (names.get(LOOPBACK) if wanted.startswith("127.") else None)


def find_own_address(wanted: str) -> str:
    """The address that other machines reach this one at.

    Args:
        wanted: an address, a host name or an interface of this machine; empty takes the address of the interface that
            leads out of it, and loopback where none does.

    Raises:
        InvalidInput: it is not this machine's.
    """
    interfaces = list(_interfaces())
    if not wanted:
        return _own_address(*_ELSEWHERE) or LOOPBACK
    by_name = dict(interfaces)
    if wanted in by_name:
        return by_name[wanted]
    try:
        resolved = {str(entry[4][0]) for entry in socket.getaddrinfo(wanted, None, socket.AF_INET)}
    except OSError:
        resolved = set()
    found = sorted(resolved & {address for _, address in interfaces})
    if found:
        return found[0]
    if any(address.startswith("127.") for address in resolved):
        return LOOPBACK
    known = ", ".join(f"{name} ({address})" for name, address in interfaces) or "none"
    raise InvalidInput(
        f"node_address is {wanted!r}, which is no address and no interface of the machine {socket.gethostname()}; it "
        f"has {known}. Name one of these, or leave it out.",
        reason="NO_SUCH_ADDRESS",
        field="node_address",
    )


def _interfaces() -> Iterator[tuple[str, str]]:
    """Names and IPv4 addresses of this machine's network interfaces."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue
        yield name, socket.inet_ntoa(answer[20:24])


def _own_address(address: str, port: int) -> str:
    """This machine's address on the way to another; no packet is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _bad_environment(what: str) -> InvalidInput:
    return InvalidInput(
        f"The environment does not say where this process stands in its training group: {what}. Start it with "
        "torchrun, or let dfl start the processes.",
        reason="BAD_GROUP_ENVIRONMENT",
    )
