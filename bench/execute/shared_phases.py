"""Phases that several methods have alike: what one trial has trained in them, kept for trials of the others.

Kept is what the phase made of one seed, under all that decides its bits: the data, the phase's settings, the
seed, and how it was run. So to take it over is to have trained it. It lies in the store's folder as
checkpoints do, whole or absent and verified when it is loaded; whatever is wrong with it, it is trained anew.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from algorithms.base import Phase
from bench.execute.history import History
from bench.execute.messages import DriverChannel, PhaseKey, PhaseMade, StackPlan
from bench.records import ExecutionRecord, hash_of
from bench.store.process_lock import locked
from bench.training.checkpoint import Checkpoint, CheckpointFolder
from bench.training.trainer import Position, Trainer

FOLDER = "shared_phases"
"""Below the store's folder."""
SECONDS = "seconds"
"""That the phase took the stack, as the checkpoint's host part names them."""


def phase_keys(plan: StackPlan, phase: Phase, execution: ExecutionRecord) -> tuple[PhaseKey, ...]:
    """What decides the bits of a shared phase of each seed of a stack that is run so."""
    assert phase.shared is not None, "it is a shared one"
    trial = plan.trials[0]
    decides = {
        "phase": phase.name,
        "network": phase.shared.network,
        "settings": dict(phase.shared.settings),
        "task": plan.task.name,
        "dataset": trial.dataset.sha256,
        "transitions": trial.config["transitions"],
        "stack size": len(plan.seeds),
        "device": execution.device,
        "driver": execution.gpu_driver,
        "threads": execution.threads,
        "runner": execution.runner,
        "precision": execution.precision,
        "matrices": execution.matmul_precision,
        "torch": execution.packages["torch"],
        "code": execution.code_sha256,
    }
    return tuple(
        PhaseKey(phase.name, plan.task.name, seed, hash_of({**decides, "seed": seed})) for seed in plan.seeds
    )


def made_folder(store: Path, key: PhaseKey) -> CheckpointFolder:
    """Where what a shared phase made is kept, below the store's folder."""
    return CheckpointFolder(store / FOLDER / key.name, key.identity, of=key.phase)


def keep(store: Path, event: PhaseMade) -> None:
    """Keep what a shared phase made, unless it is kept already: another trial's bits are the same.

    Drivers that share the store's folder do so one after the other.
    """
    folder = made_folder(store, event.key)
    (store / FOLDER).mkdir(parents=True, exist_ok=True)
    with locked(store / FOLDER / "lock", "name another store with --store"):
        if folder.load()[0] is None:
            folder.save(event.made)


class SharedPhase:
    """The first phase of a stack, where other methods have it too; where none has, it does nothing."""

    def __init__(
        self, plan: StackPlan, trainer: Trainer, history: History, execution: ExecutionRecord
    ) -> None:
        phase = trainer.algorithm.phases[0]
        self._stack, self._trainer, self._history, self._phase = plan.title, trainer, history, phase
        self._keys = phase_keys(plan, phase, execution) if phase.shared is not None else ()

    def take_over(self, channel: DriverChannel) -> list[str]:
        """Take what another trial trained, if it is kept of every seed; says in sentences what was done.

        Its seconds are booked as if they had been spent here.
        """
        trainer, history, name = self._trainer, self._history, self._phase.name
        if not self._keys or trainer.position.phase > 0:
            return []
        conditions = hash_of([key.identity for key in self._keys])
        if trainer.position.step > 0:
            # Begun under other conditions, it gets bits that nobody would find again.
            history.made_under = conditions if history.made_under == conditions else ""
            return []
        history.made_under = conditions
        found, notes = list[Checkpoint](), list[str]()
        for key in self._keys:
            checkpoint, complaints = channel.phase_made(key)
            notes += [f"{name} of seed {key.seed}: {complaint}" for complaint in complaints]
            if checkpoint is not None:
                found.append(checkpoint)
        if len(found) < len(self._keys):
            kept = (
                f"of {len(found)} of its {len(self._keys)} seeds alone" if found else "of none of its seeds"
            )
            return [*notes, f"trains {name}: under these conditions it is kept {kept}"]
        try:
            seconds = max(_seconds(checkpoint.host) for checkpoint in found)
            trainer.take_over([checkpoint.tensors() for checkpoint in found])
        except (ValueError, SafetensorError) as error:
            return [*notes, f"trains {name}: what is kept of it does not fit ({error})"]
        history.phase_seconds[name] = seconds
        hashes = ", ".join(checkpoint.sha256[:12] for checkpoint in found)
        return [
            *notes,
            f"takes {name} over, which another trial trained in {seconds:,.0f} s (SHA-256 {hashes})",
        ]

    def hand_over(self, channel: DriverChannel) -> None:
        """Where the phase has just ended, have what it made kept, of every seed that has not failed."""
        trainer, history = self._trainer, self._history
        if not self._keys or not history.made_under or trainer.position != Position(1, 0):
            return
        host = {SECONDS: history.phase_seconds[self._phase.name], "iterations": self._phase.iterations}
        for slot, key in enumerate(self._keys):
            if str(slot) not in history.failed:
                channel.send(PhaseMade(self._stack, key, Checkpoint.of(trainer.made(slot), host)))


def _seconds(host: dict[str, Any]) -> float:
    seconds = host.get(SECONDS)
    if not isinstance(seconds, int | float) or not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"it names {seconds!r} as its seconds")
    return float(seconds)
