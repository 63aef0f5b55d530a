"""One stack at work: cut off anywhere and continued it gives what it gives uninterrupted, bit for bit."""

import json
import math
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load

from bench.envs import simulator_for
from bench.evaluation.beside import Beside
from bench.evaluation.rollout import roll_out
from bench.execute import stack as stack_module
from bench.execute.messages import ChannelError, StackPlan, Started, Stopped, TrialFinished
from bench.execute.stack import Stack
from bench.execute.worker import run_plan
from bench.files import sha256_of
from bench.records import DatasetRecord, EvaluationRecord, FailureRecord
from bench.training.checkpoint import Checkpoint
from bench.training.trainer import Position, method_for
from tests.data.files import columns, write
from tests.execute.tiny import PRETRAINING, TASK, TRAINING, Played, PlayedChannel, tiny_cell, tiny_plan

HALF = TRAINING // 2


def evaluations(played, seed=None):
    """(seed, number) -> all that must be the same, the last told counting."""
    return {
        (record.trial.seed, record.number): (record.step, record.returns, record.lengths, record.metrics)
        for record in played.of(EvaluationRecord)
        if seed in (None, record.trial.seed)
    }


def weights(played):
    return {event.finished.trial.seed: event.weights for event in played.of(TrialFinished)}


def scores(played):
    return {event.finished.trial.seed: event.finished.score for event in played.of(TrialFinished)}


def timings(played):
    return [timing for event in played.of(TrialFinished) for timing in event.timings]


def assert_same(played, expected, seeds=(0, 1)):
    for seed in seeds:
        assert weights(played)[seed] == weights(expected)[seed]
        assert evaluations(played, seed) == evaluations(expected, seed)
        assert scores(played)[seed] == scores(expected)[seed]


@pytest.fixture(scope="module")
def uninterrupted(tiny_data, tmp_path_factory):
    played = Played(tmp_path_factory.mktemp("whole"))
    assert played.play(tiny_plan(tiny_data))
    return played


@pytest.fixture
def one_by_one(monkeypatch):
    """Look up after every iteration, so that a test can stop at any of them."""
    monkeypatch.setattr(stack_module, "CHUNK_SECONDS", 0.0)


def test_a_whole_stack_tells_everything_once(uninterrupted, tiny_data, tmp_path):
    assert sorted(evaluations(uninterrupted)) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert len(uninterrupted.of(EvaluationRecord)) == 4
    for record in uninterrupted.of(EvaluationRecord):
        assert record.step == HALF * record.number
        assert len(record.returns) == len(record.lengths) == len(record.scores) == 2
        # D4RL's formula with hopper's reference returns.
        expected = [100 * (r + 20.272305) / (3234.3 + 20.272305) for r in record.returns]
        assert record.scores == pytest.approx(expected, rel=1e-12)
        assert {"critic_loss", "actor_loss"} <= set(record.metrics)
    last = {r.trial.seed: sum(r.scores) / 2 for r in uninterrupted.of(EvaluationRecord) if r.number == 2}
    assert scores(uninterrupted) == pytest.approx(last, rel=1e-12)
    quantities = {record.quantity for record in timings(uninterrupted)}
    assert quantities == {
        "evaluation_seconds",
        "phase_seconds:pretrain",
        "phase_seconds:train",
        "training_seconds_per_1k_iterations",
        "action_latency_median_seconds",
        "action_latency_p95_seconds",
    }
    assert not any(record.exclusive for record in timings(uninterrupted))


def test_what_is_declared_is_set_before_anything_is_computed_and_what_held_is_told(
    uninterrupted, tiny_data, tmp_path, monkeypatch
):
    # Declared is TF32, which a CPU does not have.
    (started,) = uninterrupted.of(Started)
    assert started.execution.matmul_precision == "fp32"
    assert {record.matmul_precision for record in timings(uninterrupted)} == {"fp32"}
    done = []
    monkeypatch.setattr(stack_module, "set_matmul_precision", lambda *what: done.append(what))
    trainer = stack_module.Trainer

    def made(*arguments, **more):
        done.append("made")
        return trainer(*arguments, **more)

    monkeypatch.setattr(stack_module, "Trainer", made)
    plan = tiny_plan(tiny_data)
    old = {name: value for name, value in plan.trials[0].config.items() if name != "precision"}
    for config, wanted in ((plan.trials[0].config, "tf32"), (old, "fp32")):
        trials = tuple(replace(trial, config=config) for trial in plan.trials)
        done.clear()
        Played(tmp_path).play(replace(plan, trials=trials), when=lambda stack: True)
        assert done[:2] == [(wanted, "cpu"), "made"]


def test_seeds_differ(uninterrupted):
    assert weights(uninterrupted)[0] != weights(uninterrupted)[1]
    assert evaluations(uninterrupted)[0, 2][1] != evaluations(uninterrupted)[1, 2][1]


def test_no_checkpoint_is_left_of_a_complete_stack(tiny_data, tmp_path):
    plan = tiny_plan(tiny_data, checkpoint_seconds=0.0)
    played = Played(tmp_path)
    played.play(plan)
    assert not played.checkpoints(plan).folder.exists()


class AtPlace:
    """True once the stack is at a position with so many evaluations behind it, for the n-th time."""

    def __init__(self, phase, step, evaluations_made=0, times=1):
        self._place, self._made, self._left = Position(phase, step), evaluations_made, times

    def __call__(self, stack):
        if stack.trainer.position == self._place and len(stack.history.evaluations) == self._made:
            self._left -= 1
        return self._left <= 0


PLACES = {
    "before the first iteration": lambda: AtPlace(0, 0),
    "in the middle of a phase": lambda: AtPlace(0, 7),
    "at the end of a phase": lambda: AtPlace(1, 0),
    "in the middle of the evaluated phase": lambda: AtPlace(1, 9),
    "before the first step of an evaluation": lambda: AtPlace(1, HALF),
    "inside an evaluation": lambda: AtPlace(1, HALF, times=6),
    "after an evaluation": lambda: AtPlace(1, HALF, evaluations_made=1),
    "inside the last evaluation": lambda: AtPlace(2, 0, evaluations_made=1, times=3),
}


@pytest.mark.parametrize("place", PLACES)
def test_stopped_and_continued_equals_uninterrupted(place, uninterrupted, tiny_data, tmp_path, one_by_one):
    plan, played = tiny_plan(tiny_data), Played(tmp_path)
    assert not played.play(plan, PLACES[place]())
    assert isinstance(played.events[-1], Stopped)
    assert played.of(TrialFinished) == []
    assert played.play(plan)
    assert_same(played, uninterrupted)


def test_stopped_everywhere_in_turn_equals_uninterrupted(uninterrupted, tiny_data, tmp_path, one_by_one):
    plan, played = tiny_plan(tiny_data), Played(tmp_path)
    for place in PLACES.values():
        assert not played.play(plan, place())
    assert played.play(plan)
    assert_same(played, uninterrupted)
    notes = [note for event in played.of(Started) for note in event.notes]
    assert "continues from train 9" in notes
    assert "continues from the end of training" in notes


@pytest.mark.parametrize("after", [3, PRETRAINING + 5, PRETRAINING + HALF + 3, PRETRAINING + TRAINING + 7])
def test_broken_off_without_a_word_it_goes_on_from_the_last_checkpoint(
    after, uninterrupted, tiny_data, tmp_path, one_by_one
):
    plan, told = tiny_plan(tiny_data, checkpoint_seconds=0.0), []

    class Killed(PlayedChannel):
        def send(self, event):
            # As when the process is killed: the exception leaves no chance to save.
            if len(told) == after:
                raise KeyboardInterrupt
            told.append(event)
            super().send(event)

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, Killed(Played(tmp_path), plan))
    again = Played(tmp_path)
    assert again.play(plan)
    assert again.of(Started)[0].notes[0].startswith("continues from")
    assert_same(again, uninterrupted)


def test_a_damaged_checkpoint_is_passed_over_with_a_note(uninterrupted, tiny_data, tmp_path, one_by_one):
    plan, played = tiny_plan(tiny_data, checkpoint_seconds=0.0), Played(tmp_path)
    played.play(plan, AtPlace(1, 9))
    states = played.checkpoints(plan).folder.glob("state-*")
    newest = max(states, key=lambda path: int(path.stem.removeprefix("state-")))
    newest.write_bytes(newest.read_bytes()[:-8])
    again = Played(tmp_path)
    assert again.play(plan)
    assert "damaged" in again.of(Started)[0].notes[0]
    assert_same(again, uninterrupted)


def test_a_checkpoint_that_does_not_fit_the_code_is_said_and_the_stack_starts_anew(
    uninterrupted, tiny_data, tmp_path, one_by_one
):
    plan, played = tiny_plan(tiny_data), Played(tmp_path)
    played.play(plan, AtPlace(1, 9))
    folder = played.checkpoints(plan)
    checkpoint, _ = folder.load()
    tensors = checkpoint.tensors()
    renamed = {name.replace("algorithm.", "method."): tensor for name, tensor in tensors.items()}
    folder.save(Checkpoint.of(renamed, checkpoint.host))
    again = Played(tmp_path)
    assert again.play(plan)
    assert "does not fit" in again.of(Started)[0].notes[0]
    assert_same(again, uninterrupted)


def without_a_seed(host):
    host["history"]["evaluations"][0]["returns"].pop()


def with_an_evaluation_more(host):
    host["history"]["evaluations"] *= 2


ODD_HOSTS = {
    "a step as text": lambda host: host["position"].update(step="9"),
    "a step that the tensors are not at": lambda host: host["position"].update(step=10),
    "a phase that there is not": lambda host: host["position"].update(phase=-1),
    "no position": lambda host: host.pop("position"),
    "a history that is a list": lambda host: host.update(history=[]),
    "an evaluation of one seed less": without_a_seed,
    "an evaluation twice": with_an_evaluation_more,
    "a return as text": lambda host: host["history"]["evaluations"][0]["returns"][0].__setitem__(0, "9.5"),
    "a date that is none": lambda host: host["history"]["evaluations"][0].update(evaluated_at="yesterday"),
    "a failure of a seed that lives": lambda host: host["history"].update(
        failed={
            "0": {"step": 1, "message": "", "last_metrics": {}, "iterations": 1, "failed_at": "2026-01-01"}
        }
    ),
    "nothing": lambda host: host.clear(),
}


@pytest.fixture(scope="module")
def stopped(tiny_data, tmp_path_factory):
    """A stack that was stopped in the middle of its second half, and its checkpoint."""
    plan, played = tiny_plan(tiny_data), Played(tmp_path_factory.mktemp("stopped"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stack_module, "CHUNK_SECONDS", 0.0)
        played.play(plan, AtPlace(1, HALF + 5, evaluations_made=1))
    return plan, played.checkpoints(plan).load()[0]


@pytest.mark.parametrize("change", ODD_HOSTS.values(), ids=ODD_HOSTS)
def test_what_the_host_remembers_must_fit_the_stack_and_its_tensors(stopped, tmp_path, change):
    plan, checkpoint = stopped
    host = json.loads(json.dumps(checkpoint.host))
    assert len(host["history"]["evaluations"]) == 1
    change(host)
    played = Played(tmp_path)
    played.checkpoints(plan).save(Checkpoint(checkpoint.content, host))
    assert not played.play(plan, lambda stack: True)
    (note,) = played.of(Started)[0].notes
    assert note.startswith("its checkpoint does not fit the code as it is now (")
    assert len(note) < 300


def test_the_same_checkpoint_unchanged_is_taken_up(stopped, tmp_path):
    plan, checkpoint = stopped
    played = Played(tmp_path)
    played.checkpoints(plan).save(checkpoint)
    assert not played.play(plan, lambda stack: True)
    assert played.of(Started)[0].notes[0].startswith("continues from train")


# Beside training


class HeldEvaluations:
    """Evaluations wait to begin until the test lets them, unless they are given up."""

    def __init__(self, patch):
        self.go = threading.Event()
        roll_out = stack_module.roll_out

        def held(*arguments, on_step, **options):
            while not self.go.wait(0.005):
                on_step(0)
            return roll_out(*arguments, on_step=on_step, **options)

        patch.setattr(stack_module, "roll_out", held)


@pytest.fixture
def evaluations_held(monkeypatch):
    return HeldEvaluations(monkeypatch)


def pending(stack):
    """The number of the pending evaluation, if any."""
    return stack.history.pending and stack.history.pending["number"]


def test_an_evaluation_beside_training_gives_what_one_in_turn_gives(
    uninterrupted, tiny_data, tmp_path, one_by_one, evaluations_held
):
    seen = set()

    def look(stack):
        position = (stack.trainer.position.phase, stack.trainer.position.step)
        seen.add((position, pending(stack)))
        # Training goes on to the next evaluation, and waits there for this one.
        if position in ((1, TRAINING - 1), (2, 0)):
            evaluations_held.go.set()
        return False

    played = Played(tmp_path)
    assert played.play(tiny_plan(tiny_data, beside=True, checkpoint_seconds=0.0), look)
    assert ((1, HALF), None) not in seen
    assert {((1, step), 1) for step in range(HALF + 1, TRAINING)} <= seen
    assert_same(played, uninterrupted)
    assert len(played.of(EvaluationRecord)) == 4
    assert {record.quantity for record in timings(played)} == {
        record.quantity for record in timings(uninterrupted)
    }


PLACES_BESIDE = {
    "as it has begun": ((1, HALF + 1), 1),
    "while training has gone on": ((1, HALF + 9), 1),
    "with the second one due": ((2, 0), 1),
    "with nothing left but to wait": ((2, 0), 2),
}


@pytest.mark.parametrize("going_on", [True, False], ids=["beside", "in turn"])
@pytest.mark.parametrize("place", PLACES_BESIDE.values(), ids=PLACES_BESIDE)
def test_stopped_with_an_evaluation_pending_and_continued_either_way(
    place, going_on, uninterrupted, tiny_data, tmp_path, one_by_one, evaluations_held
):
    """What is continued in turn had begun beside: on a GPU, and then on a machine without."""
    (phase, step), number = place

    def stop(stack):
        evaluations_held.go.set() if number == 2 and len(stack.history.evaluations) == 0 else None
        if number == 2 and stack.history.evaluations:
            evaluations_held.go.clear()
        return stack.trainer.position == Position(phase, step) and pending(stack) == number

    plan, played = tiny_plan(tiny_data, beside=True), Played(tmp_path)
    assert not played.play(plan, stop)
    assert isinstance(played.events[-1], Stopped)
    checkpoint, _ = played.checkpoints(plan).load()
    assert checkpoint.host["history"]["pending"]["number"] == number
    evaluations_held.go.set()
    again = Played(tmp_path)
    assert again.play(tiny_plan(tiny_data, beside=going_on))
    assert again.of(Started)[0].notes[0].startswith("continues from")
    assert_same(again, uninterrupted)


@pytest.mark.parametrize("after", [3, 9, 15])
def test_killed_with_an_evaluation_pending_it_goes_on_from_the_last_checkpoint(
    after, uninterrupted, tiny_data, tmp_path, one_by_one, evaluations_held
):
    """As by `kill -9`: nothing is saved at the end, and the checkpoint that counts was made meanwhile."""
    plan = tiny_plan(tiny_data, beside=True, checkpoint_seconds=0.0)

    class KilledError(BaseException):
        pass

    def kill(stack):
        phase, step = stack.trainer.position.phase, stack.trainer.position.step
        # Checkpoints are written meanwhile, so that the last one may not lie there yet.
        if (phase, step) >= (1, HALF + after) and saved_place() > (1, HALF):
            assert pending(stack) == 1
            raise KilledError
        return False

    def saved_place():
        checkpoint, _ = Played(tmp_path).checkpoints(plan).load()
        return checkpoint.host["position"]["phase"], checkpoint.host["position"]["step"]

    with pytest.raises(KilledError):
        Played(tmp_path).play(plan, kill)
    assert saved_place() > (1, HALF)
    checkpoint, _ = Played(tmp_path).checkpoints(plan).load()
    assert checkpoint.host["history"]["pending"]["number"] == 1
    assert checkpoint.host["history"]["evaluations"] == []
    evaluations_held.go.set()
    again = Played(tmp_path)
    assert again.play(plan)
    assert again.of(Started)[0].notes[0].startswith("continues from train")
    assert_same(again, uninterrupted)


def test_a_seed_that_diverges_meanwhile_keeps_the_evaluation_before(
    uninterrupted, tiny_data, tmp_path, one_by_one, evaluations_held
):
    """Its failure is told after that evaluation, as in turn."""
    ruin = Once(AtPlace(1, HALF + 3), poison("value"))

    def look(stack):
        ruin(stack)
        if stack.trainer.position == Position(1, HALF + 3):
            assert pending(stack) == 1
            threading.Timer(0.05, evaluations_held.go.set).start()
        return False

    played = Played(tmp_path)
    assert played.play(tiny_plan(tiny_data, beside=True, checkpoint_seconds=0.0), look)
    kinds = [
        type(event) for event in played.events if getattr(event, "trial", None) and event.trial.seed == 0
    ]
    assert kinds == [EvaluationRecord, FailureRecord]
    (failure,) = played.of(FailureRecord)
    assert (failure.trial.seed, failure.step) == (0, PRETRAINING + HALF + 3)
    assert evaluations(played)[0, 1] == evaluations(uninterrupted)[0, 1]
    assert_same(played, uninterrupted, seeds=[1])


def test_an_action_that_is_not_finite_fails_the_seed_at_the_step_that_was_evaluated(
    uninterrupted, tiny_data, tmp_path, one_by_one, evaluations_held, monkeypatch
):
    begin = Beside.begin

    def poisoned(beside, weights, play):
        begin(beside, weights, play)  # and waits, as all that are held
        with torch.no_grad():
            next(beside.copy.networks["actor"].parameters())[0] = math.nan

    monkeypatch.setattr(Beside, "begin", poisoned)

    def look(stack):
        if stack.trainer.position == Position(1, HALF + 7):
            assert pending(stack) == 1
            evaluations_held.go.set()
        return False

    played = Played(tmp_path)
    assert played.play(tiny_plan(tiny_data, beside=True), look)
    (failure,) = played.of(FailureRecord)
    assert (failure.trial.seed, failure.step) == (0, PRETRAINING + HALF)
    assert "action of evaluation 1" in failure.message
    assert evaluations(played, 0) == {}
    assert_same(played, uninterrupted, seeds=[1])


def test_an_evaluation_that_breaks_beside_training_fails_every_trial(tiny_data, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the simulator broke")

    monkeypatch.setattr(stack_module, "roll_out", broken)
    played, plan = Played(tmp_path), tiny_plan(tiny_data, beside=True)
    run_plan(plan, PlayedChannel(played, plan))
    assert [failure.message for failure in played.of(FailureRecord)] == ["the simulator broke"] * 2


@pytest.fixture(scope="module")
def stopped_pending(tiny_data, tmp_path_factory):
    """A stack that was stopped with its first evaluation pending, and its checkpoint."""
    plan, played = tiny_plan(tiny_data, beside=True), Played(tmp_path_factory.mktemp("pending"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stack_module, "CHUNK_SECONDS", 0.0)
        HeldEvaluations(patched)
        played.play(plan, lambda stack: stack.trainer.position == Position(1, HALF + 5))
    return plan, played.checkpoints(plan).load()[0]


@pytest.mark.parametrize(("asked", "acts"), [("auto", "auto"), ("eager", "eager"), ("compiled", "auto")])
def test_actions_are_never_chosen_by_compiled_code(stopped_pending, tmp_path, monkeypatch, asked, acts):
    """Its last digits are others, and an evaluation beside training must give what one in turn gives."""
    plan, checkpoint = stopped_pending
    made = []

    def beside(algorithm, runner):
        made.append(runner)
        return Beside(algorithm, runner)

    monkeypatch.setattr(stack_module, "Beside", beside)
    played = Played(tmp_path)
    played.checkpoints(plan).save(checkpoint)
    assert not played.play(replace(plan, runner=asked), lambda stack: True)
    assert made == [acts]


ODD_PENDING = {
    "as it is": lambda pending: None,
    "another number": lambda pending: pending.update(number=2),
    "another step": lambda pending: pending.update(step=HALF + 1),
    "metrics of one seed less": lambda pending: pending["metrics"].pop(),
    "metrics that are text": lambda pending: pending["metrics"][0].update(actor_loss="1"),
    "nothing": lambda pending: pending.clear(),
}


@pytest.mark.parametrize("change", ODD_PENDING.values(), ids=ODD_PENDING)
def test_a_pending_evaluation_must_be_the_next_of_the_plan(stopped_pending, tmp_path, change):
    plan, checkpoint = stopped_pending
    host = json.loads(json.dumps(checkpoint.host))
    change(host["history"]["pending"])
    played = Played(tmp_path)
    played.checkpoints(plan).save(Checkpoint(checkpoint.content, host))
    assert not played.play(plan, lambda stack: True)
    (note,) = played.of(Started)[0].notes
    assert note.startswith("continues" if host == checkpoint.host else "its checkpoint does not fit")


@pytest.mark.parametrize("kept", ["what is known of it", "its weights"])
def test_a_pending_evaluation_and_its_weights_go_together(stopped_pending, tmp_path, kept):
    plan, checkpoint = stopped_pending
    host, tensors = json.loads(json.dumps(checkpoint.host)), checkpoint.tensors()
    if kept == "its weights":
        host["history"]["pending"] = None
    else:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(stack_module.COPY)}
        assert len(tensors) < len(checkpoint.tensors())
    played = Played(tmp_path)
    played.checkpoints(plan).save(Checkpoint.of(tensors, host))
    assert not played.play(plan, lambda stack: True)
    assert played.of(Started)[0].notes[0].startswith("its checkpoint does not fit")


def poison(network, slot=0):
    """Make every parameter of a seed's network NaN."""

    def apply(stack):
        with torch.no_grad():
            for parameter in stack.trainer.algorithm.networks[network].parameters():
                parameter[slot] = math.nan

    return apply


class Once:
    """Does something to the stack at a place, and never asks to stop."""

    def __init__(self, place, action):
        self._place, self._action = place, action

    def __call__(self, stack):
        if self._action and self._place(stack):
            self._action(stack)
            self._action = None
        return False


def test_a_diverging_seed_fails_with_its_step_and_the_others_do_not_notice(
    uninterrupted, tiny_data, tmp_path, one_by_one
):
    played = Played(tmp_path)
    assert played.play(tiny_plan(tiny_data), Once(AtPlace(1, 27, 1), poison("value")))
    (failure,) = played.of(FailureRecord)
    assert (failure.trial.seed, failure.step, failure.error) == (0, PRETRAINING + 27, "diverged")
    assert "phase train" in failure.message
    assert math.isnan(failure.last_metrics["value_loss"])
    assert sorted(evaluations(played, 0)) == [(0, 1)]
    assert evaluations(played)[0, 1] == evaluations(uninterrupted)[0, 1]
    assert list(scores(played)) == list(weights(played)) == [1]
    assert_same(played, uninterrupted, seeds=[1])


def test_one_diverging_seed_of_five_leaves_the_other_four_as_in_a_stack_without_divergence(
    tiny_data, tmp_path, one_by_one
):
    five = tiny_plan(tiny_data, seeds=(0, 1, 2, 3, 4))
    sound, struck = Played(tmp_path / "sound"), Played(tmp_path / "struck")
    assert sound.play(five)
    assert struck.play(five, Once(AtPlace(1, 13), lambda stack: poison("value", 2)(stack)))
    (failure,) = struck.of(FailureRecord)
    assert (failure.trial.seed, failure.step, failure.error) == (2, PRETRAINING + 13, "diverged")
    assert "value_loss" in failure.message
    assert "iteration 13 of phase train" in failure.traceback
    assert sorted(weights(struck)) == [0, 1, 3, 4]
    assert_same(struck, sound, seeds=(0, 1, 3, 4))


def test_divergence_is_found_whatever_the_chunks(tiny_data, tmp_path):
    played = Played(tmp_path)
    assert played.play(tiny_plan(tiny_data), before=poison("value"))
    (failure,) = played.of(FailureRecord)
    assert (failure.trial.seed, failure.step, failure.error) == (0, 0, "diverged")
    assert "pretrain" in failure.message
    assert evaluations(played, 0) == {}


def test_an_action_that_is_not_finite_fails_the_seed(uninterrupted, tiny_data, tmp_path, one_by_one):
    played = Played(tmp_path)
    place = AtPlace(2, 0, evaluations_made=1, times=2)
    assert played.play(tiny_plan(tiny_data), Once(place, poison("actor")))
    (failure,) = played.of(FailureRecord)
    assert (failure.trial.seed, failure.step) == (0, PRETRAINING + TRAINING)
    assert "action of evaluation 2" in failure.message
    assert sorted(evaluations(played, 0)) == [(0, 1)]
    assert_same(played, uninterrupted, seeds=[1])


def test_a_failure_survives_stopping_and_is_told_again(uninterrupted, tiny_data, tmp_path, one_by_one):
    plan, first, second = tiny_plan(tiny_data), Played(tmp_path), Played(tmp_path)
    ruin = Once(AtPlace(0, 5), poison("value"))
    stop = AtPlace(1, 9)
    assert not first.play(plan, lambda stack: ruin(stack) or stop(stack))
    assert second.play(plan)
    assert repr(second.of(FailureRecord)) == repr(first.of(FailureRecord))  # NaN is not equal to itself
    assert [failure.step for failure in second.of(FailureRecord)] == [5]
    assert_same(second, uninterrupted, seeds=[1])


def test_a_stack_whose_seeds_all_diverged_ends(tiny_data, tmp_path):
    plan, played = tiny_plan(tiny_data), Played(tmp_path)

    def ruin(stack):
        for slot in (0, 1):
            poison("value", slot)(stack)

    assert played.play(plan, before=ruin)
    assert sorted(failure.trial.seed for failure in played.of(FailureRecord)) == [0, 1]
    assert played.of(EvaluationRecord) == played.of(TrialFinished) == []
    assert not played.checkpoints(plan).folder.exists()


def test_a_seed_alone_and_in_a_stack_draws_the_same(uninterrupted, tiny_data, tmp_path):
    # Other shapes, other last digits: equal within rounding, not bit for bit.
    played = Played(tmp_path)
    assert played.play(tiny_plan(tiny_data, seeds=(1,)))
    alone, stacked = load(weights(played)[1]), load(weights(uninterrupted)[1])
    for name, value in alone.items():
        torch.testing.assert_close(value, stacked[name], rtol=1e-3, atol=1e-4)


def test_an_exception_becomes_the_failure_of_every_trial(tiny_data, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the simulator broke")

    monkeypatch.setattr(stack_module, "roll_out", broken)
    played = Played(tmp_path)
    plan = tiny_plan(tiny_data)
    run_plan(plan, PlayedChannel(played, plan))
    failures = played.of(FailureRecord)
    assert [failure.trial.seed for failure in failures] == [0, 1]
    for failure in failures:
        assert (failure.error, failure.message) == ("RuntimeError", "the simulator broke")
        assert "in broken" in failure.traceback
        assert failure.step == PRETRAINING + HALF  # of all phases


def test_running_out_of_memory_says_what_to_ask_for(tiny_data, tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stack_module, "Trainer", full)
    played = Played(tmp_path)
    plan = tiny_plan(tiny_data)
    run_plan(plan, PlayedChannel(played, plan))
    message = played.of(FailureRecord)[0].message
    assert "--seeds-per-stack" in message
    assert "--gpus-per-stack" in message


def test_a_missing_dataset_fails_the_stack_and_not_the_run(tiny_data, tmp_path):
    plan, played = tiny_plan(tmp_path), Played(tmp_path)
    run_plan(plan, PlayedChannel(played, plan))
    assert [failure.step for failure in played.of(FailureRecord)] == [0, 0]


def test_results_that_cannot_be_handed_over_end_the_stack(tiny_data, tmp_path):
    class Refusing(PlayedChannel):
        def send(self, event):
            raise OSError("no space left on device")

    plan = tiny_plan(tiny_data)
    with pytest.raises(OSError, match="no space"):
        run_plan(plan, Refusing(Played(tmp_path), plan))


def test_a_driver_that_refuses_its_worker_makes_no_failure_of_the_trials(tiny_data, tmp_path):
    class Refusing(PlayedChannel):
        def checkpoint(self):
            raise ChannelError("the driver refuses this worker")

    plan, played = tiny_plan(tiny_data), Played(tmp_path)
    with pytest.raises(ChannelError):
        run_plan(plan, Refusing(played, plan))
    assert played.of(FailureRecord) == []


def test_the_plan_names_and_identifies_its_stack(tiny_data, tmp_path):
    plan, other = tiny_plan(tiny_data), tiny_plan(tiny_data, seeds=(0, 2))
    assert plan.seeds == (0, 1)
    assert plan.name.endswith("-seeds-0-1")
    assert plan.identity != other.identity
    assert Stack(plan, PlayedChannel(Played(tmp_path), plan)).plan is plan


def test_the_name_of_a_large_stack_is_short_enough_for_a_folder(tiny_data, tmp_path):
    plan, other = (tiny_plan(tiny_data, seeds=range(first, first + 200)) for first in (0, 1))
    (tmp_path / plan.name).mkdir()
    (tmp_path / other.name).mkdir()


def test_a_stack_trains_on_the_rows_that_its_preset_says(tmp_path):
    """BDPO keeps terminal rows that were cut, the others do not; the rule reaches the training data."""
    content = columns(40)
    content["timeouts"][[9, 19, 29]] = True
    content["terminals"][[9, 29]] = True
    path = write(tmp_path / "cut.hdf5", content)
    rows = {}
    for algorithm in ("dtql", "bdpo"):
        cell = tiny_cell(algorithms=(algorithm,), changes={"batch_size": 4})
        dataset = DatasetRecord(TASK, sha256_of(path), 40, "unverified", "unverified")
        plan = StackPlan((cell.trial(0, dataset),), cell.task, path)
        rows[algorithm] = len(Stack(plan, PlayedChannel(Played(tmp_path), plan)).trainer.data)
    assert rows == {"dtql": 36, "bdpo": 38}


# Numbers of candidates, among which some authors chose after training.

IDQL = {
    "candidates": 2,
    "most_candidates": 32,
    "policy_width": 8,
    "policy_blocks": 1,
    "critic_width": 8,
    "batch_size": 8,
    "critic_batch_size": 8,
    "train_iterations": 4,
}


@pytest.mark.parametrize("beside", [False, True])
def test_the_last_evaluation_is_repeated_with_other_numbers_of_candidates(tiny_data, tmp_path, beside):
    """And scored as the trained method scores that has so many, in the same episodes."""
    cell = tiny_cell(algorithms=("idql",), changes=IDQL)
    plan, played, trained = tiny_plan(tiny_data, cell=cell, beside=beside), Played(tmp_path), []
    assert played.play(plan, before=lambda stack: trained.append(stack.trainer))
    named = {key: dict(metrics) for key, (*_, metrics) in evaluations(played).items()}
    assert not any("candidates" in name for (_, number), of in named.items() if number == 1 for name in of)
    weights_now = trained[0].algorithm.networks.state_dict()
    for candidates in (16, 32):
        values = cell.preset.values | IDQL | {"candidates": candidates, "most_candidates": 0}
        method = method_for(cell.task, "idql", values, (0, 1))
        method.load_networks(weights_now)
        with simulator_for(cell.task, cell.physics, 4, 1) as robots:
            returns = roll_out(method, robots, evaluation=2, episodes=2).returns
        for seed, of_seed in enumerate(returns):
            expected = [100 * (r + 20.272305) / (3234.3 + 20.272305) for r in of_seed]
            told = named[seed, 2][f"score_of_{candidates}_candidates"]
            assert told == pytest.approx(sum(expected) / 2, abs=1e-9)
    assert {name for name in named[0, 2] if "candidates" in name} == {
        "score_of_16_candidates",
        "score_of_32_candidates",
    }
    # The usual evaluation is what it is without.
    plain = Played(tmp_path / "plain")
    alone = tiny_cell(algorithms=("idql",), changes=IDQL | {"most_candidates": 0})
    assert plain.play(tiny_plan(tiny_data, cell=alone))
    assert scores(plain) == scores(played)
