"""An actor as a file that acts without bench: TorchScript, which torch alone loads, in Python or in C++.

Only methods that act by one pass through a network have one (`Algorithm.one_step`).
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from algorithms.base import Algorithm
from algorithms.registry import methods
from algorithms.standardisation import Standardisation
from bench.errors import BenchError
from bench.evaluation.stored import StoredMethod
from bench.files import written_whole
from bench.version import __version__

DESCRIPTION = "bench.json"
"""Name within the file of what it says of itself."""
FORMAT = 1
"""Of the description; raised when a field changes its meaning or goes."""
SUFFIX = ".pt"
_EXAMPLES = 2
"""Observations that the actor is traced with; it takes any number."""


class _Actor(nn.Module):
    """Of one seed, without the axis of seeds: observations (B, O) -> actions (B, A) within the bounds.

    `forward` draws by torch's own generator what is random in it, `act` takes the draws of the method.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self.networks = algorithm.networks
        self._algorithm = algorithm

    def forward(self, observations: Tensor) -> Tensor:
        return self.act(observations, *_draws(self._algorithm, observations))

    def act(self, observations: Tensor, *draws: Tensor) -> Tensor:
        names = [draw.name for draw in self._algorithm.act_draws]
        given = {name: draw.unsqueeze(0) for name, draw in zip(names, draws, strict=True)}
        bound = self._algorithm.dimensions.action_bound
        return self._algorithm.act(observations.unsqueeze(0), given).squeeze(0).clamp(-bound, bound)


def export_actor(method: StoredMethod, target: Path) -> dict[str, Any]:
    """Write a trial's actor to `target`, and return what the file says of itself.

    In the file, `forward(observations)` maps (B, O) to (B, A) in single precision and draws what is random in
    it by torch's own generator; `act(observations, *draws)` takes the draws that the description lists
    instead, each (B, ...), and gives what an evaluation does with them. What standardises observations is
    inside.

    Raises
    ------
    BenchError : the method does not act by one pass through a network, or the file is of another kind.
    """
    algorithm = method.algorithm
    require_exportable(method, target)
    actor = _Actor(algorithm).eval().requires_grad_(False)
    examples = torch.zeros(_EXAMPLES, algorithm.dimensions.observation, device=algorithm.device)
    inputs = {"forward": (examples,), "act": (examples, *_draws(algorithm, examples))}
    with warnings.catch_warnings():
        # The successor, torch.export, has no file that C++ or an earlier torch could load. What a trace
        # cannot follow is found out below.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        traced = torch.jit.trace_module(actor, inputs, check_trace=False)
        frozen = torch.jit.freeze(traced, preserved_attrs=["act"])
    _require_same(frozen, actor, method)
    described = description(method)
    with written_whole(target) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(frozen, str(temporary), _extra_files={DESCRIPTION: json.dumps(described, indent=1)})
    return described


def require_exportable(method: StoredMethod, target: Path) -> None:
    """Refuse a method that has no actor to be exported, and a file that would be of another kind.

    Raises
    ------
    BenchError : says what to do instead.
    """
    number, name = method.trial.trial_id, method.trial.record.key.algorithm
    if not method.algorithm.one_step:
        act = f"Act in Python, with bench.load_policy(STORE, {number}): docs/trained-policy.md."
        if methods()[name].distribution is not None:
            act += f" If {name} does act by one pass, say one_step = True in its class."
        others = sorted(other for other, found in methods().items() if found.load()[0].one_step)
        raise BenchError(
            f"{name} of trial {number} does not act by one pass through a network",
            f"An exported actor is one pass: {', '.join(others)} have one.",
            act,
        )
    if target.suffix == ".onnx":
        raise BenchError(
            f"{str(target)!r}",
            "ONNX takes the packages onnx and onnxscript, which bench does without.",
            f"Name it {target.with_suffix(SUFFIX)}: TorchScript, which torch loads, and libtorch in C++.",
        )
    if target.suffix != SUFFIX:
        what = f"{str(target)!r} has no ending that says what is written"
        raise BenchError(what, "It is TorchScript.", f"Name it {target.with_suffix(SUFFIX)}.")


@torch.no_grad()
def _require_same(exported: Any, actor: _Actor, method: StoredMethod) -> None:  # noqa: ANN401 (TorchScript)
    """Refuse what a trace has made of a method that acts one way or another, depending on what it sees."""
    algorithm = method.algorithm
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2 * _EXAMPLES + 1):
        shape = (count, algorithm.dimensions.observation)
        observations = torch.randn(shape, generator=generator).to(algorithm.device)
        draws = _draws(algorithm, observations)
        inputs = (observations, *draws)
        if not _same(exported, inputs, actor.act(*inputs), 1e-5 * algorithm.dimensions.action_bound):
            raise BenchError(
                f"{method.trial.record.key.algorithm} of trial {method.trial.trial_id} cannot be exported",
                "Traced, it acts otherwise: what it computes depends on values or on the number of states.",
                f"Act in Python, with bench.load_policy(STORE, {method.trial.trial_id}).",
            )


def _same(exported: Any, inputs: tuple[Tensor, ...], wanted: Tensor, within: float) -> bool:  # noqa: ANN401 (TorchScript)
    try:
        found = exported.act(*inputs)
    except RuntimeError:
        # What TorchScript raises where another number of states asks for other steps than it has traced.
        return False
    return torch.allclose(found, wanted, rtol=1e-4, atol=within)


def description(method: StoredMethod) -> dict[str, Any]:
    """What an exported actor says of itself, as JSON has it."""
    record, algorithm = method.trial.record, method.algorithm
    key = record.key
    return {
        "format": FORMAT,
        "made_by": {"bench": __version__, "torch": torch.__version__},
        "trial": method.trial.trial_id,
        **{name: getattr(key, name) for name in ("algorithm", "variant", "task", "seed", "config_hash")},
        **{name: getattr(record, name) for name in ("task_version", "physics", "protocol")},
        "environment": method.task.environment,
        "score": method.trial.score,
        "dataset_sha256": record.dataset.sha256,
        "weights_sha256": method.weights.sha256,
        "observation_size": algorithm.dimensions.observation,
        "action_size": algorithm.dimensions.action,
        "action_bound": algorithm.dimensions.action_bound,
        "observations": "as the environment gives them",
        "standardisation": _standardisation(algorithm),
        "draws": [vars(draw) for draw in algorithm.act_draws],
    }


def _standardisation(algorithm: Algorithm) -> dict[str, list[float]] | None:
    """By what the actor standardises observations itself, (observation - mean) * factor."""
    found = [module for module in algorithm.networks.modules() if isinstance(module, Standardisation)]
    if not found:
        return None
    return {"mean": found[0].mean[0, 0].tolist(), "factor": found[0].factor[0, 0].tolist()}


def _draws(algorithm: Algorithm, observations: Tensor) -> list[Tensor]:
    """What is random in one choice for each observation, (B, ...), by torch's own generator."""
    drawn = []
    for draw in algorithm.act_draws:
        shape = (observations.shape[0], *draw.shape)
        if draw.distribution == "normal":
            drawn.append(observations.new_empty(shape).normal_())
        else:
            drawn.append(observations.new_empty(shape, dtype=torch.float64).uniform_())
    return drawn
