"""`bench tune`: what it refuses, and the page's search from end to end."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.test_run import rows
from tests.documents.pages import console, missing_lines, text_of
from tests.execute.tiny import TASK, ended, started

SPACE = ("--space", "learning_rate=uniform(0,1)")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Types a search that is refused; what is said."""
    from bench.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["tune", *arguments])
        assert stopped.value.code == 2
        assert list(tmp_path.iterdir()) == []
        return capsys.readouterr().err

    return run


def test_a_task_of_the_papers_is_refused(refused) -> None:
    told = refused("dtql", "hopper-medium-v2", *SPACE)
    assert "bench tune on hopper-medium-v2" in told
    assert "Papers print numbers" in told


def test_a_search_without_a_space_and_what_does_not_exist_are_refused(refused) -> None:
    assert "no --space" in refused("bc", TASK)
    assert "unknown algorithm" in refused("bcc", TASK, *SPACE)
    assert "no such hyper-parameter" in refused("bc", TASK, "--space", "rate=uniform(0,1)")
    assert "step count" in refused("bc", TASK, "--space", "train_iterations=randint(1,2)")
    assert "budget 2" in refused("bc", TASK, "--budget", "2", *SPACE)


@pytest.mark.slow
def test_the_search_of_the_page_finds_a_configuration_and_takes_up_what_is_stored(
    tiny_data: Path, tmp_path: Path
) -> None:
    (shown,) = console(text_of("docs/tuning.md"), "console tune")
    store = tmp_path / "results/bench.sqlite"
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"BENCH_DATA_DIR": str(tiny_data), "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    code, told = ended(started(shown.typed, tiny_data, cwd=tmp_path, env=environment))
    assert code == 0, told
    assert missing_lines(shown, told) == []
    trials = rows(store, "SELECT config_hash, budget, state, reduced FROM trials")
    assert all(state == "finished" and '"tuned"' in reduced for _, _, state, reduced in trials)
    # Some were dropped after the first rung, and the best was not.
    rungs = Counter(budget for _, budget, _, _ in trials)
    assert rungs[min(rungs)] == 4
    assert 1 <= rungs[max(rungs)] < 4
    # The same command trains nothing anew, whatever order its configurations come in.
    code, again = ended(started(shown.typed, tiny_data, cwd=tmp_path, env=environment))
    assert code == 0, again
    executions = rows(store, "SELECT COUNT(*), COUNT(DISTINCT trial_id) FROM executions")
    assert executions[0][0] == executions[0][1]
    assert len(rows(store, "SELECT 1 FROM trials WHERE budget < 0.0002")) == 4
    # What is to be measured is a command that runs.
    (line,) = re.findall(r"^  bench (run .*)$", told, re.MULTILINE)
    command = [*shlex.split(line), "--executor", "local"]
    assert command[command.index("--seeds") + 1] == "1-5"
    code, measured = ended(started(command, tiny_data, cwd=tmp_path, env=environment))
    assert code == 0, measured
    assert "5 trials: 5 finished." in measured
