"""docs/your-own-data.md: every door for a user's own data is walked through as the page says."""

from pathlib import Path

import pytest

from bench.data.manifest import KnownFile
from bench.files import sha256_of
from tests.data.files import columns, write
from tests.documents.conftest import Bench
from tests.documents.pages import ROOT, blocks, console, missing_lines, text_of

PAGE = text_of("docs/your-own-data.md")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_data_of_ones_own_is_added_and_trained_on(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(ROOT / "tests/fixtures/minari"))
    for variable in ("BENCH_TASKS", "BENCH_D4RL_MIRRORS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    # What a mirror gave a person, under a name of its own; a small stand-in for D4RL's.
    copy = write(tmp_path / "downloads" / "hopper (1).hdf5", columns())
    known = KnownFile(sha256=sha256_of(copy), bytes=copy.stat().st_size)
    for module in ("bench.data.fetch", "bench.cli.obtain"):
        monkeypatch.setattr(f"{module}.known_file", lambda task: known)

    (program,) = blocks(PAGE, "python")
    exec(program, {})
    (further,) = blocks(PAGE, "yaml")
    typed = []
    for shown in console(PAGE):
        if shown.typed == ["list", "suites"]:
            write_into_catalogue(Path("tasks.yaml"), further)
        code, told = bench(shown.typed)
        assert code == 0, told
        assert missing_lines(shown, told) == [], shown.typed
        typed.append(shown.typed[:2])
    assert typed.count(["data", "add"]) == 2
    assert {"run", "report", "check", "explain"} <= {first for first, _ in typed}


def write_into_catalogue(path: Path, further: str) -> None:
    """What a person does in an editor: the page's tasks below the others, its suites at the end."""
    tasks, suites = further.removeprefix("tasks:\n").split("suites:\n")
    path.write_text(f"{path.read_text()}{tasks}suites:\n{suites}")
