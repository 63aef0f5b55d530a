"""One night: exact layers, the canary grid, alarms and their confirmation, drift, speed, the papers.

The cheapest and surest comes first, and where it differs nothing else is done. All state is in the store, so
a night that was cut off goes on where it was when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from bench.catalog import Catalog, Task, load_catalog
from bench.execute.driver import Summary
from bench.execute.grid import Cell
from bench.files import typed_path
from bench.nightly.alarms import NightComparison, confirm_night
from bench.nightly.baseline import changed_cells, compare_with_baseline, paired
from bench.nightly.canary import (
    CanaryCell,
    Obtain,
    canary_cells,
    confirmation_seeds,
    night_seeds,
    of_other_code,
    scores_of_seeds,
)
from bench.nightly.config import Nightly, NightlyFile
from bench.nightly.drift import after_night, drift_rule, drifting
from bench.nightly.exact import ExactFinding, Fingerprints, differences, fingerprints, shortfalls
from bench.nightly.findings import Drift, Excused, Findings, as_json, cells_of
from bench.nightly.history import margins_before, verdict_changes
from bench.nightly.pace import Pace, PaceComparison, compare_pace, pace_from_json, time_methods
from bench.provenance import describe_run
from bench.records import (
    BaselineRecord,
    CellComparison,
    NightRecord,
    NoteRecord,
    Outcome,
    PrintedNumber,
    hash_of,
)
from bench.report.loading import load_judged_data
from bench.report.margins import Margins, load_margins
from bench.report.verdicts import judge
from bench.store.database import Store, open_store, opened_if_made
from bench.store.location import without_password
from bench.store.nights import find_baseline, nights, none_yet, notes
from bench.store.writer import Writer


@dataclass(frozen=True)
class Work:
    """How work gets done, which is the caller's business."""

    run: Callable[[Sequence[Cell], Sequence[int]], Summary]
    """Runs what is left of cells x seeds."""
    obtain: Obtain
    device: str
    """That training is timed on."""
    log: Callable[[str], None] = lambda text: None
    """Takes a line on what is begun."""
    keep_traceback: Callable[[Exception], str] = lambda error: ""
    """Writes what a method from outside raised into a file; says in words where it is."""


@dataclass(frozen=True)
class NightRequest:
    """Which night is asked for."""

    file: NightlyFile
    date: date
    store: str
    command: str
    baseline: str | None = None
    """None: the latest."""
    options: str = ""
    """What was typed to name configuration and store, for commands that are told."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds of this night."""
        return night_seeds(self.date, self.file.settings.seeds.per_night)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Those that confirm its alarms."""
        return confirmation_seeds(self.date, self.file.settings.seeds.confirmation)


def run_night(request: NightRequest, work: Work) -> Findings | None:
    """Run a night and store what it found; None where it was interrupted, and can be gone on with.

    Raises
    ------
    BenchError : there is no store or no baseline yet, the margins cannot be read, data cannot be had, or what
        `run_grid` raises.
    """
    margins = margins_of(request.file)  # A mistake in them is told before hours of work.
    with opened_if_made(request.store) as made:
        if made is None:
            raise none_yet(request.store)
    with open_store(request.store) as store, Writer(store) as writer:
        baseline = find_baseline(store, request.baseline)
        run = describe_run(request.command)
        writer.begin_run(run)
        begun = NightRecord(
            run_id=run.run_id,
            date=request.date,
            baseline=baseline.name,
            configuration_hash=hash_of(request.file.settings.model_dump(mode="json")),
            seeds=request.seeds,
            started_at=run.started_at,
        )
        writer.begin_night(begun)
        try:
            found = _run(request, work, store, baseline, margins)
            if found is not None:
                writer.end_night(ended(begun, found))
        finally:
            writer.end_run(run.run_id)
    return found


def ended(begun: NightRecord, found: Findings) -> NightRecord:
    """The record of a night that ends now."""
    return replace(
        begun,
        ended_at=datetime.now(UTC),
        outcome=found.outcome,
        report=as_json(found),
        cells=tuple(_with_what_came_of_it(cell, found) for cell in cells_of(found.comparison)),
        verdicts=found.verdicts,
    )


def _with_what_came_of_it(cell: CellComparison, found: Findings) -> CellComparison:
    """A comparison with its confirmation and drift; fresh seeds of which some were lost settle nothing."""
    fresh = found.fresh.get(cell.name)
    return replace(
        cell,
        confirmation_seeds=0 if fresh is None else fresh.seeds,
        confirmation_mean=None if fresh is None else fresh.mean,
        confirmed=None if fresh is None or fresh.status == "missing" else fresh.status == "below",
        drift=found.drift.sums.get(cell.name),
        drifting=cell.name in found.drift.cells,
    )


def take_fingerprints(
    file: NightlyFile, work: Work, on_failure: Callable[[str, Exception], None] | None = None
) -> Fingerprints:
    """Those of the code, the canary's data and the simulators as they are now; `on_failure` as there."""
    tasks = canary_tasks(file)
    for task in tasks:
        work.obtain(task)
    work.log("Exact layers: short trainings of every method, hashes of data, replays of simulators")
    return fingerprints(tasks, on_failure=on_failure)


def take_pace(file: NightlyFile, work: Work, catalog: Catalog) -> tuple[Pace, ...]:
    """Timings of the canary's methods; none where speed is not watched."""
    rates = file.settings.speed
    if rates is None:
        return ()
    methods = dict.fromkeys((cell.algorithm, cell.variant) for cell in file.cells)
    work.log(f"Speed of {len(methods)} methods, {rates.repeats} times")
    return time_methods(tuple(methods), catalog.task(rates.task), rates, device=work.device)


def canary_tasks(file: NightlyFile) -> tuple[Task, ...]:
    """The canary's tasks, each once."""
    return tuple({cell.task.name: cell.task for cell in file.cells}.values())


def _run(
    request: NightRequest, work: Work, store: Store, baseline: BaselineRecord, margins: Margins
) -> Findings | None:
    found = _exact(request, work, store, baseline)
    if found.stopped:
        return found
    cells = canary_cells(request.file, work.obtain)
    told = shortfalls(dict.fromkeys(cell.dataset for cell in cells))
    found = replace(
        found, exact=(*found.exact, *told), changed_cells=tuple(changed_cells(store, baseline, cells))
    )
    if found.stopped:
        return found
    catalog = load_catalog()
    found = replace(found, pace=_pace(request.file, work, baseline, catalog))
    work.log(f"The canary: {len(cells)} cells with seeds {', '.join(map(str, request.seeds))}")
    if work.run(request.file.cells, request.seeds).left:
        return None
    rates = request.file.settings.scores
    comparison = compare_with_baseline(store, baseline, request.seeds, rates.family_rate)
    confirmation = None
    if comparison.alarms:
        confirmation = _confirmed(request, work, store, baseline, cells, comparison)
        if confirmation is None:
            return None
    work.log("Drift over the nights, and the papers")
    verdicts = verdicts_of(store, catalog, margins)
    earlier = [night for night in nights(store) if night.date < request.date]
    since = [night for night in earlier if night.baseline == baseline.name]
    return replace(
        found,
        comparison=comparison,
        confirmation=confirmation,
        other_code=of_other_code(store, baseline.cells, (*request.seeds, *request.fresh_seeds)),
        drift=drift_after(since, comparison, request.file.settings),
        verdicts=verdicts,
        changes=verdict_changes(earlier, verdicts),
        margins=margins.model_dump(mode="json"),
        margins_before=margins_before(earlier),
    )


def _exact(request: NightRequest, work: Work, store: Store, baseline: BaselineRecord) -> Findings:
    """The exact layers, less what notes excuse; and methods from outside that failed in them."""
    failed: dict[str, ExactFinding] = {}

    def note_failure(name: str, error: Exception) -> None:
        raised = f"the method's own code raised {type(error).__name__}: {error}".partition("\n")[0]
        failed[name] = ExactFinding("losses", name, f"{raised}; {work.keep_traceback(error)}", True)

    now = take_fingerprints(request.file, work, note_failure)
    written = [note for note in notes(store, baseline.name) if note.fingerprints is not None]
    exact, excused = list(failed.values()), []
    for finding in differences(Fingerprints.from_json(baseline.fingerprints), now):
        if finding.name in failed:
            continue  # It says no more than that there is no recording.
        note = _excuse(finding.layer, finding.name, written, now) if finding.fails else None
        if note is None:
            exact.append(finding)
        else:
            excused.append(Excused(finding, note))
    return Findings(
        request.date,
        baseline.name,
        request.seeds,
        tuple(exact),
        tuple(excused),
        options=request.options,
        store=without_password(request.store),
        margins_file=str(margins_path(request.file) or ""),
    )


def _excuse(layer: str, name: str, written: Sequence[NoteRecord], now: Fingerprints) -> NoteRecord | None:
    """The latest note whose fingerprints do not differ there from what was found.

    A part that the note has no recording of differs, too: it was not there to be accepted.
    """
    for note in reversed(written):
        accepted = differences(Fingerprints.from_json(note.fingerprints or {}), now)
        if not any((other.layer, other.name) == (layer, name) for other in accepted):
            return note
    return None


def _pace(
    file: NightlyFile, work: Work, baseline: BaselineRecord, catalog: Catalog
) -> tuple[PaceComparison, ...]:
    rates = file.settings.speed
    if rates is None:
        return ()
    timed = take_pace(file, work, catalog)
    return compare_pace(pace_from_json(baseline.pace), timed, rate=rates.rate, slack=rates.slack)


def _confirmed(
    request: NightRequest,
    work: Work,
    store: Store,
    baseline: BaselineRecord,
    cells: Sequence[CanaryCell],
    comparison: NightComparison,
) -> NightComparison | None:
    """The cells that alarmed, with fresh seeds; None where that was interrupted."""
    seeds = request.fresh_seeds
    fired = [cell for cell in cells if cell.name in comparison.alarms]
    work.log(f"{', '.join(comparison.alarms)} below the baseline: once more, with {len(seeds)} fresh seeds")
    if work.run([cell.cell for cell in fired], seeds).left:
        return None
    scores = scores_of_seeds(store, [cell.key for cell in fired], seeds)
    return confirm_night(comparison, paired(baseline, scores), request.file.settings.scores.confirmation_rate)


# A night beside those before it: slow drift


def drift_after(earlier: Sequence[NightRecord], comparison: NightComparison, settings: Nightly) -> Drift:
    """The cumulative sums after a night; `earlier` are those held against the same baseline, by date."""
    rule = drift_rule(
        cells=len(comparison.cells),
        baseline_seeds=min(cell.baseline_seeds for cell in comparison.cells),
        seeds=settings.seeds.per_night,
        rate=settings.drift.rate,
        nights=settings.drift.nights,
    )
    # From the first night on, so that one that was finished after its successor counts as well.
    sums: dict[str, float] = {}
    for cells in (*(night.cells for night in earlier), comparison.cells):
        sums = after_night(sums, {cell.name: cell.p_below for cell in cells}, rule)
    return Drift(sums, rule.limit, drifting(sums, rule))


# The papers' numbers against all that the store has gathered so far


def margins_path(file: NightlyFile) -> Path | None:
    """Where the margins are that a configuration names; None for the installation's."""
    margins = file.settings.margins
    # Named beside the configuration, wherever the command is typed.
    return None if margins is None else file.path.parent / typed_path(margins)


def margins_of(file: NightlyFile) -> Margins:
    """The margins that nights under a configuration judge by.

    Raises
    ------
    BenchError : as `load_margins`.
    """
    return load_margins(margins_path(file))


def verdicts_of(store: Store, catalog: Catalog, margins: Margins) -> dict[PrintedNumber, Outcome]:
    """What `bench check --against paper` says of every printed number of which something was measured."""
    judgement = judge(load_judged_data(store, catalog), margins)
    return {verdict.key: verdict.outcome for verdict in judgement.cells}
