"""What is written about running nights is what the commands take."""

import configparser
import fcntl
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.commands import leaves

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"
EXAMPLES = ROOT / "docs" / "nightly"
TEXTS = {
    path.name: path.read_text() for path in (ROOT / "docs" / "nightly.md", WORKFLOW, *EXAMPLES.iterdir())
}


def options_of(words):
    """Options of the command that the words begin with."""
    found = leaves()
    command = found.get(words[0]) or found[" ".join(words[:2])]
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("name", TEXTS)
def test_commands_have_the_options_that_are_written(name):
    text = re.sub(r"\\\n\s*", "", TEXTS[name])
    commands = re.findall(
        r'(?:\bbench|"\$BENCH_BIN"|"\$HOME/\$BENCH_BIN") ((?:nightly|baseline \w+|check|db merge)\b[^\n`]*)',
        text,
    )
    assert commands or name.endswith(".timer")
    for command in commands:
        options = re.findall(r"(?<!\S)--[a-z-]+", command.partition("#")[0])
        assert set(options) <= options_of(command.split()), command


def test_the_workflow_keeps_and_restores_the_same_places():
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["night"]["steps"]
    kept = {step["uses"].split("@")[0]: step["with"] for step in steps if "cache/" in step.get("uses", "")}
    saved, restored = kept["actions/cache/save"], kept["actions/cache/restore"]
    assert saved["path"] == restored["path"]
    assert saved["key"] == restored["key"]
    # Inputs and variables reach the shell as variables of its own: nothing typed elsewhere is run as code.
    assert not any("${{" in step.get("run", "") for step in steps)


def test_what_the_workflow_leaves_out_is_matched_first():
    """`folder` and `!folder/part` would archive the whole folder, as patterns do not reach into one."""
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["night"]["steps"]
    kept = next(step["with"]["path"] for step in steps if "cache/save" in step.get("uses", "")).split()
    for left_out in (path[1:] for path in kept if path.startswith("!")):
        assert any(fnmatch.fnmatch(left_out, path) for path in kept)


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_the_line_for_cron_mails_red_nights_alone_and_leaves_a_running_one_alone(tmp_path):
    (line,) = re.findall(r"^30 0 \* \* \*\s+(.*)", (EXAMPLES / "crontab").read_text(), re.MULTILINE)
    command = tmp_path / "bench"
    command.write_text("#!/bin/sh\necho night\nexit $CODE\n")
    command.chmod(0o700)
    folder = tmp_path / "folder"
    folder.mkdir()

    def mailed(code):
        variables = {"HOME": tmp_path, "BENCH_BIN": "bench", "BENCH_FOLDER": folder, "CODE": code}
        environment = os.environ | {name: str(value) for name, value in variables.items()}
        return subprocess.run(
            ["/bin/sh", "-c", line], capture_output=True, text=True, env=environment, check=False
        )

    assert [mailed(code).stdout for code in (0, 1)] == ["", "night\n"]
    (folder / "nightly.log").write_text("of the night that runs")
    with (folder / "nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = mailed(1)
    assert (second.stdout, second.stderr) == ("", "")
    assert (folder / "nightly.log").read_text() == "of the night that runs"


def test_the_units_name_each_other_and_one_file_of_variables():
    units = {}
    for path in EXAMPLES.glob("bench-nightly.*"):
        units[path.suffix] = configparser.ConfigParser(interpolation=None)
        units[path.suffix].optionxform = str
        units[path.suffix].read_string(path.read_text())
    assert units.keys() == {".service", ".timer"}
    service = units[".service"]["Service"]
    words = shlex.split(service["ExecStart"])
    assert words[:2] == ["/bin/sh", "-c"]
    variables = set(re.findall(r"\$(\w+)", words[2]))
    assert variables == set(
        re.findall(r"^#   (\w+)=", (EXAMPLES / "bench-nightly.service").read_text(), re.MULTILINE)
    )
    assert service["KillSignal"] == "SIGINT"
