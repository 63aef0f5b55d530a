"""Starting `bench` is light, and every command explains itself."""

import subprocess
import sys

import pytest

from bench.cli import main
from tests.commands import all_commands

HEAVY = {
    *("torch", "ray", "pandas", "mujoco", "sqlalchemy", "matplotlib", "gymnasium", "h5py", "scipy"),
    *("jinja2", "numpy"),
}


def imported_by(*arguments):
    """Heavy packages that a command has imported when it ends."""
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"try:\n    main({list(arguments)!r})\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        f"print('IMPORTED', *({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()[-1].split()[1:]


def test_the_version_imports_nothing_heavy():
    assert imported_by("--version") == []


def test_help_of_no_command_imports_anything_heavy():
    helps = ["--help", *(f"{name} --help" for name in all_commands())]
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"for help in {helps!r}:\n"
        "    try:\n        main(help.split())\n"
        "    except SystemExit as stop:\n        assert stop.code == 0, (help, stop.code)\n"
        f"    found = {HEAVY!r} & set(sys.modules)\n"
        "    assert not found, (help, found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_baselines_are_listed_without_what_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not {"torch", "ray", "mujoco"} & set(imported_by("baseline", "list"))


@pytest.mark.parametrize("arguments", [("list", "tasks"), ("show", "dtql", "antmaze-umaze-v0")])
def test_how_a_simulator_was_proven_is_told_without_one(arguments):
    assert not {"torch", "ray", "mujoco"} & set(imported_by(*arguments))


@pytest.mark.parametrize("name", ["", *all_commands()])
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    assert "Usage" in capsys.readouterr().out
