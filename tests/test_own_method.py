"""docs/your-own-method.md: what `bench new-method` writes is installed, and every command takes it.

What the page prints is what the commands say, numbers aside.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml

from algorithms.registry import installed, methods
from bench.catalog import load_catalog
from bench.nightly.config import load_nightly
from bench.nightly.exact import record_losses, short_trainings
from bench.provenance import code_fingerprint
from bench.resources import resource
from tests.documents.pages import Shown, console, missing_lines, numbers_aside, text_of
from tests.execute.tiny import TASK, completed

PAGE = text_of("docs/your-own-method.md")
TEMPLATE = resource("method_template")
MAKING, *SHOWN = console(PAGE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the method installed: its wheel is built from what is written, and unpacked."""
    folder, site = tmp_path_factory.mktemp("toy"), tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert missing_lines(MAKING, typed(MAKING.typed)) == []
    source = folder / "toy-method"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(source / "dist")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="module")
def workplace(site: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's `bench run` has run, in a process of its own."""
    folder = tmp_path_factory.mktemp("work")
    (run,) = (shown for shown in SHOWN if shown.typed[0] == "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        store = folder / "results" / "bench.sqlite"
        code, output = completed([*run.typed, "--set", "width=16", "--store", str(store)], tiny_data)
    assert code == 0, output
    assert missing_lines(run, output.replace(f"{folder}/", "")) == []
    return folder


@pytest.fixture
def method(site: Path, workplace: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch):
    """The method is installed in this process, too, which stands in the folder."""
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(workplace)
    monkeypatch.syspath_prepend(site)
    installed.cache_clear()
    yield methods()["toy"]
    installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_method"]:
        del sys.modules[name]


def typed(arguments: Sequence[str], code: int = 0) -> str:
    """What a command line prints, which ends so."""
    from bench.cli import main

    with redirect_stdout(StringIO()) as output, redirect_stderr(output), pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == code, output.getvalue()
    return output.getvalue()


@pytest.fixture
def bench():
    """Runs a command line and returns what it prints; it must succeed."""
    return lambda *arguments: typed(arguments)


def test_the_page_shows_every_command_and_names_every_file() -> None:
    names = {path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob("*") if path.is_file()}
    named = set(re.findall(r"\]\(\.\./method_template/([\w./]+)\)", PAGE))
    assert named == {name for name in names if not name.endswith((".pyc", "__init__.py"))}
    told = {shown.typed[0] for shown in SHOWN}
    assert told == {"list", "show", "run", "status", "report", "check", "evaluate", "speed"}


@pytest.mark.parametrize("shown", SHOWN[:2] + SHOWN[3:], ids=lambda shown: " ".join(shown.typed))
def test_every_command_takes_it_and_prints_what_the_page_says(method, bench, shown: Shown) -> None:
    told = [numbers_aside(line) for line in bench(*shown.typed).splitlines()]
    # Whether something else runs on the machine is not for the page to say.
    told += [f"{line.removesuffix('yes')}no" for line in told if line.endswith(" yes")]
    assert [line for line in shown.lines if numbers_aside(line) not in told] == []


def test_its_look_is_the_declared_one_on_the_page_and_in_figures(method, bench) -> None:
    bench("report", "--format", "html", "--out", "look")
    page = Path("look/report.html").read_text(encoding="utf-8")
    assert "#b04a8f" in page.lower()
    assert "our sweep" in page


def test_a_trial_tells_its_package_and_that_its_files_ran(method, bench) -> None:
    told = bench("explain", "1")
    assert "toy-method 0.1" in told
    assert code_fingerprint(["toy"]) in told
    assert code_fingerprint(["toy"]) != code_fingerprint()


def test_the_nightly_jobs_exact_layer_takes_it(method, tmp_path: Path) -> None:
    assert "toy" in methods()  # of all of which a night takes recordings
    trainings = short_trainings(["toy"], load_catalog())
    assert [one.name for one in trainings] == [
        f"toy released hopper-medium-v2 {precision}" for precision in ("float64", "float32")
    ]
    recording = record_losses(trainings[0])
    assert {"distance", "error"} <= recording.kept["200"].keys()
    assert record_losses(trainings[0]) == recording
    canary = {"tasks": ["collected-hopper-quickstart"], "algorithms": ["toy"], "budget": 0.001}
    (tmp_path / "nightly.yaml").write_text(yaml.safe_dump({"canary": [canary], "store": "nightly.sqlite"}))
    assert load_nightly(tmp_path / "nightly.yaml").algorithms == ("toy",)


def test_its_own_test_passes(method) -> None:
    names: dict[str, object] = {}
    exec((TEMPLATE / "test_toy.py").read_text(), names)
    names["test_toy"]()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["my-idea", "draw", "none", "test"])
def test_a_method_of_any_name_is_one_that_trains(name: str, tmp_path: Path, monkeypatch) -> None:
    """Names that the method's file imports, or that Python keeps, among them."""
    monkeypatch.chdir(tmp_path)
    told = typed(["new-method", name, "--into", "made"])
    made, module = tmp_path / "made", f"{name.replace('-', '_')}_method"
    assert f"pip install -e 'made[test]'\n  pytest made\n  bench run --tasks {TASK} --algos {name} " in told
    written = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert f"{module}/presets/{name}.yaml" in written
    assert not re.search(
        r"\btoy|Toy", "\n".join([*written, *(Path(made, one).read_text() for one in written)])
    )
    # As pip leaves it, without the half a minute that it takes.
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    installation = made / f"{module}-0.1.dist-info"
    installation.mkdir()
    (installation / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n")
    points = project["entry-points"]["bench.methods"]
    (installation / "entry_points.txt").write_text(
        "[bench.methods]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
    )
    monkeypatch.syspath_prepend(made)
    installed.cache_clear()
    try:
        implementation, configuration = methods()[name].load()
        assert implementation.name == name
        assert configuration.__name__ == f"{implementation.__name__}Config"
    finally:
        installed.cache_clear()
        for loaded in [one for one in sys.modules if one.partition(".")[0] == module]:
            del sys.modules[loaded]


@pytest.mark.parametrize("name", ["Toy", "bc", "edp", "papers", "1st", "a" * 41, "../x", "", "a--b", "a_b"])
def test_a_name_that_is_taken_or_none_is_refused(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert repr(name) in typed(["new-method", name], code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_name_like_the_one_that_was_typed_is_proposed() -> None:
    assert "For example: bench new-method my-method-2" in typed(["new-method", "My_Method 2"], code=2)
    assert "For example: bench new-method my-idea" in typed(["new-method", "***"], code=2)


def test_what_is_there_is_left_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy-method").mkdir()
    (tmp_path / "toy-method" / "mine").write_text("mine")
    assert "is there already" in typed(["new-method", "toy"], code=2)
    assert [path.name for path in tmp_path.rglob("*")] == ["toy-method", "mine"]


def test_where_it_is_no_longer_installed_its_scores_still_stand(workplace: Path, bench, monkeypatch) -> None:
    monkeypatch.chdir(workplace)
    assert "toy" not in methods()
    assert "| collected-hopper-quickstart | " in (shown := bench("report", "--tables", "combined"))
    assert " toy |" in shown
    assert "2 finished" in bench("status")
    assert "our sweep" in bench("explain", "1")
    bench("check", "--against", "paper")
    bench("report", "--format", "html", "--out", "without")


@pytest.mark.slow
def test_workers_of_ray_find_it(site: Path, tiny_data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site), os.environ.get("PYTHONPATH", ""))))
    (run,) = (shown.typed for shown in SHOWN if shown.typed[0] == "run")
    typed = [*(word.replace("local", "ray") for word in run), "--set", "width=16"]
    code, output = completed([*typed, "--store", str(tmp_path / "bench.sqlite")], tiny_data)
    assert code == 0, output
    assert "2 trials: 2 finished." in output
