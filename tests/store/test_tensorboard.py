"""Trials as event files: TensorBoard's own reader finds what is stored, and a file only grows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from bench.records import TrialKey, hash_of
from bench.store.database import Store
from bench.store.queries import trial_of
from bench.store.tensorboard import append, bring_up_to_date, evaluation_records, run_name
from bench.store.writer import Writer
from tests.store import samples

TRIAL = samples.trial_record(hyperparameters={"discount": 0.99, "norm": True, "widths": [16, 16]})
KEY = TRIAL.key
RUN = run_name(KEY)


def exported(store: Store, folder: Path) -> Path:
    return bring_up_to_date(folder, trial_of(store, KEY), store)


def read(folder: Path) -> EventMultiplexer:
    """What TensorBoard finds below a folder."""
    found = EventMultiplexer().AddRunsFromDirectory(str(folder))
    found.Reload()
    return found


def points(folder: Path, tag: str) -> list[tuple[int, float, float]]:
    """Step, value and time of a curve."""
    return [(one.step, one.value, one.wall_time) for one in read(folder).Scalars(RUN, tag)]


def test_tensorboard_finds_what_is_stored(store: Store, writer: Writer, tmp_path: Path) -> None:
    writer.plan([TRIAL])
    one, two = (samples.evaluation_record(KEY, number) for number in (1, 2))
    later = replace(samples.evaluation_record(KEY, 0), step=9999)  # of stored weights
    writer.record(one, replace(two, scores=(1.0, math.nan, 2.0)), later, samples.timing_record(KEY))
    writer.record(samples.finished_record(KEY))
    exported(store, tmp_path)

    assert list(read(tmp_path).Runs()) == [RUN] == [f"hopper-medium-v2/dtql-{KEY.config_hash[:12]}/seed-0"]
    (first, second) = points(tmp_path, "evaluation/score")
    assert first == pytest.approx((1000, sum(one.scores) / 3, one.evaluated_at.timestamp()), rel=1e-6)
    assert second[0] == 2000
    assert math.isnan(second[1])
    assert [value for _, value, _ in points(tmp_path, "evaluation/return")] == [275.25, 275.25]
    assert [value for _, value, _ in points(tmp_path, "training/critic_loss")] == [0.25, 0.25]
    assert points(tmp_path, "result/score")[0][:2] == pytest.approx((2000, 9.2))
    (quantity,) = (tag for tag in read(tmp_path).Runs()[RUN]["scalars"] if tag.startswith("timing/"))
    assert points(tmp_path, quantity)[0][1] == 3.5


def test_settings_are_shown_and_seeds_are_one_group(store: Store, writer: Writer, tmp_path: Path) -> None:
    writer.plan([TRIAL])
    exported(store, tmp_path)
    (text,) = read(tmp_path).Tensors(RUN, "configuration/text_summary")
    assert "| discount | 0.99 |" in text.tensor_proto.string_val[0].decode()
    (content,) = read(tmp_path).PluginRunToTagToContent("hparams")[RUN].values()
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.group_name == RUN.removesuffix("/seed-0")
    assert start.hparams["discount"].number_value == 0.99
    assert start.hparams["norm"].bool_value
    assert start.hparams["method"].string_value == "dtql"


def test_a_failure_is_told(store: Store, writer: Writer, tmp_path: Path) -> None:
    writer.plan([TRIAL])
    writer.record(samples.failure_record(KEY))
    exported(store, tmp_path)
    (text,) = read(tmp_path).Tensors(RUN, "failure/text_summary")
    assert text.tensor_proto.string_val[0] == b"diverged: critic_loss is NaN"


def test_a_file_grows_with_its_trial_and_is_the_same_however_it_came_to_be(
    store: Store, writer: Writer, tmp_path: Path
) -> None:
    writer.plan([TRIAL])
    path = exported(store, tmp_path / "grown")
    place = path.stat().st_ino
    for number in (1, 2, 3):
        evaluation = samples.evaluation_record(KEY, number)
        writer.record(evaluation)
        if number == 2:
            append(path, evaluation_records(evaluation))  # as it comes by, without the store
        else:
            exported(store, tmp_path / "grown")
    with path.open("rb+") as file:  # cut off in the midst of a record
        file.truncate(path.stat().st_size - 7)
    writer.record(samples.timing_record(KEY), samples.finished_record(KEY))
    exported(store, tmp_path / "grown")
    assert path.stat().st_ino == place, "whoever reads the file would not see what is new"
    once = exported(store, tmp_path / "once")
    assert path.read_bytes() == once.read_bytes()
    changed = once.stat().st_mtime_ns
    assert exported(store, tmp_path / "once").stat().st_mtime_ns == changed


def test_another_attempt_replaces_the_file(store: Store, writer: Writer, tmp_path: Path) -> None:
    writer.plan([TRIAL])
    writer.record(samples.evaluation_record(KEY), samples.failure_record(KEY))
    exported(store, tmp_path)
    writer.retry([KEY])
    writer.record(samples.evaluation_record(KEY, returns=(30.0,)))
    exported(store, tmp_path)
    assert [value for _, value, _ in points(tmp_path, "evaluation/score")] == [1.0]
    assert "failure/text_summary" not in read(tmp_path).Runs()[RUN]["tensors"]


def test_no_name_leads_out_of_the_folder_or_to_another_trial() -> None:
    odd = ("a", "a/b", "a%2Fb", "..", ".", "a b", "../../a", "a\n", "A")
    keys = [TrialKey(method, "released", task, 0, hash_of(1)) for method in odd for task in odd]
    names = {run_name(key) for key in keys}
    assert len(names) == len(keys)
    assert all(len(Path(name).parts) == 3 and ".." not in Path(name).parts for name in names)
