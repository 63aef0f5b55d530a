"""CPU seconds of an iteration, by this project's code or by an author's; a script that checkouts.py starts.

`python -P cpu_seconds.py CODE ITERATIONS METHOD/PHASE...` prints one line of JSON. CODE is `ours` (whatever
checkout `PYTHONPATH` names), `dtql` or `srpo` (their checkouts, named in the same way). One thread, one seed,
synthetic data of hopper's dimensions. It takes nothing of this project but what every commit has.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

OBSERVATION, ACTION, ROWS = 11, 3, 100_000
TASK = "hopper-medium-v2"
WARM_UP = 3
Step = Callable[[], object]


def ours(part: str) -> Callable[[int], None]:
    """Training of a phase, `dtql/train`, or, `dtql/act`, choices of actions in ten episodes."""
    from bench import hardware
    from bench.catalog import load_catalog
    from bench.presets import load_preset
    from bench.training.draws import DrawStream
    from bench.training.speed import synthetic_data
    from bench.training.trainer import Position, Trainer, method_for

    # As its worker does: earlier commits have no such function.
    getattr(hardware, "prepare_process", torch.set_num_threads)(1)
    name, phase = part.split("/")
    task = load_catalog().task(TASK)
    algorithm = method_for(task, name, load_preset(name, task).values, (0,))
    if phase == "act":
        stream = DrawStream([f"0/{n}" for n in range(10)], "evaluation", algorithm.act_draws)
        observations = torch.zeros(1, 10, task.observation_dim)

        def act(count: int) -> None:
            for step in range(count):
                drawn = stream.at(step).items()
                algorithm.act(observations, {key: draw.unsqueeze(0) for key, draw in drawn})

        return act
    trainer = Trainer(algorithm, synthetic_data(task, "cpu", ROWS))
    names = [declared.name for declared in algorithm.phases]
    for earlier in names[1 : names.index(phase) + 1]:
        algorithm.begin_phase(earlier)
    trainer.load(trainer.state_dict(), Position(names.index(phase), 0))
    return trainer.advance


def arrays() -> dict[str, Any]:
    """Random transitions under D4RL's names."""
    generator = np.random.default_rng(0)
    return {
        "observations": generator.standard_normal((ROWS, OBSERVATION), dtype=np.float32),
        "actions": generator.uniform(-0.9, 0.9, (ROWS, ACTION)).astype(np.float32),
        "next_observations": generator.standard_normal((ROWS, OBSERVATION), dtype=np.float32),
        "rewards": generator.standard_normal(ROWS, dtype=np.float32),
        "terminals": np.zeros(ROWS, dtype=bool),
    }


def dtql(part: str) -> Callable[[int], None]:
    """The authors' loop of DTQL's training phase, with their sampler, at their values for hopper-medium."""
    torch.set_num_threads(1)
    space = Namespace(high=np.ones(ACTION))
    values = {"alpha": 5.0, "lr": 1e-4, "lr_decay": True, "lr_maxt": 10**6, "gamma": 0.0}
    agent = import_module("agents.dtql").DTQL("cpu", OBSERVATION, ACTION, space, **values)
    data = import_module("utils.data_sampler").Data_Sampler(arrays(), "cpu")
    if part == "dtql/pretrain":
        return lambda count: agent.pretrain(data, 256, count)
    return repeated(partial(agent.train, data, 256))


def srpo(part: str) -> Callable[[int], None]:
    """The authors' updates of SRPO's three phases, with batches made as their dataset does."""
    torch.set_num_threads(1)
    theirs, to = import_module("SRPO"), torch.nn.Module.to
    # Their code asks for CUDA by name.
    torch.nn.Module.to = lambda self, *arguments, **options: to(self, "cpu")  # type: ignore[method-assign]
    given = Namespace(
        device="cpu", env=TASK, q_layer=2, policy_layer=2, actor_blocks=3, WT="VDS", beta=0.05, regq=0,
        n_policy_epochs=100,
    )  # fmt: skip
    phase, width = part.split("/")[1], OBSERVATION + ACTION
    if phase == "critic":
        method, size = theirs.SRPO_IQL(width, ACTION, given), 256
        update = method.update_iql
    elif phase == "behaviour":
        method, size = theirs.SRPO_Behavior(width, ACTION, perturbation, given), 2048
        update = method.update_behavior
    else:
        method, size = theirs.SRPO(width, ACTION, perturbation, given), 256
        update = method.update_SRPO_policy
    columns = {
        short: torch.from_numpy(column.astype(np.float32)).reshape(ROWS, -1)
        for short, column in zip(("s", "a", "s_", "r", "d"), arrays().values(), strict=True)
    }

    def step() -> None:
        rows = torch.randint(ROWS, (size,))
        update({short: column[rows] for short, column in columns.items()})

    return repeated(step)


def perturbation(time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale of the action and of the noise at a diffusion time; their own module of it imports simulators."""
    logarithm = -0.25 * time**2 * (20.0 - 0.1) - 0.5 * time * 0.1
    return logarithm.exp(), (1 - (2 * logarithm).exp()).sqrt()


def repeated(step: Step) -> Callable[[int], None]:
    """A step as many times as asked."""

    def advance(count: int) -> None:
        for _ in range(count):
            step()

    return advance


def main(code: str, iterations: str, *parts: str) -> None:
    """Time the parts and print microseconds of an iteration of each."""
    made = {"ours": ours, "dtql": dtql, "srpo": srpo}[code]
    found = {}
    with redirect_stdout(sys.stderr):  # what authors' code prints
        for part in parts:
            advance, count = made(part), int(iterations)
            advance(WARM_UP)
            started = time.process_time()
            advance(count)
            found[part] = 1e6 * (time.process_time() - started) / count
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
