"""The behaviour model that QGPO and SfBC share: trained once, kept, taken over to the same bits, or not."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load

from bench.data.reader import read_file
from bench.execute import stack as stack_module
from bench.execute.messages import PhaseKey, PhaseMade, Started, TrialFinished
from bench.execute.shared_phases import FOLDER, keep, made_folder
from bench.records import EvaluationRecord
from bench.training.checkpoint import POINTER, Checkpoint
from bench.training.trainer import Position
from tests.execute.tiny import BEHAVIOUR, SHARING, Played, tiny_cell, tiny_plan


def plan_of(method, data, seeds=(0, 1), **changes):
    sizes = {**SHARING[method], **changes}
    cell = tiny_cell(algorithms=(method,), evaluations=1, episodes=1, changes=sizes)
    return tiny_plan(data, seeds, cell=cell)


def notes(played):
    return played.of(Started)[-1].notes


def results(played):
    """All that two runs of the same must have in common."""
    found = {}
    for event in played.of(TrialFinished):
        found[event.finished.trial.seed] = (event.weights, event.finished.score)
    for record in played.of(EvaluationRecord):
        found[record.trial.seed, record.number] = (record.returns, record.lengths)
    return found


def behaviour_of(played, plan):
    """Weights of both seeds once the first phase is over; the stack is stopped there."""
    stacks = []
    assert not played.play(plan, after_behaviour, stacks.append)
    (stack,) = stacks
    return [stack.trainer.made(slot) for slot in range(len(plan.seeds))]


def after_behaviour(stack):
    return stack.trainer.position.phase > 0


def in_the_files_of(played):
    """The same weights, as a complete stack stored them."""
    files = {event.finished.trial.seed: load(event.weights) for event in played.of(TrialFinished)}
    prefix = "behaviour."
    return [
        {name.removeprefix(prefix): tensor for name, tensor in files[seed].items() if name.startswith(prefix)}
        for seed in sorted(files)
    ]


def assert_same_weights(one, other):
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def behaviour_seconds(played):
    return {
        timing.value
        for event in played.of(TrialFinished)
        for timing in event.timings
        if timing.quantity == "phase_seconds:behaviour"
    }


def kept_folders(played):
    return sorted(path for path in (played.folder / FOLDER).iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def alone(tiny_data, tmp_path_factory):
    """QGPO in a folder of its own, where it trains everything itself."""
    played = Played(tmp_path_factory.mktemp("alone"))
    assert played.play(plan_of("qgpo", tiny_data))
    return played


@pytest.fixture(scope="module")
def first(tiny_data, tmp_path_factory):
    """SfBC, whose behaviour model another method may take over."""
    played = Played(tmp_path_factory.mktemp("first"))
    assert played.play(plan_of("sfbc", tiny_data))
    return played


@pytest.fixture
def after(first, tmp_path):
    """A folder with what SfBC has kept, to be changed."""
    for folder in kept_folders(first):
        copied = tmp_path / FOLDER / folder.name
        copied.mkdir(parents=True)
        for file in folder.iterdir():
            (copied / file.name).write_bytes(file.read_bytes())
    return Played(tmp_path)


def test_who_comes_first_trains_it_and_says_so(first, alone):
    assert notes(first) == ("trains behaviour: under these conditions it is kept of none of its seeds",)
    assert first.of(Started)[0].execution.from_iteration == 0
    for played in (first, alone):
        names = [folder.name.rpartition("-")[0] for folder in kept_folders(played)]
        assert names == [f"behaviour-collected-hopper-quickstart-seed-{seed}" for seed in (0, 1)]


def test_who_comes_next_takes_it_over_and_ends_at_the_bits_of_training_it(first, alone, after, tiny_data):
    assert after.play(plan_of("qgpo", tiny_data))
    (note,) = notes(after)
    assert note.startswith("takes behaviour over, which another trial trained in ")
    hashes = [
        json.loads((folder / POINTER).read_text())["generations"][0]["sha256"][:12]
        for folder in kept_folders(after)
    ]
    assert note.endswith(f"(SHA-256 {', '.join(hashes)})")
    assert after.of(Started)[0].execution.from_iteration == BEHAVIOUR
    assert results(after) == results(alone)
    assert_cost_is_booked_to_both(first, after)


def assert_cost_is_booked_to_both(first, after):
    (seconds,) = behaviour_seconds(first)
    assert behaviour_seconds(after) == {seconds}
    for event in after.of(TrialFinished):
        spent = sum(t.value for t in event.timings if t.quantity.startswith("phase_seconds:"))
        assert event.finished.training_seconds == pytest.approx(spent)
        assert event.finished.iterations == BEHAVIOUR + 3 + 4


def test_what_is_kept_are_the_weights_in_both_methods_files(first, alone):
    """Although each trained them by itself: it does not matter which method asks."""
    kept = [load((folder / "state-1.safetensors").read_bytes()) for folder in kept_folders(first)]
    for played in (first, alone):
        assert_same_weights(in_the_files_of(played), kept)


def damaged(folder):
    path = folder / "state-1.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return "behaviour of seed 1: checkpoint state-1.safetensors is damaged (its hash differs)"


def missing(folder):
    (folder / "state-1.safetensors").unlink()
    return "behaviour of seed 1: checkpoint state-1.safetensors is missing"


def of_another(folder):
    """A whole one, put where another belongs, as after renaming a folder."""
    (other,) = (path for path in folder.parent.iterdir() if "seed-0" in path.name)
    for name in (POINTER, "state-1.safetensors"):
        (folder / name).write_bytes((other / name).read_bytes())
    return "behaviour of seed 1: checkpoint.json belongs to another behaviour; the behaviour starts anew"


def lied_about(folder):
    path = folder / POINTER
    path.write_text(path.read_text().replace('"iterations": 12', '"iterations": 13'))
    return "behaviour of seed 1: checkpoint.json is damaged (its hash differs); the behaviour starts anew"


@pytest.mark.parametrize("harm", [damaged, missing, of_another, lied_about])
def test_what_cannot_be_believed_is_named_and_trained_anew(alone, after, tiny_data, harm):
    said = harm(kept_folders(after)[1])
    trained = behaviour_of(after, plan_of("qgpo", tiny_data))
    kept = "trains behaviour: under these conditions it is kept of 1 of its 2 seeds alone"
    assert notes(after) == (said, kept)
    assert_same_weights(trained, in_the_files_of(alone))
    # And whole again for the next one.
    again = Played(after.folder)
    assert_same_weights(behaviour_of(again, plan_of("sfbc", tiny_data)), trained)
    assert notes(again)[0].startswith("takes behaviour over")


def test_weights_of_another_shape_are_not_taken(alone, after, tiny_data):
    for folder in kept_folders(after):
        pointer = json.loads((folder / POINTER).read_text())
        key = PhaseKey(
            "behaviour", "collected-hopper-quickstart", int(folder.name.split("-")[-2]), pointer["identity"]
        )
        (folder / POINTER).unlink()
        (folder / "state-1.safetensors").unlink()
        made = Checkpoint.of({"last.weight": torch.zeros(3)}, {"seconds": 1.0})
        keep(after.folder, PhaseMade("", replace(key, identity=pointer["identity"]), made))
    trained = behaviour_of(after, plan_of("qgpo", tiny_data))
    assert notes(after)[-1].startswith("trains behaviour: what is kept of it does not fit (")
    assert_same_weights(trained, in_the_files_of(alone))


def test_seconds_that_cannot_be_are_not_taken(after, tiny_data, monkeypatch):
    monkeypatch.setattr("bench.execute.shared_phases.SECONDS", "elsewhere")
    behaviour_of(after, plan_of("qgpo", tiny_data))
    reason = "what is kept of it does not fit (it names None as its seconds)"
    assert notes(after)[-1] == f"trains behaviour: {reason}"


@pytest.mark.parametrize(
    "changed",
    [
        {"behaviour_learning_rate": 2e-4},
        {"behaviour_iterations": BEHAVIOUR + 1},
        {"time_features": 16},
    ],
)
def test_other_settings_are_another_model(after, tiny_data, changed):
    assert after.play(plan_of("qgpo", tiny_data, **changed), when=lambda stack: True) is False
    assert notes(after) == ("trains behaviour: under these conditions it is kept of none of its seeds",)


def other_data(plan):
    trials = [replace(t, dataset=replace(t.dataset, sha256="f" * 64)) for t in plan.trials]
    return replace(plan, trials=tuple(trials))


def other_rows(plan):
    trials = [replace(t, config={**t.config, "transitions": "keep_terminal_timeouts"}) for t in plan.trials]
    return replace(plan, trials=tuple(trials))


@pytest.mark.parametrize(
    "change",
    [other_data, other_rows, lambda plan: replace(plan, trials=plan.trials[:1])],
    ids=["data", "rows", "stack"],
)
def test_other_data_or_another_stack_is_another_model(after, tiny_data, change, monkeypatch):
    """Its file is not looked at here: that it is what the plan says, reading it would show."""
    plan = plan_of("qgpo", tiny_data)
    monkeypatch.setattr(stack_module, "read_file", lambda path, task, sha256: read_file(path, task))
    assert after.play(change(plan), when=lambda stack: True) is False
    assert notes(after)[-1].endswith("of none of its seeds")


@pytest.mark.parametrize("field", ["threads", "code_sha256", "device", "matmul_precision"])
def test_what_was_run_otherwise_is_another_model(after, tiny_data, monkeypatch, field):
    describe = stack_module.describe_execution
    other = {"threads": 7, "code_sha256": "0" * 64, "device": "cpu: another", "matmul_precision": "tf32"}[
        field
    ]
    monkeypatch.setattr(
        stack_module, "describe_execution", lambda **facts: replace(describe(**facts), **{field: other})
    )
    assert after.play(plan_of("qgpo", tiny_data), when=lambda stack: True) is False
    assert notes(after)[-1].endswith("of none of its seeds")


@pytest.mark.parametrize("mixed", [False, True])
def test_a_phase_that_was_cut_off_is_kept_if_it_was_run_alike(alone, tiny_data, tmp_path, monkeypatch, mixed):
    monkeypatch.setattr(stack_module, "CHUNK_SECONDS", 0.0)
    played, plan = Played(tmp_path), plan_of("qgpo", tiny_data)
    assert not played.play(plan, when=lambda stack: stack.trainer.position == Position(0, 5))
    if mixed:
        describe = stack_module.describe_execution
        other = lambda **facts: replace(describe(**facts), device="cpu: another")  # noqa: E731
        monkeypatch.setattr(stack_module, "describe_execution", other)
        assert not played.play(plan, when=lambda stack: stack.trainer.position == Position(0, 8))
        monkeypatch.setattr(stack_module, "describe_execution", describe)
    trained = behaviour_of(played, plan)
    assert notes(played) == (f"continues from behaviour {8 if mixed else 5}",)
    assert_same_weights(trained, in_the_files_of(alone))
    assert (played.folder / FOLDER).exists() != mixed


def test_a_stack_that_goes_on_behind_the_phase_takes_nothing_over(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(stack_module, "CHUNK_SECONDS", 0.0)
    played, plan = Played(tmp_path), plan_of("qgpo", tiny_data)
    assert not played.play(plan, when=lambda stack: stack.trainer.position == Position(2, 1))
    assert not played.play(plan, when=lambda stack: True)
    assert notes(played) == ("continues from energy 1",)


def test_a_seed_that_diverged_is_not_kept(tiny_data, tmp_path):
    def poison(stack):
        stack.trainer.algorithm.networks["behaviour"].last.weight.data[0] = float("nan")

    played = Played(tmp_path)
    assert not played.play(plan_of("qgpo", tiny_data), after_behaviour, poison)
    assert [folder.name.split("-")[-2] for folder in kept_folders(played)] == ["1"]


def test_methods_that_share_nothing_keep_nothing(tiny_data, tmp_path):
    played = Played(tmp_path)
    assert not played.play(tiny_plan(tiny_data), after_behaviour)
    assert notes(played) == ()
    assert not (tmp_path / FOLDER).exists()


def test_many_that_keep_the_same_at_once_leave_one_whole(tmp_path):
    key = PhaseKey("behaviour", "hopper-medium-v2", 3, "a" * 64)
    made = Checkpoint.of({"weight": torch.arange(1000.0)}, {"seconds": 2.0})

    def once(number):
        keep(tmp_path, PhaseMade("", key, Checkpoint(made.content, {"seconds": float(number)})))
        return made_folder(tmp_path, key).load()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(once, range(24)))
    assert {checkpoint.content for checkpoint, _ in found} == {made.content}
    assert len({checkpoint.host["seconds"] for checkpoint, _ in found}) == 1
    assert not any(complaints for _, complaints in found)
    folder = made_folder(tmp_path, key).folder
    assert sorted(path.name for path in folder.iterdir()) == [POINTER, "state-1.safetensors"]
