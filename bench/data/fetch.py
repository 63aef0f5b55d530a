"""Downloads D4RL's files, whole and checked or not at all, and sees to it that a task's dataset is there."""

from __future__ import annotations

import os
from pathlib import Path

import pooch
import requests

from bench.catalog import D4RLDataset, Task
from bench.data.collect import Progress, collect
from bench.data.generate import write_generated
from bench.data.ledger import Ledger
from bench.data.paths import dataset_path
from bench.data.reader import read_file
from bench.errors import BenchError, WorkFailedError
from bench.files import written_whole

ORIGIN = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
"""Where D4RL's addresses begin; a mirror stands in for this part."""
TIMEOUTS = (10, 60)
"""Seconds to connect and between two pieces, so that being offline is found out soon."""
CHUNK = 1 << 20
"""Bytes per piece."""


def ensure_dataset(task: Task, progress: Progress | None = None) -> Path:
    """Path of a task's dataset, which is fetched, collected or generated first where it is missing.

    `progress` is called with bytes (fetched) or rows (collected), done and in all.

    Raises
    ------
    BenchError : it is missing and cannot be had; the message says where to put it and which collected twin to
        use meanwhile.
    """
    path = dataset_path(task)
    if path.is_file():
        return path
    if not isinstance(task.dataset, D4RLDataset):
        if task.generated:
            write_generated(task, path)
        else:
            collect(task, path, progress=progress)
        # Made anew on purpose: another content than that of a file since removed is no error.
        Ledger().look_up(path, accept=True)
        return path
    return fetch(task, progress)


def fetch(task: Task, progress: Progress | None = None) -> Path:
    """Download a D4RL file and return its path; a file that is there already is left alone.

    `progress` is called with bytes done and in all (0 where the server does not say).
    The mirrors of `BENCH_D4RL_MIRRORS` (separated by commas, each in place of D4RL's own address up to
    `offline_rl`) are tried before D4RL's server. What arrives is read and checked before it gets its name.

    Raises
    ------
    BenchError : the task's data is not D4RL's, or the folder cannot be written.
    WorkFailedError : no address gave the file; each one's reason is told.
    """
    if not isinstance(task.dataset, D4RLDataset):
        raise BenchError(
            f"{task.name} has no address",
            f"Its data is {task.dataset.source}, not downloaded.",
            f"Type `bench data collect {task.name}`.",
        )
    path = dataset_path(task)
    if path.is_file():
        return path
    reasons = []
    for url in addresses(task.dataset.url):
        try:
            _download(url, path, task, progress)
        except requests.RequestException as error:
            reasons.append(f"{url}: {_reason(error)}")
        except BenchError as error:
            reasons.append(f"{url}: {error.what} {error.why}")
        except OSError as error:
            raise BenchError(
                f"{path} cannot be written", str(error), "Make room, or set BENCH_DATA_DIR to another folder."
            ) from error
        else:
            return path
    raise _not_to_be_had(task, task.dataset.url, path, reasons)


def addresses(url: str) -> list[str]:
    """Every address to try for a D4RL file, in order."""
    mirrors = [mirror.strip() for mirror in os.environ.get("BENCH_D4RL_MIRRORS", "").split(",")]
    replaced = [mirror.rstrip("/") + url.removeprefix(ORIGIN) for mirror in mirrors if mirror]
    return [*(replaced if url.startswith(ORIGIN) else []), url]


def _download(url: str, path: Path, task: Task, progress: Progress | None) -> None:
    with written_whole(path) as temporary:
        bar = _Bar(progress) if progress else False
        pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUTS)(url, str(temporary), None)
        read_file(temporary, task)


class _Bar:
    """What pooch calls a progress bar, in front of a plain function."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done, self.total = progress, 0, 0

    def update(self, amount: int) -> None:
        self._done += amount
        # pooch counts whole pieces, also where the last one is shorter.
        self._progress(min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        # pooch fills the bar again at the end, for servers that send no length.
        self._done = 0

    def close(self) -> None:
        """Nothing to release."""


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError):
        return f"answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection, or it was lost"
    return str(error)


def _not_to_be_had(task: Task, url: str, path: Path, reasons: list[str]) -> WorkFailedError:
    meanwhile = f"; meanwhile use its collected twin: --tasks {task.twin}" if task.twin else ""
    return WorkFailedError(
        f"the dataset of {task.name} is missing and could not be fetched",
        "; ".join(reasons),
        f"Get {url} and put it at {path}{meanwhile}.",
    )
