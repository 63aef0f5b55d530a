"""The benchmark of training iterations: whom it compares, in which phase, and that it runs."""

import json
from dataclasses import replace

import pytest
import torch

from algorithms.registry import methods
from bench.catalog import load_catalog
from bench.presets import load_preset
from benchmarks import iteration
from benchmarks.iteration import SUBJECTS, main

TASK = load_catalog().task(iteration.TASK)


@pytest.fixture(autouse=True)
def threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_runs_and_writes_a_record(tmp_path, capsys):
    record = tmp_path / "record.json"
    main(["--algos", "bc", "--seconds", "0.01", "--repeats", "1", "--threads", "1", "--json", str(record)])
    assert "bc, train: ours, 1 seed" in capsys.readouterr().out
    (comparison,) = json.loads(record.read_text())["comparisons"]
    assert comparison["target"] == 1.0
    assert set(comparison["rates"]) == {"ours, 1 seed", "plain PyTorch"}


def test_unknown_algorithms_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--algos", "bc,nothing"])
    assert caught.value.code == 2
    assert "'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.title)
def test_measures_the_phase_it_names(subject):
    """With its own length, after one iteration of every phase before it."""
    assert subject.algorithm in methods()
    preset = load_preset(subject.algorithm, TASK)
    short = iteration._shortened(preset, subject.count)
    trainer = iteration._trainer_in_phase(TASK, short, 1, "cpu", "eager")
    assert trainer.phase.iterations == preset.values[subject.count]
    assert trainer.phase.name in subject.count
    assert trainer.position.step == 0


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.title)
def test_the_plain_version_iterates(subject):
    """It runs, and its parameters move."""
    preset = iteration._shortened(load_preset(subject.algorithm, TASK), subject.count)
    sizes = {
        name: replace(setting, value=8)
        for name, setting in preset.hyperparameters.items()
        if name.endswith("batch_size")
    }
    preset = replace(preset, hyperparameters={**preset.hyperparameters, **sizes})
    plain = iteration._plain_version(subject, TASK, preset)
    generator = torch.Generator().manual_seed(0)
    data = (
        torch.randn(300, TASK.observation_dim, generator=generator),
        torch.rand(300, TASK.action_dim, generator=generator) - 0.5,
        torch.randn(300, generator=generator),
        torch.randn(300, TASK.observation_dim, generator=generator),
        torch.zeros(300),
    )
    modules = [value for value in vars(plain).values() if isinstance(value, torch.nn.Module)]
    before = [parameter.clone() for module in modules for parameter in module.parameters()]
    assert before
    plain.iterate(data, 5)
    after = [parameter for module in modules for parameter in module.parameters()]
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(parameter.isfinite().all() for parameter in after)
