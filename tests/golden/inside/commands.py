"""Runs commands of `bench` one after another in one process, as `python -m bench` would each of them.

A script, not a module: it runs with another checkout's `bench` on the path. Standard input: a JSON list of
command lines, each a list of arguments. Standard output: a JSON list of their exit codes and outputs.
"""

from __future__ import annotations

import io
import json
import runpy
import sys


def main() -> None:
    """Run what standard input asks for."""
    answers = [run(arguments) for arguments in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


def run(arguments: list[str]) -> dict[str, object]:
    """One command: exit code, standard output and standard error, each as lines."""
    usual, written = (sys.stdout, sys.stderr), []
    sys.argv = ["bench", *arguments]
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: object = 0
    try:
        runpy.run_module("bench", run_name="__main__")
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.seek(0)
            written.append(stream.read().splitlines())
        sys.stdout, sys.stderr = usual
    return {"code": code, "out": written[0], "err": written[1]}


if __name__ == "__main__":
    main()
