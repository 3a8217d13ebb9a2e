"""Faces back under the names they came with, or named after their plate and frame.

Images, index, masks, measures and views change names together. Killed anywhere, the next call finishes what was begun:

1. the plan is written to ``.renaming/plan.json``, with the views as they will be;
2. images move to ``.renaming/images/``, under their new names: no two can be in each other's way;
3. one transaction renames the rows of the index and of the side files, and marks the index with the plan's number;
4. views and images move to where they belong, and the plan goes.

Up to the third step all is taken back when a stop is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dflcore.curate.metric_store import METRICS_NAME
from dflcore.curate.restore import roll_back
from dflcore.curate.views import VIEWS_NAME
from dflcore.errors import Conflict, DataCorrupt
from dflcore.io.atomic import sync_folder, translate_disk_errors, write_text
from dflcore.io.faceset import INDEX_NAME, RENAMING_PLAN, Faceset, lock_faceset
from dflcore.io.masks import MASKS_NAME
from dflcore.io.pack import PACK_NAME, is_image_name
from dflcore.io.sequence import plate_stems
from dflcore.progress import FrameProgress, RunControl, StopRequest
from dflcore.types import FaceRecord

STAGING_NAME = ".renaming"
PLAN_NAME = "plan.json"
_MARK = "renamed"
_BUSY_TIMEOUT_S = 10.0
_PROGRESS_EVERY = 256
_NAME_COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    INDEX_NAME: (("face", "name"),),
    MASKS_NAME: (("version", "face"), ("newest", "face")),
    METRICS_NAME: (("measure", "name"), ("histogram", "name"), ("thumb", "name")),
}
"""Where names of faces stand: file → table and column. Whoever adds a side file adds it here."""
_TOKEN = re.compile(r"(?:%0?\d*d|[#@]+|<[A-Za-z]+>)")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameResult:
    """What :func:`recover_names` did.

    Attributes:
        renamed: faces that have another name now.
        kept: faces whose earlier name no file may have; they keep the one they had.
        finished_earlier: a call that was killed before was finished first; its faces are not counted.
        stopped: why it ended early; all names are then as they were.
    """

    renamed: int
    kept: int
    finished_earlier: bool
    stopped: StopRequest | None


def recover_names(path: Path, control: RunControl) -> RenameResult:
    """Name every face after the file it came from, else ``<plate>_<frame>_<k>``; in place.

    The kind of file and with it the suffix stays. Names that meet get ``_2``, ``_3``. Faces in the trash or deleted by
    hand keep their names.

    Args:
        path: the faceset.
        control: told of faces done, asked for a stop before each.

    Raises:
        NotFound: there is no faceset.
        Conflict: another process writes to it, or its images are packed.
        DataCorrupt: index or side files are damaged, or the plan of an earlier call is.
        InvalidInput, ResourceExhausted: the folder cannot be written.
    """
    path = Path(path)
    roll_back(path / INDEX_NAME)
    finished_earlier = is_unfinished(path)
    if finished_earlier:
        with translate_disk_errors(path), _locked(path):
            _finish(path)
    Faceset.open(path).close()  # an older index is brought up to date before the lock is taken
    with translate_disk_errors(path), _locked(path):
        _clear_leftovers(path)
        if (path / PACK_NAME).exists():
            raise Conflict(
                f"The images of {path} are packed under their names; unpack the faceset first.",
                reason="FACESET_PACKED",
                path=path,
            )
        plan, kept = _make_plan(path)
        stopped = None
        if plan:
            _write_plan(path, plan)
            stopped = _stage_images(path, plan, control)
            if stopped is None:
                _finish(path)
    renamed = 0 if stopped else len(plan)
    return RenameResult(renamed=renamed, kept=kept, finished_earlier=finished_earlier, stopped=stopped)


def is_unfinished(path: Path) -> bool:
    """A renaming was killed: until the next call some images are missing from where their rows say they are."""
    return (Path(path) / RENAMING_PLAN).is_file()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = lock_faceset(path)
    try:
        yield
    finally:
        os.close(lock)


def _clear_leftovers(path: Path) -> None:
    """What a call left that was killed before its plan was there, or after it was carried out: never an image."""
    staging = path / STAGING_NAME
    if any((staging / "images").glob("*")):
        raise DataCorrupt(
            f"{staging / 'images'} holds images of an earlier renaming whose plan is gone; move them back to {path}.",
            reason="PLAN_DAMAGED",
            path=staging,
        )
    shutil.rmtree(staging, ignore_errors=True)


def _make_plan(path: Path) -> tuple[dict[str, str], int]:
    """Old name → new name of faces that get another, and how many keep theirs because the earlier one is unusable."""
    with Faceset.open(path) as faceset:
        wanted = dict(_wanted_names(faceset.records(), faceset.info.plates))
        rows = {record.name for plate in faceset.info.plates for record in faceset.every_record(plate)}
    files = {entry.name for entry in os.scandir(path)}
    taken = {name.casefold() for name in (rows | files) - wanted.keys()}
    unusable = [name for name, new in wanted.items() if not is_image_name(new)]
    settled = [name for name, new in wanted.items() if name == new]
    taken.update(name.casefold() for name in (*unusable, *settled))
    plan: dict[str, str] = {}
    for name, new in wanted.items():
        if name == new or not is_image_name(new):
            continue
        free = _first_free(new, taken)
        taken.add(free.casefold())
        if free != name:
            plan[name] = free
    return plan, len(unusable)


def _wanted_names(records: Iterable[FaceRecord], plates: Sequence[str]) -> Iterator[tuple[str, str]]:
    stems = plate_stems(plates)
    counts: Counter[tuple[str, int]] = Counter()
    for record in records:
        suffix = Path(record.name).suffix
        if record.original_name:
            original = re.split(r"[/\\]", record.original_name)[-1]
            yield record.name, Path(original).stem + suffix
            continue
        place = (record.plate, record.frame)
        yield record.name, f"{stems[record.plate]}_{record.frame:06d}_{counts[place]}{suffix}"
        counts[place] += 1


def _first_free(name: str, taken: set[str]) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    free, number = name, 2
    while free.casefold() in taken:
        free, number = f"{stem}_{number}{suffix}", number + 1
    return free


def _write_plan(path: Path, plan: Mapping[str, str]) -> None:
    staging = path / STAGING_NAME
    (staging / "images").mkdir(parents=True)
    for file in (path / VIEWS_NAME).glob("*.json"):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # a damaged view stays as it is
            view = json.loads(file.read_text(encoding="utf-8"))
            view["names"] = [plan.get(face, face) for face in view["names"]]
            view["values"] = {plan.get(face, face): value for face, value in view["values"].items()}
            write_text(staging / VIEWS_NAME / file.name, json.dumps(view, indent=0, ensure_ascii=False))
    text = json.dumps({"number": secrets.token_hex(8), "names": plan}, ensure_ascii=False)
    write_text(staging / PLAN_NAME, text)


def _read_plan(path: Path) -> tuple[str, dict[str, str]] | None:
    """The number and names of the plan an earlier call left; None where there is none. Raises DataCorrupt."""
    file = path / STAGING_NAME / PLAN_NAME
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        number, names = read["number"], read["names"]
        if not (isinstance(number, str) and all(is_image_name(name) for pair in names.items() for name in pair)):
            raise ValueError("names that are no images'")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(
            f"The plan {file} of an earlier renaming cannot be read: {error}. The images it moved are in "
            f"{file.parent / 'images'}.",
            reason="PLAN_DAMAGED",
            path=file,
        ) from error
    return number, dict(names)


def _stage_images(path: Path, plan: Mapping[str, str], control: RunControl) -> StopRequest | None:
    """Move the images aside; on a request to stop, back again."""
    images = path / STAGING_NAME / "images"
    for index, (old, new) in enumerate(plan.items()):
        stopped = control.stop_requested()
        if stopped is not None:
            for name, staged in plan.items():
                _move(images / staged, path / name)
            sync_folder(path)
            (path / STAGING_NAME / PLAN_NAME).unlink()
            shutil.rmtree(path / STAGING_NAME)
            return stopped
        _move(path / old, images / new)
        if (index + 1) % _PROGRESS_EVERY == 0 or index + 1 == len(plan):
            control.emit(FrameProgress(done=index + 1, total=len(plan), path=str(path / new)))
    return None


def _finish(path: Path) -> None:
    """Carry out the plan that is there, from wherever it was left."""
    plan = _read_plan(path)
    if plan is None:
        return  # another process was quicker
    number, names = plan
    staging = path / STAGING_NAME
    if not _is_marked(path, number):
        for old, new in names.items():
            _move(path / old, staging / "images" / new)
        _rename_rows(path, number, names)
    if (staging / VIEWS_NAME).is_dir():
        for view in list((staging / VIEWS_NAME).iterdir()):
            os.replace(view, path / VIEWS_NAME / view.name)
    for new in names.values():
        _move(staging / "images" / new, path / new)
    sync_folder(path)
    (staging / PLAN_NAME).unlink()
    shutil.rmtree(staging)


def _move(source: Path, target: Path) -> None:
    """Rename; what is not there was moved before, or deleted by hand."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(source, target)


@contextlib.contextmanager
def _open_index(path: Path) -> Iterator[sqlite3.Connection]:
    """Raises Conflict when another process keeps it locked, DataCorrupt when it is damaged."""
    try:
        with contextlib.closing(
            sqlite3.connect(path / INDEX_NAME, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        ) as database:
            yield database
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise Conflict(
                f"The index or the masks of {path} are in use by another process; run again.",
                reason="FACESET_BUSY",
                path=path,
            ) from error
        raise DataCorrupt(
            f"The faces of {path} cannot be renamed: {error}.", reason="FACESET_INDEX_DAMAGED", path=path
        ) from error


def _is_marked(path: Path, number: str) -> bool:
    with _open_index(path) as database:
        row = database.execute("SELECT value FROM about WHERE key = ?", (_MARK,)).fetchone()
        return row is not None and row[0] == json.dumps(number)


def _rename_rows(path: Path, number: str, names: Mapping[str, str]) -> None:
    """All files in one transaction: SQLite commits attached databases with a rollback journal together."""
    with _open_index(path) as database:
        schemas = {INDEX_NAME: "main"}
        for file in _NAME_COLUMNS:
            if file != INDEX_NAME and (path / file).is_file():
                schemas[file] = file.partition(".")[0]
                database.execute(f"ATTACH DATABASE ? AS {schemas[file]}", (str(path / file),))
        database.execute("CREATE TEMP TABLE plan (old TEXT PRIMARY KEY, new TEXT NOT NULL) STRICT")
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO temp.plan VALUES (?, ?)", names.items())
        for file, schema in schemas.items():
            known = {name for (name,) in database.execute(f"SELECT name FROM {schema}.sqlite_schema")}
            for table, column in _NAME_COLUMNS[file]:
                if table in known:
                    _rename_column(database, f"{schema}.{table}", column)
        database.execute("INSERT OR REPLACE INTO main.about VALUES (?, ?)", (_MARK, json.dumps(number)))
        database.execute("COMMIT")


def _rename_column(database: sqlite3.Connection, table: str, column: str) -> None:
    """In two steps, since one face may get the name another one gives up. No name holds a control character."""
    database.execute(
        f"UPDATE {table} SET {column} = char(1) || (SELECT new FROM temp.plan WHERE old = {column}) "
        f"WHERE {column} IN (SELECT old FROM temp.plan)"
    )
    database.execute(
        f"UPDATE OR REPLACE {table} SET {column} = substr({column}, 2) WHERE substr({column}, 1, 1) = char(1)"
    )
