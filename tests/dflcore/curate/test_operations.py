"""Operations as jobs call them: the settings reach the functions, and what comes back says what was done."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dflcore.config.curate import OPERATIONS
from dflcore.curate.operations import _RUNS, Request, run_operation, select_faces
from dflcore.curate.sorts import SORTS
from dflcore.curate.views import load_view
from dflcore.errors import Conflict, DflError, InvalidInput, NotFound
from dflcore.io.faceset import Faceset
from dflcore.io.mask_labels import Label, Polygon
from dflcore.io.masks import MaskStore
from dflcore.progress import Notice, Preview, RunControl
from dflcore.types import Affine, FaceRecord, FloatArray
from dflcore.weights.store import WeightStore
from small_facesets import Watcher


class NoPlate:
    """A cutter whose plates are all gone."""

    def cut(self, record: FaceRecord, aligned_from_plate: Affine, size: int) -> FloatArray | None:
        return None


def no_picture(path: Path) -> FloatArray:
    raise NotFound(f"There is no picture {path}.", reason="PLATE_NOT_FOUND")


def operate(
    name: str,
    faceset: Path,
    *,
    other: Path | None = None,
    output: Path | None = None,
    control: RunControl | None = None,
    describe: Any = no_picture,
    **settings: Any,
) -> Any:
    request = Request(
        faceset=faceset,
        other=other,
        output=output,
        settings=OPERATIONS[name].settings_class.from_values(settings),
        control=control or Watcher(),
        store=WeightStore(),
        describe_picture=describe,
        cutter=NoPlate(),
    )
    return run_operation(name, request)


@pytest.fixture
def faces(sixty_faces: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sixty_faces, tmp_path / "faces"))


def names_of(path: Path) -> list[str]:
    with Faceset.open(path) as faceset:
        return list(faceset.names)


def test_every_operation_that_is_offered_can_be_run() -> None:
    assert set(_RUNS) == set(OPERATIONS)


@pytest.mark.parametrize("name", sorted(SORTS))
def test_every_sort_orders_a_view_and_renames_nothing(sixty_faces: Path, tmp_path: Path, name: str) -> None:
    faces = Path(shutil.copytree(sixty_faces, tmp_path / "faces"))
    before = {path.name for path in faces.glob("*.png")}
    done = operate("sort", faces, by=name, count=128)
    with Faceset.open(faces) as faceset:
        view = load_view(faceset, name)
    assert len(view.names) == done.faces
    assert len(view.names) + (done.rejected or 0) == 60
    assert len(set(view.names)) == len(view.names)
    assert {path.name for path in faces.glob("*.png")} == before
    assert list(select_faces(faces, view=name).names) == list(view.names)
    backwards = operate("sort", faces, by=name, count=128, reverse=True, view="other way")
    with Faceset.open(faces) as faceset:
        assert set(load_view(faceset, "other way").names) == set(view.names)
    assert backwards.faces == done.faces


def test_a_sort_with_everything(faces: Path, tmp_path: Path) -> None:
    control = Watcher()
    sheets = tmp_path / "out" / "sheets"
    operate("sort", faces, by="blur", where="frame < 1020", view="sharp ones", browse=True, output=sheets,
            control=control)  # fmt: skip
    chosen = select_faces(faces, view="sharp ones")
    with Faceset.open(faces) as faceset:
        assert all(record.frame < 1020 for record in faceset.records(list(chosen.names)))
    assert set(chosen.values) <= set(names_of(faces))
    assert len(list((faces / "views" / "sharp ones browse").iterdir())) == len(chosen.names)
    sheet = sheets / "sheet_001.png"
    assert cv2.imread(str(sheet)) is not None
    assert [event.path for event in control.events if isinstance(event, Preview)] == [str(sheet)]


def test_what_a_sort_leaves_out_goes_to_the_trash_if_asked(faces: Path) -> None:
    done = operate("sort", faces, by="oneface", trash_rejected=True)
    assert done.rejected
    assert len(names_of(faces)) == 60 - done.rejected
    assert operate("restore", faces).faces == done.rejected
    assert len(names_of(faces)) == 60


def test_likeness_to_a_face_or_a_picture(faces: Path, tmp_path: Path) -> None:
    with Faceset.open(faces) as faceset:
        wanted = faceset.names[3]
        identity = faceset.record(wanted).identity
    assert identity is not None
    operate("sort", faces, by="identity", reference=wanted)
    assert select_faces(faces, view="identity").names[0] == wanted
    operate("sort", faces, by="identity", reference=str(tmp_path / "her.png"), view="picture",
            describe=lambda path: identity)  # fmt: skip
    assert select_faces(faces, view="picture").names[0] == wanted
    with pytest.raises(NotFound):
        operate("sort", faces, by="identity", reference=str(tmp_path / "nobody.png"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"by": "beauty"}, "beauty"),
        ({"by": "blur", "where": "__import__('os')"}, "__import__"),
        ({"by": "blur", "view": "../../x"}, "cannot name a view"),
        ({"by": "blur", "view": ".."}, "cannot name a view"),
        ({"by": "blur", "where": "frame < 0"}, ""),
    ],
)
def test_a_sort_that_makes_no_sense_writes_nothing_outside(faces: Path, settings: dict[str, Any], says: str) -> None:
    before = sorted(path.name for path in faces.parent.iterdir())
    with pytest.raises(DflError, match=says) if says else contextlib.nullcontext():
        operate("sort", faces, **settings)
    assert sorted(path.name for path in faces.parent.iterdir()) == before
    assert len(names_of(faces)) == 60


def test_the_trash_by_filter_view_and_name(faces: Path) -> None:
    everything = names_of(faces)
    for wrong in ({}, {"where": "frame > 0", "names": "x.png"}, {"view": "a", "where": "frame > 0"}):
        with pytest.raises(InvalidInput, match="exactly one"):
            operate("trash", faces, **wrong)
    for name in ("../x.png", "index.sqlite", ".lock", "trash/x.png"):
        with pytest.raises(InvalidInput, match=r"not the file name|no face of the set"):
            operate("trash", faces, names=name)
    assert names_of(faces) == everything
    operate("sort", faces, by="face-yaw", where="yaw > 0", view="left")
    best = set(select_faces(faces, view="left").names)
    assert operate("trash", faces, view="left", not_in_view=True).faces == 60 - len(best)
    assert set(names_of(faces)) == best
    assert operate("trash", faces, names=f"{sorted(best)[0]},gone.png").rejected == 1
    assert operate("restore", faces, what="last").faces == 1
    assert operate("restore", faces, what="all").faces == 60 - len(best)
    assert names_of(faces) == everything
    operate("trash", faces, where="yaw > 0")
    left = names_of(faces)
    assert operate("empty_trash", faces).faces == 60 - len(left)
    assert operate("restore", faces).faces == 0
    assert names_of(faces) == left


def test_pictures_that_lie_beside_the_faces_are_left_alone(few_faces: Path) -> None:
    """A faceset may have been extracted into the folder of its plate."""
    (few_faces / "plate.1001.png").write_bytes(b"a frame")
    with pytest.raises(InvalidInput, match=r"plate\.1001\.png .* is no face of the set"):
        operate("trash", few_faces, names=f"{names_of(few_faces)[0]}, plate.1001.png")
    assert len(names_of(few_faces)) == 12
    for name, extra in (("pack", {}), ("unpack", {}), ("trash", {"where": "frame > 0"})):
        operate(name, few_faces, **extra)
        assert (few_faces / "plate.1001.png").read_bytes() == b"a frame"
    assert names_of(few_faces) == []


def test_coverage_says_what_it_found(faces: Path, tmp_path: Path) -> None:
    control = Watcher()
    done = operate("coverage", faces, other=faces, output=tmp_path / "report.png", control=control)
    assert done.target_faces == 60
    assert done.out_of_reach == 0, "a set covers itself"
    assert cv2.imread(done.path) is not None
    assert any(isinstance(event, Notice) and event.reason == "COVERAGE" for event in control.events)
    with pytest.raises(InvalidInput, match=r"\.png"):
        operate("coverage", faces, other=faces, output=tmp_path / "report.txt")
    with pytest.raises(InvalidInput, match="another path"):
        operate("coverage", faces, output=tmp_path / "report.png")
    with pytest.raises(InvalidInput, match="output path"):
        operate("coverage", faces, other=faces)


def test_a_mixed_older_set_needs_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="both face_type and aligned_size"):
        operate("import_legacy", tmp_path / "new", other=tmp_path, aligned_size=128)
    assert not (tmp_path / "new").exists()


def test_exported_masks_are_never_painted_over(few_faces: Path, tmp_path: Path) -> None:
    square = Polygon(True, ((8.0, 8.0), (90.0, 8.0), (90.0, 90.0)))
    with MaskStore.open(few_faces, create=True) as store:
        store.set_labels({name: Label((square,)) for name in names_of(few_faces)}, made_by="test")
    folder = tmp_path / "masks"
    folder.mkdir()
    operate("export_masks", few_faces, output=folder, recipe="label")
    first = next(folder.iterdir())
    first.write_bytes(b"retouched")
    for what in ("masks", "labelme", "debug"):
        with pytest.raises(Conflict, match="not an empty folder"):
            operate("export_masks", few_faces, output=folder, what=what)
    assert first.read_bytes() == b"retouched"
    (tmp_path / "file").touch()
    with pytest.raises(Conflict):
        operate("export_masks", few_faces, output=tmp_path / "file")


def test_masks_and_labels_are_taken_away_and_come_back(few_faces: Path) -> None:
    names = names_of(few_faces)
    with MaskStore.open(few_faces, create=True) as store:
        store.add_mask(names[0], "painted", np.ones((16, 16), np.float32), made_by="test")
        store.set_label(names[1], Label((Polygon(True, ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))),)), made_by="test")
    assert operate("remove_masks", few_faces, source="painted").faces == 1
    assert operate("remove_masks", few_faces, source="label").faces == 1
    with MaskStore.open(few_faces) as store:
        assert (store.faces_with("painted"), store.labelled_faces()) == ([], [])
    assert operate("remove_masks", few_faces, source="painted", restore=True).faces == 1
    assert operate("remove_masks", few_faces, source="label", restore=True).faces == 1
    with MaskStore.open(few_faces) as store:
        assert (store.faces_with("painted"), store.labelled_faces()) == ([names[0]], [names[1]])
    for source in ("hull", "../x", "A"):
        with pytest.raises(InvalidInput):
            operate("remove_masks", few_faces, source=source)


def test_selecting_combines_filter_sort_view_and_order(faces: Path) -> None:
    everything = names_of(faces)
    assert list(select_faces(faces).names) == everything
    assert list(select_faces(faces, reverse=True).names) == everything[::-1]
    yaw = select_faces(faces, sort_by="face-yaw", where="frame >= 1010")
    assert list(select_faces(faces, sort_by="face-yaw", where="frame >= 1010", reverse=True).names) == list(
        yaw.names
    )[::-1]  # fmt: skip
    operate("sort", faces, by="face-yaw", where="frame >= 1010")
    assert list(select_faces(faces, view="face-yaw").names) == list(yaw.names)
    inside = select_faces(faces, view="face-yaw", where="yaw > 0")
    assert set(inside.names) < set(yaw.names)
    assert list(inside.names) == [name for name in yaw.names if name in set(inside.names)]


def test_operations_on_what_is_no_faceset(tmp_path: Path) -> None:
    needing = {"coverage", "change", "enhance", "import_legacy", "restore_metadata", "apply_masks"}
    for name in sorted(set(OPERATIONS) - needing):
        extra = {"where": "frame > 0"} if name == "trash" else {}
        with pytest.raises(DflError) as caught:
            operate(name, tmp_path / "none", other=tmp_path / "o", output=tmp_path / "x.json", **extra)
        assert str(tmp_path) in caught.value.message or name == "save_metadata"
    assert list(tmp_path.iterdir()) == [], "nothing is made where there was nothing"


def test_nothing_of_somebody_else_is_written_over(faces: Path, tmp_path: Path) -> None:
    report = tmp_path / "frame.png"
    report.write_bytes(b"a frame of the plate")
    with pytest.raises(Conflict, match="exists already"):
        operate("coverage", faces, other=faces, output=report)
    assert report.read_bytes() == b"a frame of the plate"
    sheets = tmp_path / "sheets"
    operate("sort", faces, by="face-yaw", output=sheets)
    (sheets / "sheet_009.png").write_bytes(b"of a longer order")
    control = Watcher()
    operate("sort", faces, by="face-pitch", view="face-yaw", output=sheets, control=control)
    assert [path.name for path in sheets.iterdir()] == ["sheet_001.png"]
    assert any(isinstance(event, Notice) and event.reason == "VIEW_REPLACED" for event in control.events)
    (sheets / "notes.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"notes\.txt"):
        operate("sort", faces, by="face-yaw", output=sheets)
