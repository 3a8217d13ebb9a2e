import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dflcore.errors import InvalidInput, NotFound
from dfldaemon.jobs import JobKind, Work
from dfldaemon.submission import check_path, check_plate, check_request_id, check_work_paths, needed_folders


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
    assert needed_folders(work) == [(str(tmp_path / "b"), JobKind.EXTRACT)]


def test_long_request_ids_are_refused() -> None:
    check_request_id("x" * 64)
    with pytest.raises(InvalidInput):
        check_request_id("x" * 65)
