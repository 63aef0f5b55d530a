"""One verdict with its arithmetic, for a person who doubts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.records import FINISHED
from bench.report.judgement import CellVerdict, Judgement, SuiteVerdict
from bench.report.measured import Measured, SeedScore
from bench.report.verdict_words import replay_words, sentence


def explained(
    verdict: CellVerdict | SuiteVerdict,
    judgement: Judgement,
    measured: Iterable[Measured],
    suites: Mapping[str, Sequence[str]],
) -> list[str]:
    """Outcome, arithmetic, what it rests on and what is assumed, one line each.

    Parameters
    ----------
    measured, suites : as they were judged.
    """
    lines = [f"{verdict.id}: {sentence(verdict)}", *(f"  {text}" for text in verdict.arithmetic)]
    if isinstance(verdict, SuiteVerdict):
        return lines + [f"  {text}" for text in _tasks(verdict, judgement, suites[verdict.suite])]
    if not verdict.arithmetic:
        lines.append(f"  printed {verdict.printed} ({verdict.table})")
    lines += [f"  {text}" for text in _seeds(verdict, measured)]
    lines.append(f"  {replay_words(verdict.replay)}")
    return lines + [f"  assumed: {text}" for text in verdict.assumptions]


def _seeds(verdict: CellVerdict, measured: Iterable[Measured]) -> Iterator[str]:
    """Every seed's score under the protocol that it was held by, and the trial that `bench explain` knows."""
    for entry in measured:
        if tuple(trial.trial_id for trial in entry.trials) == verdict.trials:
            shown = entry.under(verdict.key[3], entry.protocol, "last")
            scores = []
            for trial in shown.trials:
                score = f"{trial.score:z.2f}" if trial in shown.scored else _without_score(trial)
                scores.append(f"seed {trial.seed} {score} (trial {trial.trial_id})")
            what = f"variant {verdict.variant}, configuration {verdict.config_hash[:12]}"
            yield f"protocol {shown.protocol}, {what}"
            yield f"our seeds: {', '.join(scores)}"


def _without_score(trial: SeedScore) -> str:
    return "finished without a score" if trial.state == FINISHED else trial.state


def _tasks(verdict: SuiteVerdict, judgement: Judgement, tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        cell = judgement.by_key.get((verdict.paper, verdict.algorithm, task, verdict.protocol))
        if cell is not None and cell.comparison is not None:
            error = cell.comparison.standard_error
            yield f"{task}: d = {cell.comparison.difference:+z.2f}, standard error {error:.3g}, n = {cell.n}"
        elif cell is not None:
            yield f"{task}: {sentence(cell)}"
