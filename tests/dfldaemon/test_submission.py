import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import InvalidInput, NotFound
from dfldaemon.color_config import is_builtin_config
from dfldaemon.jobs import JobKind, Work
from dfldaemon.submission import (
    FACESET_MAKERS,
    check_links,
    check_path,
    check_plate,
    check_request_id,
    check_work_paths,
    folder_missing,
    needed_folders,
)


@pytest.mark.parametrize(
    "path", ["", "relative", "./a", "~/a", "a\0b", "/a\0b", "/a/../b", "/..", "/" + "x" * 5000, "file:///a"]
)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_path(path, "faceset_path", ["/"])
    assert caught.value.details["field"] == "faceset_path"


def test_links_are_followed_before_a_path_is_trusted(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "inward").symlink_to(root)
    (root / "outward").symlink_to(outside)
    roots = [os.path.realpath(root)]
    assert check_path(str(root / "inward" / "new"), "f", roots)
    assert check_path(str(root), "f", roots)
    for path in (root / "outward" / "a", outside, tmp_path, Path(f"{root}-beside")):
        with pytest.raises(InvalidInput, match="roots"):
            check_path(str(path), "f", roots)
    assert check_path(str(outside), "f", [*roots, os.path.realpath(outside)])


def test_where_machines_meet_lies_inside_the_roots_too(tmp_path: Path) -> None:
    paths = {"source": str(tmp_path / "a"), "target": str(tmp_path / "a"), "model": str(tmp_path / "a")}
    inside = Work(kind=JobKind.TRAIN, paths=paths, frames="", settings={"nodes": 2})
    check_work_paths(inside, [os.path.realpath(tmp_path)])
    with pytest.raises(InvalidInput, match=r"a\.nodes"):  # beside the model, which is the root itself
        check_work_paths(inside, [os.path.realpath(tmp_path / "a")])
    check_work_paths(Work(kind=JobKind.TRAIN, paths=paths, frames="", settings={}), [os.path.realpath(tmp_path / "a")])


@settings(deadline=None)
@given(st.text(max_size=40))
def test_nothing_gets_out_of_a_root(text: str) -> None:
    try:
        accepted = check_path("/srv/show/" + text, "f", ["/srv/show"])
    except InvalidInput:
        return
    real = os.path.realpath(accepted)
    assert real == "/srv/show" or real.startswith("/srv/show/")


def test_all_paths_of_a_job_are_looked_at(make_work: Callable[..., Work], tmp_path: Path) -> None:
    work = make_work()
    check_work_paths(work, [str(tmp_path)])
    for name in work.paths:
        bad = Work(kind=work.kind, paths={**work.paths, name: "/etc/x"}, frames="", settings={})
        with pytest.raises(InvalidInput, match=name):
            check_work_paths(bad, [str(tmp_path)])


def test_a_plate_needs_a_frame(tmp_path: Path, make_work: Callable[..., Work]) -> None:
    work = make_work()
    with pytest.raises(NotFound):
        check_plate(work)
    (tmp_path / "plate.0001.exr").touch()
    check_plate(work)
    movie = Work(kind=JobKind.EXTRACT, paths={**work.paths, "plate": str(tmp_path / "a.mov")}, frames="", settings={})
    with pytest.raises(NotFound):
        check_plate(movie)
    (tmp_path / "a.mov").touch()
    check_plate(movie)


def test_folders_that_are_there_need_no_job(tmp_path: Path) -> None:
    paths = {"source": str(tmp_path / "a"), "target": str(tmp_path / "b") + "/", "model": str(tmp_path / "m")}
    work = Work(kind=JobKind.TRAIN, paths=paths, frames="", settings={})
    (tmp_path / "a").mkdir()
    assert needed_folders(work) == [(str(tmp_path / "b"), FACESET_MAKERS)]


def test_further_sources_are_needed_and_lie_in_the_roots(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("source", "target", "model")}
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    work = Work(kind=JobKind.TRAIN, paths={**paths, "faceset_000": str(tmp_path / "c")}, frames="", settings={})
    assert needed_folders(work) == [(str(tmp_path / "c"), FACESET_MAKERS)]
    check_work_paths(work, [os.path.realpath(tmp_path)])
    outside = Work(kind=JobKind.TRAIN, paths={**paths, "faceset_000": "/etc/c"}, frames="", settings={})
    with pytest.raises(InvalidInput) as caught:
        check_work_paths(outside, [os.path.realpath(tmp_path)])
    assert caught.value.details["field"] == "more_source_paths"


def test_models_come_from_trainings_and_imports(tmp_path: Path) -> None:
    model, file = str(tmp_path / "m"), str(tmp_path / "m.dfm")
    work = Work(kind=JobKind.EXPORT_MODEL, paths={"model": model, "output": file}, frames="", settings={})
    ((missing, makers),) = needed_folders(work)
    assert (missing, set(makers)) == (model, {JobKind.TRAIN, JobKind.IMPORT_MODEL})
    assert folder_missing(missing, makers).reason == "MODEL_NOT_FOUND"
    check_work_paths(work, ["/"])
    onto = Work(kind=JobKind.EXPORT_MODEL, paths={"model": model, "output": f"{model}/"}, frames="", settings={})
    with pytest.raises(InvalidInput, match="is the model itself"):
        check_work_paths(onto, ["/"])


def test_nothing_makes_the_folder_of_another_program(tmp_path: Path) -> None:
    paths = {"legacy": str(tmp_path / "old"), "model": str(tmp_path / "m")}
    work = Work(kind=JobKind.IMPORT_MODEL, paths=paths, frames="", settings={})
    assert needed_folders(work) == [(paths["legacy"], ())]
    assert folder_missing(paths["legacy"], ()).reason == "FOLDER_NOT_FOUND"
    (tmp_path / "old").mkdir()
    assert needed_folders(work) == []


def test_long_request_ids_are_refused() -> None:
    check_request_id("x" * 64)
    with pytest.raises(InvalidInput):
        check_request_id("x" * 65)


def test_a_color_config_is_a_path_like_others(make_work: Callable[..., Work], tmp_path: Path) -> None:
    work = make_work()

    def check(config: str) -> None:
        asked = Work(kind=work.kind, paths=work.paths, frames="", settings={"ocio_config": config})
        check_work_paths(asked, [os.path.realpath(tmp_path)])

    for good in ("", "ocio://anything", "studio-config-v2.2.0_aces-v1.3_ocio-v2.4", str(tmp_path / "show.ocio")):
        check(good)
    for bad in ("/etc/show.ocio", "show.ocio", "studio-config-v2/../../etc/show.ocio", str(tmp_path / ".." / "a")):
        with pytest.raises(InvalidInput) as caught:
            check(bad)
        assert caught.value.details["field"] == "ocio_config"


def test_the_builtin_color_configs_are_known_by_name() -> None:
    ocio = pytest.importorskip("PyOpenColorIO")
    names = [str(entry[0]) for entry in ocio.BuiltinConfigRegistry().getBuiltinConfigs()]
    assert names
    assert all(is_builtin_config(name) and is_builtin_config(f"ocio://{name}") for name in names)


@pytest.fixture
def merge_work(tmp_path: Path) -> tuple[Work, Path, Path]:
    """A merge in ``root``, and a folder outside of it."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "out").mkdir(parents=True)
    outside.mkdir()
    (root / "plate.0001.exr").touch()
    paths = {"plate": str(root / "plate.####.exr"), "output": str(root / "out" / "{version}" / "a.####.exr")}
    return Work(kind=JobKind.MERGE, paths=paths, frames="", settings={}), root, outside


def test_links_behind_a_pattern_do_not_lead_out(merge_work: tuple[Work, Path, Path]) -> None:
    work, root, outside = merge_work
    roots = [os.path.realpath(root)]
    version = root / "out" / "v001"
    version.mkdir()
    (version / "a.0001.exr").symlink_to(version / "a.0002.exr")
    (version / "notes").symlink_to(outside)
    check_links(work, roots)

    def refused(path: Path, target: Path) -> None:
        path.symlink_to(target)
        with pytest.raises(InvalidInput) as caught:
            check_links(work, roots)
        assert caught.value.reason == "PATH_OUTSIDE_ROOTS"
        check_links(work, ["/"])
        path.unlink()
        check_links(work, roots)

    refused(root / "plate.0002.exr", outside / "a.exr")
    refused(version / "a.0003.exr", outside / "a.exr")
    refused(root / "out" / "v002", outside)
    (version / "a.0001.exr").unlink()
    (version / "notes").unlink()
    version.rmdir()
    (root / "out").rmdir()
    refused(root / "out", outside)


@pytest.mark.parametrize("named", ["swap.####.exr", "swap.provenance.json", ""])
def test_links_among_merged_frames_do_not_lead_out(tmp_path: Path, named: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "out").mkdir(parents=True)
    outside.mkdir()
    (root / "plate.0001.exr").touch()
    (root / "out" / "swap.provenance.json").touch()
    result = str(root / "out" / named) if named else str(root / "out")
    paths = {"plate": str(root / "plate.####.exr"), "result": result, "faceset": str(root), "output": str(root / "r")}
    work = Work(kind=JobKind.QC, paths=paths, frames="", settings={})
    check_work_paths(work, [os.path.realpath(root)])
    check_links(work, [os.path.realpath(root)])
    for name in ("swap.0001.exr", "swap_matte.0001.exr"):
        link = root / "out" / name
        link.symlink_to(outside / "a.exr")
        with pytest.raises(InvalidInput) as caught:
            check_links(work, [os.path.realpath(root)])
        assert caught.value.details["field"] == "result_path"
        link.unlink()


def test_a_review_needs_its_facesets_and_may_do_without_a_source(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("plate", "result", "faceset", "output")}
    work = Work(kind=JobKind.QC, paths=paths, frames="", settings={})
    assert needed_folders(work) == [(paths["faceset"], FACESET_MAKERS)]
    with_source = Work(kind=JobKind.QC, paths={**paths, "source": str(tmp_path / "s")}, frames="", settings={})
    assert (str(tmp_path / "s"), FACESET_MAKERS) in needed_folders(with_source)
