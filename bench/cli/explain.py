"""`bench explain`: everything about one number."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import typer
from pydantic_core import to_json

from bench.cli.output import (
    duration,
    line_width,
    moment,
    print_json,
    print_lines,
    print_table,
    size,
    value_text,
)
from bench.data.manifest import load_manifest, verification_of
from bench.presets import algorithms_with_presets, hyperparameter_docs
from bench.records import (
    DECLARED,
    FOREIGN,
    IMPORTED,
    PHASE_SECONDS,
    PRECISION,
    SOURCES,
    Declaration,
    RunRecord,
    TrialRecord,
)
from bench.store import explanation
from bench.store.database import open_store
from bench.store.explanation import Explanation, KeptFile, StoredExecution, changes
from bench.visible_text import count

_FEW_EVALUATIONS = 20
Facts = Iterator[tuple[str, str]]

_SHOWN_ELSEWHERE = {
    *("algorithm", "variant", "task", "task_version", "physics", "budget", "dataset"),
    *("hyperparameters", SOURCES, PRECISION),
}
"""Parts of a configuration."""


def explain(trial: int, format: Literal["text", "json"], store: str) -> None:
    """Show all that a trial's number depends on: settings, data, simulator, code, machines, time, weights."""
    with open_store(store, read_only=True) as opened:
        found = explanation.explain(opened, trial)
    if format == "json":
        # Programs that read it know the executions by an older name.
        named = {"stretches" if name == "executions" else name: part for name, part in vars(found).items()}
        print_json(to_json(named, indent=2, inf_nan_mode="strings"))
        return
    key = found.trial.record.key
    typer.echo(f"Trial {trial}: {key.algorithm} ({key.variant}) on {key.task}, seed {key.seed}\n")
    if key.variant == IMPORTED:
        _print_facts(_imported_facts(found))
        _show_imported_evaluations(found)
        return
    _print_facts(facts_of(found))
    _show_settings(found)
    _show_work(found)
    _show_evaluations(found)
    _show_failures(found)


def _imported_facts(found: Explanation) -> Facts:
    """What its owner said, and how it came here: nothing else is known of such a number."""
    record = found.trial.record
    score = found.trial.score
    yield "Score", "none: too few evaluations for its protocol" if score is None else f"{score:.2f}"
    yield "Origin", "imported, not measured here"
    yield "Owner declares", str(Declaration(**record.config[DECLARED]))
    yield "Imported", "" if found.trial.finished_at is None else moment(found.trial.finished_at)
    yield "Command", found.run.command
    yield "Configuration", record.key.config_hash
    if found.trial.training_seconds is not None:
        yield "Training", f"{duration(found.trial.training_seconds)}, as its owner says"


def _show_imported_evaluations(found: Explanation) -> None:
    if found.evaluations:
        typer.echo("\nEvaluations:")
        columns = ("number", "step", "mean score", "episodes told")
        # One of length 0 stands for a mean whose episodes are not known.
        episodes = found.trial.record.episodes
        rows = [
            (
                str(of.number),
                f"{of.step:,}",
                f"{of.mean_score:.2f}",
                str(of.episodes) if of.episodes == episodes else "",
            )
            for of in found.evaluations[-_FEW_EVALUATIONS:]
        ]
        print_table(columns, rows, right=columns)


def _show_settings(found: Explanation) -> None:
    rows = hyperparameters_of(found.trial.record)
    if rows:
        typer.echo("\nHyper-parameters:")
        print_table(("name", "value", "unit; meaning [source]"), rows, right=("value",), narrow=("value",))
    typer.echo("\nOther settings:")
    _print_facts(settings_of(found.trial.record.config))


def _show_work(found: Explanation) -> None:
    if not found.executions:
        hardware = ", ".join(f"{name} {value}" for name, value in found.run.hardware.items())
        typer.echo()
        print_lines([f"Who worked on it was not noted; the command's machine: {hardware}."])
        return
    typer.echo("\nWork:" if len(found.executions) == 1 else f"\nWork, in {len(found.executions)} stretches:")
    earlier = (None, *found.executions)
    for number, (execution, previous) in enumerate(zip(found.executions, earlier, strict=False), start=1):
        goes_on = found.at_work is not None and number == len(found.executions)
        typer.echo(f"{number}.")
        _print_facts(execution_facts(execution, previous, goes_on=goes_on))


def _show_evaluations(found: Explanation) -> None:
    if not found.evaluations:
        typer.echo("\nNot evaluated yet.")
        return
    shown = found.evaluations[-_FEW_EVALUATIONS:]
    which = f" (the last {len(shown)} of {len(found.evaluations)})" if shown != found.evaluations else ""
    typer.echo(f"\nEvaluations{which}:")
    columns = ("number", "step", "mean score", "n", "mean return", "mean length", "seconds", "physics")
    rows = [
        (
            str(evaluation.number),
            f"{evaluation.step:,}",
            f"{evaluation.mean_score:.2f}",
            str(evaluation.episodes),
            f"{evaluation.mean_return:.1f}",
            f"{evaluation.mean_length:.0f}",
            f"{evaluation.seconds:.1f}",
            evaluation.physics,
        )
        for evaluation in shown
    ]
    print_table(columns, rows, right=columns[:-1])
    if any(evaluation.number < 1 for evaluation in shown):
        typer.echo("Numbers below 1 are fresh episodes by `bench evaluate`, no part of the score.")


def _show_failures(found: Explanation) -> None:
    for failure in found.failures:
        record = failure.record
        when = f", {moment(record.failed_at)}" if record.failed_at else ""
        typer.echo(f"\nAttempt {failure.attempt} failed after {count(record.step, 'iteration')}{when}:")
        typer.echo(textwrap.indent(f"{record.error}: {record.message}", "  "))
        if record.last_metrics:
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in record.last_metrics.items())
            typer.echo(f"  last metrics: {metrics}")
        if record.traceback:
            typer.echo(textwrap.indent(record.traceback.rstrip(), "  | "))


def _print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and texts; on a terminal folded to its width, in a pipe one line each."""
    facts = list(facts)
    indent = max((len(name) for name, _ in facts), default=0) + 2
    for name, text in facts:
        line = textwrap.fill(
            f"{name:<{indent}}{text}",
            line_width(),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
        typer.echo(line)


# Names with texts; an empty name goes on with the one before


def facts_of(found: Explanation) -> Facts:
    """The number, and in short what it depends on."""
    record = found.trial.record
    yield "Score", _score(found)
    if record.reduced:
        yield "Reduced", ", ".join(record.reduced)
    yield "State", _state(found)
    yield "Command", found.run.command
    yield "Configuration", record.key.config_hash
    data = record.dataset
    content = verification_of(data, load_manifest())
    yield "Dataset", f"{data.name}, {data.rows:,} rows, {content}, replay: {data.replay}"
    yield "", data.sha256
    if (foreign := record.config.get(FOREIGN)) is not None:
        followed = f"; presets of {foreign['preset_of']}" if "preset_of" in foreign else ""
        yield "Foreign", f"a task of one's own, held against no paper's number{followed}"
    yield "Simulator", f"{_simulator(found)}, physics {record.physics}, task version {record.task_version}"
    if goals := record.config.get("evaluation", {}).get("goals"):
        yield "Goals", f"one {goals.replace('_', ' ')}"
    yield "Precision", _precision(found)
    yield from _code(found.run)
    if found.executions:
        yield "Files that ran", found.executions[-1].record.code_sha256
    yield from _times(found)
    for file in found.files:
        yield from _file(file)


def hyperparameters_of(record: TrialRecord) -> list[tuple[str, str, str]]:
    """Name, value, and unit with meaning and source of every hyper-parameter."""
    values, sources = record.config.get("hyperparameters", {}), record.config.get("sources", {})
    # A database outlives methods.
    known = record.key.algorithm in algorithms_with_presets()
    docs = hyperparameter_docs(record.key.algorithm) if known else {}
    return [
        (name, value_text(value), f"{docs.get(name, '')}\n[{sources.get(name, 'source unknown')}]")
        for name, value in values.items()
    ]


def settings_of(config: Mapping[str, object], prefix: str = "") -> Facts:
    """The rest of a configuration."""
    for name, value in config.items():
        if prefix == "" and name in _SHOWN_ELSEWHERE:
            continue
        if isinstance(value, Mapping):
            yield from settings_of(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value_text(value)


def execution_facts(execution: StoredExecution, previous: StoredExecution | None, *, goes_on: bool) -> Facts:
    """When, where and with what a stretch of work was done; after the first, what had changed."""
    record = execution.record
    to = "" if execution.to_iteration is None else f" to {execution.to_iteration:,}"
    outcome = execution.outcome or ("goes on" if goes_on else "cut off")
    yield "   when", _period(execution)
    yield "   what", f"iterations from {record.from_iteration:,}{to}, {outcome}; attempt {execution.attempt}"
    yield "   where", f"{record.hostname}, {record.device}, {count(record.threads, 'thread')}"
    seeds = ", ".join(str(seed) for seed in record.stack)
    yield "   how", f"runner {record.runner}, seeds side by side: {seeds}"
    if previous is None:
        yield "   driver", record.gpu_driver or "none, on the CPU"
        multiplied = {"matrices in": record.matmul_precision or "not noted"}
        yield "   precision", _listed(multiplied | record.precision)
        yield "   packages", _listed(record.packages)
        return
    changed = list(changes(previous, execution)) or ["nothing else since the stretch before"]
    yield "   CHANGED", changed[0]
    yield from (("", text) for text in changed[1:])


def _score(found: Explanation) -> str:
    trial, protocol = found.trial, found.trial.record.protocol
    made = [evaluation for evaluation in found.evaluations if evaluation.number >= 1]
    if trial.score is None:
        why = f"{count(len(made), 'evaluation')} do not suffice" if trial.state == "finished" else "not yet"
        return f"none, {why}; protocol {protocol}"
    used, words = {
        "last": (made[-1:], "the last evaluation"),
        "rat": (made[-10:], "mean of the last ten evaluations"),
        "oms": (made, f"the best of {count(len(made), 'evaluation')}, an oracle"),
        "mean5": (made[-5:], "mean of the last five evaluations"),
        # All evaluations have as many episodes.
        "bc-select": (made[-1:], "the evaluation that is chosen by the behaviour-cloning loss"),
        "last-bestN": (made[-1:], "the last evaluation, by this seed's best number of candidates"),
    }.get(protocol, (made, "by a rule that this version of bench does not know"))
    episodes = sum(evaluation.episodes for evaluation in used)
    return f"{trial.score:.2f}; protocol {protocol}: {words}, n = {count(episodes, 'episode')}"


def _state(found: Explanation) -> str:
    trial = found.trial
    state = "cut off" if trial.state == "running" and found.at_work is None else trial.state
    ended = f" {moment(trial.finished_at)}" if trial.finished_at else ""
    begun = f", begun {moment(trial.started_at)}" if trial.started_at else ""
    return f"{state}{ended}{begun}, attempt {trial.attempt}"


def _simulator(found: Explanation) -> str:
    if found.executions:
        return found.executions[-1].record.simulator
    return f"mujoco {found.run.packages.get('mujoco', 'of unknown version')}"


def _precision(found: Explanation) -> str:
    """In which matrices were multiplied, and which one the trial's configuration declares."""
    held = sorted({work.record.matmul_precision or "not noted" for work in found.executions})
    config = found.trial.record.config
    source = config.get(SOURCES, {}).get(PRECISION)
    declared = f"declared {config[PRECISION]} [{source}]" if PRECISION in config else ""
    return "; ".join(filter(None, (", ".join(held), declared))) or "not noted"


def _code(run: RunRecord) -> Facts:
    if run.code_commit is None:
        yield "Code", f"version {run.code_version}, no checkout"
        return
    state = "with changes" if run.code_dirty else "unchanged"
    yield "Code", f"version {run.code_version}, {state}, commit"
    yield "", run.code_commit
    if run.code_diff_sha256:
        yield "", "SHA-256 of the changes"
        yield "", run.code_diff_sha256


def _times(found: Explanation) -> Facts:
    trial = found.trial
    measured = {timing.quantity: timing for timing in found.timings}
    phases = [name for name in measured if name.startswith(PHASE_SECONDS)]
    if trial.training_seconds is not None:
        parts = "".join(f", {name.partition(':')[2]} {duration(measured[name].value)}" for name in phases)
        yield "Training", f"{duration(trial.training_seconds)} in all{parts}"
    if trial.evaluation_seconds is not None:
        yield "Evaluation", duration(trial.evaluation_seconds)
    for timing in found.timings[:1]:
        yield "Times are of", f"{count(timing.stack_size, 'seed')} side by side on {timing.device}"
    latency = {name.split("_")[2]: measured[name].value for name in measured if "action_latency" in name}
    if latency:
        yield "Action latency", ", ".join(f"{name} {1000 * value:.3g} ms" for name, value in latency.items())
    if trial.peak_memory_bytes is not None:
        yield "Peak memory", size(trial.peak_memory_bytes)


def _file(file: KeptFile) -> Facts:
    record = file.record
    state = file.fault or "is what was stored"
    written = f"; it was written by {file.hostname}" if file.fault and file.hostname else ""
    yield "Weights", f"{record.path} {state}{written}"
    yield "", f"{record.role}, {size(record.bytes)}, SHA-256"
    yield "", record.sha256


def _period(execution: StoredExecution) -> str:
    begun = execution.record.started_at
    if execution.ended_at is None:
        return f"from {moment(begun)}"
    return f"{moment(begun)}, for {duration((execution.ended_at - begun).total_seconds())}"


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in values.items())
