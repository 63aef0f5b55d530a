"""The stand of a store changes with every result, and with nothing else."""

from dataclasses import replace

from bench.store.stand import stand_of
from tests.store import samples


def test_every_kind_of_news_changes_it(store, writer):
    trial = samples.trial_record(0)
    key = trial.key
    steps = [
        lambda: writer.plan([trial]),
        lambda: writer.claim(key.cell, [0], 1),
        lambda: writer.begin_execution([key], samples.execution_record((0,))),
        lambda: writer.record(samples.evaluation_record(key)),
        lambda: writer.record(samples.timing_record(key)),
        lambda: writer.record(samples.failure_record(key)),
        lambda: writer.retry([key]),
        lambda: writer.note_dataset(replace(trial.dataset, verification="verified", replay="d4rl")),
    ]
    seen = [stand_of(store)]
    for number, step in enumerate(steps):
        step()
        if number != 1:  # a claim alone is no result
            assert stand_of(store) not in seen, number
        seen.append(stand_of(store))
    assert stand_of(store) == seen[-1]
