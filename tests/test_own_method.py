"""docs/your-own-method.md: its files are installed as they stand there, and every command takes the method.

Nothing of the method is in the repository; what the page prints is what the commands say, numbers aside.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from algorithms.registry import installed, methods
from bench.catalog import load_catalog
from bench.nightly.config import load_nightly
from bench.nightly.exact import record_losses, short_trainings
from bench.provenance import code_fingerprint
from tests.documents.pages import Shown, console, missing_lines, numbers_aside, text_of
from tests.execute.tiny import completed

PAGE = text_of("docs/your-own-method.md")
FILES = dict(re.findall(r"`([\w./]+)`[^\n]*:\n\n```\w+\n(.+?)```", PAGE, re.S))
"""Every file that the page shows, by name: the first name of the line above it."""
SHOWN = console(PAGE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the method installed: its wheel is built from the page's files and unpacked."""
    source, site = tmp_path_factory.mktemp("toy"), tmp_path_factory.mktemp("site")
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content, encoding="utf-8")
    (source / "toy_method" / "__init__.py").write_text("")
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


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]):
    """Runs a command line and returns what it prints; it must succeed."""
    from bench.cli import main

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        output, errors = capsys.readouterr()
        assert stopped.value.code == 0, errors
        return output + errors

    return run


def test_the_page_has_the_whole_method() -> None:
    package = ["toy_method/method.py", "toy_method/presets/toy.yaml"]
    assert list(FILES) == ["pyproject.toml", *package, "test_toy.py"]
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
    exec(FILES["test_toy.py"], names)
    names["test_toy"]()  # type: ignore[operator]


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
