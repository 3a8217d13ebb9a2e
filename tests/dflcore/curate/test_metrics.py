"""Measures are those of the definitions, taken once, and taken again when a picture changes."""

import os
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest

from dflcore.curate import metric_store
from dflcore.curate.metric_store import METRICS_NAME, MetricStore
from dflcore.curate.metrics import measure, measure_face, perceptual_hash
from dflcore.curate.sharpness import perceived_sharpness
from dflcore.curate.table import FaceTable
from dflcore.errors import Conflict, DataCorrupt, InvalidInput
from dflcore.geometry.landmarks import hull_mask
from dflcore.io.faceset import Faceset
from dflcore.progress import FrameProgress, StopRequest


class StopAfter:
    def __init__(self, questions: int) -> None:
        self.left = questions

    def emit(self, event: object) -> None:
        pass

    def stop_requested(self) -> StopRequest | None:
        self.left -= 1
        return StopRequest.PAUSE if self.left < 0 else None


def test_each_measure_is_the_one_defined(sixty_faces: Path) -> None:
    table = FaceTable.open(sixty_faces)
    with Faceset.open(sixty_faces) as faceset, MetricStore.open(sixty_faces) as store:
        for row in (0, 17, 59):
            name = table.names[row]
            image = faceset.read_image(name)
            mask = hull_mask(table.aligned_landmarks[row], 128, 128) >= 0.5
            masked = np.where(mask[..., None], image, 0).astype(np.uint8)
            gray = cv2.cvtColor(masked, cv2.COLOR_RGB2GRAY)
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            assert table.metric("blur")[row] == perceived_sharpness(gray)
            assert (
                table.metric("motion_blur")[row] == cv2.Laplacian(masked[..., ::-1].copy(), cv2.CV_64F, ksize=11).var()
            )
            assert table.metric("brightness")[row] == hsv[..., 2].mean()
            assert table.metric("hue")[row] == hsv[..., 0].mean()
            assert table.metric("black")[row] == (image == 0).sum()
            for kind, picture in (("gray_masked", gray), ("gray", cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))):
                wanted = cv2.calcHist([picture], [0], None, [256], [0, 256]).ravel()
                np.testing.assert_array_equal(store.histograms([name], kind)[0], wanted)  # type: ignore[arg-type]
            wanted = np.concatenate([cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in range(3)])
            np.testing.assert_array_equal(store.histograms([name], "color")[0], wanted)
            thumb = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
            np.testing.assert_array_equal(store.thumbs([name])[0], thumb.ravel())
            assert store.hashes([name])[0] == np.array(perceptual_hash(thumb)).view(np.uint64)


def test_a_second_run_has_nothing_to_do(few_faces: Path, recorder) -> None:
    first = measure(few_faces, recorder, threads=2)
    assert (first.faces, first.measured, first.kept, first.damaged, first.stopped) == (12, 12, 0, (), None)
    last = [event for event in recorder.events if isinstance(event, FrameProgress)][-1]
    assert (last.done, last.total) == (12, 12)
    second = measure(few_faces, recorder)
    assert (second.measured, second.kept) == (0, 12)
    assert measure(few_faces, recorder, again=True).measured == 12


def test_a_stopped_run_goes_on_where_it_left(few_faces: Path, recorder) -> None:
    stopped = measure(few_faces, StopAfter(4), threads=1)
    assert stopped.stopped is StopRequest.PAUSE
    assert 0 < stopped.measured < 12
    rest = measure(few_faces, recorder, threads=1)
    assert rest.measured == 12 - stopped.measured
    assert rest.stopped is None


def test_a_changed_picture_is_not_judged_by_its_old_measures(few_faces: Path, recorder) -> None:
    measure(few_faces, recorder, threads=1)
    name = FaceTable.open(few_faces).names[3]
    picture = np.full((128, 128, 3), 200, np.uint8)
    cv2.imwrite(str(few_faces / name), picture)
    table = FaceTable.open(few_faces)
    assert np.flatnonzero(~table.is_measured).tolist() == [3]
    with pytest.raises(InvalidInput, match=r"1 of 12 faces .*run `measure`") as caught:
        table.metric("brightness")
    assert caught.value.reason == "NOT_MEASURED"
    assert measure(few_faces, recorder, threads=1).measured == 1
    assert FaceTable.open(few_faces).metric("brightness")[3] == 200.0


def test_a_damaged_picture_is_reported_and_skipped(few_faces: Path, recorder) -> None:
    names = FaceTable.open(few_faces).names
    (few_faces / names[2]).write_bytes(b"\x89PNG broken")
    result = measure(few_faces, recorder, threads=2)
    assert result.damaged == (names[2],)
    assert result.measured == 11
    assert recorder.reasons() == ["FACE_DAMAGED"]
    table = FaceTable.open(few_faces)
    assert np.flatnonzero(np.isnan(table.metric("blur"))).tolist() == [2]
    assert measure(few_faces, recorder).kept == 12


def test_a_damaged_cache_is_made_anew(few_faces: Path, recorder) -> None:
    measure(few_faces, recorder, threads=1)
    (few_faces / METRICS_NAME).write_bytes(b"not a database at all" * 400)
    table = FaceTable.open(few_faces)
    assert not table.is_measured.any()
    assert measure(few_faces, recorder, threads=1).measured == 12
    assert "METRICS_REPLACED" in recorder.reasons()


def test_broken_histograms_name_the_file(few_faces: Path, recorder) -> None:
    measure(few_faces, recorder, threads=1)
    with sqlite3.connect(few_faces / METRICS_NAME) as database:
        database.execute("UPDATE histogram SET color = x'00'")
    database.close()
    table = FaceTable.open(few_faces)
    with pytest.raises(DataCorrupt, match=r"metrics\.sqlite.*run `measure`"):
        table.histograms("color", np.arange(2))


def test_reading_goes_on_while_another_writes(few_faces: Path, recorder) -> None:
    measure(few_faces, recorder, threads=1)
    with MetricStore.open(few_faces) as reader, MetricStore.open(few_faces, create=True) as writer:
        name = FaceTable.open(few_faces).names[0]
        before = reader.stamps()
        image = np.full((128, 128, 3), 7, np.uint8)
        points = FaceTable.open(few_faces).aligned_landmarks[0]
        writer.put([(name, (1, 2), measure_face(image, points))])
        assert reader.stamps() == {**before, name: (1, 2)}


def test_a_held_cache_is_a_conflict(few_faces: Path, recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(few_faces, recorder, threads=1)
    monkeypatch.setattr(metric_store, "BUSY_TIMEOUT_S", 0.05)
    holder = sqlite3.connect(few_faces / METRICS_NAME, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(Conflict, match="in use"):
            measure(few_faces, recorder, again=True)
    finally:
        holder.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_says_so(few_faces: Path, recorder) -> None:
    few_faces.chmod(0o500)
    try:
        with pytest.raises(InvalidInput) as caught:
            measure(few_faces, recorder)
        assert caught.value.reason == "NOT_WRITABLE"
    finally:
        few_faces.chmod(0o700)
