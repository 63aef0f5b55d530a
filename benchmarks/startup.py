"""Start-up of the command line: how long every command's help takes beside an empty Python."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from typer.main import get_group

from bench.cli.commands import app
from benchmarks.measuring import Comparison, compare, write_record

READING = (("list", "tasks"), ("show", "dtql", "hopper-medium-v2"))
"""Commands that do something, without a store."""


def main(arguments: list[str] | None = None) -> None:
    """Measure starts per second and print one line per command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="turns of each way (default 10)")
    parser.add_argument("--json", type=Path, help="file for the record, with the machine named")
    options = parser.parse_args(arguments)
    commands = [*helps(), *READING]
    comparisons = [_comparison(command, options.repeats) for command in commands]
    for comparison in comparisons:
        rates = comparison.rates[comparison.name]
        print(f"{comparison.as_line()}; fastest start {1000 / max(rates):.0f} ms", flush=True)
    if options.json:
        write_record(options.json, comparisons, {})


def helps() -> list[tuple[str, ...]]:
    """What asks for help: of bench, of its commands, and of one command of each group."""
    commands = get_group(app).commands
    below = [
        (name, next(iter(group.commands))) for name, group in commands.items() if hasattr(group, "commands")
    ]
    return [(*words, "--help") for words in ((), *((name,) for name in commands), *below)]


def _comparison(command: tuple[str, ...], repeats: int) -> Comparison:
    name = " ".join(("bench", *command))
    ways = {name: _starts("-m", "bench", *command), "python -c pass": _starts("-c", "pass")}
    return compare(name, "starts per second", None, ways, repeats)


def _starts(*arguments: str) -> Callable[[], float]:
    def rate() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return 1 / (time.perf_counter() - started)

    return rate


if __name__ == "__main__":
    main()
