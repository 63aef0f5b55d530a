"""Starting `bench` is light, and every command explains itself."""

import subprocess
import sys

import pytest
import typer

from bench.cli import app, main

HEAVY = ("torch", "ray", "pandas", "mujoco", "sqlalchemy", "matplotlib", "gymnasium", "h5py", "scipy")


def commands(group=None, path=()):
    """Every command and group as a tuple of words."""
    group = group or typer.main.get_command(app)
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def imported_by(*arguments):
    """Heavy packages that a command has imported when it ends."""
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"try:\n    main({list(arguments)!r})\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        f"print('IMPORTED', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("run", "--help")])
def test_help_imports_nothing_heavy(arguments):
    assert imported_by(*arguments) == []


@pytest.mark.parametrize("arguments", [("list", "tasks"), ("show", "dtql", "antmaze-umaze-v0")])
def test_how_a_simulator_was_proven_is_told_without_one(arguments):
    assert not {"torch", "ray", "mujoco"} & set(imported_by(*arguments))


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_explains_itself(path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*path, "--help"])
    assert stopped.value.code == 0
    assert "Usage" in capsys.readouterr().out
