"""How long a grid takes: from stored trials, timed programs and physics, and a GPU's model."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.catalog import load_catalog
from bench.execute import estimate
from bench.execute.estimate import Estimator, ModelledGpu
from bench.execute.grid import Request, plan_cells
from bench.hardware import device_name
from bench.records import PhaseRecord
from bench.store.queries import MeasuredPart
from bench.training.speed import ProgramSpeed
from tests.execute.tiny import DATASET, EPISODES, EVALUATIONS, PRETRAINING, TRAINING, tiny_cell

HORIZON = 1000
ROBOT, ACTION = 1e-3, 5e-3
"""Made-up seconds of a step of one robot, and of choosing actions."""
RECORD = Path(__file__).parents[2] / "reports" / "benchmarks" / "kernels.json"


class Robots:
    def __init__(self, clock, count):
        self.clock, self.count = clock, count

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def reset(self, seeds):
        assert len(seeds) == self.count

    def step(self, actions):
        assert len(actions) == self.count
        self.clock[0] += ROBOT * self.count


FURTHER = (16, 32)
"""Numbers of candidates of further evaluations, where there are 8 in others."""


@pytest.fixture
def timed(monkeypatch):
    """Made-up times of everything; yields the cells of which programs were timed."""
    clock, cells = [0.0], []

    def speeds(task, preset, **_):
        cells.append((preset.algorithm, task.name))
        pretrain, train = estimator().phases(tiny_cell())
        yield ProgramSpeed(pretrain, "pretrain", 2.0)
        yield ProgramSpeed(train, "train", 3.0)

    class Acting:
        act_draws, scored_candidates = (), FURTHER
        config = SimpleNamespace(candidates=8)

        def act(self, observations, draws):
            clock[0] += ACTION
            return observations

    made = estimate.method_for
    monkeypatch.setattr(estimate, "program_speeds", speeds)
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(estimate.time, name, lambda: clock[0])
    monkeypatch.setattr(estimate, "simulator_for", lambda task, physics, count, threads: Robots(clock, count))
    monkeypatch.setattr(estimate, "method_for", lambda *known: made(*known) if len(known) == 4 else Acting())
    return cells


def estimator(**changes):
    return Estimator(**{"device": "cpu", "runner": "auto", "threads": 1} | changes)


def test_training_and_evaluations_with_their_physics_are_added_up(timed):
    found = estimator().estimate(tiny_cell(), 2)
    assert found.training_seconds == pytest.approx(2.0 * PRETRAINING + 3.0 * TRAINING)
    robots = 2 * EPISODES
    # The last one twice more, with 2 and 4 times the candidates, whose choice takes as many times as long.
    further = (2 + 4) * ACTION + 2 * ROBOT * robots
    usual = EVALUATIONS * (ACTION + ROBOT * robots)
    assert found.evaluation_seconds == pytest.approx(HORIZON * (usual + further))


def test_what_costs_the_same_is_timed_once(timed):
    here = estimator()
    other = tiny_cell(tasks=(load_catalog().task("collected-halfcheetah-medium"),), budget=1.0)
    for cell in (tiny_cell(), tiny_cell(budget=0.5), other):
        here.estimate(cell, 2)
    assert len(timed) == 1
    here.estimate(tiny_cell(), 1)
    assert len(timed) == 2


def parts(cell, seeds=2, **changes):
    """What a trial of a cell took: 5 s an iteration of pretraining, 7 s of training, 11 s an evaluation."""
    trial = replace(
        cell.trial(0, DATASET),
        phases=(PhaseRecord("pretrain", PRETRAINING, False), PhaseRecord("train", TRAINING, True)),
    )
    facts = {
        "record": trial, "stack_size": seeds, "concurrent_stacks": 1, "device": device_name("cpu"),
        "threads": 1, "runner": "eager", "matmul_precision": "fp32",
    } | changes  # fmt: skip
    taken = {"pretrain": 5.0 * PRETRAINING, "train": 7.0 * TRAINING, None: 11.0 * EVALUATIONS}
    return [MeasuredPart(phase=phase, seconds=seconds, **facts) for phase, seconds in taken.items()]


def test_what_finished_trials_took_on_this_device_goes_first(timed):
    # The other cell is of half the length, and has the same sizes.
    half = tiny_cell(budget=1.0, evaluations=1)
    found = estimator(measured=parts(tiny_cell())).estimate(half, 2)
    assert found.training_seconds == pytest.approx(5.0 * PRETRAINING + 7.0 * TRAINING)
    assert found.evaluation_seconds == pytest.approx(11.0)
    assert timed == []


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "cuda: NVIDIA H200"},
        {"threads": 2},
        {"runner": "graph"},
        {"seeds": 1},
        {"matmul_precision": None},
        {"cell": {"changes": {"batch_size": 17}}},
    ],
)
def test_what_ran_otherwise_tells_nothing(timed, changes):
    cell = tiny_cell(**changes.pop("cell", {}))
    found = estimator(measured=parts(cell, **changes)).estimate(tiny_cell(), 2)
    assert found.training_seconds == pytest.approx(2.0 * PRETRAINING + 3.0 * TRAINING)
    assert len(timed) == 1


def test_without_one_of_its_phases_training_is_timed(timed):
    measured = [part for part in parts(tiny_cell()) if part.phase != "pretrain"]
    found = estimator(measured=measured).estimate(tiny_cell(), 2)
    assert found.training_seconds == pytest.approx(2.0 * PRETRAINING + 3.0 * TRAINING)
    assert found.evaluation_seconds == pytest.approx(11.0 * EVALUATIONS)


# The model of a GPU


def cells(algorithm, *tasks, **changes):
    chosen = tuple(map(load_catalog().task, tasks))
    return plan_cells(Request(tasks=chosen, algorithms=(algorithm,), seeds=(0,), **changes))


def counted(method, seeds, program):
    """Modelled seconds in TF32, read from the record by hand."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["after"]["programs"]
    wanted = (method, seeds, "hopper-medium-v2", program, "graph")
    names = ("method", "seeds", "task", "program", "runner")
    (row,) = (row for row in rows if tuple(row[name] for name in names) == wanted)
    return row["microseconds"]["tf32"] * 1e-6


@pytest.mark.parametrize("seeds", [1, 5, 3])
def test_the_model_adds_up_programs_actions_and_physics(seeds):
    (cell,) = cells("bdpo", "walker2d-medium-v2")
    phases = estimator().phases(cell)
    found = ModelledGpu("auto").estimate(cell, seeds, phases, ROBOT)

    def of(program):
        one, five = counted("bdpo", 1, program), counted("bdpo", 5, program)
        return one + (five - one) * (seeds - 1) / 4

    often = 390_000
    training = 2_000_000 * of("pretrain") + (2_000_000 - often) * of("critic")
    training += often * of("critic+actor+behaviour")
    assert found.training_seconds == pytest.approx(training, rel=1e-5)
    evaluations, episodes = 40, 10
    step = of("act") + ROBOT * seeds * episodes
    assert found.evaluation_seconds == pytest.approx(evaluations * HORIZON * step)


def test_the_model_knows_the_sizes_of_its_domain_alone():
    gpu = ModelledGpu("auto")
    known = {
        (cell.algorithm, cell.task.name): gpu.knows(cell)
        for algorithm in ("dtql", "srpo", "edp-td3", "bdpo")
        for cell in cells(algorithm, "halfcheetah-medium-expert-v2", "antmaze-umaze-v0")
    }
    # EDP's networks and batches are the same in both domains.
    assert known == {key: key[1].startswith("halfcheetah") or key[0] == "edp-td3" for key in known}
    (wider,) = cells("dtql", "hopper-medium-v2", changes={"hidden_width": 512})
    (slower,) = cells("dtql", "hopper-medium-v2", changes={"learning_rate": 1e-5})
    assert (gpu.knows(wider), gpu.knows(slower)) == (False, True)
