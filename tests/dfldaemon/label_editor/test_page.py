"""The page in a real browser, with real mouse and key events, on a real faceset."""

import http.server
import json
import os
import sqlite3
import threading
import time

import cv2
import numpy as np
import pytest

from chromium import CONTROL, FOREIGN_HOST, SHIFT, Chromium, find_chromium
from dflcore.io.mask_labels import Label, Polygon, rasterize
from dflcore.io.masks import MaskStore
from dfldaemon.label_editor.lifetime import Lifetime

SIZE = 256
MARGIN = 24
INCLUDE = [(70, 70), (128, 50), (186, 70), (190, 150), (128, 215), (66, 150)]
EXCLUDE = [(150, 110), (210, 110), (210, 160), (150, 160)]
PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here; on Debian: apt-get install chromium")


class Page:
    """The editor's page as its user sees it: places are given in aligned pixels."""

    def __init__(self, browser: Chromium, address: str) -> None:
        self.browser = browser
        self.zoom, self.center = 1.0, (SIZE / 2, SIZE / 2)
        browser.open(address)
        self.wait_for_face()
        self.box = browser.evaluate(
            "(() => { const box = document.getElementById('stage').getBoundingClientRect();"
            " return [box.left, box.top, box.width, box.height]; })()"
        )

    def at(self, place: tuple[float, float]) -> tuple[float, float]:
        """Where on the screen a place of the face lies while nothing is zoomed."""
        left, top, width, height = self.box
        scale = (min(width, height) - 2 * MARGIN) / SIZE
        return left + width / 2 + (place[0] - SIZE / 2) * scale, top + height / 2 + (place[1] - SIZE / 2) * scale

    def click(self, place: tuple[float, float], modifiers: int = 0) -> None:
        self.browser.click(*self.at(place), modifiers=modifiers)

    def drag(self, start: tuple[float, float], stop: tuple[float, float], modifiers: int = 0) -> None:
        self.browser.drag(self.at(start), self.at(stop), modifiers=modifiers)

    def draw(self, points: list[tuple[float, float]]) -> None:
        for point in points:
            self.click(point)
        self.browser.key("Enter")

    def keys(self, *keys: str, modifiers: int = 0) -> None:
        for key in keys:
            self.browser.key(key, modifiers)

    def undo(self, times: int = 1) -> None:
        for _ in range(times):
            self.browser.key("z", CONTROL)

    def text(self, element: str) -> str:
        return self.browser.evaluate(f"document.getElementById('{element}').textContent")

    def wait_for_text(self, element: str, text: str) -> None:
        self.browser.wait_for(f"document.getElementById('{element}').textContent.includes({json.dumps(text)})")

    def wait_for_face(self, name: str = ".png") -> None:
        self.wait_for_text("face-name", name)

    @property
    def polygons(self) -> list[str]:
        """The list of polygons beside the stage."""
        return self.browser.evaluate("[...document.querySelectorAll('#polygons li')].map((row) => row.textContent)")

    def pixel(self, place: tuple[float, float]) -> list[int]:
        """Red, green and blue that the stage shows there."""
        x, y = self.at(place)
        return self.browser.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))).then(() => {"
            " const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });"
            f" copy.drawImage(document.getElementById('stage'), {self.box[0] - x}, {self.box[1] - y});"
            " return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3); })"
        )


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert PROGRAM is not None
    running = Chromium(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture
def page(browser, editor):
    browser.console.clear()
    browser.requested.clear()
    yield Page(browser, editor.access.address)
    complaints, asked = list(browser.console), list(browser.requested)
    browser.evaluate("sessionStorage.clear()")
    browser.call("Page.navigate", url="about:blank")  # or its unfinished polygons would be asked about
    assert not complaints
    assert {address[: len(editor.access.origin) + 1] for address in asked} == {editor.access.origin + "/"}


def stored(faceset, name) -> Label | None:
    with MaskStore.open(faceset) as store:
        return store.label(name)


def wait_until_stored(faceset, name, polygons: int) -> Label:
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        label = stored(faceset, name)
        if label is not None and len(label.polygons) == polygons:
            return label
        time.sleep(0.02)
    raise AssertionError(f"{name} never got a label of {polygons} polygons")


def coverage(points, size=SIZE, times=16) -> np.ndarray:
    """A polygon's coverage, counted in sixteenths of a pixel: independent of how the product does it."""
    fine = np.zeros((size * times, size * times), np.uint8)
    cv2.fillPoly(fine, [np.rint(np.array(points) * times - 0.5).astype(np.int32)], 255)
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA) / 255.0


def test_the_way_of_an_artist(page, editor, faceset, names):
    """Open, draw an include and an exclude, undo, redo, go on, come back, load again: the label is what was drawn."""
    assert page.browser.evaluate("location.hash + location.search") == ""
    assert page.text("face-name") == names[0]
    assert page.text("labelled-count") == "0 labelled of 8"
    for point in (*INCLUDE, INCLUDE[0]):  # closed with a click on the first point
        page.click(point)
    assert page.polygons == ["Include6 points"]
    page.keys("w")
    page.draw(EXCLUDE)
    assert page.polygons == ["Include6 points", "Exclude4 points"]
    page.undo()
    assert page.polygons == ["Include6 points"]
    assert "Enter" in page.text("hint")  # the exclude is open again
    page.undo(4)
    assert page.text("hint") == ""
    page.keys(*"z" * 5, modifiers=CONTROL | SHIFT)
    assert page.polygons == ["Include6 points", "Exclude4 points"]
    assert page.text("save-state") == "Unsaved changes"
    assert stored(faceset, names[0]) is None

    page.keys("d")
    page.wait_for_face(names[1])
    label = wait_until_stored(faceset, names[0], 2)
    assert [polygon.include for polygon in label.polygons] == [True, False]
    for polygon, drawn in zip(label.polygons, (INCLUDE, EXCLUDE), strict=True):
        np.testing.assert_allclose(polygon.points, drawn, atol=0.2)  # the mouse moves in whole pixels of the screen
    mask = rasterize(label, SIZE, label_size=SIZE)
    expected = np.minimum(coverage(INCLUDE), 1.0 - coverage(EXCLUDE))
    assert np.abs(mask - expected).mean() < 2e-3
    assert page.polygons == []
    assert page.text("labelled-count") == "1 labelled of 8"

    page.keys("a")
    page.wait_for_face(names[0])
    assert page.polygons == ["Include6 points", "Exclude4 points"]
    page.browser.reload()
    page.wait_for_face(names[0])
    assert page.polygons == ["Include6 points", "Exclude4 points"]
    assert page.text("save-state") == "Saved"
    assert editor.workspace.label(names[0]).version == 1  # coming and going saves nothing anew


def test_points_are_dragged_inserted_and_deleted(page, faceset, names):
    page.draw(EXCLUDE)
    page.drag((150, 110), (140, 100))
    page.click((210, 135), CONTROL)  # on the right edge
    page.drag((210, 135), (225, 135))
    page.keys("s")
    (polygon,) = wait_until_stored(faceset, names[0], 1).polygons
    np.testing.assert_allclose(polygon.points, [(140, 100), (210, 110), (225, 135), (210, 160), (150, 160)], atol=0.25)
    page.click((225, 135), CONTROL)
    page.click((210, 160))
    page.keys("Delete")
    assert page.polygons == ["Include3 points"]
    page.undo(5)  # delete, delete, drag, insert, drag
    page.drag((180, 135), (190, 145), SHIFT)  # all of it
    page.keys("t", "s")
    page.browser.wait_for("document.getElementById('save-state').textContent === 'Saved'")
    (polygon,) = stored(faceset, names[0]).polygons
    assert not polygon.include
    np.testing.assert_allclose(polygon.points, np.array(EXCLUDE) + 10, atol=0.25)
    page.keys("Delete")
    assert page.polygons == []
    page.keys("s")
    page.wait_for_text("labelled-count", "0 labelled")
    assert stored(faceset, names[0]) is None


def test_undo_reaches_back_over_a_visit_to_another_face(page, names):
    page.draw(INCLUDE)
    page.keys("d")
    page.wait_for_face(names[1])
    page.undo()
    page.wait_for_text("messages", "Nothing to undo")
    page.keys("a")
    page.wait_for_face(names[0])
    page.undo(7)
    assert page.polygons == []
    page.keys(*"z" * 7, modifiers=CONTROL | SHIFT)
    assert page.polygons == ["Include6 points"]


def test_an_unfinished_polygon_is_warned_of_and_waits(page, faceset, names):
    for point in INCLUDE[:3]:
        page.click(point)
    page.keys("d")
    page.wait_for_text("messages", "not finished")
    assert page.text("face-name") == names[0]
    page.keys("d")
    page.wait_for_face(names[1])
    page.keys("a")
    page.wait_for_face(names[0])
    page.keys("Enter", "s")
    wait_until_stored(faceset, names[0], 1)
    page.click(EXCLUDE[0])
    page.keys("Enter")
    page.wait_for_text("messages", "three points")
    page.keys("Escape")
    assert page.text("hint") == ""


LATE_LAYOUT = """
const Observer = ResizeObserver;
window.ResizeObserver = class extends Observer {
  constructor(callback) {
    const count = document.getElementById("labelled-count");
    const whenListed = () => (count.textContent ? callback() : setTimeout(whenListed, 1));
    super(whenListed);
  }
};
"""
"""The browser lays the page out when the list of faces is there already, as it may when it is busy."""


def test_a_page_that_is_laid_out_late_asks_for_nothing_that_is_not_there(page, names):
    slow = {"offline": False, "latency": 300, "downloadThroughput": -1, "uploadThroughput": -1}
    script = page.browser.call("Page.addScriptToEvaluateOnNewDocument", source=LATE_LAYOUT)
    page.browser.call("Network.emulateNetworkConditions", **slow)
    page.browser.reload()
    page.browser.call("Network.emulateNetworkConditions", **{**slow, "latency": 0})
    page.browser.call("Page.removeScriptToEvaluateOnNewDocument", **script)
    page.wait_for_face(names[0])  # what the server refuses fails the test in its fixture


def test_steps_of_five_to_labelled_faces_and_to_a_number(page, faceset, names):
    with MaskStore.open(faceset) as store:
        for name in (names[2], names[6]):
            store.set_label(name, Label((Polygon(True, ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))),)), made_by="test")
    page.browser.reload()
    page.wait_for_face(names[0])
    for keys, modifiers, wanted in (
        (["ArrowRight"], SHIFT, 5),
        (["a"], CONTROL, 2),
        (["d"], CONTROL, 6),
        (["Home"], 0, 0),
        (["End"], 0, 7),
        (["d"], 0, 7),
        (["ArrowLeft"], 0, 6),
    ):
        page.keys(*keys, modifiers=modifiers)
        page.wait_for_face(names[wanted])
    page.keys("g")
    page.browser.call("Input.insertText", text="4")
    page.keys("Enter")
    page.wait_for_face(names[3])
    page.keys("d", "d")
    page.wait_for_face(names[5])


def test_what_is_drawn_zoomed_in_lies_where_it_was_seen(page, faceset, names):
    anchor = (180, 120)
    for _ in range(3):
        page.browser.wheel(*page.at(anchor), -300)
    zoom = float(page.text("zoom").rstrip("×"))
    assert 4.0 < zoom < 4.5
    held = page.at(anchor)
    spots = [(0, 0), (40, 0), (40, 40), (0, 40)]
    for x, y in spots:
        page.browser.click(held[0] + x, held[1] + y)
    page.keys("Enter", "s")
    (polygon,) = wait_until_stored(faceset, names[0], 1).polygons
    scale = (min(page.box[2:]) - 2 * MARGIN) / SIZE * np.exp(300 * 0.0016 * 3)
    np.testing.assert_allclose(polygon.points, np.array(anchor) + np.array(spots) / scale, atol=0.3)
    page.browser.drag(held, (held[0] + 80, held[1] + 50), button="middle")
    page.browser.click(held[0] + 80 + 40, held[1] + 50 + 40)  # the third point, where it is now
    page.keys("Delete", "s")
    page.browser.wait_for("document.getElementById('save-state').textContent === 'Saved'")
    assert len(stored(faceset, names[0]).polygons[0].points) == 3
    for _ in range(30):
        page.browser.wheel(*held, -300)
    assert page.text("zoom") == "20.0×"
    page.keys("0")
    page.browser.wait_for("document.getElementById('zoom').textContent === ''")


def test_overlays_show_what_they_say(page, faceset, names):
    inside, excluded, outside = (120, 120), (180, 135), (20, 20)
    page.draw(INCLUDE)
    page.keys("w")
    page.draw(EXCLUDE)
    page.keys("Escape", "1")
    plain = page.pixel(inside)
    page.keys("4")
    assert page.pixel(inside) == plain
    assert page.pixel(excluded) == page.pixel(outside) == [0x4A] * 3
    page.keys("4", "]", "]", "]")
    assert all(brighter > before for brighter, before in zip(page.pixel(inside), plain, strict=True))
    page.keys("\\")
    assert page.pixel(inside) == plain
    mask = np.zeros((64, 64), np.float32)
    mask[:, :32] = 1.0
    with MaskStore.open(faceset) as store:
        store.add_mask(names[1], "xseg", mask, made_by="test")
        store.add_mask(names[1], "painted", 1.0 - mask, made_by="test")
    page.keys("d")
    page.wait_for_face(names[1])
    left, right = (60, 128), (200, 128)
    before = page.pixel(left), page.pixel(right)
    for source, tinted in (("painted", right), ("xseg", left)):
        page.keys("3")
        page.wait_for_text("mask-name", source)
        wanted = [tinted == left, tinted == right]
        end = time.monotonic() + 20.0
        while [page.pixel(place) != old for place, old in zip((left, right), before, strict=True)] != wanted:
            assert time.monotonic() < end, source
    page.keys("3")
    page.wait_for_text("mask-name", "none")


def test_hull_and_copy_are_starts_for_drawing(page, faceset, names):
    page.keys("w", "h")  # the hull is face, whatever was about to be drawn
    page.browser.wait_for("document.querySelectorAll('#polygons li').length === 1")
    page.keys("d")
    page.wait_for_face(names[1])
    page.keys("c")
    page.browser.wait_for("document.querySelectorAll('#polygons li').length === 1")
    page.keys("s")
    assert wait_until_stored(faceset, names[1], 1) == stored(faceset, names[0])
    assert stored(faceset, names[0]).has_includes
    page.undo()
    assert page.polygons == []


@pytest.mark.parametrize("choice", ["theirs", "mine", ""])
def test_a_conflict_is_asked_about_and_nothing_is_lost(page, faceset, names, choice):
    page.draw(INCLUDE)
    theirs = Label((Polygon(False, ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))),))
    with MaskStore.open(faceset) as store:
        store.set_label(names[0], theirs, made_by="another editor")
    page.keys("s")
    page.browser.wait_for("document.getElementById('conflict').open")
    page.browser.evaluate(f"document.querySelector('#conflict button[value=\"{choice}\"]').click()")
    page.browser.wait_for("!document.getElementById('conflict').open")
    if choice == "mine":
        label = wait_until_stored(faceset, names[0], 1)
        page.browser.wait_for("document.getElementById('save-state').textContent === 'Saved'")
        label = stored(faceset, names[0])
        assert label.polygons[0].include
        with MaskStore.open(faceset) as store:
            assert store.label(names[0], version=1) == theirs
    else:
        page.browser.wait_for(
            f"document.getElementById('save-state').textContent === "
            f"{json.dumps('Saved' if choice else 'Unsaved changes')}"
        )
        assert stored(faceset, names[0]) == theirs
        assert page.polygons == (["Exclude3 points"] if choice else ["Include6 points"])
        page.undo(1 if choice else 0)
        assert page.polygons == ["Include6 points"]
    # The browser itself notes the refused call; that is no complaint of the page.
    page.browser.console[:] = [line for line in page.browser.console if "status of 409" not in line]


def test_a_face_goes_to_the_trash_and_comes_back(page, faceset, names):
    page.keys("d")
    page.wait_for_face(names[1])
    page.keys("x")
    page.wait_for_face(names[2])
    assert not (faceset / names[1]).exists()
    assert page.text("total") == "7"
    page.keys("r")
    page.wait_for_face(names[1])
    assert (faceset / names[1]).is_file()
    assert page.text("total") == "8"


def test_a_face_that_is_deleted_meanwhile_is_said_and_the_list_follows(page, faceset, names):
    (faceset / names[4]).unlink()
    page.keys("ArrowRight", modifiers=SHIFT)
    page.keys("ArrowLeft")
    page.wait_for_text("total", "7")
    page.browser.console[:] = [line for line in page.browser.console if "status of 404" not in line]


def test_what_was_drawn_is_saved_when_the_page_is_closed_and_the_editor_ends(browser, faceset, names, start_editor):
    editor = start_editor(faceset, lifetime=Lifetime(grace_s=0.5))
    page = Page(browser, editor.access.ticket_address)
    page.draw(INCLUDE)
    browser.call("Page.navigate", url="about:blank")
    wait_until_stored(faceset, names[0], 1)
    assert editor.join()
    assert editor.end_reason == "The page was closed."


def test_a_tab_without_the_token_is_told_so(browser, editor, names):
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=editor.access.origin + "/#token=wrong")
    browser.wait_for("document.getElementById('empty')?.textContent.includes('no access')")
    assert names[0] not in browser.evaluate("document.documentElement.innerHTML")
    browser.call("Page.navigate", url="about:blank")


class _ForeignSite(http.server.BaseHTTPRequestHandler):
    """An empty page of another origin on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: object) -> None:
        pass


FETCHES = """async ([address, token]) => {
    const tried = async (path, options) => {
        try { return await (await fetch(address + path, options)).text(); } catch { return "refused"; }
    };
    const headers = { "X-DFL-Token": token };
    const posted = { method: "POST", body: JSON.stringify({ page: "elsewhere" }) };
    return [
        await tried("/", {}),
        await tried("/api/faceset", {}),
        await tried("/api/faceset", { headers }),
        await tried("/api/goodbye", { ...posted, headers }),
        await tried("/api/goodbye", { ...posted, headers: { ...headers, "Content-Type": "application/json" } }),
        await tried("/api/goodbye", { ...posted, mode: "no-cors" }),
    ];
}"""
ELEMENTS = """async ([address]) => {
    const loaded = (tag, path) => new Promise((done) => {
        const element = document.createElement(tag);
        element.onload = () => done("loaded");
        element.onerror = () => done("refused");
        element.src = address + path;
        document.body.append(element);
    });
    return [await loaded("script", "/main.js"), await loaded("img", "/icon.svg")];
}"""


def test_no_page_of_another_site_gets_anything(browser, editor):
    """Whatever a script elsewhere tries, even one that has learnt the token."""
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _ForeignSite)
    threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    editor.server.lifetime.hello("elsewhere")
    try:
        browser.call("Page.navigate", url=f"http://{FOREIGN_HOST}:{site.server_address[1]}/")
        browser.wait_for("document.title === 'elsewhere'")
        arguments = json.dumps([editor.access.origin, editor.access.token])
        assert browser.evaluate(f"({FETCHES})({arguments})") == ["refused"] * 6
        assert browser.evaluate(f"({ELEMENTS})({arguments})") == ["refused"] * 2
    finally:
        browser.call("Page.navigate", url="about:blank")
        site.shutdown()
        site.server_close()
    assert editor.server.lifetime._pages == {"elsewhere"}  # nobody said its goodbye


def test_a_name_that_was_turned_to_this_machine_gets_nothing(browser, editor):
    """DNS rebinding: to the browser, the editor is that name's own site, and every call is same-origin."""
    address = f"http://{FOREIGN_HOST}:{editor.server.server_address[1]}/"
    browser.call("Page.navigate", url=address)
    browser.wait_for(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")
    answers = browser.evaluate(f"({FETCHES})({json.dumps(['', editor.access.token])})")
    assert [json.loads(answer)["reason"] for answer in answers] == ["WRONG_HOST"] * 6
    browser.call("Page.navigate", url="about:blank")


@pytest.mark.slow
def test_a_hundred_thousand_faces_are_no_hindrance(browser, faceset, names, start_editor):
    count = 100_000
    with sqlite3.connect(faceset / "index.sqlite") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(face)")]
        row = dict(zip(columns, database.execute("SELECT * FROM face LIMIT 1").fetchone(), strict=True))
        rows = [tuple((row | {"name": f"f{i:06d}.png", "frame": 2000 + i}).values()) for i in range(count)]
        database.executemany(f"INSERT INTO face VALUES ({','.join('?' * len(columns))})", rows)
    database.close()
    for i in range(count):
        os.link(faceset / names[i % len(names)], faceset / f"f{i:06d}.png")  # one file has 65 000 names at most
    with MaskStore.open(faceset, create=True) as store:
        triangle = Label((Polygon(True, ((1.0, 1.0), (9.0, 1.0), (9.0, 9.0))),))
        store.set_labels({f"f{i:06d}.png": triangle for i in range(0, count, 10)}, made_by="test")
    page = Page(browser, start_editor(faceset).access.address)
    assert page.text("labelled-count") == "10,000 labelled of 100,008"
    for keys, modifiers, wanted in ((["End"], 0, count - 1), (["a"], CONTROL, count - 10), (["d"], 0, count - 9)):
        began = time.monotonic()
        page.keys(*keys, modifiers=modifiers)
        page.wait_for_face(f"f{wanted:06d}.png")
        assert time.monotonic() - began < 10.0
    assert browser.evaluate("document.querySelectorAll('.cell').length") < 40
    browser.call("Page.navigate", url="about:blank")
