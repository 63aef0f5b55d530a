"""Exact layers of a night: what must come out the same to the last bit where nothing was changed.

They come first, because they find most regressions in a minute and without any false alarm: short trainings
of every method, the hashes of the data files, and simulators under fixed actions.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from algorithms import registry
from algorithms.base import Algorithm, Dimensions
from bench.catalog import Catalog, Task, load_catalog
from bench.data.folder import dataset_path
from bench.data.manifest import remarks_on
from bench.envs import ROBOTS, make_simulator
from bench.files import sha256_of
from bench.hardware import cpu_model
from bench.presets import Preset, PresetFiles, preset_of, variants_of
from bench.provenance import package_versions
from bench.records import DatasetRecord, Physics
from bench.store.damage import restored
from bench.training.batches import PackedDataset
from bench.training.contract import doubled, one_thread, tiny_method, transitions
from bench.training.draws import DrawStream
from bench.training.trainer import Trainer

Layer = Literal["losses", "datasets", "simulators"]
Precision = Literal["float64", "float32"]

TOLERANCES: Mapping[str, Mapping[int, float]] = {
    "losses": {1: 1e-5, 10: 1e-5, 20: 1e-4, 50: 1e-4, 200: 1e-2},
    "simulators": {1: 1e-9, 10: 1e-9, 20: 1e-9},
}
"""Relative differences by step that are let through between machines, in float64.

Measured on one processor by switching instructions off. Losses with AVX-512, AVX2 and SSE alone differ by
at most 5e-7 at step 1, 4e-6 up to step 50 and 1e-4 at step 200. Simulators without fused multiplication
differ by 2e-14 up to step 10; HalfCheetah by 7e-9 at step 50 and beyond any use at step 100, so its later
steps are not compared."""
SMALLEST_SCALE = 1e-3
"""Of values below this the absolute difference counts, in this unit."""
_PACKAGES = ("torch", "numpy", "mujoco")

ITERATIONS = 200
"""Of all phases of a method together, about: every phase and program occurs."""
KEPT = (1, 10, 20, 50, 200)
"""Steps whose values are kept, to show where two recordings part and to compare two machines."""
SEEDS = (0, 1)
DIMENSIONS = Dimensions(observation=4, action=2)
ROWS = 500

PREFERRED_TASK = "hopper-medium-v2"
ENVIRONMENTS = 4
OBSERVATIONS = 64
"""At which trained policies choose: enough that another rule of choosing among candidates shows."""


@dataclass(frozen=True)
class Recording:
    """A run of numbers: the hash of all, and some of them."""

    sha256: str
    """Of every number as float64, step by step."""
    kept: Mapping[str, Mapping[str, float]]
    """Step -> name -> value, of several numbers their sum; what is not finite is left out."""


@dataclass(frozen=True)
class Fingerprints:
    """Taken once for a baseline and again every night."""

    machine: Mapping[str, str]
    """Processor, instruction set and versions that the last digits depend on."""
    losses: Mapping[str, Recording]
    """By method, variant, task whose preset is followed, and precision."""
    datasets: Mapping[str, str | None]
    """SHA-256 by task; None where the file is not there."""
    simulators: Mapping[str, Recording]
    """By environment and physics: `hopper d4rl`."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Fingerprints:
        """What `as_json` gave.

        Raises
        ------
        DamagedStoreError : it is something else.
        """
        return restored(cls, content, "fingerprints of a baseline")


def fingerprints(
    tasks: Sequence[Task],
    *,
    methods: Sequence[str] | None = None,
    on_step: Callable[[str], None] = lambda name: None,
    on_failure: Callable[[str, Exception], None] | None = None,
) -> Fingerprints:
    """Take all of them; on one core in under a minute, besides files that have to be hashed anew.

    Parameters
    ----------
    tasks : whose data files are hashed.
    methods : default all that are registered, each under every set of rules that its presets know.
    on_step : told the name of each part before it is made.
    on_failure : told the name of a short training and what a method from outside this package raised in it,
        of which there is then no recording. Without it that is raised, as is what a method of ours raises.
    """
    catalog = load_catalog()
    losses, simulators = {}, {}
    for training in short_trainings(registry.methods() if methods is None else methods, catalog):
        on_step(training.name)
        try:
            losses[training.name] = record_losses(training)
        except Exception as error:
            if on_failure is None or registry.method(training.method).distribution is None:
                raise
            on_failure(training.name, error)
    for environment, robot in ROBOTS.items():
        for physics in robot.physics:
            on_step(f"{environment} {physics}")
            simulators[f"{environment} {physics}"] = record_simulator(environment, physics)
    return Fingerprints(machine(), losses, dataset_hashes(tasks), simulators)


def dataset_hashes(tasks: Iterable[Task]) -> dict[str, str | None]:
    """SHA-256 of each task's file, read anew: what the ledger remembers would not notice a damaged disk."""
    paths = {task.name: dataset_path(task) for task in tasks}
    return {name: sha256_of(path) if path.is_file() else None for name, path in paths.items()}


def shortfalls(datasets: Iterable[DatasetRecord]) -> list[ExactFinding]:
    """Datasets that are not what their tasks say: only told, since the baseline was frozen on them."""
    return [
        ExactFinding("datasets", name, f"{remark.shortfall}{f' ({detail})' if detail else ''}", False)
        for dataset in datasets
        for remark in remarks_on([dataset])
        for name, detail in remark.datasets
    ]


def machine() -> dict[str, str]:
    """Processor, instruction set, C library and versions that the last digits depend on."""
    versions = package_versions()
    return {
        "cpu": cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "libc": " ".join(platform.libc_ver()),
        **{name: versions[name] for name in _PACKAGES},
    }


@dataclass(frozen=True)
class Short:
    """A short training of one method."""

    method: str
    preset: Preset
    precision: Precision

    @property
    def name(self) -> str:
        """`dtql released hopper-medium-v2 float64`."""
        return f"{self.method} {self.preset.variant} {self.preset.task} {self.precision}"


def short_trainings(methods: Iterable[str], catalog: Catalog) -> list[Short]:
    """In float64 one for every set of rules among a method's presets, in float32 one for each method.

    Presets whose numbers alone differ follow the same rules: the same switches are on, the same terms are
    weighted with 0. Of these the first represents all, hopper-medium-v2 before others.
    """
    files, chosen = PresetFiles(), []
    for method in methods:
        tasks = [name for name in files[method].tasks if name in catalog.tasks]
        tasks.sort(key=lambda name: name != PREFERRED_TASK)
        by_rules: dict[tuple[object, ...], Preset] = {}
        for variant in variants_of(method):
            for task in tasks:
                preset = preset_of(files[method], catalog.task(task), variant)
                by_rules.setdefault(_rules(preset), preset)
        presets = list(by_rules.values())
        chosen += [Short(method, preset, "float64") for preset in presets]
        chosen.append(Short(method, presets[0], "float32"))
    return chosen


def _rules(preset: Preset) -> tuple[object, ...]:
    values = preset.values
    return tuple(
        values[name] if isinstance(values[name], bool | str) else values[name] == 0 for name in sorted(values)
    )


def record_losses(training: Short) -> Recording:
    """Train tiny networks of a method for about 200 iterations on made-up data, then choose actions.

    On one CPU thread, operation by operation. Hyper-parameters other than sizes and step counts are those of
    the preset, so a changed preset shows as well.
    """
    with one_thread():
        algorithm = tiny_method(training.preset, DIMENSIONS, SEEDS, ITERATIONS)
        dtype = getattr(torch, training.precision)
        if dtype is torch.float64:
            doubled(algorithm)
        trainer = Trainer(algorithm, _transitions(dtype), runner="eager")
        numbers = _Numbers()
        step = 0
        while trainer.phase is not None:
            step += 1
            trainer.advance(1)
            per_seed = trainer.read_metrics()
            for name in sorted(per_seed[0]):
                numbers.add(step, name, *(metrics[name] for metrics in per_seed))
        numbers.add(KEPT[-1], "actions", *_actions(algorithm, dtype))
        return numbers.recording()


def record_simulator(environment: str, physics: Physics, steps: int = 200) -> Recording:
    """Step a few environments with fixed actions; those that end are reset at once."""
    with make_simulator(environment, physics, ENVIRONMENTS) as simulator:
        shape = (steps, ENVIRONMENTS, simulator.action_dim)
        actions = np.random.default_rng(0).uniform(-1, 1, shape)
        numbers, seed = _Numbers(), ENVIRONMENTS
        simulator.reset(range(ENVIRONMENTS))
        for step, action in enumerate(actions, start=1):
            played = simulator.step(action)
            states = np.concatenate((simulator.qpos, simulator.qvel), axis=1)
            for slot in range(ENVIRONMENTS):
                numbers.add(step, f"reward {slot}", played.rewards[slot])
                numbers.add(step, f"state {slot}", *states[slot])
                numbers.add(step, f"observation {slot}", *played.observations[slot])
            ended = np.flatnonzero(played.terminated | played.truncated)
            if len(ended):
                simulator.reset(range(seed, seed + len(ended)), ended.tolist())
                seed += len(ended)
        return numbers.recording()


class _Numbers:
    """Hashes numbers as they come and keeps those of a few steps."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._kept: dict[str, dict[str, float]] = {}

    def add(self, step: int, name: str, *values: float) -> None:
        self._digest.update(f"{step} {name}".encode() + np.array(values, dtype="<f8").tobytes())
        total = float(sum(values))
        if step in KEPT and math.isfinite(total):
            self._kept.setdefault(str(step), {})[name] = total

    def recording(self) -> Recording:
        return Recording(self._digest.hexdigest(), self._kept)


def _transitions(dtype: torch.dtype) -> PackedDataset:
    return transitions(DIMENSIONS.observation, DIMENSIONS.action, ROWS, dtype=dtype)


def _actions(algorithm: Algorithm, dtype: torch.dtype) -> list[float]:
    """Every number of the actions (S, N, A) that the trained policies choose at some observations."""
    observations = _transitions(dtype).observations[:OBSERVATIONS].expand(len(SEEDS), -1, -1)
    draws = DrawStream(
        [(seed, episode) for seed in SEEDS for episode in range(OBSERVATIONS)],
        "fingerprint",
        algorithm.act_draws,
        dtype=dtype,
    ).at(0)
    stacked = {name: draw.unflatten(0, (len(SEEDS), OBSERVATIONS)) for name, draw in draws.items()}
    with torch.no_grad():
        return algorithm.act(observations, stacked).double().flatten().tolist()


@dataclass(frozen=True)
class ExactFinding:
    """One difference, in a plain sentence."""

    layer: Layer
    name: str
    """`dtql released hopper-medium-v2 float64`, `collected-hopper-medium`, `hopper d4rl`."""
    sentence: str
    fails: bool
    """False where it is only told: what is new, or machines whose last digits need not agree."""


def differences(old: Fingerprints, new: Fingerprints) -> list[ExactFinding]:
    """What differs, failures first; empty where nothing does.

    On the same machine with the same versions every number must be the same. Otherwise those of float64 are
    compared within `TOLERANCES`, and those of float32 not at all; a finding says so.
    """
    changed = _changed_machine(old.machine, new.machine)
    found = [*_dataset_findings(old.datasets, new.datasets)]
    for layer in ("losses", "simulators"):
        found += _recording_findings(layer, getattr(old, layer), getattr(new, layer), changed)
    return sorted(found, key=lambda finding: not finding.fails)


def _changed_machine(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """`torch 2.12.0, now 2.13.0`; empty where all is the same."""
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "; ".join(f"{name} {old.get(name)}, now {new.get(name)}" for name in names)


def _dataset_findings(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> Iterator[ExactFinding]:
    for name in {**old, **new}:
        before, now = old.get(name), new.get(name)
        if before == now:
            continue
        if now is None:
            yield ExactFinding("datasets", name, "the data file of the baseline is not there", True)
        elif before is None:
            yield ExactFinding("datasets", name, f"the baseline knows no data file; now {now[:12]}", False)
        else:
            sentence = f"the data file is another one: SHA-256 {before[:12]} at the baseline, now {now[:12]}"
            yield ExactFinding("datasets", name, sentence, True)


def _recording_findings(
    layer: Layer, old: Mapping[str, Recording], new: Mapping[str, Recording], changed: str
) -> Iterator[ExactFinding]:
    agreeing = 0
    for name in {**old, **new}:
        if name not in new:
            yield ExactFinding(layer, name, "recorded for the baseline, not tonight", True)
        elif name not in old:
            yield ExactFinding(layer, name, "new: the baseline has no recording of it", False)
        elif old[name].sha256 == new[name].sha256:
            continue
        elif not changed:
            yield ExactFinding(layer, name, _first_difference(old[name], new[name], {}), True)
        elif name.endswith("float32"):
            agreeing += 1
        elif sentence := _first_difference(old[name], new[name], TOLERANCES[layer]):
            yield ExactFinding(layer, name, f"{sentence}, more than rounding explains ({changed})", True)
        else:
            agreeing += 1
    if agreeing:
        rounding = "differ, in float64 no more than by rounding; float32 is not compared across machines"
        yield ExactFinding(layer, "all", f"{agreeing} of {len(old)} {rounding} ({changed})", False)


def _first_difference(old: Recording, new: Recording, tolerances: Mapping[int, float]) -> str:
    """Where two recordings part, in words; with `tolerances`, empty where they agree within them."""
    for step, values in old.kept.items():
        tolerance = tolerances.get(int(step), math.inf) if tolerances else 0.0
        for name, before in values.items():
            now = new.kept.get(step, {}).get(name, math.nan)
            scale = max(abs(before), abs(now), SMALLEST_SCALE)
            if not abs(before - now) <= tolerance * scale and tolerance < math.inf:
                return f"{name} is {now:.9g} instead of {before:.9g} at step {step}"
    return "" if tolerances else f"numbers differ between the steps that are kept ({_steps(old)})"


def _steps(recording: Recording) -> str:
    return ", ".join(recording.kept)
