"""An evaluation beside training: of the weights as they were, with the numbers of one in turn."""

import os
from threading import Event

import pytest
import torch
from threadpoolctl import threadpool_info

from bench.envs import make_simulator
from bench.evaluation.beside import Beside
from bench.evaluation.rollout import roll_out
from tests.evaluation.test_rollout import small_dtql


@pytest.fixture
def simulator():
    with make_simulator("hopper", "d4rl", 4) as simulator:
        yield simulator


@pytest.fixture
def method():
    return small_dtql()


@pytest.fixture
def beside(method):
    beside = Beside(method, "eager")
    yield beside
    beside.close()


def numbers(rollouts):
    return rollouts.returns.tolist(), rollouts.lengths.tolist(), rollouts.finite.tolist()


def changed(method):
    """The method after some training, as far as an evaluation is concerned."""
    with torch.no_grad():
        for parameter in method.networks.parameters():
            parameter.mul_(1.5)


def test_the_weights_may_change_as_soon_as_it_has_begun(method, beside, simulator):
    expected = [numbers(roll_out(method, simulator, evaluation=1, episodes=2))]
    go = Event()

    def play(policy, on_step):
        go.wait()
        return roll_out(policy, simulator, evaluation=1, episodes=2, on_step=on_step)

    beside.begin(method.networks.state_dict(), play)
    changed(method)
    assert not beside.finished()
    go.set()
    assert beside.finished(None)
    assert numbers(beside.result()) == expected[0]
    assert beside.step == max(map(max, expected[0][1])) - 1
    # The next evaluation is of the weights as they are by now.
    expected.append(numbers(roll_out(method, simulator, evaluation=1, episodes=2)))
    beside.begin(method.networks.state_dict(), play)
    assert numbers(beside.result()) == expected[1] != expected[0]


def test_what_ends_an_evaluation_is_raised_where_its_result_is_wanted(method, beside):
    def play(policy, on_step):
        raise RuntimeError("the simulator broke")

    beside.begin(method.networks.state_dict(), play)
    assert beside.finished(None)
    with pytest.raises(RuntimeError, match="the simulator broke"):
        beside.result()


def test_closing_breaks_off_an_evaluation_at_its_next_step(method):
    beside, steps = Beside(method, "eager"), []

    def play(policy, on_step):
        while True:
            steps.append(len(steps))
            on_step(steps[-1])

    beside.begin(method.networks.state_dict(), play)
    beside.close()
    ended = len(steps)
    assert beside.finished()
    assert len(steps) == ended


def test_weights_of_another_method_are_refused(method, beside):
    with pytest.raises(ValueError, match="weights do not fit: "):
        beside.begin(small_dtql((0, 1, 2)).networks.state_dict(), lambda policy, on_step: None)
    with pytest.raises(ValueError, match="weights do not fit: "):
        method.load_networks({})


def test_its_thread_computes_with_as_many_threads_as_the_one_that_trains(method, simulator):
    """A product of matrices may come to other last digits on another number of threads."""
    before, unusual = torch.get_num_threads(), (os.cpu_count() or 1) + 1
    torch.set_num_threads(unusual)
    found = []

    def play(policy, on_step):
        found.extend(entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "openmp")
        return roll_out(policy, simulator, evaluation=1, episodes=2, on_step=on_step)

    try:
        beside = Beside(method, "eager")
        beside.begin(method.networks.state_dict(), play)
        assert beside.finished(None)
        beside.result()
        beside.close()
    finally:
        torch.set_num_threads(before)
    assert found
    assert set(found) == {unusual}
