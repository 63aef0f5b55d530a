"""Starting `bench` is light, and every command explains itself."""

import subprocess
import sys

import pytest

from bench.cli import COMMANDS, main
from tests.commands import all_commands

HEAVY = ("torch", "ray", "pandas", "mujoco", "sqlalchemy", "matplotlib", "gymnasium", "h5py", "scipy")


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


def test_no_command_imports_what_trains_or_simulates_before_it_is_run():
    code = (
        "import sys\nfrom bench.cli import COMMANDS, loaded\n"
        "for name in COMMANDS:\n"
        "    loaded(name)\n"
        "    assert not {'torch', 'ray', 'mujoco', 'matplotlib'} & set(sys.modules), name\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("arguments", [("list", "tasks"), ("show", "dtql", "antmaze-umaze-v0")])
def test_how_a_simulator_was_proven_is_told_without_one(arguments):
    assert not {"torch", "ray", "mujoco"} & set(imported_by(*arguments))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_what_it_says_of_itself_first(name):
    assert all_commands()[name].help.partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]


@pytest.mark.parametrize("name", ["", *all_commands()])
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    assert "Usage" in capsys.readouterr().out
