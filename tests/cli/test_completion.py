"""What a shell offers after Tab, and that it does not wait for it."""

import os
import subprocess
import sys

import pytest

from bench.cli.completion import lists_of, names_of, one_of
from tests.cli.stores import store
from tests.cli.test_startup import HEAVY


def offered(line, **environment):
    """What bash is given for a command line whose last word is being typed."""
    words = line.split(" ")
    code = (
        "import sys\nfrom bench.cli import main\nsys.argv[0] = 'bench'\n"
        "try:\n    main([])\nexcept SystemExit:\n    pass\n"
        f"print('IMPORTED', *({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    asked = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, **asked, **environment},
    )  # fmt: skip
    assert done.stderr.split() == ["IMPORTED"], done.stderr
    return done.stdout.split()


def test_names_are_completed():
    assert names_of("suite")("d4rl-a") == ["d4rl-antmaze-v0", "d4rl-antmaze-v2", "d4rl-adroit"]
    assert names_of("task")("hopper-medium-e") == ["hopper-medium-expert-v2"]
    assert names_of("method")("edp") == ["edp", "edp-crr", "edp-iql", "edp-td3"]
    assert names_of("variant")("") == ["released", "paper"]
    assert names_of("table")("dtql-1") == ["dtql-1"]
    assert names_of("task or suite")("quick") == ["quickstart"]
    assert one_of(("text", "json"))("j") == ["json"]


def test_the_last_of_several_names_is_completed_and_none_twice():
    assert lists_of("method")("srpo,dt") == ["srpo,dtql", "srpo,dtql-kl"]
    assert lists_of("method")("dtql,dt") == ["dtql,dtql-kl"]
    assert lists_of("figure", "profiles", "all")("p") == ["profiles"]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("bench repo", ["report"]),
        ("bench run --suite qui", ["quickstart"]),
        ("bench report --format j", ["json"]),
        ("bench show dtql hopper-medium-v", ["hopper-medium-v2"]),
    ],
)
def test_a_shell_is_told_without_a_heavy_import(line, names):
    assert offered(line) == names


def test_numbers_of_stored_trials_are_offered(tmp_path):
    path = store(tmp_path)
    assert offered("bench explain ", BENCH_STORE=str(path)) == ["1"]
    assert offered(f"bench explain --store {path} ") == ["1"]
    assert offered("bench explain ", BENCH_STORE=str(tmp_path / "absent.sqlite")) == []
