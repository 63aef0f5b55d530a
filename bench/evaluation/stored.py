"""The method of a finished trial with the weights that the store keeps of it, ready to act."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load

from algorithms.base import Algorithm, Tensors
from algorithms.registry import MethodError, method
from bench.catalog import Task, TaskEntry, load_catalog, task_of
from bench.errors import BenchError
from bench.records import FAILED, FINAL, FINISHED, FOREIGN, IMPORTED, TrialRecord, WeightsRecord
from bench.store.database import Store
from bench.store.queries import StoredTrial, find_trial, weights_of
from bench.store.weight_files import MISSING, read_verified
from bench.training.trainer import method_for


@dataclass(frozen=True)
class StoredMethod:
    """A trial that has ended, and what it has learned."""

    trial: StoredTrial
    task: Task
    weights: WeightsRecord
    algorithm: Algorithm
    """A stack of the trial's seed alone, with the weights that training ended with."""


def load_method(store: Store, trial_id: int, device: str = "cpu") -> StoredMethod:
    """A trial's method with its final weights, on a device.

    Raises
    ------
    BenchError : no such trial, none that has finished, no weights, weights that are not those that were
    stored, a method that is not here or takes other settings by now, no such device.
    """
    trial = find_trial(store, trial_id)
    record = _weights_record(store, trial)
    content = _verified(store, trial_id, record)
    task = _task(trial.record)
    algorithm = _method(trial, task, _device(device))
    _require_fitting(content, algorithm, trial_id)
    algorithm.load_policy_state(0, content)
    return StoredMethod(trial, task, record, algorithm)


def _task(record: TrialRecord) -> Task:
    """The task that a trial was of; a user's own as it was then, whatever their catalogue says today."""
    catalog, foreign = load_catalog(), record.config.get(FOREIGN)
    if foreign is None:
        return catalog.task(record.key.task)
    data = {"source": "added", "sha256": record.dataset.sha256, "rows": record.dataset.rows, "origin": ""}
    said = {name: foreign.get(name) for name in ("environment", "reference", "preset_of")}
    try:
        entry = TaskEntry.model_validate({**said, "version": record.task_version, "dataset": data})
        return task_of(record.key.task, entry, catalog.environments, foreign=True)
    except (ValidationError, KeyError) as error:
        raise BenchError(
            f"the task {record.key.task} of this trial cannot be made again",
            f"Its environment {said['environment']} or its reference scores are none of this version.",
            "Use the version of the code that `bench explain` names.",
        ) from error


def _weights_record(store: Store, trial: StoredTrial) -> WeightsRecord:
    record = weights_of(store, trial.trial_id).get(FINAL)
    if record is not None and trial.state == FINISHED:
        return record
    what = f"trial {trial.trial_id} has no weights"
    if trial.record.key.variant == IMPORTED:
        raise BenchError(
            what, "Its score was imported; what earned it never was here.", "Choose another trial."
        )
    if trial.state == FINISHED:
        raise BenchError(
            what, "Its score is stored without them.", "Choose another trial, or train it again."
        )
    why = "It failed." if trial.state == FAILED else f"It is {trial.state}; only finished trials have."
    raise BenchError(what, why, "`bench status` shows what is left, what failed and why.")


def _verified(store: Store, trial_id: int, record: WeightsRecord) -> Tensors:
    path = store.folder / record.path
    # What is loaded are the bytes that were hashed, not the file that lies there a moment later.
    content, fault = read_verified(store.folder, record)
    if fault:
        put_back = "Put it back."
        if fault == MISSING:
            put_back = f"Copy it from where the trial ran, or from a backup, to {store.folder / record.path}."
        raise BenchError(f"{path} {fault}", f"It holds the weights of trial {trial_id}.", put_back)
    try:
        return load(content)
    except SafetensorError as error:
        raise _useless(trial_id, f"They are no safetensors: {error}.") from error


def _method(trial: StoredTrial, task: Task, device: str) -> Algorithm:
    key, settings = trial.record.key, trial.record.config["hyperparameters"]
    try:
        method(key.algorithm).load()
    except KeyError as error:
        raise BenchError(
            f"the method {key.algorithm!r} of trial {trial.trial_id} is not installed here",
            "Its weights say nothing without it.",
            "Install the package that brings it; `bench list algorithms` shows what is here.",
        ) from error
    except MethodError as error:
        raise BenchError(f"trial {trial.trial_id} cannot act here", str(error)) from error
    try:
        return method_for(task, key.algorithm, settings, (key.seed,), device)
    except (TypeError, ValueError) as error:
        raise BenchError(
            f"{key.algorithm} does not take the settings of trial {trial.trial_id} any more",
            f"{error}.",
            f"Use the version of the code that `bench explain {trial.trial_id}` names, or train it again.",
        ) from error


def _device(name: str) -> str:
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise BenchError(f"no device {name!r}", "", "Name it as torch does: cpu, cuda or cuda:1.") from error
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise BenchError(
            f"device {name!r}", "This machine has no such device that torch can use.", "Name cpu."
        )
    return name


def _require_fitting(weights: Tensors, algorithm: Algorithm, trial_id: int) -> None:
    # Loading alone would stretch a tensor of another shape over the network's.
    wanted = {name: tuple(value.shape) for name, value in algorithm.policy_state(0).items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if found != wanted:
        differing = ", ".join(sorted({name for name, _ in found.items() ^ wanted.items()})[:4])
        raise _useless(trial_id, f"Names or shapes differ from its network's: {differing[:200]}.")


def _useless(trial_id: int, why: str) -> BenchError:
    return BenchError(f"the weights of trial {trial_id} cannot be used", why, "Train it again.")
