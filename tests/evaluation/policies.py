"""Methods as trials that have ended, without training."""

from dataclasses import replace

import torch

from algorithms.base import Dimensions
from bench.catalog import load_catalog
from bench.evaluation.stored import StoredMethod
from bench.presets import load_preset
from bench.records import TrialKey
from bench.store.queries import StoredTrial
from bench.training.contract import tiny_method
from tests.store import samples

TASK = load_catalog().task("hopper-medium-v2")
SEED, ITERATIONS = 3, 24


def untrained(name, task=TASK, seed=SEED):
    """The method at its tiny sizes as a trial that ended with the weights that it begins with."""
    dimensions = Dimensions(task.observation_dim, task.action_dim, task.action_bound)
    algorithm = tiny_method(load_preset(name, task, "released"), dimensions, (seed,), ITERATIONS)
    for network in algorithm.networks.values():
        for values in network.parameters():  # a last layer may begin with zeros
            values.data += 0.1 * torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    record = samples.trial_record(seed)
    record = replace(record, key=TrialKey(name, "released", task.name, seed, record.key.config_hash))
    trial = StoredTrial(7, record, "finished", 1, "run-1", 50.0, 1.0, 1.0, None, samples.NOON, None, None)
    return StoredMethod(trial, task, None, algorithm)
