import pytest

from dflcore.config.qc import QcSettings
from dflcore.qc.flagging import (
    Flagger,
    faces_of,
    find_runs,
    frames_to_show,
    mark_throughout,
    order_frames,
    summarise,
    untouched_faces,
)
from dflcore.qc.shot import MeasuredFace, MeasuredFrame

SETTINGS = QcSettings()


def shot(**series):
    """Frames from 1001 on with one face; values by measure."""
    length = max(map(len, series.values()))
    frames = []
    for index in range(length):
        values = {name: values[index] for name, values in series.items() if index < len(values)}
        face = MeasuredFace(label="track 0", track=0, name="f", values=values)
        frames.append(MeasuredFrame(frame=1001 + index, faces=[face]))
    return frames


def figures(frames, **settings):
    flagger = Flagger(QcSettings.from_values(settings), frames)
    return mark_throughout([flagger.figures(frame) for frame in frames])


def flagged(found, measure):
    return [frame.frame for frame in found for flag in frame.flags if flag.measure == measure]


@pytest.mark.parametrize(("value", "severity"), [(0.5, None), (0.75, 1.5), (50.0, 10.0)])
def test_severity_counts_from_the_limit(value, severity):
    flags = figures(shot(flicker=[value]))[0].flags
    assert [flag.severity for flag in flags] == ([] if severity is None else [severity])
    assert all(flag.limit == SETTINGS.max_flicker for flag in flags)


def test_a_value_within_its_limit_may_still_be_unusual():
    found = figures(shot(landmark_error=[2.0] * 9 + [8.0]))
    assert flagged(found, "landmark_error") == [1010]
    (flag,) = found[-1].flags
    assert (flag.limit, flag.usual) == (None, 2.0)
    assert flagged(figures(shot(landmark_error=[2.0] * 3 + [8.0])), "landmark_error") == [], "too few to know"


def test_runs_are_one_finding_each_and_errors_come_first():
    frames = shot(flicker=[0.1, 0.9, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.7])
    frames[4].values["outside_px"] = 3.0
    found = find_runs(figures(frames))
    assert [(one.measure, one.frames, one.worst_frame) for one in found] == [
        ("outside_px", "1005", 1005), ("flicker", "1002-1003", 1002), ("flicker", "1010", 1010),
    ]  # fmt: skip
    assert order_frames(figures(frames), found) == [1005, 1002, 1003, 1010]


def test_what_runs_through_the_shot_is_one_remark():
    frames = shot(sharpness=[0.2] * 5 + [0.5] + [0.2] * 6, flicker=[0.0] * 7 + [0.9] + [0.0] * 4)
    found = figures(frames)
    findings = find_runs(found)
    (sharpness,) = [one for one in findings if one.measure == "sharpness"]
    assert sharpness.throughout
    assert (sharpness.frames, sharpness.count) == ("1001-1005,1007-1012", 11)
    assert order_frames(found, findings) == [1008, sharpness.worst_frame]
    assert [flag.measure for flag in found[7].flags] == ["flicker", "sharpness"], "its own fault comes first"


def test_much_worse_than_the_rest_stands_out():
    found = figures(shot(seam=[2.2] * 9 + [6.0]))
    assert [frame.frame for frame in found for flag in frame.flags if not flag.throughout] == [1010]


def test_errors_are_never_only_a_remark():
    frames = shot(flicker=[0.0] * 10)
    for frame in frames:
        frame.values["outside_px"] = 1.0
    found = figures(frames)
    assert not any(flag.throughout for frame in found for flag in frame.flags)
    assert [one.frames for one in find_runs(found)] == ["1001-1010"]


def test_pictures_show_every_fault_before_the_same_fault_again():
    frames = shot(flicker=[5.0, 4.9, 4.8, 4.7, 0.0, 0.0], matte_jump=[0.0] * 5 + [16.0])
    found = figures(frames)
    findings = find_runs(found)
    assert frames_to_show(order_frames(found, findings), findings, 2) == [1001, 1006]


def test_summary_of_a_face():
    frames = shot(similarity=[0.9, 0.5, 0.7], tone=[10.0, 30.0, 20.0])
    (face,) = summarise(figures(frames), faces_of(frames))
    assert (face.face, face.frames) == ("track 0", "1001-1003")
    similarity = face.measures["similarity"]
    assert (similarity.median, similarity.worst, similarity.worst_frame) == (0.7, 0.5, 1002)
    assert face.measures["tone"].worst == 30.0


def test_numbers_that_are_none_never_reach_the_report():
    found = figures(shot(flicker=[float("nan")], seam=[float("inf")]))
    assert found[0].flags == []
    assert found[0].faces[0].values == {}


def test_a_face_that_nothing_was_put_on_is_not_judged():
    frames = shot(flicker=[3.0] * 3, confidence=[1.0, 0.1, 1.0], empty_matte=[0.0] * 3)
    for frame in frames:
        values = {"empty_matte": 1.0, "confidence": 1.0, "matte_jump": 90.0}
        frame.faces.append(MeasuredFace(label="track 7", track=7, name="g", values=values))
    untouched = untouched_faces(frames)
    assert untouched == ["track 7"]
    flagger = Flagger(SETTINGS, frames, untouched)
    flags = [flag for frame in frames for flag in flagger.figures(frame).flags]
    assert {flag.face for flag in flags} == {"track 0"}
    assert list(faces_of(frames)) == ["track 0", "track 7"]
