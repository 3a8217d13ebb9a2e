"""``dfl demo`` leaves other people's folders alone, and its exit code follows the checks."""

import io
import json

import pytest

from dflcore.demo.layout import DemoLayout
from dflcore.errors import Conflict, DataCorrupt, Internal
from dfldaemon.cli import demo_command
from dfldaemon.cli.demo_command import DEMO_MARK, DemoRun, prepare_folder
from dfldaemon.cli.main import main
from dfldaemon.cli.output import Output
from dfldaemon.cli.session import CliSession

REPORT = {
    "identity_to_source": 0.3,
    "identity_to_target": 0.7,
    "source_to_target": 0.69,
    "sharpness_ratio": 0.6,
    "frames": 48,
    "max_linear_value": 8.0,
    "checks": [{"name": "sharpness", "passed": True, "figure": "sharpness_ratio 0.600", "limit": ">= 0.50"}],
}


@pytest.fixture
def layout(tmp_path):
    return DemoLayout(tmp_path / "demo")


@pytest.fixture
def run(layout, environ, tmp_path):
    output = Output(is_json=True, stdout=io.StringIO())
    session = CliSession(output=output, environ=environ, state_dir=tmp_path / "state", working_dir=tmp_path)
    return DemoRun(session, layout, {"shoot": 1.0, "train": 2.5})


def test_a_folder_of_something_else_is_not_touched(layout):
    layout.plates.mkdir(parents=True)
    kept = layout.plates / "mine.exr"
    kept.touch()
    with pytest.raises(Conflict):
        prepare_folder(layout)
    assert kept.exists()


def test_a_second_demo_starts_clean(layout):
    prepare_folder(layout)
    layout.model.mkdir()
    (layout.model / "old").touch()
    layout.report.write_text("{}")
    prepare_folder(layout)
    assert [path.name for path in layout.folder.iterdir()] == [DEMO_MARK]


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_follows_the_checks(run, layout, passed, code):
    prepare_folder(layout)
    report = {**REPORT, "checks": [{**REPORT["checks"][0], "passed": passed}]}
    layout.report.write_text(json.dumps(report))
    assert demo_command._tell(run) == code
    events = [json.loads(line) for line in run.session.output._stdout.getvalue().splitlines()]
    assert events[0]["report"]["seconds"] == 3.5
    assert json.loads(layout.report.read_text())["stages_s"] == {"shoot": 1.0, "train": 2.5}
    assert [event["reason"] for event in events[1:]] == ([] if passed else ["CHECK_NOT_MET"])
    assert passed or "sharpness_ratio 0.600, limit >= 0.50" in events[1]["message"]


def test_what_a_part_says_is_raised_again():
    said = demo_command._part_error(
        'noise\n{"category": "DATA_CORRUPT", "reason": "X", "message": "Frame 3 is cut."}\n'
    )
    assert isinstance(said, DataCorrupt)
    assert (said.reason, said.message) == ("X", "Frame 3 is cut.")
    crashed = demo_command._part_error("Traceback...\nKeyError: 'a'\n")
    assert isinstance(crashed, Internal)
    assert "KeyError: 'a'" in crashed.message


def test_bad_flags_are_refused_before_anything_is_made(environ, tmp_path, capsys):
    folder = tmp_path / "demo"
    assert main(["demo", "--output", str(folder), "--minutes", "-1"], environ) == 2
    assert main(["demo", "--output", str(folder), "--frame-count", "1"], environ) == 2
    assert not folder.exists()
    capsys.readouterr()
