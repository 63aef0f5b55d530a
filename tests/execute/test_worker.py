"""What a worker makes of a stack that is complete."""

from dataclasses import replace

import pytest
import torch

from bench.execute.stack import History
from bench.execute.worker import outcomes_of
from bench.training.contract import transitions
from bench.training.trainer import Trainer, method_for
from tests.execute.tiny import tiny_plan


def test_a_protocol_that_chooses_by_metrics_is_given_them(tmp_path):
    """BC losses 0.3, 0.1, 0.2: Diffusion-QL's rule for rank 0 takes the third evaluation (test_protocols)."""
    plan = tiny_plan(tmp_path, seeds=(0,))
    (trial,) = plan.trials
    evaluation = {**trial.config["evaluation"], "selected_rank": 0}
    trial = replace(trial, protocol="bc-select", config={**trial.config, "evaluation": evaluation})
    plan = replace(plan, trials=(trial,))
    algorithm = method_for(plan.task, "dtql", trial.config["hyperparameters"], (0,))
    trainer = Trainer(algorithm, transitions(11, 3, dtype=torch.float32), runner="eager")
    evaluations = [
        {
            "number": number,
            "step": number,
            "returns": [[100.0 * number, 200.0 * number]],
            "lengths": [[1, 2]],
            "metrics": [{"bc_loss": loss}],
            "seconds": 0.0,
            "evaluated_at": "2026-12-01T00:00:00+00:00",
        }
        for number, loss in enumerate((0.3, 0.1, 0.2), start=1)
    ]
    (outcome,) = outcomes_of(plan, trainer, History(evaluations=evaluations))
    # 150 n of hopper's range: -20.272305 is 0 and 3234.3 is 100.
    expected = 100 * (450.0 + 20.272305) / (3234.3 + 20.272305)
    assert outcome.finished.score == pytest.approx(expected)
