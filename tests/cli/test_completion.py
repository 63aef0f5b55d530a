"""What a shell offers after Tab, and that it does not wait for it."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from bench.cli.completion import lists_of, names_of, one_of
from tests.cli.stores import store
from tests.cli.test_startup import HEAVY
from tests.execute.tiny import LIMIT_SECONDS


def asking(line):
    """What the three shells' own functions ask of `bench` for a line whose last word is being typed."""
    return {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }


def given(line, shell="bash", **environment):
    """What a shell is given for a command line; nothing heavy may be imported for it."""
    code = (
        "import sys\nfrom bench.cli import main\nsys.argv[0] = 'bench'\n"
        "try:\n    main([])\nexcept SystemExit:\n    pass\n"
        f"print('IMPORTED', *({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    asked = {"_BENCH_COMPLETE": f"complete_{shell}"} | asking(line)[shell]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS,
        env={**os.environ, **asked, **environment},
    )  # fmt: skip
    assert done.stderr.split() == ["IMPORTED"], done.stderr
    return done.stdout


def offered(line, shell="bash", **environment):
    """The names among what a shell is given."""
    text = given(line, shell, **environment)
    if shell == "zsh":  # evaluates `_arguments '*: :(("name":"help" ...))'`
        return re.findall(r'^[^"\n]*"([^"]+)"(?=:|\)|$)', text, re.MULTILINE)
    return [line.partition("\t")[0] for line in text.splitlines() if line]


def test_names_are_completed():
    assert names_of("suite")("d4rl-a") == ["d4rl-antmaze-v0", "d4rl-antmaze-v2", "d4rl-adroit"]
    assert names_of("task")("hopper-medium-e") == ["hopper-medium-expert-v2"]
    assert names_of("method")("edp") == ["edp", "edp-crr", "edp-iql", "edp-td3"]
    assert names_of("variant")("")[:2] == ["released", "paper"]
    assert names_of("table")("dtql-1") == ["dtql-1"]
    assert names_of("task or suite")("quick") == ["quickstart"]
    assert one_of(("text", "json"))("j") == ["json"]


def test_the_last_of_several_names_is_completed_and_none_twice():
    assert lists_of("method")("srpo,dtq") == ["srpo,dtql", "srpo,dtql-kl"]
    assert lists_of("method")("dtql,dtq") == ["dtql,dtql-kl"]
    assert lists_of("figure", "profiles", "all")("p") == ["profiles"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("bench repo", ["report"]),
        ("bench run --algos srpo,dtq", ["srpo,dtql", "srpo,dtql-kl"]),
        ("bench run --suite qui", ["quickstart"]),
        ("bench report --format j", ["json"]),
        ("bench show dtql hopper-medium-v", ["hopper-medium-v2"]),
    ],
)
def test_a_shell_is_told_without_a_heavy_import(line, names, shell):
    assert offered(line, shell) == names


def test_zsh_runs_nothing_of_a_help_text():
    """It evaluates what it is given: within double quotes a backquote or a dollar would be obeyed."""
    text = given("bench run --", "zsh")
    assert "\\`" in text
    assert re.search(r"(?<!\\)[`$]", text) is None


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_offers_names_of_a_list(tmp_path):
    command = tmp_path / "bench"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom bench.cli import main\nmain(sys.argv[1:])\n")
    command.chmod(0o755)
    environment = {
        **os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # fmt: skip
    script = 'bench --show-completion fish | source; complete -C "bench run --algos srpo,dtq"'
    done = subprocess.run(["fish", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["srpo,dtql", "srpo,dtql-kl"], done.stderr


def test_numbers_of_stored_trials_are_offered(tmp_path):
    path = store(tmp_path)
    assert offered("bench explain ", BENCH_STORE=str(path)) == ["1"]
    assert offered(f"bench explain --store {path} ") == ["1"]
    assert offered("bench explain ", BENCH_STORE=str(tmp_path / "absent.sqlite")) == []
