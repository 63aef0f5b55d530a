"""Exported actors act as the method does, to the last digit, wherever there is torch."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.registry import methods
from algorithms.standardisation import Standardisation
from bench.errors import BenchError
from bench.evaluation.exported import DESCRIPTION, export_actor
from bench.evaluation.policy import Policy
from bench.evaluation.stored import load_method
from bench.presets import tasks_of
from bench.records import FINAL, WeightsRecord
from bench.store.database import open_store
from bench.training.draws import DrawStream
from tests.evaluation.policies import TASK, untrained

ONE_STEP = {
    *("dtql", "dtql-kl", "srpo", "bdpo-gaussian", "bdpo-dirac"),
    *("bc", "bc-10", "td3bc", "iql", "awac", "cql", "crr", "onestep"),
}
HERE = [name for name in methods() if TASK.name in tasks_of(name)]

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")


def with_weights(name):
    method = untrained(name)
    key = method.trial.record.key
    return replace(method, weights=WeightsRecord(key, FINAL, "weights/a.safetensors", "ab" * 32, 1))


def test_the_one_step_methods_are_these():
    assert {name for name, method in methods().items() if method.load()[0].one_step} == ONE_STEP


@pytest.mark.parametrize("name", [name for name in HERE if name in ONE_STEP])
def test_an_actor_acts_as_the_method_does(name, tmp_path):
    method = with_weights(name)
    standardising = [m for m in method.algorithm.networks.modules() if isinstance(m, Standardisation)]
    for module in standardising:
        module.take(3 + 2 * torch.randn(50, 11), 1e-3)
    told = export_actor(method, tmp_path / "actor.pt")
    actor = torch.jit.load(tmp_path / "actor.pt")
    for count in (1, 2, 9):
        observations = 3 * torch.randn(count, 11, generator=torch.Generator().manual_seed(count))
        draws = DrawStream(range(count), "test", method.algorithm.act_draws).at(0)
        given = {key: draw.unsqueeze(0) for key, draw in draws.items()}
        expected = method.algorithm.act(observations.unsqueeze(0), given)[0].clamp(-1, 1)
        found = actor.act(observations, *(draws[draw["name"]] for draw in told["draws"]))
        assert torch.equal(found, expected)
        torch.manual_seed(0)
        drawn = actor(observations)
        torch.manual_seed(0)
        assert torch.equal(actor(observations), drawn)
        assert (drawn.shape, drawn.dtype) == ((count, 3), torch.float32)
        assert drawn.abs().max() <= 1
        if not told["draws"]:
            assert np.array_equal(Policy(method).act(observations.numpy()), drawn)
    means = [module.mean.flatten().tolist() for module in standardising]
    assert [told["standardisation"]["mean"]] == means if means else told["standardisation"] is None


@pytest.mark.parametrize("name", [name for name in ("dtql", "dtql-kl") if name in HERE])
def test_an_actor_of_full_size_takes_any_number_of_observations(name, tmp_path, monkeypatch):
    # As at 256 units and 1,024 candidates: activations take several passes, as many as there are states.
    monkeypatch.setattr("algorithms.networks.CACHED", 64)
    method = with_weights(name)
    export_actor(method, tmp_path / "actor.pt")
    actor = torch.jit.load(tmp_path / "actor.pt")
    assert [len(actor(torch.zeros(count, 11))) for count in (1, 7)] == [1, 7]


LOADS = """
import json, sys, torch
extra = {"bench.json": ""}
actor = torch.jit.load(sys.argv[1], _extra_files=extra)
inputs = [torch.tensor(values, dtype=getattr(torch, kind)) for values, kind in json.loads(sys.argv[2])]
ours = {"bench", "algorithms", "safetensors", "sqlalchemy"} & set(sys.modules)
print(json.dumps([actor.act(*inputs).tolist(), json.loads(extra["bench.json"]), sorted(ours)]))
"""


def test_a_process_that_has_torch_alone_loads_it(trained_store, tmp_path):
    with open_store(trained_store, read_only=True) as store:
        method = load_method(store, 1)
    told = export_actor(method, tmp_path / "actor.pt")
    observations = torch.randn(3, 11)
    draws = DrawStream(range(3), "test", method.algorithm.act_draws).at(0)
    kinds = [(one.tolist(), str(one.dtype).partition(".")[2]) for one in (observations, *draws.values())]
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOADS, tmp_path / "actor.pt", json.dumps(kinds)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    actions, described, ours = json.loads(done.stdout)
    expected = method.algorithm.act(
        observations.unsqueeze(0), {name: draw.unsqueeze(0) for name, draw in draws.items()}
    )
    assert np.allclose(actions, expected[0], rtol=0, atol=1e-6)
    assert (described, ours) == (json.loads(json.dumps(told)), [])
    assert described["weights_sha256"] == method.weights.sha256
    assert described["task"] == "collected-hopper-quickstart"
    assert [draw["name"] for draw in described["draws"]] == list(draws)


@pytest.mark.parametrize("name", [name for name in ("dt", "edp-td3", "bdpo", "dql") if name in HERE])
def test_a_sampler_is_refused_with_what_to_do_instead(name, tmp_path):
    with pytest.raises(BenchError) as error:
        export_actor(with_weights(name), tmp_path / "actor.pt")
    assert f"{name} of trial 7 does not act by one pass through a network" in str(error.value)
    assert "bench.load_policy(STORE, 7)" in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "told"), [("actor.onnx", "onnxscript"), ("actor.bin", "Name it actor.pt"), ("actor", "actor.pt")]
)
def test_another_kind_of_file_is_refused(file, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=told):
        export_actor(with_weights("bc"), tmp_path.relative_to(tmp_path) / file)
    assert DESCRIPTION == "bench.json"


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda seen, actions: actions * (2 if seen.abs().sum() > 0 else 1),
        lambda seen, actions: torch.stack(list(actions.unbind(1)), dim=1),
    ],
    ids=["by its value", "by the number of states"],
)
def test_a_method_that_acts_by_what_it_sees_cannot_be_traced_unnoticed(otherwise, tmp_path, monkeypatch):
    method = with_weights("bc")
    acts = method.algorithm.act
    monkeypatch.setattr(method.algorithm, "act", lambda seen, draws: otherwise(seen, acts(seen, draws)))
    with pytest.raises(BenchError, match="bc of trial 7 cannot be exported"):
        export_actor(method, tmp_path / "actor.pt")
    assert list(tmp_path.iterdir()) == []
