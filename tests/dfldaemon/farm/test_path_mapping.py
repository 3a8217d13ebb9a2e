"""Paths from one system to another, by whole parts."""

import json
import subprocess
from pathlib import Path

import pytest

from dflcore.errors import DataCorrupt
from dfldaemon.farm.path_mapping import PathMap, read_path_map


def rules(tmp_path: Path, *given: tuple[str, str, str]) -> PathMap:
    keys = ("source_path_format", "source_path", "destination_path")
    values = {"version": "pathmapping-1.0", "path_mapping_rules": [dict(zip(keys, one, strict=True)) for one in given]}
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(values))
    return read_path_map(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (r"Z:\show\out\a.exr", "/mnt/show/out/a.exr"),
        ("z:/Show/out/a.exr", "/mnt/show/out/a.exr"),
        (r"Z:\show", "/mnt/show"),
        (r"Z:\showcase\a.exr", r"Z:\showcase\a.exr"),
        (r"Y:\show\a.exr", r"Y:\show\a.exr"),
        (r"\\server\share\a", "/mnt/server/a"),
        ("ACEScg", "ACEScg"),
        ("", ""),
    ],
)
def test_from_windows(tmp_path: Path, path: str, expected: str) -> None:
    given = rules(tmp_path, ("WINDOWS", "Z:\\show", "/mnt/show"), ("WINDOWS", "\\\\server\\share", "/mnt/server"))
    assert given.apply(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/mnt/show/out/a.exr", r"Z:\show\out\a.exr"),
        ("/mnt/showcase/a", "/mnt/showcase/a"),
        ("/Mnt/show/a", "/Mnt/show/a"),
        ("mnt/show/a", "mnt/show/a"),
        ("/mnt/show/tools/x", r"\\server\tools\x"),
    ],
)
def test_to_windows_and_the_longest_rule_counts(tmp_path: Path, path: str, expected: str) -> None:
    given = rules(tmp_path, ("POSIX", "/mnt/show", "Z:\\show"), ("POSIX", "/mnt/show/tools", "\\\\server\\tools"))
    assert given.apply(path) == expected


LIBRARY_PROGRAM = """
import json, sys
from pathlib import PurePosixPath, PureWindowsPath
from openjd.sessions import PathFormat, PathMappingRule
kinds = {"POSIX": PurePosixPath, "WINDOWS": PureWindowsPath}
found = []
for kind, source, path in json.load(sys.stdin):
    rule = PathMappingRule(
        source_path_format=PathFormat[kind], source_path=kinds[kind](source), destination_path=PurePosixPath("/here")
    )
    found.append(rule.apply(path=path)[1])
print(json.dumps(found))
"""


def test_as_the_specifications_own_library_does(tmp_path: Path, openjd_python: str) -> None:
    windows = [r"Z:\show\a.exr", r"z:\SHOW\b\a.exr", "Z:/show/a.exr", r"Z:\showX\a.exr", r"Y:\show\a.exr", r"Z:\show"]
    posix = ["/show/a.exr", "/show/b/c.exr", "/showX/a.exr", "/SHOW/a.exr", "/show", "show/a.exr"]
    cases = [("WINDOWS", r"Z:\show", path) for path in windows] + [("POSIX", "/show", path) for path in posix]
    given = {"input": json.dumps(cases), "capture_output": True, "text": True, "check": True}
    done = subprocess.run([openjd_python, "-c", LIBRARY_PROGRAM], **given)
    expected = json.loads(done.stdout)
    found = [rules(tmp_path, (kind, source, "/here")).apply(path) for kind, source, path in cases]
    assert found == expected


def test_rules_for_object_stores_are_passed_over(tmp_path: Path) -> None:
    given = rules(tmp_path, ("URI", "s3://bucket/show", "/mnt/s3"), ("POSIX", "/show", "/mnt/show"))
    assert given.apply("/show/a") == "/mnt/show/a"


def test_no_rules_are_no_mistake(tmp_path: Path) -> None:
    assert rules(tmp_path).apply("/a/b") == "/a/b"
    (tmp_path / "empty.json").write_text("{}")
    assert read_path_map(tmp_path / "empty.json") == PathMap()


@pytest.mark.parametrize(
    "text",
    ["", "[1", '{"version": "pathmapping-2.0", "path_mapping_rules": []}', '{"version": "pathmapping-1.0"}', "[3]"],
)
def test_what_are_no_rules_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "rules.json").write_text(text)
    with pytest.raises(DataCorrupt, match=r"rules\.json"):
        read_path_map(tmp_path / "rules.json")
