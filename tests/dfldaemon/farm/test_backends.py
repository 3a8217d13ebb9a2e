"""Files for farms that are no OpenJobDescription: as their documentation has them."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Submit = Callable[..., tuple[int, str, str]]


def test_deadline_10(submit: Submit, tmp_path: Path) -> None:
    folder = tmp_path / "a job"
    code, _, err = submit("--frames", "1001-1004", "--backend", "deadline10", "--dry-run", folder, "--name", "sh {010}")
    assert code == 0
    assert (folder / "job_info.txt").read_text() == "Plugin=CommandLine\nName=sh _010_\nFrames=1-2\nChunkSize=1\n"
    assert (folder / "plugin_info.txt").read_text() == (
        "Executable=dfl\n"
        f"Arguments=farm task --job <QUOTE>{folder / 'job.json'}<QUOTE> --chunk <STARTFRAME>/2\n"
        "Shell=default\nShellExecute=False\n"
    )
    assert "deadlinecommand" in err


@pytest.mark.parametrize("backend", ["deadline10", "flamenco"])
def test_a_count_of_gpus_is_refused_where_the_farm_has_none(submit: Submit, tmp_path: Path, backend: str) -> None:
    code, _, err = submit("--backend", backend, "--gpus", "1", "--dry-run", tmp_path / "sent")
    assert code == 2
    assert "--gpus" in err


def test_flamencos_script_makes_a_task_per_part(submit: Submit, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here to run Flamenco's script")
    folder = tmp_path / "sent"
    assert submit("--frames", "1001-1003", "--chunk", "1", "--backend", "flamenco", "--dry-run", folder)[0] == 0
    program = f"""
        const author = {{
            Task: (name, type) => ({{ name, type, commands: [], addCommand(c) {{ this.commands.push(c); }} }}),
            Command: (name, parameters) => ({{ name, parameters }}),
        }};
        const tasks = {{ tasks: [], addTask(t) {{ this.tasks.push(t); }} }};
        const job = {{ ...{(folder / "flamenco_job.json").read_text()}, ...tasks }};
        {(folder / "dfl.js").read_text()}
        compileJob(job);
        console.log(JSON.stringify({{ tasks: job.tasks, keys: JOB_TYPE.settings.map((s) => s.key) }}));
    """
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    words = [task["commands"][0]["parameters"]["args"] for task in made["tasks"]]
    job_file = str(folder / "job.json")
    assert words == [["farm", "task", "--job", job_file, "--chunk", f"{part}/3"] for part in (1, 2, 3)]
    assert made["keys"] == list(json.loads((folder / "flamenco_job.json").read_text())["settings"])
