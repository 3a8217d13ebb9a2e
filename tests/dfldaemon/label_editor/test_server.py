"""Whom the editor answers, with what, and what it refuses. Every row is one request a stranger could send."""

import json
import socket
from urllib.parse import quote

import pytest

from dflcore.io.masks import MaskStore
from dfldaemon.label_editor import server as server_module
from dfldaemon.label_editor.lifetime import Lifetime
from dfldaemon.label_editor.server import HEADERS, MAX_BODY_BYTES, MAX_CONNECTIONS

TRIANGLE = {"polygons": [{"include": True, "points": [[10, 10], [100, 10], [10.5, 100.25]]}]}
GOOD = json.dumps({"based_on": 0, "label": TRIANGLE}).encode()
EVIL = "http://evil.example"


def assert_guarded(headers: dict[str, str]) -> None:
    """Every answer, also a refusal, says what a browser may do with it, and never that others may read it."""
    assert not [name for name in headers if name.startswith("access-control-")]
    assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
    assert headers["server"].strip() == "dfl-label-editor"


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["localhost:{port}"],
        ["evil.example:{port}"],
        ["evil.example"],
        ["127.0.0.1"],
        ["127.0.0.1:80"],
        ["127.0.0.1:{port}."],
        ["127.1:{port}"],
        ["[::1]:{port}"],
        ["127.0.0.1:{port}@evil.example"],
        ["127.0.0.1:{port}", "127.0.0.1:{port}"],
        ["127.0.0.1:{port}", "evil.example"],
    ],
)
def test_any_other_host_is_refused(editor, names, method, hosts):
    """DNS rebinding: the browser believes our address to be the attacker's, and says so in Host."""
    port = editor.access.host.split(":")[1]
    headers = [(name, value) for name, value in editor.headers(method, GOOD).items() if name != "Host"]
    headers += [("Host", host.format(port=port)) for host in hosts]
    for path in ("/", editor.face(names[0], "label")):
        status, answered, _ = editor.raw(method, path, headers, GOOD if method == "PUT" else b"")
        assert status == 403
        assert_guarded(answered)
    assert editor.workspace.label(names[0]).version == 0


@pytest.mark.parametrize(
    "origins",
    [
        [],
        ["null"],
        [EVIL],
        ["http://127.0.0.1"],
        ["https://127.0.0.1:{port}"],
        ["http://localhost:{port}"],
        ["http://127.0.0.1:{port}/"],
        ["http://127.0.0.1:{port}.evil.example"],
        ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}"],
    ],
)
def test_any_other_origin_is_refused(editor, names, origins):
    port = editor.access.host.split(":")[1]
    for method, path, body in (("PUT", editor.face(names[0], "label"), GOOD), ("POST", "/api/hello", b'{"page":"x"}')):
        headers = [(name, value) for name, value in editor.headers(method, body).items() if name != "Origin"]
        headers += [("Origin", origin.format(port=port)) for origin in origins]
        status, answered, _ = editor.raw(method, path, headers, body)
        assert status == 403
        assert_guarded(answered)
    if origins:  # a read needs no Origin, as browsers send none; but a wrong one is wrong there too
        headers = [*editor.headers().items(), *(("Origin", origin.format(port=port)) for origin in origins)]
        assert editor.raw("GET", "/api/faceset", headers)[0] == 403
    assert editor.workspace.label(names[0]).version == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_what_a_browser_calls_cross_site_is_refused(editor, site):
    headers = editor.headers() | {"Sec-Fetch-Site": site}
    assert editor.raw("GET", "/api/faceset", list(headers.items()))[0] == 403


@pytest.mark.parametrize("tokens", [[], [""], ["wrong"], ["{token}x"], ["{token}", "{token}"], ["Bearer {token}"]])
def test_nothing_of_the_faceset_without_the_token(editor, names, tokens):
    shown = [("X-DFL-Token", token.format(token=editor.access.token)) for token in tokens]
    calls = [
        ("GET", "/api/faceset", b""),
        ("GET", f"/api/faceset?token={editor.access.token}", b""),
        ("GET", "/api/faces?start=0&count=9", b""),
        *(("GET", editor.face(names[0], what), b"") for what in ("image", "thumbnail", "label", "masks", "hull")),
        ("PUT", editor.face(names[0], "label"), GOOD),
        ("POST", editor.face(names[0], "trash"), b"{}"),
        ("POST", "/api/goodbye", b'{"page":"x"}'),
    ]
    for method, path, body in calls:
        headers = [(name, value) for name, value in editor.headers(method, body).items() if name != "X-DFL-Token"]
        headers += [("Cookie", f"X-DFL-Token={editor.access.token}"), *shown]
        status, answered, data = editor.raw(method, path, headers, body)
        assert (status, json.loads(data)["reason"]) == (403, "WRONG_TOKEN"), (method, path)
        assert_guarded(answered)
    assert editor.workspace.label(names[0]).version == 0
    assert (editor.workspace.path / names[0]).is_file()


def test_a_preflight_gets_no_permission(editor, names):
    path = editor.face(names[0], "label")
    asked = [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "x-dfl-token")]
    for origin, wanted in ((EVIL, 403), (editor.access.origin, 405)):
        status, answered, _ = editor.raw("OPTIONS", path, [("Host", editor.access.host), ("Origin", origin), *asked])
        assert status == wanted
        assert_guarded(answered)


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/", 405, "GET"),
        ("DELETE", "/main.js", 405, "GET"),
        ("HEAD", "/", 403, None),
        ("POST", "/api/faceset", 405, "GET"),
        ("GET", "/api/hello", 405, "POST"),
        ("GET", "/api/session", 405, "POST"),
        ("DELETE", "label", 405, "GET, PUT"),
        ("PATCH", "label", 405, "GET, PUT"),
        ("TRACE", "label", 405, "GET, PUT"),
        ("CONNECT", "label", 405, "GET, PUT"),
        ("GET", "trash", 405, "POST"),
        ("BREW", "/", 501, None),
        ("GET", "/nothing", 404, None),
        ("GET", "/api", 404, None),
        ("GET", "/api/faces/", 404, None),
        ("GET", "//api/faceset/", 404, None),
        ("GET", "/main.js/", 404, None),
        ("GET", "/index.html", 404, None),
        ("GET", "//[/x", 404, None),
    ],
)
def test_the_table_of_methods(editor, names, method, path, status, allow):
    path = path if path.startswith("/") else editor.face(names[0], path)
    headers = editor.headers(method, b"")
    if method == "HEAD":
        del headers["Origin"]  # the page never asks so; a browser's own HEAD carries none
    got, answered, _ = editor.raw(method, path, list(headers.items()))
    assert got == status
    assert answered.get("allow") == allow
    assert_guarded(answered)


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/%2e%2e/server.py",
        "/page/main.js",
        "/..%2fserver.py",
        "/__init__.py",
        "/index.sqlite",
        "/api/faces/index.sqlite/image",
        "/api/faces/masks.sqlite/image",
        "/api/faces/../image",
        "/api/faces/..%2F..%2Fetc%2Fpasswd/image",
        "/api/faces/%2Fetc%2Fpasswd/image",
        "/api/faces/%00/image",
        "/api/faces/%ff%fe/image",
        "/api/faces//image",
        "/api/faces/trash%2Fx.png/thumbnail",
        "/api/faces/{name}%00/image",
        "/api/faces/.%2F{name}/image",
        "/api/faces/{name}/masks/xseg",
    ],
)
def test_no_path_leads_out_of_the_list(editor, names, path):
    path = path.format(name=quote(names[0], safe=""))
    status, answered, _ = editor.raw("GET", path, list(editor.headers().items()))
    assert status == 404
    assert_guarded(answered)


@pytest.mark.parametrize("source", ["label", "hull", "XSEG", "..%2Fx", "%00", "x" * 33, "%20"])
def test_a_mask_source_is_a_name(editor, names, source):
    assert editor.call("GET", editor.face(names[0], f"masks/{source}"))[0] == 400


@pytest.mark.parametrize(
    ("changes", "body", "status"),
    [
        ({"Content-Length": None}, b"", 411),
        ({"Content-Length": "many"}, GOOD, 411),
        ({"Content-Length": "-1"}, GOOD, 411),
        ({"Content-Length": "+5"}, GOOD, 411),
        ({"Content-Length": "²"}, GOOD, 411),
        ({"Content-Length": None, "Transfer-Encoding": "chunked"}, b"", 411),
        ({"Transfer-Encoding": "chunked"}, GOOD, 411),
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, b"", 413),
        ({"Content-Length": "9" * 400}, b"", 413),
        ({"Content-Type": None}, GOOD, 415),
        ({"Content-Type": "text/plain"}, GOOD, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, GOOD, 415),
        ({"Content-Type": "application/json; charset=utf-16"}, GOOD, 415),
        ({}, b"", 400),
        ({}, b"{", 400),
        ({}, b"[]", 400),
        ({}, b"\xff\xfe", 400),
        ({}, b"[" * 100_000, 400),
        ({}, GOOD.replace(b"100.25", b"NaN"), 400),
        ({}, GOOD.replace(b"100.25", b"Infinity"), 400),
        ({}, GOOD.replace(b"100.25", b"1e999"), 400),
        ({}, GOOD.replace(b"100.25", b"1" * 5000), 400),
        ({}, GOOD.replace(b"100.25", b'"1"'), 400),
        ({}, GOOD.replace(b"true", b"1"), 400),
        ({}, GOOD.replace(b"[10, 10], ", b""), 400),
        ({}, b'{"label": {"polygons": []}}', 400),
        ({}, GOOD.replace(b'"based_on": 0', b'"based_on": true'), 400),
        ({}, GOOD.replace(b'"based_on": 0', b'"based_on": -1'), 400),
        ({}, b'{"based_on": 0}', 400),
        ({}, b'{"based_on": 0, "label": 3}', 400),
    ],
)
def test_a_body_is_a_small_json_label_or_nothing_is_stored(editor, names, changes, body, status):
    headers = editor.headers("PUT", body) | changes
    sent = [(name, value) for name, value in headers.items() if value is not None]
    got, answered, data = editor.raw("PUT", editor.face(names[0], "label"), sent, body)
    assert got == status, data
    assert json.loads(data)["message"]
    assert_guarded(answered)
    assert editor.workspace.label(names[0]).version == 0


def test_a_read_has_no_body(editor):
    headers = [*editor.headers().items(), ("Content-Length", "5")]
    assert editor.raw("GET", "/api/faceset", headers, b"hello")[0] == 413


@pytest.mark.parametrize("query", ["", "?start=0", "?start=-1&count=5", "?start=x&count=5", "?start=1&start=2&count=1"])
def test_a_stretch_of_the_list_is_two_whole_numbers(editor, query):
    assert editor.call("GET", f"/api/faces{query}")[0] == 400


def test_the_page_is_there_for_the_asking_and_holds_nothing_of_the_faceset(editor, names):
    status, answered, page = editor.raw("GET", "/", [("Host", editor.access.host)])
    assert (status, answered["content-type"]) == (200, "text/html; charset=utf-8")
    assert_guarded(answered)
    for asset, kind in (("main.js", "text/javascript"), ("style.css", "text/css"), ("icon.svg", "image/svg+xml")):
        status, answered, data = editor.raw("GET", f"/{asset}", [("Host", editor.access.host)])
        assert status == 200
        assert answered["content-type"].startswith(kind)
        page += data
    assert names[0].encode() not in page
    assert editor.access.token.encode() not in page


def test_the_token_is_long_new_and_only_in_the_fragment(faceset, start_editor):
    one, other = start_editor(faceset), start_editor(faceset)
    assert one.access.token != other.access.token
    assert len(one.access.token) >= 43
    before, _, fragment = one.access.address.partition("#")
    assert before == f"http://{one.access.host}/"
    assert fragment == f"token={one.access.token}"
    assert one.access.token not in one.access.ticket_address


def test_a_ticket_is_good_once_and_a_second_use_ends_the_editor(faceset, start_editor):
    editor = start_editor(faceset)
    ticket = editor.access.ticket_address.partition("#ticket=")[2]

    def redeem(shown: str) -> tuple[int, dict]:
        body = json.dumps({"ticket": shown}).encode()
        headers = [(name, value) for name, value in editor.headers("POST", body).items() if name != "X-DFL-Token"]
        status, _, data = editor.raw("POST", "/api/session", headers, body)
        return status, json.loads(data)

    assert redeem("guess")[0] == 404
    assert redeem(ticket) == (200, {"token": editor.access.token})
    assert redeem(ticket)[0] == 409
    assert editor.join()
    assert "opened twice" in editor.end_reason


def test_it_listens_on_loopback_only(editor):
    assert editor.server.server_address[0] == "127.0.0.1"
    port = editor.server.server_address[1]
    try:
        own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    except socket.gaierror:
        own = set()
    for address in {"127.0.0.2", *own} - {"127.0.0.1"}:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=2).close()


def test_a_request_that_never_ends_is_hung_up_on(faceset, start_editor, monkeypatch):
    monkeypatch.setattr(server_module._Handler, "timeout", 0.3)
    editor = start_editor(faceset)
    beginning = f"PUT /api/hello HTTP/1.1\r\nHost: {editor.access.host}\r\n".encode()
    whole = "".join(f"{name}: {value}\r\n" for name, value in editor.headers("POST", b"x" * 50).items()).encode()
    for sent, wanted in ((beginning, b""), (b"POST /api/hello HTTP/1.1\r\n" + whole + b"\r\n{", b"HTTP/1.1 408")):
        with socket.create_connection(editor.server.server_address, timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(100).startswith(wanted)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1 x y\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"403"),
        (b"GET /" + b"x" * 70_000, b"414"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_gets_no_page(editor, request_bytes, status):
    with socket.create_connection(editor.server.server_address, timeout=10) as connection:
        connection.sendall(request_bytes)
        answer = connection.recv(5000)
    assert status in answer.split(b"\r\n")[0]
    assert b"Content-Security-Policy" in answer
    assert b"<html" not in answer.lower()


def test_more_connections_than_a_browser_opens_are_hung_up_on(editor):
    held = [socket.create_connection(editor.server.server_address, timeout=10) for _ in range(MAX_CONNECTIONS)]
    try:
        with socket.create_connection(editor.server.server_address, timeout=10) as one_more:
            assert one_more.recv(10) == b""
    finally:
        for connection in held:
            connection.close()


def test_faces_are_listed_in_stretches(editor, names):
    status, facts = editor.call("GET", f"/api/faceset?face={quote(names[3], safe='')}")
    assert status == 200
    assert facts["name"] == "faces of Zoë"
    assert (facts["face_type"], facts["size"], facts["total"], facts["position"]) == ("whole", 256, len(names), 3)
    _, stretch = editor.call("GET", "/api/faces?start=2&count=3")
    assert [face["name"] for face in stretch["faces"]] == list(names[2:5])
    assert editor.call("GET", "/api/faces?start=100&count=100")[1]["faces"] == []


def test_a_label_comes_back_as_it_was_sent(editor, faceset, names):
    path = editor.face(names[0], "label")
    assert editor.call("GET", path) == (200, {"version": 0, "label": {"polygons": []}})
    assert editor.call("PUT", path, {"based_on": 0, "label": TRIANGLE}) == (200, {"version": 1})
    assert editor.call("GET", path) == (200, {"version": 1, "label": TRIANGLE})
    with MaskStore.open(faceset) as store:
        assert json.loads(store.label(names[0]).to_json()) == TRIANGLE


def test_two_editors_never_save_over_each_other_unknowingly(faceset, start_editor, names):
    one, other = start_editor(faceset), start_editor(faceset)
    path = one.face(names[0], "label")
    mine = {"polygons": [{"include": False, "points": [[1, 1], [9, 1], [9, 9]]}]}
    assert one.call("PUT", path, {"based_on": 0, "label": TRIANGLE})[0] == 200
    status, answer = other.call("PUT", path, {"based_on": 0, "label": mine})
    assert (status, answer["reason"], answer["version"], answer["label"]) == (409, "LABEL_CHANGED", 1, TRIANGLE)
    assert one.call("GET", path)[1]["label"] == TRIANGLE
    assert other.call("PUT", path, {"based_on": 1, "label": mine}) == (200, {"version": 2})
    with MaskStore.open(faceset) as store:
        assert json.loads(store.label(names[0], version=1).to_json()) == TRIANGLE


def test_an_error_of_ours_is_not_shown_to_the_page(editor, names, monkeypatch, caplog):
    monkeypatch.setattr(editor.workspace, "hull", lambda name: 1 / 0)
    status, answer = editor.call("GET", editor.face(names[0], "hull"))
    assert (status, answer["reason"]) == (500, "INTERNAL")
    assert "zero" not in answer["message"]
    assert "ZeroDivisionError" in caplog.text


def test_it_ends_when_the_last_page_is_closed(faceset, start_editor):
    editor = start_editor(faceset, lifetime=Lifetime(grace_s=0.1))
    for page in ("one", "two"):
        assert editor.call("POST", "/api/hello", {"page": page})[0] == 200
    editor.call("POST", "/api/goodbye", {"page": "one"})
    assert not editor.join(0.6)
    editor.call("POST", "/api/goodbye", {"page": "two"})
    assert editor.join()
    assert editor.end_reason == "The page was closed."
