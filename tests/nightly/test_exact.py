import hashlib
import inspect
import json
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

import algorithms
import bench.envs.physics
from algorithms import bc, diffusion, edp, losses, optim, srpo
from algorithms.registry import methods
from bench.catalog import load_catalog
from bench.envs import ROBOTS
from bench.nightly import exact
from bench.nightly.exact import (
    Fingerprints,
    Recording,
    dataset_hashes,
    differences,
    fingerprints,
    machine,
    record_losses,
    record_simulator,
    short_trainings,
)


@pytest.fixture(scope="module", autouse=True)
def shorter():
    """A third of the iterations: every phase and program still occurs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "ITERATIONS", 60)
        yield


@pytest.fixture(scope="module")
def trainings():
    """The first short training of every method: float64, released."""
    catalog = load_catalog()
    return {method: short_trainings([method], catalog)[0] for method in methods()}


@pytest.fixture(scope="module")
def before(trainings):
    """What each of them records with the code as it is, made when first asked for."""

    class Recorded(dict):
        def __missing__(self, method):
            self[method] = record_losses(trainings[method])
            return self[method]

    return Recorded()


def prints(losses=(), datasets=(), simulators=(), on=None):
    return Fingerprints(on or machine(), dict(losses), dict(datasets), dict(simulators))


def mutate(monkeypatch, owner, name, old, new):
    """Change one line of a function, wherever in `algorithms` it has been imported to."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1
    module = sys.modules[function.__module__]
    namespace = dict(vars(module))
    exec("from __future__ import annotations\n" + source.replace(old, new), namespace)
    holders = (
        [owner]
        if inspect.isclass(owner)
        else [one for key, one in sys.modules.items() if key.split(".")[0] == algorithms.__name__]
    )
    for holder in holders:
        if getattr(holder, name, None) is function:
            monkeypatch.setattr(holder, name, namespace[name])


@pytest.mark.parametrize(
    ("method", "owner", "name", "old", "new"),
    [
        ("bc", bc, "bc_loss", "(predicted, actions)", "(predicted, -actions)"),
        ("dtql", losses, "expectile_loss", "leaky_relu(diff", "leaky_relu(-diff"),
        ("dtql", optim.Adam, "__init__", "epsilon: float = 1e-8", "epsilon: float = 1e-6"),
        ("dtql", losses, "draw_by_softmax", "softmax(values", "softmax(-values"),
        ("dtql-kl", diffusion, "denoising_loss", "(denoised, actions)", "(denoised, -actions)"),
        ("srpo", srpo, "regularised_gradient", "- beta * value", "+ beta * value"),
        ("srpo", optim, "cosine_to_zero", "1.0 + torch.cos(steps * ", "1.0 - torch.cos(steps * "),
        ("bdpo", losses, "lower_confidence_bound", "mean - pessimism", "mean + pessimism"),
        ("bdpo", losses, "lower_confidence_bound", "correction=0", "correction=1"),
        ("bdpo", optim, "clip_norm_per_seed", "div_(_divisors", "div_(1e-6 + _divisors"),
        ("edp-td3", losses, "normalised_value_loss", "return -weight", "return weight"),
        ("edp-crr", edp, "critic_regularised_weights", "advantage / temp", "-advantage / temp"),
    ],
)
def test_a_one_line_change_of_a_method_is_found(
    trainings, before, monkeypatch, method, owner, name, old, new
):
    known = before[method]
    mutate(monkeypatch, owner, name, old, new)
    (found,) = differences(prints({method: known}), prints({method: record_losses(trainings[method])}))
    assert found.fails
    assert (found.layer, found.name) == ("losses", method)
    assert " instead of " in found.sentence or "between the steps" in found.sentence


@pytest.mark.parametrize("method", ["dtql", "srpo", "bdpo-dirac"])
def test_unchanged_code_records_the_same_whatever_the_threads(trainings, before, method):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = record_losses(trainings[method])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again == before[method]


def test_every_method_is_recorded_in_both_precisions_under_each_of_its_rules():
    chosen = short_trainings(methods(), load_catalog())
    assert {(one.method, one.precision) for one in chosen} == {
        (method, precision) for method in methods() for precision in ("float64", "float32")
    }
    assert len({one.name for one in chosen}) == len(chosen)
    likelihoods = {one.preset.values["likelihood_weight"] == 0 for one in chosen if one.method == "dtql"}
    assert likelihoods == {True, False}


def test_a_recording_goes_through_every_phase_and_ends_with_actions(before):
    kept = before["srpo"].kept
    assert list(kept) == ["1", "10", "20", "50", "200"]
    assert "actions" in kept["200"]
    assert kept["1"].keys() != kept["200"].keys()


def test_simulators_replay_exactly_and_show_other_physics(monkeypatch):
    known = record_simulator("hopper", "d4rl", 60)
    assert record_simulator("hopper", "d4rl", 60) == known
    # With the old capsules' inertia left out, d4rl is modern under another name.
    monkeypatch.setattr(bench.envs.physics, "restore_capsule_inertia", lambda *_, **__: None)
    now = record_simulator("hopper", "d4rl", 60)
    (found,) = differences(prints(simulators={"hopper d4rl": known}), prints(simulators={"hopper d4rl": now}))
    assert (found.layer, found.fails) == ("simulators", True)
    elsewhere = prints(simulators={"hopper d4rl": known}, on=machine() | {"cpu": "another"})
    assert [one.fails for one in differences(elsewhere, prints(simulators={"hopper d4rl": now}))] == [True]


def recording(sha256="a", **steps):
    return Recording(sha256, {step.removeprefix("at"): {"loss": value} for step, value in steps.items()})


def test_on_one_machine_the_last_bit_counts():
    old = prints({"dtql float64": recording("a", at1=0.5, at10=0.25)})
    same = prints({"dtql float64": recording("a", at1=0.5, at10=0.25)})
    late = prints({"dtql float64": recording("b", at1=0.5, at10=0.25 * (1 + 1e-15))})
    between = prints({"dtql float64": recording("b", at1=0.5, at10=0.25)})
    assert differences(old, same) == []
    (found,) = differences(old, late)
    assert found.fails and "at step 10" in found.sentence
    (found,) = differences(old, between)
    assert found.fails and "between the steps that are kept (1, 10)" in found.sentence


def test_another_machine_is_compared_in_float64_within_rounding():
    other = machine() | {"torch": "9.9"}
    names = ("dtql float64", "dtql float32")
    old = prints({name: recording("a", at1=0.5, at200=2.0) for name in names}, on=other)
    near = prints({name: recording("b", at1=0.5 * (1 + 1e-7), at200=2.0 * (1 + 1e-4)) for name in names})
    (told,) = differences(old, near)
    assert not told.fails
    assert "torch 9.9, now " in told.sentence and "float32 is not compared" in told.sentence
    far = prints({name: recording("b", at1=0.5 * (1 + 1e-4), at200=2.0) for name in names})
    failed, told = differences(old, far)
    assert (failed.name, failed.fails, told.fails) == ("dtql float64", True, False)


def test_a_number_that_vanished_is_a_difference_on_any_machine():
    old = prints({"dtql float64": recording("a", at1=0.5)}, on=machine() | {"cpu": "another"})
    diverged = prints({"dtql float64": Recording("b", {"1": {}})})
    assert [found.fails for found in differences(old, diverged)] == [True]


def test_what_is_gone_fails_and_what_is_new_is_told():
    old, new = prints({"gone": recording()}), prints({"new": recording()})
    found = {one.name: one.fails for one in differences(old, new)}
    assert found == {"gone": True, "new": False}


def test_data_files_are_known_by_their_content(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))
    task = load_catalog().task("collected-hopper-medium")
    path = tmp_path / "collected" / "collected-hopper-medium.hdf5"
    absent = dataset_hashes([task])
    path.parent.mkdir()
    path.write_bytes(b"first")
    first = dataset_hashes([task])
    path.write_bytes(b"other")
    other = dataset_hashes([task])
    assert absent == {task.name: None}
    assert first == {task.name: hashlib.sha256(b"first").hexdigest()}

    def found(old, new):
        return [one.fails for one in differences(prints(datasets=old), prints(datasets=new))]

    assert found(first, first) == found(absent, absent) == []
    assert found(first, other) == found(first, absent) == [True]
    assert found(absent, first) == [False]


def test_fingerprints_survive_json(before):
    whole = prints({"dtql": before["dtql"]}, {"task": None}, {"hopper d4rl": recording(at1=1.0)})
    assert Fingerprints.from_json(json.loads(json.dumps(whole.as_json(), allow_nan=False))) == whole
    assert differences(whole, replace(whole, datasets={"task": None})) == []


def test_what_a_method_from_outside_raises_keeps_nobody_from_the_rest(monkeypatch):
    outside = methods()["bc"].model_copy(update={"distribution": "acme-rl 1.2"})

    def fails(training):
        raise ValueError(training.name)

    monkeypatch.setattr(exact, "record_losses", fails)
    monkeypatch.setattr(exact, "record_simulator", lambda *_: recording(at1=1.0))
    with pytest.raises(ValueError, match="bc released"):  # One of ours is a defect.
        fingerprints([], methods=["bc"], on_failure=lambda *_: None)
    monkeypatch.setattr(exact.registry, "method", lambda _: outside)
    with pytest.raises(ValueError, match="bc released"):
        fingerprints([], methods=["bc"])
    failed = {}
    found = fingerprints([], methods=["bc"], on_failure=failed.__setitem__)
    assert (found.losses, found.simulators != {}) == ({}, True)
    assert {name: str(error) for name, error in failed.items()} == {name: name for name in failed}
    assert {name.split()[-1] for name in failed} == {"float64", "float32"}


@pytest.mark.slow
def test_all_fingerprints_are_the_same_in_two_runs():
    parts = []
    first = fingerprints([], on_step=parts.append)
    assert {name.split()[0] for name in first.losses} == set(methods())
    assert len(parts) == len(first.losses) + len(first.simulators)
    assert len(first.simulators) == sum(len(rules.physics) for rules in ROBOTS.values())
    assert differences(first, fingerprints([])) == []
