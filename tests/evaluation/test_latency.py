"""Action latency: of the first seed alone, one observation at a time."""

import time

import pytest
import torch

from algorithms.base import Dimensions
from algorithms.dtql import DTQL, DTQLConfig
from bench.evaluation import latency

CONFIG = DTQLConfig(
    hidden_width=16, diffusion_width=16, batch_size=8, candidates=4, pretrain_iterations=1, train_iterations=1
)


def test_quantiles_are_those_of_the_timed_calls_alone(monkeypatch):
    seen = []

    class Slow(DTQL):
        def act(self, observations, draws):
            seen.append((tuple(observations.shape), self.seeds))
            return super().act(observations, draws)

    clock = iter([tick for call in range(7) for tick in (100.0 * call, 100.0 * call + call)])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    # Call n takes n seconds; the first two warm up, so 2 3 4 5 6 remain.
    measured = latency.action_latency(Slow(Dimensions(11, 3), CONFIG, (5, 6)), calls=5, warm_up=2)
    assert (measured.median_seconds, measured.calls) == (4.0, 5)
    assert measured.p95_seconds == pytest.approx(5.8)
    assert seen == [((1, 1, 11), (5,))] * 7


def test_measuring_leaves_the_stack_as_it_is():
    method = DTQL(Dimensions(11, 3), CONFIG, (0, 1))
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    latency.action_latency(method, calls=3, warm_up=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
