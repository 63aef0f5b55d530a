"""A cell that trains in a second, as a request, as a plan and as typed on the command line."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.catalog import load_catalog
from bench.execute.grid import Cell, Request, plan_cells
from bench.execute.messages import Completed, PhaseMade, Progress, Saved, StackPlan
from bench.execute.shared_phases import keep, made_folder
from bench.execute.stack import Stack
from bench.execute.worker import complete
from bench.files import sha256_of
from bench.records import DatasetRecord
from bench.training.checkpoint import CheckpointFolder

ROOT = Path(__file__).resolve().parents[2]
TASK = "collected-hopper-quickstart"
TRANSITIONS = 2000
LIMIT_SECONDS = 900
"""For a command of the tests; many times what it takes, so that only one that hangs meets it."""
PRETRAINING, TRAINING = 20, 40
EVALUATIONS, EPISODES = 2, 2
CHANGES = {
    "hidden_width": 16,
    "diffusion_width": 16,
    "candidates": 4,
    "batch_size": 16,
    "pretrain_iterations": PRETRAINING,
    "train_iterations": TRAINING,
}
BEHAVIOUR = 12
_BEHAVIOUR_PHASES = {
    "behaviour_iterations": BEHAVIOUR,
    "behaviour_width": 8,
    "behaviour_embedding": 8,
    "behaviour_batch_size": 8,
    "support_batch_size": 8,
    "support_actions": 2,
    "solver_calls": 3,
    "support_iterations": 3,
}
SHARING = {
    "qgpo": {
        **_BEHAVIOUR_PHASES,
        "energy_iterations": 4,
        "critic_iterations": 2,
        "batch_size": 8,
        "hidden_width": 8,
    },
    "sfbc": {
        **_BEHAVIOUR_PHASES,
        "returns_iterations": 3,
        "planning_iterations": 2,
        "critic_iterations": 4,
        "critic_batch_size": 8,
        "planning_batch_size": 12,
        "critic_width": 8,
        "candidates": 3,
        "selected": 2,
    },
}
"""Hyper-parameters of the methods that train a phase alike, to train in a second."""
DATASET = DatasetRecord(TASK, "0" * 64, TRANSITIONS, "verified", "unverified")


def tiny_cell(**changes) -> Cell:
    """The cell, with fields of the request changed."""
    wanted = {
        "tasks": (load_catalog().task(TASK),),
        "algorithms": ("dtql",),
        "seeds": (0, 1),
        "evaluations": EVALUATIONS,
        "episodes": EPISODES,
        "changes": CHANGES,
    }
    (cell,) = plan_cells(Request(**(wanted | changes)))
    return cell


def tiny_plan(data: Path, seeds=(0, 1), cell: Cell | None = None, **settings) -> StackPlan:
    """A stack of the cell's trials, by default of the tiny one's."""
    cell = cell or tiny_cell()
    path = data / "collected" / f"{TASK}.hdf5"
    dataset = replace(DATASET, sha256=sha256_of(path)) if path.is_file() else DATASET
    return StackPlan(
        trials=tuple(cell.trial(seed, dataset) for seed in seeds),
        task=cell.task,
        data_path=path,
        **settings,
    )


@dataclass
class Played:
    """What a stack told, from one or several attempts at it; its checkpoints lie below `folder`."""

    folder: Path
    events: list = field(default_factory=list)

    def of(self, kind: type) -> list:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def checkpoints(self, plan: StackPlan) -> CheckpointFolder:
        """The folder of a stack's checkpoints."""
        return CheckpointFolder(self.folder / plan.name, plan.identity)

    def play(self, plan: StackPlan, when=lambda stack: False, before=lambda stack: None) -> bool:
        """Run a new stack until it is complete or `when(stack)` is true; `before` may change it first."""
        channel = PlayedChannel(self, plan, when)
        channel.stack = Stack(plan, channel)
        before(channel.stack)
        return complete(channel.stack, channel)


class PlayedChannel:
    """Keeps the events for the test, and the checkpoints as a driver does."""

    def __init__(self, played: Played, plan: StackPlan, when=lambda stack: False) -> None:
        self.stack = None
        self._played, self._plan, self._when = played, plan, when
        self._folder = played.checkpoints(plan)

    def send(self, event: object) -> None:
        if isinstance(event, Saved):
            self._folder.save(event.checkpoint)
        elif isinstance(event, PhaseMade):
            keep(self._played.folder, event)
        elif isinstance(event, Completed):
            self._folder.remove()
        elif not isinstance(event, Progress):
            self._played.events.append(event)

    def should_stop(self) -> bool:
        return self._when(self.stack)

    def checkpoint(self):
        return self._folder.load()

    def phase_made(self, key):
        return made_folder(self._played.folder, key).load()

    def dataset(self) -> Path:
        return self._plan.data_path


def typed(*arguments: object, **changes: object) -> list[str]:
    """`bench run` of the tiny cell by the local executor; `changes` are hyper-parameters."""
    sets = [f"--set={name}={value}" for name, value in (CHANGES | changes).items()]
    fixed = ["--tasks", TASK, "--algos", "dtql", "--evals", str(EVALUATIONS), "--episodes", str(EPISODES)]
    return ["run", *fixed, *sets, *map(str, arguments)]


def started(arguments: list[str], data: Path, program=("-m", "bench"), **options) -> subprocess.Popen:
    """The command as a process of its own, in a process group of its own, one thread per library.

    `program` is what Python is to run.
    """
    environment = os.environ | {"BENCH_DATA_DIR": str(data), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    fixed = {"cwd": ROOT, "env": environment, "start_new_session": True, "preexec_fn": usual_signals}
    return subprocess.Popen(command, **fixed | pipes | options)


def usual_signals() -> None:
    """Undo what the tests may have been started under, such as nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def completed(arguments: list[str], data: Path) -> tuple[int, str]:
    """Exit code and output of the command as a process of its own."""
    return ended(started(arguments, data))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output of a started command; one that hangs is killed with all that it started."""
    try:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output
