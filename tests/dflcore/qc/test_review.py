"""A shot with one known defect is flagged for that defect, and for nothing else."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

import dflcore.qc.report
from dflcore.config.qc import QcSettings
from dflcore.errors import Conflict, InvalidInput, NotFound
from dflcore.progress import FrameProgress, StopRequest
from dflcore.qc.page import render_page
from dflcore.qc.report import json_schema, read_report, to_json
from dflcore.qc.review import QcResult, Shot, report_files, review_shot
from dflcore.types import Origin
from small_facesets import Watcher

ODD = (1002, 1004, 1006, 1008)


def flags_of(report):
    return {(frame.frame, flag.measure) for frame in report.figures for flag in frame.flags}


def values_of(report, measure):
    """Frame → value of a measure of the frame or of its first face."""
    found = {}
    for frame in report.figures:
        values = frame.values | (frame.faces[0].values if frame.faces else {})
        if measure in values:
            found[frame.frame] = values[measure]
    return found


def brighter(amount, frames):
    """Light of the face in some frames, multiplied."""
    return lambda frame, light, matte: light * (1.0 + amount) if frame in frames else light


def test_the_plate_put_back_is_not_flagged(make_shot):
    report = make_shot().measure()
    assert flags_of(report) == set()
    assert report.look_first == []
    assert report.findings == []
    assert report.frames == "1001-1009"
    assert set(values_of(report, "outside_px").values()) == {0.0}
    for measure, expected in {"sharpness": 1.0, "similarity": 1.0, "landmark_error": 0.0, "pose_error": 0.0}.items():
        assert list(values_of(report, measure).values()) == pytest.approx([expected] * 9, abs=0.02), measure
    for measure in ("flicker", "boil", "jitter", "seam", "perceptual"):
        assert max(values_of(report, measure).values()) < 0.05, measure
    assert max(values_of(report, "identity_to_target").values()) < 0.3
    assert [face.face for face in report.faces] == ["track 0"]


def test_flicker_of_every_other_frame_is_found(make_shot):
    report = make_shot(change=brighter(0.09, ODD)).measure()
    assert flags_of(report) == {(frame, "flicker") for frame in range(1002, 1009)}
    assert max(values_of(report, "boil").values()) < 1.0


def test_one_frame_that_pops_is_blamed_alone(make_shot):
    report = make_shot(change=brighter(0.09, (1005,))).measure()
    assert flags_of(report) == {(1005, "flicker")}
    first = make_shot(change=brighter(0.09, (1001,)), name="first").measure()
    assert flags_of(first) == {(1001, "flicker")}


def test_light_that_changes_in_the_plate_too_is_no_flicker(make_shot, portrait_light, monkeypatch):
    """Measured against the plate: what the plate does is not held against the result."""
    shot = make_shot(frames=(1001, 1002, 1003))
    brighter_shot = make_shot(change=None, name="lamp", frames=(1001, 1002, 1003))
    from dflcore.io.exr import ExrLayer, read_exr_layers, write_exr
    from dflcore.io.plate import Window

    window = Window(x=0, y=0, width=320, height=240)
    for pattern in (brighter_shot.plate, brighter_shot.result):
        path = Path(pattern.replace("####", "1002"))
        layers = read_exr_layers(path)
        names = [name for name in layers if "." not in name]
        pixels = np.stack([layers[name] * (np.float16(1.5) if name in "RGB" else 1) for name in names], axis=2)
        made = [ExrLayer(name="", channels=tuple(names), pixels=pixels.astype(np.float16))]
        if "matte.A" in layers:
            made.append(ExrLayer(name="matte", channels=("A",), pixels=layers["matte.A"][..., None]))
        write_exr(path, layers=made, data_window=window, display_window=window, color_space="ACEScg")
    assert flags_of(shot.measure()) == flags_of(brighter_shot.measure()) == set()


def test_features_that_swim_are_boiling_not_flicker(make_shot):
    def swim(frame, light, matte):
        shift = 2 if frame in ODD else -2
        return np.roll(light, shift, axis=1)

    report = make_shot(change=swim).measure(max_landmark_error=100.0, max_pose_error=100.0, min_similarity=-1.0)
    assert {"boil", "jitter"} <= {measure for _, measure in flags_of(report)}
    inner = range(1002, 1009)
    flicker, boil = (values_of(report, measure) for measure in ("flicker", "boil"))
    assert all(boil[frame] > 2.0 * flicker[frame] for frame in inner), (flicker, boil)


def test_a_hard_edge_of_another_colour_is_a_seam(make_shot):
    hard = make_shot(change=brighter(0.6, range(2000)), matte=lambda _, own: (own > 0).astype(np.float32))
    report = hard.measure()
    assert flags_of(report) == {(frame, measure) for frame in hard.frames for measure in ("seam", "color")}
    assert all("o'clock" in face.note for frame in report.figures for face in frame.faces)
    soft = make_shot(change=brighter(0.6, range(2000)), name="soft").measure()
    assert flags_of(soft) == {(frame, "color") for frame in hard.frames}
    assert max(values_of(soft, "seam").values()) < 0.5 * min(values_of(report, "seam").values())


def test_a_blurred_face_is_not_sharp(make_shot):
    blurred = (1003, 1004)

    def blur(frame, light, matte):
        shown = np.cbrt(light)  # blurred as a display shows it, so that the mean brightness stays
        return cv2.GaussianBlur(shown, (0, 0), 1.6) ** 3 if frame in blurred else light

    report = make_shot(change=blur).measure(min_grain=0.0)
    assert flags_of(report) == {(frame, "sharpness") for frame in blurred}


def test_a_clean_face_in_a_grainy_plate_lacks_grain(make_shot):
    shot = make_shot(grain=0.06, change=lambda frame, light, matte: cv2.bilateralFilter(light, 9, 0.2, 4))
    report = shot.measure(min_sharpness=0.0)
    assert flags_of(report) >= {(frame, "grain") for frame in shot.frames}
    assert {measure for _, measure in flags_of(report)} == {"grain"}
    kept = make_shot(grain=0.06, name="kept").measure()
    assert list(values_of(kept, "grain").values()) == pytest.approx([1.0] * 9, abs=0.02)


def test_one_changed_bit_outside_the_matte_is_an_error(make_shot):
    def touch(frame, merged, matte):
        if frame == 1004:
            merged[3, 5, 1] = np.nextafter(merged[3, 5, 1], np.float16(9))
        return merged

    report = make_shot(after=touch).measure()
    assert flags_of(report) == {(1004, "outside_px")}
    assert values_of(report, "outside_px")[1004] == 1.0
    assert report.error_frames == 1
    assert report.findings[0].level == "error"


def test_numbers_that_are_none_are_an_error(make_shot):
    def spoil(frame, merged, matte):
        if frame == 1005:
            rows, columns = np.nonzero(matte > 0.9)
            merged[rows[50], columns[50], 0] = np.nan
        return merged

    report = make_shot(after=spoil).measure()
    assert flags_of(report) == {(1005, "not_finite_px")}


def test_missing_and_damaged_frames_are_told(make_shot):
    shot = make_shot()
    Path(shot.result.replace("####", "1003")).unlink()
    damaged = Path(shot.result.replace("####", "1006"))
    damaged.write_bytes(damaged.read_bytes()[:900])
    report = shot.measure()
    assert flags_of(report) == {(1003, "missing"), (1006, "unreadable")}
    assert report.look_first == [1003, 1006]
    assert "1003" in next(frame.note for frame in report.figures if frame.frame == 1003)


def test_frames_without_a_face_are_listed(make_shot):
    report = make_shot(face_frames=(1001, 1002, 1006, 1007, 1008, 1009)).measure()
    assert flags_of(report) == {(frame, "no_face") for frame in (1003, 1004, 1005)}
    (finding,) = report.findings
    assert (finding.frames, finding.count, finding.level) == ("1003-1005", 3, "look")


def test_a_face_that_was_not_replaced_and_a_matte_of_nobody(make_shot):
    bare = make_shot(matte=lambda frame, own: own * 0 if frame == 1004 else own).measure()
    assert (1004, "empty_matte") in flags_of(bare)
    assert {frame for frame, measure in flags_of(bare) if measure != "matte_jump"} == {1004}
    stray = make_shot(face_frames=FRAMES_BUT_LAST, matte=_matte_everywhere, name="stray").measure()
    assert flags_of(stray) == {(1009, "no_face"), (1009, "stray_matte")}


FRAMES_BUT_LAST = tuple(range(1001, 1009))


def _matte_everywhere(frame, own):
    matte = own.copy()
    matte[100:130, 150:180] = np.maximum(matte[100:130, 150:180], 1.0)
    return matte


def test_a_matte_that_jumps_is_found(make_shot):
    def half(frame, own):
        cut = own.copy()
        if frame >= 1006:
            cut[: own.shape[0] // 2 + 10] = 0.0
        return cut

    report = make_shot(matte=half).measure(max_seam=100.0)
    assert flags_of(report) == {(1006, "matte_jump")}


def test_faces_that_nobody_saw_are_doubtful(make_shot):
    report = make_shot(origins={1004: Origin.INTERPOLATED, 1005: Origin.MANUAL}).measure()
    assert flags_of(report) == {(1004, "confidence")}
    assert values_of(report, "confidence")[1005] == 1.0


def test_likeness_needs_a_source(make_shot, source_faceset):
    shot = make_shot(frames=(1001, 1002))
    assert "identity_to_source" not in values_of(shot.measure(), "identity_to_source")
    shot.source = source_faceset
    report = shot.measure()
    assert flags_of(report) == {(f, m) for f in shot.frames for m in ("identity_to_source", "identity_margin")}
    assert report.source_to_target == pytest.approx(values_of(report, "identity_to_source")[1001], abs=0.1)


def test_the_flat_profile_gives_the_same_figures(make_shot):
    layered = make_shot(frames=(1001, 1002), change=brighter(0.05, (1002,))).measure()
    flat = make_shot(frames=(1001, 1002), change=brighter(0.05, (1002,)), profile="flat", name="flat").measure()
    assert (layered.profile, flat.profile) == ("layered", "flat")
    pairs = zip(layered.figures, flat.figures, strict=True)
    assert all((a.values, a.faces[0].values) == (b.values, b.faces[0].values) for a, b in pairs)


def test_a_patch_is_judged_as_it_lies_over_the_plate(make_shot, tmp_path):
    layered = make_shot(frames=(1001, 1002), change=brighter(0.05, (1002,))).measure()
    shot = make_shot(frames=(1001, 1002), change=brighter(0.05, (1002,)), profile="patch", name="patch")
    patch = shot.measure()
    assert (patch.profile, patch.error_frames, patch.model) == ("patch", 0, "m")
    for a, b in zip(layered.figures, patch.figures, strict=True):
        assert b.values["outside_px"] == 0.0
        assert a.faces[0].values == pytest.approx(b.faces[0].values, rel=0.05, abs=0.05)
    assert review(shot, tmp_path / "r").page.is_file()


def test_float_frames_and_lossy_ones(make_shot):
    assert flags_of(make_shot(frames=(1001,), dtype=np.float32).measure()) == set()
    report = make_shot(frames=(1001, 1002), compression="dwaa", name="lossy").measure()
    assert "outside_px" not in {measure for _, measure in flags_of(report)}
    assert any("compressed with loss" in note for note in report.notes)


def test_one_frame_and_ranges(make_shot):
    shot = make_shot()
    assert shot.measure("1005").frame_count == 1
    stepped = shot.measure("1001-1009x2")
    assert stepped.frames == "1001,1003,1005,1007,1009"
    assert any("2 apart" in note for note in stepped.notes)
    assert values_of(stepped, "flicker")
    beyond = shot.measure("1008-1012")
    assert beyond.frames == "1008-1009"
    assert any("1010–1012" in note for note in beyond.notes)
    with pytest.raises(NotFound):
        shot.measure("5000")


def review(shot, output, control=None, **settings) -> QcResult:
    values = QcSettings.from_values({"worst_frames": 3, "spread_frames": 2, **settings})
    return review_shot(
        shot.shot(), output, values, control or Watcher(), converter=shot.converter, examiner=shot.examiner
    )


class Page(HTMLParser):
    """What a browser would find: open elements, what is fetched, the figures of the table, the embedded report."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.scripts, self.cells = [], [], [], {}
        self._frame = self._measure = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.sources += [values[name] for name in ("src", "href", "data", "action") if name in values]
        assert not any(name.startswith("on") for name in values)
        if tag == "tr":
            self._frame = values.get("data-frame")
        if tag == "td":
            self._measure = values.get("data-m")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "td":
            self._measure = None

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        if self._frame and self._measure and self.open[-1] == "td":
            self.cells[int(self._frame), self._measure] = data


def test_page_and_file_say_the_same(make_shot, tmp_path):
    shot = make_shot(change=brighter(0.09, (1005,)))
    control = Watcher()
    result = review(shot, tmp_path / "report", control)
    assert (result.frames, result.flagged_frames, result.error_frames) == (9, 1, 0)
    assert (result.page, result.data) == (tmp_path / "report/swap.qc.html", tmp_path / "report/swap.qc.json")
    report = read_report(result.data)
    page = Page(result.page.read_text("utf-8"))
    assert page.open == []
    assert json.loads(page.scripts[0]) == json.loads(result.data.read_text("utf-8"))
    assert len(page.cells) > 9 * 15
    for (frame, measure), text in page.cells.items():
        assert float(text) == pytest.approx(
            values_of(report, measure)[frame], abs=0.51 * 10.0 ** -report.measure(measure).digits
        )
    assert {event.stage for event in control.progress()} == {"measure", "pictures"}
    done = [event for event in control.progress() if event.stage == "measure"]
    assert [event.done for event in done] == list(range(10))
    assert done[-1] == FrameProgress(done=9, total=9, frame=1009, faces=1, stage="measure")


def test_the_page_fetches_nothing(make_shot, tmp_path):
    result = review(make_shot(change=brighter(0.09, (1005,))), tmp_path)
    text = result.page.read_text("utf-8")
    sources = Page(text).sources
    assert len(sources) >= 9
    assert all(source.startswith(("data:image/jpeg;base64,", "#")) for source in sources)
    assert "://" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "@import" not in text
    assert result.page.stat().st_size < 1_500_000


def test_an_example_is_shown_for_what_it_is_an_example_of(make_shot, tmp_path):
    """Sharpness is low in all frames, worst in one; the page says there how to sharpen, not something else."""

    def soft(frame, light, matte):
        shown = np.cbrt(light) * np.float32(0.84 if frame == 1003 else 0.85)
        return cv2.GaussianBlur(shown, (0, 0), 2.4 if frame == 1005 else 1.6) ** 3

    shot = make_shot(change=soft)
    result = review(shot, tmp_path, worst_frames=9, min_grain=0.0, max_flicker=100.0)
    report = read_report(result.data)
    examples = {one.worst_frame: one.measure for one in report.findings if one.throughout}
    assert examples == {1003: "color", 1005: "sharpness"}
    text = result.page.read_text("utf-8")
    for frame, measure in examples.items():
        card = text.split(f'id="f{frame}"', 1)[1].split("</article>", 1)[0]
        assert report.measure(measure).change in html.unescape(card)


def test_hostile_names_are_text(make_shot, tmp_path):
    shot = make_shot(frames=(1001, 1002))
    report = shot.measure()
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    report = report.model_copy(update={"model": evil, "plate": evil, "notes": [evil], "source": evil})
    text = render_page(report, {}, {})
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    page = Page(text)
    assert page.open == []
    assert json.loads(page.scripts[0])["model"] == evil


def test_the_file_follows_its_schema(make_shot, tmp_path):
    result = review(make_shot(frames=(1001, 1002)), tmp_path / "qc.html")
    document = json.loads(result.data.read_text("utf-8"))
    schema = json_schema()
    assert (document["kind"], document["format"]) == ("dfl.qc", 1)
    assert set(document) == set(schema["properties"])
    assert {one["name"] for one in document["measures"]} >= set(document["figures"][0]["values"])
    for row in document["measures"]:
        assert row["meaning"].endswith(".")
        assert row["level"] == "info" or (row["change"] and (row["low"] is not None or row["high"] is not None))


def test_the_words_on_the_file_name_every_key_a_pipeline_needs(make_shot):
    report = make_shot(frames=(1001, 1002), change=brighter(0.5, (1001, 1002))).measure()
    document = json.loads(to_json(report))
    words = dflcore.qc.report.__doc__
    kept_from_pipelines = {"profile", "color_space", "model", "merge_settings"}
    figure, flag, finding = document["figures"][0], document["figures"][0]["flags"][0], document["findings"][0]
    for keys in (set(document) - kept_from_pipelines, set(figure), set(flag), set(finding)):
        assert all(re.search(rf"\b{key}\b", words) for key in keys), keys
    assert {row["unit"] for row in document["measures"]} == {"%", "deg", "px", ""}


def test_a_report_replaces_only_its_own_kind(make_shot, tmp_path):
    shot = make_shot(frames=(1001, 1002))
    output = tmp_path / "r.html"
    review(shot, output)
    review(shot, output)  # the same shot, measured again
    other = make_shot(frames=(1001, 1002), name="other")
    with pytest.raises(Conflict, match="no report of this result"):
        review(other, output)
    review(other, output, overwrite=True)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(Conflict):
        review(shot, tmp_path / "notes.html")
    assert not (tmp_path / "notes.html").exists()
    (tmp_path / "a file").write_text("x")
    with pytest.raises(InvalidInput):
        review(shot, tmp_path / "a file")


def test_a_report_lies_beside_the_version_it_is_of(make_shot, tmp_path):
    shot = make_shot(frames=(1001, 1002))
    out = Path(shot.result).parent
    for version in ("v001", "v002"):
        shutil.copytree(out, tmp_path / "cut" / version)
    named = Shot(result=str(tmp_path / "cut/{version}/swap.####.exr"), plate=shot.plate, target=shot.faceset)
    tools = {"converter": shot.converter, "examiner": shot.examiner}
    result = review_shot(named, tmp_path / "cut/{version}", QcSettings(), Watcher(), **tools)
    assert result.page == tmp_path / "cut/v002/swap.qc.html"
    assert read_report(result.data).result == str(tmp_path / "cut/v002/swap.####.exr")
    plain = Shot(result=shot.result, plate=shot.plate, target=shot.faceset)
    with pytest.raises(InvalidInput, match="asks for a version"):
        review_shot(plain, tmp_path / "cut/{version}", QcSettings(), Watcher(), **tools)


def test_names_of_the_files(tmp_path):
    assert report_files(tmp_path, "/o/shot_010.####.exr").page == tmp_path / "shot_010.qc.html"
    assert report_files(tmp_path / "a.json", "x").page == tmp_path / "a.html"


@pytest.mark.parametrize("stop_after", [0, 2, 11])
def test_a_stopped_review_writes_nothing(make_shot, tmp_path, stop_after):
    result = review(make_shot(), tmp_path / "r", Watcher(stop_after=stop_after))
    assert result.stopped is StopRequest.CANCEL
    assert not (tmp_path / "r").exists()
