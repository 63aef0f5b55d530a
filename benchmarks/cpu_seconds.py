"""CPU seconds of iterations, by this project's code or by an author's; a script that checkouts.py starts.

`python -P cpu_seconds.py CODE METHOD/PHASE` warms up, prints what that took, and then for every number that
it reads the seconds of as many iterations. CODE is `ours` or `compiled` (this project's runners, in whatever
checkout `PYTHONPATH` names), `dtql`, `srpo`, `edp` or `bdpo` (their checkouts, named in the same way). One
thread, one seed, synthetic data of hopper's dimensions. It takes nothing of this project but what every
commit has, and of other packages those alone that each code needs.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # the environment of code that uses JAX need not have torch
    import torch

OBSERVATION, ACTION, ROWS = 11, 3, 100_000
TASK = "hopper-medium-v2"
WARM_UP = 5
"""Within which every program of a phase comes once."""
Step = Callable[[], object]


def ours(part: str, *, runner: str = "eager") -> Callable[[int], None]:
    """Training of a phase, `dtql/train`, or, `dtql/act`, choices of actions in ten episodes."""
    import torch

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
    trainer = Trainer(algorithm, synthetic_data(task, "cpu", ROWS), runner=runner)
    names = [declared.name for declared in algorithm.phases]
    for earlier in names[1 : names.index(phase) + 1]:
        algorithm.begin_phase(earlier)
    # From the middle on: no warm-up of a method is left there.
    middle = algorithm.phases[names.index(phase)].iterations // 2
    state = trainer.state_dict() | {"iterations": torch.tensor(middle)}
    trainer.load(state, Position(names.index(phase), middle))
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
    import torch

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
    import torch

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


def edp(part: str) -> Callable[[int], None]:
    """The authors' training step of EDP with TD3 or IQL, with the flags that make it EDP, on hopper-medium.

    What is put together here is what their trainer puts together; it imports simulators itself.
    """
    jax = one_thread_of_jax()
    # Newer versions of JAX have dropped these names.
    jax.tree_map = jax.tree_multimap = jax.tree.map
    for kind in (type(jax.numpy.zeros(1)), jax.core.Tracer):
        kind.tile = jax.numpy.tile
    utilities, nets, diffusion = map(
        import_module, ("utilities.jax_utils", "diffusion.nets", "diffusion.diffusion")
    )
    utilities.init_rng(0)
    learner = import_module("diffusion.dql").DiffusionQL
    values = learner.get_default_config()
    values.update(
        loss_type=part.split("/")[0].removeprefix("edp-").upper(),
        num_timesteps=1000,
        max_grad_norm=import_module("diffusion.hps").hyperparameters[TASK]["gn"],
    )
    process = diffusion.GaussianDiffusion(
        num_timesteps=values.num_timesteps,
        schedule_name=values.schedule_name,
        model_mean_type=diffusion.ModelMeanType.EPSILON,
        model_var_type=diffusion.ModelVarType.FIXED_SMALL,
        loss_type=diffusion.LossType.MSE,
        min_value=-1.0,
        max_value=1.0,
    )
    policy = nets.DiffusionPolicy(
        diffusion=process,
        observation_dim=OBSERVATION,
        action_dim=ACTION,
        time_embed_size=values.time_embed_size,
        sample_method="dpm",
        dpm_steps=values.dpm_steps,
        dpm_t_end=values.dpm_t_end,
    )
    critic, value = nets.Critic(OBSERVATION, ACTION), nets.Value(OBSERVATION)
    agent = learner(values, policy, critic, value, nets.GaussianPolicy(ACTION))
    # The policy's target moves from the thousandth step on, in every fifth.
    agent._total_steps = 1000
    columns = arrays()
    columns["dones"] = columns.pop("terminals").astype(np.float32)

    def step() -> object:
        rows = np.random.randint(ROWS, size=256)
        batch = utilities.batch_to_jax({name: column[rows, ...] for name, column in columns.items()})
        return agent.train(batch)

    return repeated(step, jax.block_until_ready)


def bdpo(part: str) -> Callable[[int], None]:
    """The authors' loops of BDPO's two phases, with batches made as their dataset does, on hopper-medium."""
    jax = one_thread_of_jax()
    configuration = import_module("omegaconf").OmegaConf.load("examples/offline/config/d4rl/algo/bdpo.yaml")
    values = configuration.algo
    values.critic.update({"eta": 0.2, "rho": 2.0, "ensemble_size": 20})
    agent = import_module("flowrl.agent.offline.bdpo.bdpo").BDPOAgent(OBSERVATION, ACTION, values, 0)
    if part == "bdpo/train":
        agent.prepare_training()
        agent._n_training_steps = agent.warmup_steps
    update = agent.train_step if part == "bdpo/train" else agent.pretrain_step
    batch = import_module("flowrl.types").Batch
    data = arrays()
    columns = {
        "obs": data["observations"],
        "action": data["actions"],
        "reward": data["rewards"][:, None],
        "terminal": data["terminals"].astype(np.float32)[:, None],
        "next_obs": data["next_observations"],
        "next_action": data["actions"],
    }
    order, steps = np.random.permutation(ROWS), count()

    def step() -> object:
        number = next(steps)
        first = number * 256 % (ROWS - 256)
        rows = order[first : first + 256]
        return update(batch(**{name: column[rows] for name, column in columns.items()}), step=number)

    return repeated(step, jax.block_until_ready)


def one_thread_of_jax() -> Any:  # noqa: ANN401 (a module without types)
    """JAX on the CPU, its products on one thread."""
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }
    return import_module("jax")


def repeated(step: Step, wait: Callable[[object], object] | None = None) -> Callable[[int], None]:
    """A step as many times as asked; `wait` returns when the last one's result is there."""

    def advance(iterations: int) -> None:
        for _ in range(iterations):
            result = step()
        if wait:
            wait(result)

    return advance


def cpu_seconds() -> float:
    """Of this process, all its threads, and of the compilers that it has called."""
    return time.process_time() + sum(os.times()[2:4])


def main(code: str, part: str) -> None:
    """Warm up, then run and time as many iterations as each line of the input says."""
    codes: dict[str, Callable[[str], Callable[[int], None]]] = {
        "ours": ours,
        "compiled": partial(ours, runner="compiled"),
        "dtql": dtql,
        "srpo": srpo,
        "edp": edp,
        "bdpo": bdpo,
    }
    answers = sys.stdout
    with redirect_stdout(sys.stderr):  # what authors' code prints
        advance = codes[code](part)
        for iterations in chain([WARM_UP], map(int, sys.stdin)):
            started = cpu_seconds()
            advance(iterations)
            print(cpu_seconds() - started, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
