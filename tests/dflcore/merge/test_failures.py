"""Frames that fail: tried again, named, and no reason for the others not to be done."""

import errno

import numpy as np
import pytest

from dflcore.errors import DataCorrupt, Internal, InvalidInput, ResourceExhausted
from dflcore.io.exr import is_valid_exr, read_exr_layers
from dflcore.merge import failures, rendering
from dflcore.merge.provenance import read_manifest
from dflcore.progress import FrameProgress, Notice


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(failures, "RETRY_PAUSE_S", 0.0)


def frames_in(shot, folder="out"):
    return sorted(int(path.name.split(".")[1]) for path in (shot.folder / folder).glob("swap.*.exr"))


def notices(control, reason):
    return [event for event in control.events if isinstance(event, Notice) and event.reason == reason]


class Flaky:
    """A plate whose frames fail so many times before they can be read."""

    def __init__(self, plate, failing, after=None):
        self._plate, self._failing, self._after = plate, dict(failing), after or {}
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._plate, name)

    def read(self, frame):
        self.asked.append(frame)
        if self._failing.get(frame, 0) > 0:
            self._failing[frame] -= 1
            self._after.get(frame, lambda: None)()
            raise DataCorrupt(f"shot.{frame}.exr cannot be read.", reason="FRAME_CORRUPT", frame=frame)
        return self._plate.read(frame)


def test_a_frame_that_can_be_read_at_the_second_attempt_is_merged_and_told(make_shot):
    shot = make_shot()
    plate = Flaky(shot.plate(), {1002: 1})
    result, control = shot.merge(plate=plate)
    assert result.frames_written == 3
    (notice,) = notices(control, "FRAME_RETRIED")
    assert notice.details == {"frame": "1002"}
    assert notice.severity == "info"
    assert shot.merge()[0].frames_kept == 3


def test_a_frame_that_was_still_being_rendered_is_kept_by_the_next_run(make_shot):
    """Its key is that of the file that was read, not of the half one the merge was planned with."""
    shot = make_shot()
    path = shot.folder / "plate/shot.1002.exr"
    whole = path.read_bytes()
    path.write_bytes(whole[:3000])
    plate = Flaky(shot.plate(), {1002: 1}, {1002: lambda: path.write_bytes(whole)})
    assert shot.merge(plate=plate)[0].frames_written == 3
    assert shot.merge()[0].frames_kept == 3


def test_the_others_are_done_and_the_error_names_those_that_failed(make_shot):
    shot = make_shot(frames=tuple(range(1001, 1009)))
    for frame in (1003, 1004, 1007):
        (shot.folder / f"plate/shot.{frame}.exr").write_bytes(b"")
    control_of = []

    class Keep:
        def emit(self, event):
            control_of.append(event)

        def stop_requested(self):
            return None

    with pytest.raises(
        DataCorrupt, match=r"3 frames could not be merged: 1003-1004,1007; the others are done"
    ) as caught:
        shot.merge(control=Keep())
    assert caught.value.details["frame"] == "1003-1004,1007"
    assert caught.value.reason == "FRAME_CORRUPT"
    assert "shot.1003.exr" in caught.value.message
    assert frames_in(shot) == [1001, 1002, 1005, 1006, 1008]
    told = [event for event in control_of if isinstance(event, Notice) and event.reason == "FRAME_FAILED"]
    assert [event.details["frame"] for event in told] == ["1003", "1004", "1007"]
    assert [event.frame for event in control_of if isinstance(event, FrameProgress)][-1] == 1008
    for frame in (1003, 1004, 1007):
        source = shot.folder / "plate/shot.1001.exr"
        (shot.folder / f"plate/shot.{frame}.exr").write_bytes(source.read_bytes())
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (3, 5)


def test_frames_that_stay_broken_are_waited_for_three_times_only(make_shot, monkeypatch):
    pauses = []
    monkeypatch.setattr(failures.time, "sleep", pauses.append)
    shot = make_shot(frames=tuple(range(1001, 1009)))
    plate = Flaky(shot.plate(), dict.fromkeys(range(1002, 1009), 2))
    with pytest.raises(DataCorrupt, match="1002-1008"):
        shot.merge(plate=plate)
    assert len(pauses) == failures.MAX_PAUSES_IN_ROW
    assert plate.asked == [1001, *(frame for frame in range(1002, 1009) for _ in "ab")]


def test_an_unforeseen_error_is_given_a_second_chance(make_shot, fake_swapper):
    class Once(fake_swapper):
        failed = False

        def swap(self, target):
            if not Once.failed:
                Once.failed = True
                raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
            return super().swap(target)

    plain = make_shot()
    plain.merge("plain/swap.####.exr", swapper=fake_swapper(tint=(1.0, 0.6, 0.6)))
    shot = make_shot()
    result, control = shot.merge(swapper=Once(tint=(1.0, 0.6, 0.6)))
    assert result.frames_written == 3
    (notice,) = notices(control, "FRAME_RETRIED")
    assert "CUDNN_STATUS_EXECUTION_FAILED" in notice.message
    one, other = (read_exr_layers(shot.folder / f"{name}/swap.1001.exr") for name in ("plain", "out"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def failing_swapper(fake_swapper, bad):
    class Failing(fake_swapper):
        """Fails on the n-th frame, as often as it is asked."""

        def __init__(self):
            super().__init__()
            self.position, self.attempts = 0, 0

        def swap(self, target):
            if self.position in bad:
                self.attempts += 1
                if self.attempts % 2 == 0:
                    self.position += 1
                raise RuntimeError("degenerate face")
            self.position += 1
            return super().swap(target)

    return Failing()


def test_a_frame_that_cannot_be_computed_costs_only_itself(make_shot, fake_swapper):
    shot = make_shot(frames=tuple(range(1001, 1006)))
    with pytest.raises(Internal, match=r"Frame 1003 cannot be merged \(RuntimeError: degenerate face\)") as caught:
        shot.merge(swapper=failing_swapper(fake_swapper, {2}))
    assert caught.value.details["frame"] == "1003"
    assert frames_in(shot) == [1001, 1002, 1004, 1005]


def test_when_nothing_can_be_computed_the_merge_gives_up_soon(make_shot, fake_swapper):
    shot = make_shot(frames=tuple(range(1001, 1021)))
    swapper = failing_swapper(fake_swapper, set(range(20)))
    with pytest.raises(RuntimeError, match="degenerate face"):
        shot.merge(swapper=swapper)
    assert swapper.attempts == 2 * failures.MAX_FAILED_IN_ROW
    assert frames_in(shot) == []


def test_memory_that_runs_out_twice_ends_the_merge(make_shot, fake_swapper):
    class Large(fake_swapper):
        asked = 0

        def swap(self, target):
            Large.asked += 1
            raise MemoryError

    with pytest.raises(MemoryError):
        make_shot().merge(swapper=Large())
    assert Large.asked == 2


def test_a_file_that_cannot_be_written_once_is_written_again(make_shot, monkeypatch):
    shot = make_shot()
    real, tries = rendering.write_exr, []

    def stale(path, **arguments):
        tries.append(path.name)
        if tries.count("swap.1002.exr") == 1 and path.name == "swap.1002.exr":
            raise OSError(errno.ESTALE, "Stale file handle")
        real(path, **arguments)

    monkeypatch.setattr(rendering, "write_exr", stale)
    result, control = shot.merge()
    assert result.frames_written == 3
    assert len(notices(control, "FRAME_RETRIED")) == 1
    assert all(is_valid_exr(path) for path in (shot.folder / "out").glob("swap.*.exr"))


@pytest.mark.parametrize(
    ("error", "kind", "tries"),
    [
        (ResourceExhausted("The disk is full.", reason="DISK_FULL"), ResourceExhausted, 1),
        (InvalidInput("Choose a folder you may write to.", reason="NOT_WRITABLE"), InvalidInput, 1),
        (InvalidInput("Check the disk.", reason="CANNOT_WRITE"), InvalidInput, 2),
    ],
)
def test_what_no_frame_can_be_blamed_for_ends_the_merge_at_once(make_shot, monkeypatch, error, kind, tries):
    shot = make_shot(frames=tuple(range(1001, 1011)))
    real, asked = rendering.write_exr, []

    def full(path, **arguments):
        if "1002" in path.name:
            asked.append(path)
            raise error
        real(path, **arguments)

    monkeypatch.setattr(rendering, "write_exr", full)
    with pytest.raises(kind) as caught:
        shot.merge()
    assert caught.value is error
    assert len(asked) == tries
    assert frames_in(shot) == [1001]
    assert not list((shot.folder / "out").glob(".*partial*"))
    monkeypatch.setattr(rendering, "write_exr", real)
    result, _ = shot.merge()
    assert (result.frames_written, result.frames_kept) == (9, 1)
    assert not read_manifest(shot.folder / "out/swap.provenance.json").unfinished


def test_a_damaged_frame_lends_nothing_to_those_around_it(make_shot):
    shot = make_shot(frames=tuple(range(1001, 1006)))
    (shot.folder / "plate/shot.1003.exr").write_bytes(b"")
    with pytest.raises(DataCorrupt, match=r"shot\.1003\.exr"):
        shot.merge(smooth_colors=1)
    assert frames_in(shot) == [1001, 1002, 1004, 1005]
