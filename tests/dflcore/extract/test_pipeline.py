import shutil
import threading

import cv2
import numpy as np
import pytest

from dflcore.color.ocio import ColorConverter
from dflcore.config.extract import ExtractSettings
from dflcore.errors import Conflict, InvalidInput
from dflcore.extract.corrections import Correction, Placement
from dflcore.extract.cut import FaceCutter
from dflcore.extract.look import Looker, Networks
from dflcore.extract.pipeline import extract_faces
from dflcore.extract.plan import PlannedFace
from dflcore.extract.sightings import SightingStore
from dflcore.geometry import affine
from dflcore.identity.base import identity_distance
from dflcore.io.faceset import Faceset
from dflcore.io.open_plate import open_plate
from dflcore.io.plate import PlateImage, Window
from dflcore.progress import FrameProgress, Notice, StopRequest
from dflcore.types import Box, FaceType, Origin
from dflcore.weights.store import WeightStore


class Watcher:
    """Collects events; asks for a stop after some frames of a stage."""

    def __init__(self, stop_after=None, stage="cut"):
        self.events, self.stop_after, self.stage = [], stop_after, stage

    def emit(self, event):
        self.events.append(event)

    def stop_requested(self):
        is_time = self.stop_after is not None and len(self.frames(self.stage)) >= self.stop_after
        return StopRequest.PAUSE if is_time else None

    def frames(self, stage):
        """Frames that were really looked at, or cut."""
        return [
            e.frame for e in self.events if isinstance(e, FrameProgress) and e.frame is not None and e.stage == stage
        ]

    def reasons(self):
        return [e.reason for e in self.events if isinstance(e, Notice)]


@pytest.fixture(scope="module")
def store():
    return WeightStore()


@pytest.fixture
def shot(tmp_path, astronaut):
    """Four frames of a portrait, the third without a face."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for number in range(1001, 1005):
        moved = np.roll(astronaut, (number - 1001) * 3, axis=1)
        pixels = np.full_like(moved, 90) if number == 1003 else moved
        cv2.imwrite(str(folder / f"shot.{number}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return str(folder / "shot.####.png")


SETTINGS = ExtractSettings(aligned_size=128, compute_identity=False, detect_batch=1)
RESOLVED = {"detector": "dlib_hog", "landmarker": "dlib68", "detect_size": 960, "landmark_looks": 5}


def test_a_shot_becomes_a_faceset(shot, tmp_path, store):
    watcher = Watcher()
    settings = ExtractSettings(aligned_size=128, authorization_person="Eileen Collins")
    result = extract_faces(open_plate(shot), tmp_path / "faces", settings, watcher, store=store)
    assert (result.frames, result.frames_with_faces, result.faces, result.stopped) == (4, 3, 3, None)
    assert watcher.frames("look") == watcher.frames("cut") == [1001, 1002, 1003, 1004]
    assert [e for e in watcher.events if isinstance(e, FrameProgress)][-1] == FrameProgress(
        done=4, total=4, frame=1004, path=str(tmp_path / "faces" / "shot_001004_0.png"), faces=1, stage="cut"
    )
    assert watcher.reasons().count("NO_FACE_IN_FRAME") == 1
    assert any(reason.startswith("COLOR_SPACE") for reason in watcher.reasons())
    with Faceset.open(tmp_path / "faces") as faceset:
        assert faceset.names == [f"shot_00{n}_0.png" for n in (1001, 1002, 1004)]
        assert faceset.info.authorization.person == "Eileen Collins"
        assert faceset.info.settings["detector"] == "dlib_hog"
        first, second, _ = faceset.records()
        assert second.landmarks.points.mean(0) - first.landmarks.points.mean(0) == pytest.approx([3, 0], abs=1.0)
        assert abs(first.pose.yaw) < 0.4
        assert first.sharpness > 1e-4
        assert identity_distance(first.identity, second.identity) < 0.3
        inside = affine.apply(first.aligned_from_plate, first.landmarks.points)
        assert inside.min() > 0
        assert inside.max() < 128


def test_the_aligned_face_is_what_the_plate_shows(shot, tmp_path, store, astronaut):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    with Faceset.open(tmp_path / "faces") as faceset:
        record = faceset.record("shot_001001_0.png")
        aligned = faceset.read_image(record.name)
    plate_from_aligned = affine.invert(record.aligned_from_plate)
    for point in ([40.5, 60.5], [64.5, 64.5], [90.5, 100.5]):
        x, y = affine.apply(plate_from_aligned, point) - 0.5
        expected = cv2.getRectSubPix(astronaut, (1, 1), (float(x), float(y)))[0, 0].astype(float)
        assert np.abs(aligned[int(point[1]), int(point[0])] - expected).max() < 40
    smooth = cv2.warpAffine(
        astronaut,
        affine.compose(affine.shift(-0.5, -0.5), affine.compose(plate_from_aligned, affine.shift(0.5, 0.5))),
        (128, 128),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    assert np.abs(aligned.astype(float) - smooth).mean() < 4.0


def test_stop_and_go_on(shot, tmp_path, store):
    stop = Watcher(stop_after=2, stage="look")
    first = extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, stop, store=store)
    assert first.stopped is StopRequest.PAUSE
    assert (first.frames, first.faces) == (2, 0)
    stop = Watcher(stop_after=1, stage="cut")
    second = extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, stop, store=store)
    assert stop.frames("look") == [1003, 1004]
    assert (second.stopped, second.faces) == (StopRequest.PAUSE, 1)
    watcher = Watcher()
    third = extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, watcher, store=store)
    assert watcher.frames("look") == []
    assert watcher.frames("cut") == [1002, 1003, 1004]
    assert (third.frames, third.faces, third.stopped) == (4, 3, None)
    again = Watcher()
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, again, store=store)
    assert again.frames("look") == again.frames("cut") == []


def test_a_face_deleted_by_hand_stays_deleted_until_it_is_asked_for(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    image = tmp_path / "faces" / "shot_001002_0.png"
    pixels = image.read_bytes()
    image.unlink()
    other = SETTINGS.model_copy(update={"smoothing_radius": 1})
    for settings in (SETTINGS, other, SETTINGS):
        result = extract_faces(open_plate(shot), tmp_path / "faces", settings, Watcher(), store=store)
        assert result.faces == 2
        assert not image.exists()
    restore = SETTINGS.model_copy(update={"restore_deleted": True})
    watcher = Watcher()
    result = extract_faces(open_plate(shot), tmp_path / "faces", restore, watcher, store=store)
    assert (result.faces, watcher.frames("look"), watcher.frames("cut")) == (3, [], [1002])
    assert image.read_bytes() == pixels


def test_other_settings_repeat_only_what_they_concern(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    cheap = SETTINGS.model_copy(update={"aligned_format": "jpeg", "jpeg_quality": 90})
    watcher = Watcher()
    extract_faces(open_plate(shot), tmp_path / "faces", cheap, watcher, store=store)
    assert watcher.frames("look") == []
    assert sorted(path.suffix for path in (tmp_path / "faces").glob("shot_*")) == [".jpg"] * 3
    other = SETTINGS.model_copy(update={"detect_size": 500})
    extract_faces(open_plate(shot), tmp_path / "faces", other, Watcher(stop_after=1, stage="look"), store=store)
    watcher = Watcher()
    extract_faces(open_plate(shot), tmp_path / "faces", other, watcher, store=store)
    assert watcher.frames("look") == [1002, 1003, 1004]
    last = Watcher()
    extract_faces(open_plate(shot), tmp_path / "faces", other, last, store=store)
    assert last.frames("look") == last.frames("cut") == []


def test_going_back_after_an_interrupted_run_with_other_settings_leaves_no_mixture(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    other = SETTINGS.model_copy(update={"detect_size": 500})
    stop = Watcher(stop_after=2, stage="look")
    extract_faces(open_plate(shot), tmp_path / "faces", other, stop, store=store)
    watcher = Watcher()
    result = extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, watcher, store=store)
    assert watcher.frames("look") == [1001, 1002]
    assert (result.frames, result.faces) == (4, 3)
    extract_faces(open_plate(shot), tmp_path / "fresh", SETTINGS, Watcher(), store=store)
    with Faceset.open(tmp_path / "faces") as faceset, Faceset.open(tmp_path / "fresh") as fresh:
        assert faceset.names == fresh.names
        for name in fresh.names:
            np.testing.assert_array_equal(faceset.record(name).landmarks.points, fresh.record(name).landmarks.points)
            np.testing.assert_array_equal(faceset.read_image(name), fresh.read_image(name))


def test_a_frame_that_changed_is_done_again(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    shutil.copyfile(tmp_path / "plate" / "shot.1001.png", tmp_path / "plate" / "shot.1003.png")
    watcher = Watcher()
    result = extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, watcher, store=store)
    assert watcher.frames("look") == [1003]
    assert result.faces == 4


def test_a_plate_of_another_size_is_done_again_and_carries_it(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    for path in (tmp_path / "plate").iterdir():
        cv2.imwrite(str(path), cv2.copyMakeBorder(cv2.imread(str(path)), 0, 40, 0, 60, cv2.BORDER_REPLICATE))
    plate, watcher = open_plate(shot), Watcher()
    extract_faces(plate, tmp_path / "faces", SETTINGS, Watcher(stop_after=1), store=store)
    with Faceset.open(tmp_path / "faces") as faceset:  # a frame not done yet still says which size it was made from
        sizes = [record.plate_size for record in faceset.records()]
    assert sizes[0] == plate.size
    assert sizes[1] == (plate.size[0] - 60, plate.size[1] - 40)
    extract_faces(plate, tmp_path / "faces", SETTINGS, watcher, store=store)
    assert watcher.frames("cut") == [1002, 1003, 1004]
    with Faceset.open(tmp_path / "faces") as faceset:
        assert {record.plate_size for record in faceset.records()} == {plate.size}


def test_faces_that_are_found_no_more_disappear(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    pickier = SETTINGS.model_copy(update={"min_face_size": 4000})
    with pytest.raises(InvalidInput):
        extract_faces(open_plate(shot), tmp_path / "faces", pickier, Watcher(), store=store)
    assert list((tmp_path / "faces").glob("*.png")) == []


def test_two_plates_of_one_name_share_a_faceset(shot, tmp_path, store):
    shutil.copytree(tmp_path / "plate", tmp_path / "other")
    for folder in ("plate", "other"):
        plate = open_plate(str(tmp_path / folder / "shot.####.png"))
        extract_faces(plate, tmp_path / "faces", SETTINGS, Watcher(), store=store)
    with Faceset.open(tmp_path / "faces") as faceset:
        assert len(faceset) == 6
        assert len(faceset.info.plates) == 2


def test_no_face_at_all_says_what_to_try(tmp_path, store):
    cv2.imwrite(str(tmp_path / "grey.0001.png"), np.full((300, 400, 3), 128, np.uint8))
    with pytest.raises(InvalidInput) as caught:
        extract_faces(open_plate(str(tmp_path / "grey.####.png")), tmp_path / "f", SETTINGS, Watcher(), store=store)
    assert caught.value.reason == "NO_FACE_FOUND"
    for word in ("colour space", "detect_size", "min_score", "another detector"):
        assert word in caught.value.message


def test_many_empty_frames_are_summed_up(tmp_path, store, astronaut):
    for number in range(1, 9):
        pixels = astronaut if number == 1 else np.full((64, 64, 3), 9, np.uint8)
        pixels = cv2.resize(pixels, (256, 256))
        cv2.imwrite(str(tmp_path / f"s.{number:04d}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    watcher = Watcher()
    extract_faces(open_plate(str(tmp_path / "s.####.png")), tmp_path / "f", SETTINGS, watcher, store=store)
    assert watcher.reasons().count("NO_FACE_IN_FRAME") == 1
    assert "2-8" in [e for e in watcher.events if isinstance(e, Notice)][-1].message


def test_another_face_type_is_a_conflict(shot, tmp_path, store):
    extract_faces(open_plate(shot), tmp_path / "faces", SETTINGS, Watcher(), store=store)
    for change in ({"face_type": FaceType.WHOLE}, {"aligned_size": 256}):
        other = SETTINGS.model_copy(update=change)
        with pytest.raises(Conflict):
            extract_faces(open_plate(shot), tmp_path / "faces", other, Watcher(), store=store)


def test_files_are_read_in_another_thread(shot, tmp_path, store):
    plate, readers = open_plate(shot), set()
    read = plate.read

    def watched(frame):
        readers.add(threading.current_thread())
        return read(frame)

    plate.read = watched
    extract_faces(plate, tmp_path / "faces", SETTINGS, Watcher(), store=store)
    assert {thread.name for thread in readers} == {"dfl-read_0"}
    assert threading.main_thread() not in readers


def frame(pixels, *, space, data=(0, 0), display=None, aspect=1.0, tmp_path):
    height, width = pixels.shape[:2]
    display = display or (width, height)
    return PlateImage(
        frame=7,
        pixels=pixels,
        channel_names=("R", "G", "B"),
        data_window=Window(x=data[0], y=data[1], width=width, height=height),
        display_window=Window(x=0, y=0, width=display[0], height=display[1]),
        pixel_aspect=aspect,
        color_space=space,
        source_path=tmp_path / "x.exr",
    )


class Described:
    """The little of a plate that a cutter asks for."""

    name = "x"

    def __init__(self, size):
        self.size = size


def nothing_recalled(track_id, frame):
    return None


def test_linear_light_overscan_and_wide_pixels_find_the_same_face(astronaut, tmp_path, store):
    converter = ColorConverter()
    settings = SETTINGS.model_copy(update=RESOLVED)
    looker = Looker(Networks.create(settings, store, "cpu"), settings, converter)

    def find(image):
        plate = Described((image.display_window.width, image.display_window.height))
        (look,) = looker.look([image], [()])
        cutter = FaceCutter(plate, settings, converter, "x", nothing_recalled)
        ((record, aligned),) = cutter.cut(image, [PlannedFace(look.sightings[0], 1, 1)])
        return record, aligned.astype(float) * 255.0

    coded = astronaut.astype(np.float32) / 255.0
    plain, picture = find(frame(coded, space="srgb_tx", tmp_path=tmp_path))
    eye = np.linalg.norm(plain.landmarks.points[36] - plain.landmarks.points[45])

    linear = converter.from_network(coded, "ACEScg") + np.float32(0.0)
    linear[400:, :40] = 60.0
    record, other = find(frame(linear, space="ACEScg", tmp_path=tmp_path))
    assert np.abs(record.landmarks.points - plain.landmarks.points).max() < 0.02 * eye
    assert np.abs(other - picture).mean() < 2.0

    overscan = frame(coded, space="srgb_tx", data=(-30, -20), display=(450, 470), tmp_path=tmp_path)
    record, other = find(overscan)
    np.testing.assert_allclose(record.landmarks.points, plain.landmarks.points - [30, 20], atol=0.5)
    assert np.abs(other - picture).mean() < 2.0

    squeezed = cv2.resize(coded, (256, 512), interpolation=cv2.INTER_AREA)
    record, other = find(frame(squeezed, space="srgb_tx", aspect=2.0, tmp_path=tmp_path))
    stretched = record.landmarks.points * [2.0, 1.0]
    assert np.abs(stretched - plain.landmarks.points).mean() < 0.05 * eye
    assert np.abs(other - picture).mean() < 12.0


def test_a_missed_face_is_filled_in_and_marked_but_not_where_it_is_gone(tmp_path, store, astronaut):
    """Frame 3 hides the features from the detector but still looks like the face; frame 5 shows none."""
    folder = tmp_path / "plate"
    folder.mkdir()
    for number in range(1, 8):
        pixels = np.roll(astronaut, number * 2, axis=1)
        if number == 3:
            pixels = cv2.GaussianBlur(pixels, (0, 0), 7.0)
        if number == 5:
            pixels = np.random.default_rng(5).integers(0, 255, pixels.shape, dtype=np.uint8)
        cv2.imwrite(str(folder / f"a.{number:04d}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    plate = str(folder / "a.####.png")
    watcher = Watcher()
    result = extract_faces(open_plate(plate), tmp_path / "faces", SETTINGS, watcher, store=store)
    with SightingStore.open(tmp_path / "faces") as sightings:
        settings = SETTINGS.model_copy(update={**RESOLVED, "input_colorspace": open_plate(plate).color_space})
        looks = sightings.looks(open_plate(plate).name, settings.look_digest())
    assert [len(look.sightings) for look in looks] == [1, 1, 0, 1, 0, 1, 1]
    assert (result.faces, result.interpolated_faces, result.tracks) == (6, 1, 1)
    with Faceset.open(tmp_path / "faces") as faceset:
        records = {record.frame: record for record in faceset.records()}
    assert records[3].origin is Origin.INTERPOLATED
    assert records[3].spread is None
    expected = (records[2].landmarks.points + records[4].landmarks.points) / 2
    assert np.abs(records[3].landmarks.points - expected).max() < 1.5
    assert {records[frame].origin for frame in (1, 2, 4, 6, 7)} == {Origin.DETECTED}
    assert "Frame 5 shows no face." in [e.message for e in watcher.events if isinstance(e, Notice)]


def test_corrections_are_acted_on_in_their_frames_only(shot, tmp_path, store):
    settings = SETTINGS.model_copy(update={"smoothing_radius": 0, "compute_identity": True})
    faces = tmp_path / "faces"
    extract_faces(open_plate(shot), faces, settings, Watcher(), store=store)
    with Faceset.open(faces) as faceset:
        before = {record.frame: record for record in faceset.records()}
    by_hand = before[1001].landmarks.points + np.float32(2.0)
    name = open_plate(shot).name
    with SightingStore.open(faces) as sightings:
        sightings.correct(
            name,
            [
                Correction(frame=1001, points=tuple((float(x), float(y)) for x, y in by_hand)),
                Correction(frame=1002, box=before[1002].box, remove=True),
                Correction(frame=1003, placement=Placement((200.0, 200.0), 90.0, 0.1)),
                Correction(frame=1004, box=before[1004].box),
            ],
        )
    watcher = Watcher()
    result = extract_faces(open_plate(shot), faces, settings, watcher, store=store)
    assert watcher.frames("look") == [1001, 1002, 1003, 1004]
    assert result.faces == 3
    with Faceset.open(faces) as faceset:
        after = {record.frame: record for record in faceset.records()}
    np.testing.assert_allclose(after[1001].landmarks.points, by_hand, atol=1e-3)
    assert 1002 not in after
    assert after[1003].landmarker == "manual"
    assert {after[frame].origin for frame in (1001, 1003, 1004)} == {Origin.MANUAL}
    assert np.abs(after[1004].landmarks.points - before[1004].landmarks.points).max() < 2.0
    with SightingStore.open(faces) as sightings:
        sightings.forget_corrections(name, [1001, 1002, 1003, 1004])
    again = extract_faces(open_plate(shot), faces, settings, Watcher(), store=store)
    with Faceset.open(faces) as faceset:
        back = {record.frame: record for record in faceset.records()}
    assert again.faces == 3
    np.testing.assert_array_equal(back[1001].landmarks.points, before[1001].landmarks.points)


def test_a_face_set_by_hand_outside_the_picture_is_refused(shot, tmp_path, store):
    faces = tmp_path / "faces"
    faces.mkdir()
    with SightingStore.open(faces) as sightings:
        sightings.correct(open_plate(shot).name, [Correction(frame=1001, box=Box(900, 0, 990, 90))])
    with pytest.raises(InvalidInput, match="frame 1001 lies outside the picture"):
        extract_faces(open_plate(shot), faces, SETTINGS, Watcher(), store=store)


@pytest.fixture
def two_people(tmp_path, astronaut, hopper):
    """Three frames with two people side by side, the second frame with only the first of them."""
    folder = tmp_path / "two"
    folder.mkdir()
    for number in range(1, 4):
        left = np.roll(astronaut[:400, :400], number * 2, axis=1)
        right = np.full((400, 400, 3), 90, np.uint8) if number == 2 else hopper[:400, 60:460]
        pixels = np.hstack([left, right])
        cv2.imwrite(str(folder / f"two.{number:04d}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "wanted.png"), cv2.cvtColor(hopper[:400, 60:460], cv2.COLOR_RGB2BGR))
    return str(folder / "two.####.png")


def test_several_people_become_several_facesets_in_one_pass(two_people, tmp_path, store):
    settings = ExtractSettings(aligned_size=128, people="separate", max_gap=0)
    result = extract_faces(open_plate(two_people), tmp_path / "cast", settings, Watcher(), store=store)
    assert (result.faces, result.people, result.tracks) == (5, 2, 2)
    folders = sorted(path.name for path in (tmp_path / "cast").iterdir() if path.is_dir())
    assert folders == ["person_01", "person_02"]
    counts = []
    for folder in folders:
        with Faceset.open(tmp_path / "cast" / folder) as faceset:
            records = list(faceset.records())
            counts.append(len(records))
            distances = [identity_distance(a.identity, records[0].identity) for a in records]
            assert max(distances) < 0.4
    assert sorted(counts) == [2, 3]
    with pytest.raises(Conflict, match="several people"):
        extract_faces(open_plate(two_people), tmp_path / "cast", SETTINGS, Watcher(), store=store)


def test_the_permission_of_one_person_is_not_written_for_several(two_people, tmp_path, store):
    settings = ExtractSettings(people="separate", authorization_person="Grace Hopper")
    with pytest.raises(InvalidInput, match="keep_person"):
        extract_faces(open_plate(two_people), tmp_path / "cast", settings, Watcher(), store=store)


def test_only_the_person_of_a_picture_is_kept(two_people, tmp_path, store):
    settings = ExtractSettings(aligned_size=128, keep_person=str(tmp_path / "wanted.png"), max_gap=0)
    result = extract_faces(open_plate(two_people), tmp_path / "one", settings, Watcher(), store=store)
    assert (result.faces, result.people) == (2, 1)
    with Faceset.open(tmp_path / "one") as faceset:
        assert [record.frame for record in faceset.records()] == [1, 3]
        assert all(record.box.left > 380 for record in faceset.records())
        (track_id,) = {record.track_id for record in faceset.records()}
    settings = ExtractSettings(aligned_size=128, keep_tracks=str(track_id), max_gap=0)
    result = extract_faces(open_plate(two_people), tmp_path / "track", settings, Watcher(), store=store)
    assert result.faces == 2
    settings = ExtractSettings(aligned_size=128, keep_tracks="99", max_gap=0)
    with pytest.raises(InvalidInput, match="no track 99; tracks here are"):
        extract_faces(open_plate(two_people), tmp_path / "track", settings, Watcher(), store=store)


@pytest.mark.footage
def test_footage(material, tmp_path, store):
    from dflcore.frames import FrameRange

    plate = open_plate(str(material / "footage" / "target_talk.mp4"), frames=FrameRange.parse("1-6"))
    result = extract_faces(plate, tmp_path / "faces", SETTINGS, Watcher(), store=store)
    assert (result.frames, result.faces) == (6, 6)
