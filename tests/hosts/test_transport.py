"""The hosts' gRPC in pure Python against a real gRPC server with awkward habits."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from awkward_server import MESSAGE, SERVICE, TOKEN, Awkward, start
from dflhost.transport import connection as connection_module
from dflhost.transport import link, status
from dflhost.transport.channel import Channel
from dflhost.transport.goaway import GoAwayFilter
from dflhost.transport.status import CallError

HERE = Path(__file__).parent
DEADLINE_S = 10.0


def path(method: str) -> str:
    return f"/{SERVICE}/{method}"


def threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("dflhost")}


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert not threads()


@pytest.fixture(scope="module", params=["tcp", "unix"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Awkward]]:
    if request.param == "unix":
        address = f"unix:{tmp_path_factory.mktemp('run') / 'd.sock'}"
        running, awkward, _ = start(address)
    else:
        running, awkward, port = start("127.0.0.1:0")
        address = f"127.0.0.1:{port}"
    yield address, awkward
    awkward.ending.set()
    running.stop(None).wait()


@pytest.fixture
def channel(server: tuple[str, Awkward]) -> Iterator[Channel]:
    with contextlib.closing(Channel(lambda: (server[0], TOKEN))) as opened:
        yield opened


def ask(channel: Channel, method: str, request: bytes = b"", deadline_s: float = DEADLINE_S) -> bytes:
    return channel.unary(path(method), request, deadline_s=deadline_s)


def test_small_and_large_messages_go_both_ways(channel: Channel) -> None:
    assert ask(channel, "echo", b"") == b""
    large = bytes(range(256)) * 6000
    assert ask(channel, "echo", large) == large
    assert ask(channel, "size", bytes(5 << 20)) == str(5 << 20).encode()


def test_an_answer_larger_than_all_windows_arrives(channel: Channel) -> None:
    assert len(ask(channel, "make", b"7000000")) == 7_000_000


def test_a_large_answer_to_the_first_call_of_a_connection(server: tuple[str, Awkward]) -> None:
    """Its first frames may come together with the server's consent to large frames."""
    for _ in range(15):
        with contextlib.closing(Channel(lambda: (server[0], TOKEN))) as channel:
            assert len(ask(channel, "make", b"1500000")) == 1_500_000


def test_a_long_stream_comes_whole_and_in_order(channel: Channel) -> None:
    messages = list(channel.stream(path("many"), b"200 20000", deadline_s=DEADLINE_S))
    assert [int.from_bytes(one[:4], "big") for one in messages] == list(range(200))
    assert {len(one) for one in messages} == {20000}


def test_a_stream_nobody_reads_is_held_back_and_others_go_on(channel: Channel) -> None:
    with channel.stream(path("many"), b"64 1000000", deadline_s=DEADLINE_S) as unread:
        time.sleep(0.5)
        held = sum(len(one) for one in unread._stream.messages)
        assert held <= connection_module.STREAM_WINDOW_BYTES + (1 << 20)
        assert ask(channel, "echo", b"meanwhile") == b"meanwhile"
        assert sum(1 for _ in unread) == 64


def test_streams_that_are_given_up_leave_the_connections_window_whole(channel: Channel) -> None:
    for _ in range(8):
        with channel.stream(path("many"), b"16 1000000", deadline_s=DEADLINE_S) as call:
            next(call)
    assert len(list(channel.stream(path("many"), b"30 1000000", deadline_s=DEADLINE_S))) == 30


def test_metadata_and_token_arrive(channel: Channel, server: tuple[str, Awkward]) -> None:
    channel.unary(path("echo"), b"", deadline_s=5, metadata={"dfl-client-version": "9"})
    seen = server[1].seen[-1]
    assert seen["dfl-client-version"] == "9"
    assert seen["authorization"] == f"Bearer {TOKEN}"
    assert ask(channel, "secret") == b"open"


def test_a_wrong_token_is_unauthenticated(server: tuple[str, Awkward]) -> None:
    with contextlib.closing(Channel(lambda: (server[0], "wrong"))) as channel, pytest.raises(CallError) as failure:
        ask(channel, "secret")
    assert failure.value.code == status.UNAUTHENTICATED
    assert failure.value.message == "The token is not this daemon's."


def test_an_error_brings_its_text_and_typed_details(channel: Channel) -> None:
    with pytest.raises(CallError) as failure:
        ask(channel, "fail")
    assert failure.value.code == status.NOT_FOUND
    assert failure.value.message == MESSAGE
    sent = status_pb2.Status.FromString(failure.value.details)
    info = error_details_pb2.ErrorInfo()
    assert sent.details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("NO_FACE_FOUND", {"frame": "7"})


def test_an_error_in_a_stream_comes_after_its_messages(channel: Channel) -> None:
    call = channel.stream(path("fail_late"), b"", deadline_s=DEADLINE_S)
    assert [next(call), next(call)] == [b"one", b"two"]
    with pytest.raises(CallError) as failure:
        next(call)
    assert (failure.value.code, failure.value.message) == (status.DATA_LOSS, MESSAGE)


def test_an_unknown_method_is_unimplemented(channel: Channel) -> None:
    with pytest.raises(CallError) as failure:
        ask(channel, "nonsense")
    assert failure.value.code == status.UNIMPLEMENTED


def test_a_deadline_ends_the_call_in_time_and_only_it(channel: Channel) -> None:
    begun = time.monotonic()
    with pytest.raises(CallError) as failure:
        ask(channel, "slow", b"1.5", deadline_s=0.2)
    assert failure.value.code == status.DEADLINE_EXCEEDED
    assert time.monotonic() - begun < 1.0
    assert ask(channel, "echo", b"after") == b"after"


def test_a_cancelled_stream_is_known_to_the_server(channel: Channel, server: tuple[str, Awkward]) -> None:
    server[1].cancelled.clear()
    call = channel.stream(path("forever"), b"")
    assert next(call) == b"0"
    threading.Timer(0.1, call.cancel).start()
    with pytest.raises(CallError) as failure:
        for _ in call:
            pass
    assert failure.value.code == status.CANCELLED
    assert server[1].cancelled.wait(DEADLINE_S)


def test_many_threads_share_a_channel(channel: Channel) -> None:
    def one(number: int) -> bool:
        data = bytes([number % 256]) * (number * 997)
        return ask(channel, "echo", data) == data

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(one, range(150)))


def test_closing_ends_whoever_waits_and_the_thread(server: tuple[str, Awkward]) -> None:
    channel = Channel(lambda: (server[0], TOKEN))
    call = channel.stream(path("forever"), b"")
    next(call)
    assert len(threads()) == 1
    threading.Timer(0.1, channel.close).start()
    with pytest.raises(CallError) as failure:
        for _ in call:
            pass
    assert failure.value.code == status.CANCELLED
    channel.close()
    assert not threads()
    with pytest.raises(CallError):
        ask(channel, "echo")


def test_more_calls_than_the_server_allows_wait_for_their_turn() -> None:
    running, _, port = start("127.0.0.1:0", options=(("grpc.max_concurrent_streams", 2),))
    with contextlib.closing(Channel(lambda: (f"127.0.0.1:{port}", ""))) as channel:
        ask(channel, "echo", b"settings have come")
        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(lambda _: ask(channel, "slow", b"0.05"), range(12))) == {b"late"}
    running.stop(None).wait()


def test_a_server_that_ends_in_order_finishes_its_calls_and_the_next_goes_to_its_successor() -> None:
    first, _, port = start("127.0.0.1:0")
    second, _, other_port = start("127.0.0.1:0")
    ports = iter((port, other_port, other_port))
    with contextlib.closing(Channel(lambda: (f"127.0.0.1:{next(ports)}", ""))) as channel:
        slow = ThreadPoolExecutor(1).submit(ask, channel, "slow", b"0.8")
        time.sleep(0.2)
        stopped = first.stop(5.0)
        time.sleep(0.2)
        assert ask(channel, "echo", b"new") == b"new"
        assert slow.result() == b"late"
        stopped.wait()
        assert ask(channel, "echo", b"still") == b"still"
    second.stop(None).wait()


def test_a_call_the_server_did_not_look_at_is_made_again() -> None:
    """GOAWAY names the last stream that was looked at; a server that has not, sends 0."""
    answering, _, port = start("127.0.0.1:0")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                while b"echo-me" not in peer.recv(65536):
                    pass
                peer.sendall(b"\x00\x00\x08\x07" + bytes(13))

        thread = threading.Thread(target=refuse)
        thread.start()
        ports = iter((listener.getsockname()[1], port))
        with contextlib.closing(Channel(lambda: (f"127.0.0.1:{next(ports)}", ""))) as channel:
            assert ask(channel, "echo", b"echo-me") == b"echo-me"
        thread.join()
    answering.stop(None).wait()


@pytest.mark.parametrize("seed", range(6))
def test_garbage_from_a_server_ends_calls_and_threads(seed: int) -> None:
    """Whatever comes after an orderly beginning: the caller hears of it long before the deadline."""
    noise = random.Random(seed).randbytes(3000)
    frames = b"".join(
        len(noise).to_bytes(3, "big") + bytes((kind, seed * 37 % 256)) + b"\0\0\0\1" + noise for kind in (1, 0, 5)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[socket.socket] = []

        def babble() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peers.append(listener.accept()[0])
                    peers[-1].sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                    peers[-1].recv(10)
                    peers[-1].sendall(frames)

        thread = threading.Thread(target=babble)
        thread.start()
        with contextlib.closing(Channel(lambda: (f"127.0.0.1:{listener.getsockname()[1]}", ""))) as channel:
            begun = time.monotonic()
            with pytest.raises(CallError):
                ask(channel, "echo", deadline_s=20)
            assert time.monotonic() - begun < 5
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for peer in peers:
            peer.close()


def serve_apart(address: str) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen([sys.executable, str(HERE / "awkward_server.py"), address], stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    process.stdout.close()
    return process, port


def test_a_server_killed_in_a_stream_is_unavailable_and_found_again() -> None:
    process, port = serve_apart("127.0.0.1:0")
    with contextlib.closing(Channel(lambda: (f"127.0.0.1:{port}", ""))) as channel:
        call = channel.stream(path("forever"), b"", deadline_s=30)
        next(call)
        process.kill()
        process.wait()
        with pytest.raises(CallError) as failure:
            for _ in call:
                pass
        assert failure.value.code == status.UNAVAILABLE
        with pytest.raises(OSError, match="refused"):
            ask(channel, "echo")
        process, port = serve_apart("127.0.0.1:0")
        assert ask(channel, "echo", b"back") == b"back"
    process.kill()
    process.wait()


def test_attempts_to_connect_keep_a_growing_distance() -> None:
    asked: list[float] = []

    def locate() -> tuple[str, str]:
        asked.append(time.monotonic())
        return "unix:/nonexistent/socket", ""

    with contextlib.closing(Channel(locate)) as channel:
        for _ in range(4):
            with pytest.raises(OSError, match="No such file"):
                ask(channel, "echo")
    gaps = [after - before for before, after in itertools.pairwise(asked)]
    assert gaps[0] >= 0.08
    assert gaps[2] > gaps[0] * 1.3


def test_a_silent_server_is_asked_whether_it_lives_but_only_during_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KEEPALIVE_IDLE_S", 0.3), ("KEEPALIVE_PATIENCE_S", 0.5), ("TICK_S", 0.1)):
        monkeypatch.setattr(connection_module, name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        received = bytearray()
        accepted: list[socket.socket] = []

        def swallow() -> None:
            peer, _ = listener.accept()
            accepted.append(peer)
            with contextlib.suppress(OSError):
                while data := peer.recv(65536):
                    received.extend(data)

        thread = threading.Thread(target=swallow)
        thread.start()
        ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00dfl-host"
        with contextlib.closing(Channel(lambda: (f"127.0.0.1:{listener.getsockname()[1]}", ""))) as channel:
            begun = time.monotonic()
            with pytest.raises(CallError) as failure:
                ask(channel, "echo", deadline_s=30.0)
            assert failure.value.code == status.UNAVAILABLE
            assert "does not answer" in failure.value.message
            assert time.monotonic() - begun < 5.0
        thread.join()
        accepted[0].close()
        assert received.count(ping) == 1


def test_an_idle_connection_is_not_pinged(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "KEEPALIVE_IDLE_S", 0.0)
    ask(channel, "echo")
    connection = channel._connection
    assert connection is not None
    connection._keep_alive()
    assert connection._ping_sent is None


def test_something_that_is_no_grpc_server_is_an_error_not_a_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peers: list[socket.socket] = []

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peers.append(listener.accept()[0])
                    peers[-1].recv(100)
                    peers[-1].sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            contextlib.closing(Channel(lambda: (f"127.0.0.1:{listener.getsockname()[1]}", ""))) as channel,
            pytest.raises(CallError) as failure,
        ):
            ask(channel, "echo")
        assert failure.value.code == status.UNAVAILABLE
        assert "does not speak HTTP/2" in failure.value.message
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for peer in peers:
            peer.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("server", "client", "stranger"):
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:farm.example,IP:127.0.0.1", "-days", "2"]
        try:
            subprocess.run([*command, *files, *subject], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no certificates can be made here: {error}")
    return lambda name: folder / name


@pytest.fixture
def secure_port(certificates: Callable[[str], Path]) -> Iterator[int]:
    """A server that asks its clients for a certificate."""
    pair = (certificates("server.key").read_bytes(), certificates("server.pem").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], certificates("client.pem").read_bytes(), True)
    running, awkward, port = start("127.0.0.1:0", credentials)
    yield port
    awkward.ending.set()
    running.stop(None).wait()


def test_tls_with_certificates_on_both_sides(certificates: Callable[[str], Path], secure_port: int) -> None:
    files = {"certificate_path": str(certificates("client.pem")), "key_path": str(certificates("client.key"))}
    security = link.Security(ca_path=str(certificates("server.pem")), server_name="farm.example", **files)
    with contextlib.closing(Channel(lambda: (f"127.0.0.1:{secure_port}", TOKEN), security)) as channel:
        assert ask(channel, "secret") == b"open"
        large = bytes(range(256)) * 6000
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: ask(channel, "echo", large) == large, range(8))) == {True}
        assert len(list(channel.stream(path("many"), b"200 20000", deadline_s=DEADLINE_S))) == 200


@pytest.mark.parametrize(
    ("ca", "client", "name"),
    [
        ("stranger.pem", "client", "farm.example"),
        ("server.pem", "client", "elsewhere"),
        ("server.pem", "", "farm.example"),
    ],
)
def test_tls_refuses_strangers(
    certificates: Callable[[str], Path], secure_port: int, ca: str, client: str, name: str
) -> None:
    files = [str(certificates(f"{client}.{end}")) if client else "" for end in ("pem", "key")]
    security = link.Security(str(certificates(ca)), files[0], files[1], name)
    with (
        contextlib.closing(Channel(lambda: (f"127.0.0.1:{secure_port}", TOKEN), security)) as channel,
        pytest.raises((OSError, CallError)),
    ):
        ask(channel, "secret")


def test_the_token_never_leaves_this_machine_in_the_clear() -> None:
    with (
        contextlib.closing(Channel(lambda: ("192.0.2.7:50051", TOKEN))) as channel,
        pytest.raises(ValueError, match="another machine"),
    ):
        ask(channel, "secret")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("unix:/run/d.sock", ("/run/d.sock", "", 0)),
        ("unix:///run/d.sock", ("/run/d.sock", "", 0)),
        ("127.0.0.1:5000", ("", "127.0.0.1", 5000)),
        ("[::1]:5000", ("", "::1", 5000)),
    ],
)
def test_addresses(text: str, parsed: tuple[str, str, int]) -> None:
    assert link.parse_address(text) == parsed


@pytest.mark.parametrize("text", ["", "farm", "farm:http", ":80"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        link.parse_address(text)


@pytest.mark.parametrize("step", [1, 2, 9, 10, 1000])
def test_goaway_is_found_wherever_the_bytes_are_cut(step: int) -> None:
    data = b"\x00\x00\x03\x00\x01\x00\x00\x00\x01abc"
    goaway = b"\x00\x00\x0c\x07\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02late"
    empty = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    stream = settings + data + goaway + empty + data
    cut = GoAwayFilter()
    passed, found = b"", []
    for place in range(0, len(stream), step):
        part, goaways = cut.feed(stream[place : place + step])
        passed += part
        found += goaways
    assert passed == settings + data + empty + data
    assert [(one.last_stream, one.error_code, one.text) for one in found] == [(5, 2, "late")]


def test_details_are_read_with_and_without_padding() -> None:
    assert status.decode_binary("AAE") == status.decode_binary("AAE=") == b"\x00\x01"
    assert status.decode_binary("%%%") == b""
