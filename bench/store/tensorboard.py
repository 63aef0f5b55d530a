"""Trials as TensorBoard's event files: curves, scores and timings to look at; the store stays the truth.

A trial is a run of TensorBoard's in `TASK/METHOD-HASH/seed-N`. Its file follows from the store alone, byte
for byte, and of a trial that goes on it only grows; so it may be brought up to date while somebody looks.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import select
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionStartInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.summary import text as text_summary

from bench.files import written_whole
from bench.records import FAILED, FINISHED, SOURCES, EvaluationRecord, TrialKey
from bench.store.database import Store
from bench.store.models import Duration
from bench.store.queries import StoredTrial, evaluations, failures

FILE = "events.out.tfevents.bench"
"""TensorBoard reads files with `tfevents` in their names."""
_FIRST = "brain.Event:2"
"""Says the version of the format."""


def run_name(key: TrialKey) -> str:
    """A trial's run of TensorBoard's, as a relative path: no two trials have the same."""
    method = key.algorithm if key.variant == "released" else f"{key.algorithm}-{key.variant}"
    return f"{_folder(key.task)}/{_folder(method)}-{key.config_hash[:12]}/seed-{key.seed}"


def bring_up_to_date(folder: Path, trial: StoredTrial, store: Store) -> Path:
    """Bring a trial's file below `folder` to what the store holds; the file.

    Where the file holds the beginning of that, the rest is added to it, which whoever reads it sees.

    Raises
    ------
    OSError : it cannot be written.
    """
    path = folder / run_name(trial.record.key) / FILE
    whole = b"".join(_records(trial, store))
    there = path.read_bytes() if path.is_file() else b""
    if there and whole.startswith(there):
        append(path, whole[len(there) :])
    elif there != whole:
        with written_whole(path) as temporary:
            temporary.write_bytes(whole)
    return path


def append(path: Path, records: bytes) -> None:
    """Add records to a trial's file."""
    with path.open("ab") as file:
        file.write(records)


def evaluation_records(evaluation: EvaluationRecord) -> bytes:
    """An evaluation made during training: means over its episodes, and the metrics of training before it."""
    means = {
        "score": _mean(evaluation.scores),
        "return": _mean(evaluation.returns),
        "length": _mean(evaluation.lengths),
        "seconds": evaluation.seconds,
    }
    if not any(evaluation.lengths):  # imported, and its owner did not say more
        means = {"score": means["score"]}
    scalars = {f"evaluation/{name}": value for name, value in means.items()}
    scalars |= {f"training/{name}": value for name, value in sorted(evaluation.metrics.items())}
    return _record(_scalars(scalars), evaluation.evaluated_at, evaluation.step)


def _records(trial: StoredTrial, store: Store) -> Iterator[bytes]:
    """All of a trial's file, in the order in which it comes to be."""
    yield _framed(Event(wall_time=trial.planned_at.timestamp(), file_version=_FIRST))
    yield _record(_hyperparameters(trial), trial.planned_at)
    yield _record(text_summary("configuration", _configuration(trial)), trial.planned_at)
    step = 0
    for evaluation in evaluations(store, trial.trial_id, trial.attempt):
        if evaluation.number >= 1:  # others were made later, of stored weights
            step = evaluation.step
            yield evaluation_records(evaluation)
    if trial.state == FINISHED:
        yield _record(_scalars(_results(trial, store)), trial.finished_at, step)
    for failure in failures(store) if trial.state == FAILED else ():
        if (failure.record.trial, failure.attempt) == (trial.record.key, trial.attempt):
            said = f"{failure.record.error}: {failure.record.message}"
            yield _record(text_summary("failure", said), failure.record.failed_at, failure.record.step)


def _results(trial: StoredTrial, store: Store) -> dict[str, float]:
    """What a finished trial ended with: score (none where its protocol gives none), seconds, bytes."""
    ended = {
        "score": trial.score,
        "training_seconds": trial.training_seconds,
        "evaluation_seconds": trial.evaluation_seconds,
        "peak_memory_bytes": trial.peak_memory_bytes,
    }
    found = {f"result/{name}": float(value) for name, value in ended.items() if value is not None}
    measured = (
        select(Duration.quantity, Duration.value)
        .where(Duration.trial_id == trial.trial_id)
        .order_by(Duration.quantity, Duration.measured_at)
    )
    with store.connect() as connection:
        found |= {f"timing/{quantity}": value for quantity, value in connection.execute(measured)}
    return found


def _hyperparameters(trial: StoredTrial) -> Summary:
    """For the tab HPARAMS: seeds of a cell are one group, of which it shows means."""
    config, key = trial.record.config, trial.record.key
    start = SessionStartInfo(
        group_name=run_name(key).rpartition("/")[0], start_time_secs=trial.planned_at.timestamp()
    )
    named: dict[str, Any] = {"method": key.algorithm, "variant": key.variant, "task": key.task}
    named |= {"budget": trial.record.budget, **config.get("hyperparameters", {})}
    for name, value in named.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    # Its map has no order of its own, and the file is to be the same every time.
    content = HParamsPluginData(session_start_info=start).SerializeToString(deterministic=True)
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    tag = "_hparams_/session_start_info"
    return Summary(value=[Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))])


def _configuration(trial: StoredTrial) -> str:
    """A table in Markdown of what the trial is, and of its hyper-parameters with their sources."""
    record, key = trial.record, trial.record.key
    sources: Mapping[str, str] = record.config.get(SOURCES, {})
    facts = {
        "seed": key.seed,
        "reduced": ", ".join(record.reduced) or "no",
        "protocol": f"{record.protocol}, {record.episodes} episodes",
        "physics": record.physics,
        "dataset": f"{record.dataset.name} {record.dataset.sha256} ({record.dataset.verification})",
        "configuration": key.config_hash,
    }
    rows = [(name, value, "") for name, value in facts.items()]
    hyperparameters = record.config.get("hyperparameters", {})
    rows += [(name, value, sources.get(name, "")) for name, value in hyperparameters.items()]
    lines = ["| | value | source |", "|---|---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)])


def _scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])


def _record(summary: Summary, at: datetime | None, step: int = 0) -> bytes:
    return _framed(Event(wall_time=at.timestamp() if at else 0.0, step=step, summary=summary))


def _framed(event: Event) -> bytes:
    """As a record of a TFRecord file: length, its checksum, content, its checksum."""
    content = event.SerializeToString(deterministic=True)
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    """Masked CRC-32C."""
    crc = crc32c(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values) if values else math.nan


def _folder(name: str) -> str:
    """A name as that of one folder; different names stay different."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
