"""`bench evaluate`: stored weights judged again in fresh episodes."""

import hashlib
import sqlite3

import pytest
import torch
from safetensors.torch import load, save

from bench.cli import main
from bench.store.database import open_store
from bench.store.queries import evaluations
from tests.execute.tiny import typed
from tests.store.databases import change


@pytest.fixture(scope="module")
def store(tiny_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluate") / "bench.sqlite"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit) as stopped:
        patched.setenv("BENCH_DATA_DIR", str(tiny_data))
        main(typed("--executor", "local", "--seeds", "0", "--store", path))
    assert stopped.value.code == 0
    return path


def stored(store):
    with open_store(store, read_only=True) as opened:
        return {record.number: record for record in evaluations(opened, 1)}


def test_judgements_are_numbered_downwards_in_fresh_episodes_and_leave_the_score(bench, store):
    before = stored(store)
    assert min(before) == 1
    code, out, _ = bench("evaluate", 1, "--store", store)
    assert (code, "trial 1, 2 fresh episodes, physics d4rl" in out) == (0, True)
    assert bench("evaluate", 1, "--episodes", 5, "--physics", "modern", "--store", store)[0] == 0
    after = stored(store)
    assert sorted(after) == [-1, 0, 1, 2]
    assert (len(after[0].returns), after[0].physics, after[0].step) == (2, "d4rl", before[2].step)
    assert (len(after[-1].returns), after[-1].physics) == (5, "modern")
    assert {number: after[number] for number in before} == before
    played = [value for record in after.values() for value in record.returns]
    assert len(set(played)) == len(played)
    with sqlite3.connect(store) as connection:
        ((score,),) = connection.execute("SELECT score FROM scores").fetchall()
    assert score == pytest.approx(sum(before[2].scores) / 2)


def test_weights_that_are_not_those_stored_are_refused(bench, store):
    (weights,) = (store.parent / "weights").iterdir()
    content, count = weights.read_bytes(), len(stored(store))
    try:
        weights.write_bytes(content[:-4] + b"\0\0\0\1")
        code, out, err = bench("evaluate", 1, "--store", store)
        assert (code, out) == (2, "")
        assert weights.name in err
        assert "SHA-256" in err
        weights.unlink()
        code, _, err = bench("evaluate", 1, "--store", store)
        assert (code, "missing" in err) == (2, True)
    finally:
        weights.write_bytes(content)
    assert len(stored(store)) == count


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda tensors: b"", "They are no safetensors"),
        (lambda tensors: save(tensors)[:-8], "They are no safetensors"),
        (lambda tensors: save(dict(list(tensors.items())[1:])), "Names or shapes differ"),
        (lambda tensors: save(tensors | {"one more": torch.zeros(1)}), "Names or shapes differ"),
        # Copying alone would stretch it over the whole layer.
        (lambda tensors: save(tensors | {min(tensors): torch.zeros(1)}), "Names or shapes differ"),
    ],
)
def test_weights_with_the_right_hash_that_are_no_weights_of_the_trial_are_told(bench, store, spoil, told):
    (weights,) = (store.parent / "weights").iterdir()
    content, count = weights.read_bytes(), len(stored(store))
    try:
        weights.write_bytes(spoil(load(content)))
        name_hash_of(weights, store)
        code, out, err = bench("evaluate", 1, "--store", store)
        assert (code, out) == (2, "")
        assert "the weights of trial 1 cannot be used" in err
        assert told in err
    finally:
        weights.write_bytes(content)
        name_hash_of(weights, store)
    assert len(stored(store)) == count


def name_hash_of(weights, store):
    """Let the store say that the file is what it holds."""
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    change(str(store), f"UPDATE weights SET sha256 = '{digest}'")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((99,), "no trial 99"),
        ((1, "--physics", "old"), "physics 'old'"),
        ((1, "--episodes", 0), "--episodes"),
        (("one",), "TRIAL"),
    ],
)
def test_wrong_requests(bench, store, arguments, told):
    code, out, err = bench("evaluate", *arguments, "--store", store)
    assert (code, out) == (2, "")
    assert told in err


def test_a_store_that_is_not_there_is_not_made(bench, tmp_path):
    code, _, err = bench("evaluate", 1, "--store", tmp_path / "none.sqlite")
    assert (code, "no results database" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []
