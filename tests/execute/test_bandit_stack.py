"""A stack on a 2D problem: its illustration is stored, and cut off anywhere it is the same."""

import pytest
from safetensors.torch import load

from bench.catalog import load_catalog
from bench.data.collect import write_generated
from bench.execute import worker
from bench.execute.messages import StackPlan, TrialFinished, Weights
from bench.files import sha256_of
from bench.records import DatasetRecord, EvaluationRecord
from tests.execute.tiny import Played, tiny_cell

TASK = load_catalog().task("bandit-25gaussians-far")
SIZES = {
    "hidden_width": 16,
    "diffusion_width": 16,
    "batch_size": 64,
    "shuffled_minibatches": False,
    "train_iterations": 40,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "points.hdf5"
    write_generated(TASK, path, rows=500)
    return path


def plan(data):
    cell = tiny_cell(tasks=(TASK,), changes=SIZES)
    dataset = DatasetRecord(TASK.name, sha256_of(data), 500, "content fits", "unverified")
    trials = tuple(cell.trial(seed, dataset) for seed in (0, 1))
    return StackPlan(trials, TASK, data, checkpoint_seconds=0.0)


def files(played):
    kept = {(event.trial.seed, event.role): event.content for event in played.of(Weights)}
    return kept | {(event.finished.trial.seed, "final"): event.weights for event in played.of(TrialFinished)}


def numbers(played):
    return {(r.trial.seed, r.number): (r.returns, r.lengths, r.metrics) for r in played.of(EvaluationRecord)}


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    played = Played(tmp_path_factory.mktemp("whole"))
    assert played.play(plan(data))
    return played


def test_each_seed_leaves_its_illustration(uninterrupted):
    kept = files(uninterrupted)
    assert sorted(kept) == [(seed, role) for seed in (0, 1) for role in ("final", "illustration")]
    clouds = load(kept[0, "illustration"])
    assert {"actions", "data", "data_reward", "truth", "grid"} <= clouds.keys()
    assert clouds["actions"].shape == (2000, 2)
    assert kept[0, "illustration"] != kept[1, "illustration"]


def test_the_last_evaluation_holds_the_numbers(uninterrupted):
    told = numbers(uninterrupted)
    for seed in (0, 1):
        assert "energy_distance_to_truth" not in told[seed, 1][2]
        metrics = told[seed, 2][2]
        assert {"energy_distance_to_truth", "share_in_support", "data_share_on_best_modes"} <= metrics.keys()
        assert 0 <= metrics["share_on_best_modes"] <= metrics["share_in_support"] + 0.2
    assert {lengths for _, lengths, _ in told.values()} == {(1, 1)}
    for record in uninterrupted.of(EvaluationRecord):
        # By hand: score 0 is the mean reward of the data, 100 its largest.
        expected = [100 * (earned - 9.398618) / (15.067296 - 9.398618) for earned in record.returns]
        assert record.scores == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("made", [0, 1])
def test_cut_off_and_continued_it_is_the_same(uninterrupted, data, tmp_path, made):
    parts = Played(tmp_path)
    halves = plan(data)
    assert not parts.play(
        halves, lambda stack: len(stack.history.evaluations) == made and stack.iterations > 5
    )
    assert parts.play(halves)
    assert files(parts) == files(uninterrupted)
    assert numbers(parts) == numbers(uninterrupted)
    assert len(parts.of(TrialFinished)) == 2


def test_a_further_attempt_that_finds_all_evaluated_has_its_illustration_too(
    uninterrupted, data, tmp_path, monkeypatch
):
    """What the first attempt stored is not the second one's."""

    def breaks(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(worker, "outcomes_of", breaks)
        with pytest.raises(MemoryError):
            Played(tmp_path).play(plan(data))
    second = Played(tmp_path)
    assert second.play(plan(data))
    assert files(second) == files(uninterrupted)
    assert numbers(second) == numbers(uninterrupted)
