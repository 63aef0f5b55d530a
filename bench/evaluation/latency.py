"""How long one policy takes to choose one action, and to play one trajectory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from algorithms.base import Algorithm
from bench.hardware import synchronise
from bench.training.draws import DrawStream

if TYPE_CHECKING:
    from bench.envs.batch import BatchedSimulator


@dataclass(frozen=True)
class Latency:
    """Seconds from observation to action at batch 1 of one seed."""

    median_seconds: float
    p95_seconds: float
    calls: int


def action_latency(algorithm: Algorithm, *, calls: int = 200, warm_up: int = 20) -> Latency:
    """Time `act` of the stack's first seed alone, one observation at a time, from and to the host.

    Draws are made beforehand; the device is synchronised before and after each call.
    """
    policy = algorithm.seed_view(0)
    device = policy.device
    stream = DrawStream(["latency"], "latency", policy.act_draws, device=device)
    observation = torch.zeros(1, 1, policy.dimensions.observation)
    seconds = []
    for call in range(warm_up + calls):
        draws = {name: draw.clone().unsqueeze(1) for name, draw in stream.at(call).items()}
        synchronise(device)
        started = time.perf_counter()
        policy.act(observation.to(device), draws).cpu()
        synchronise(device)
        seconds.append(time.perf_counter() - started)
    measured = np.array(seconds[warm_up:])
    return Latency(float(np.median(measured)), float(np.quantile(measured, 0.95)), calls)


def trajectory_seconds(algorithm: Algorithm, simulator: BatchedSimulator) -> float:
    """Seconds of as many steps as the horizon, one environment at a time: actions of the first seed, physics.

    An episode that ends before is followed by another, for an untrained policy is timed.
    """
    policy = algorithm.seed_view(0)
    stream = DrawStream(["trajectory"], "latency", policy.act_draws, device=policy.device)
    draws = [
        {name: draw.clone().unsqueeze(1) for name, draw in stream.at(step).items()}
        for step in range(simulator.horizon)
    ]
    observations = simulator.reset([0])
    synchronise(policy.device)
    started = time.perf_counter()
    for step, drawn in enumerate(draws):
        state = torch.from_numpy(observations.astype(np.float32)).unsqueeze(0).to(policy.device)
        action = policy.act(state, drawn)[0].cpu().numpy()
        outcome = simulator.step(action.astype(np.float64))
        observations = outcome.observations
        if outcome.terminated[0] or outcome.truncated[0]:
            observations = simulator.reset([step + 1])
    return time.perf_counter() - started
