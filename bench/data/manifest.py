"""What is known of D4RL's files, to tell them by: their hashes, and facts of their content.

Besides, in words for people, what follows for the scores of a run from datasets that are not verified.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from bench.catalog import D4RLDataset, Task
from bench.records import CONTENT_FITS, MISMATCH, UNVERIFIED, VERIFIED, DatasetRecord
from bench.yaml_lines import Entry, load_yaml, validated

Count = Annotated[int, Field(ge=0, strict=True)]

_DIGITS = 12
"""Of a hash, where two are told apart."""
_SHORTFALLS = {
    (True, MISMATCH): ("not D4RL's file", "not D4RL's files"),
    (True, CONTENT_FITS): (
        "not D4RL's own file, though its content fits",
        "not D4RL's own files, though their content fits",
    ),
    (True, UNVERIFIED): (
        "not D4RL's own file, and not all of its content could be checked",
        "not D4RL's own files, and not all of their content could be checked",
    ),
    (False, MISMATCH): ("not what its recipe makes", "not what their recipes make"),
    (False, UNVERIFIED): ("not checked in every part", "not checked in every part"),
}
"""Of one and of several datasets, by whether they are D4RL's and what was found."""


class KnownFile(Entry):
    """A file as D4RL publishes it; who recorded this is written at the top of manifest.yaml."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0, strict=True)]


class DatasetFacts(Entry):
    """Facts of one file's content; where each comes from is written at the top of manifest.yaml."""

    rows: Count
    """Rows in the file."""
    observation_dim: Count
    action_dim: Count
    transitions: Count
    """What qlearning_dataset keeps."""
    timeout_contradictions: Count
    """Rows but the last that are flagged as timeout, and hence dropped."""
    terminals: Count
    """Terminal flags among the transitions; the source may have left out the last one."""
    state_mean: tuple[float, ...]
    """(O,) mean observation."""
    state_std: tuple[float, ...]
    """(O,) standard deviation (ddof 0) of the observations."""

    @model_validator(mode="after")
    def _consistent(self) -> DatasetFacts:
        if self.rows != self.transitions + self.timeout_contradictions + 1:
            raise ValueError("rows must be transitions + timeout_contradictions + 1")
        if not len(self.state_mean) == len(self.state_std) == self.observation_dim:
            raise ValueError(f"state_mean and state_std must have {self.observation_dim} numbers each")
        return self


class Manifest(Entry):
    """Files and facts by dataset name (`hopper-medium-v2`)."""

    state_tolerance: Annotated[float, Field(gt=0)]
    """How far mean and std may be off, in standard deviations of the dimension."""
    files: dict[str, KnownFile] = Field(default={})
    datasets: dict[str, DatasetFacts]


def load_manifest(path: Path | None = None) -> Manifest:
    """Read and check `path`, by default the manifest of this installation.

    Raises
    ------
    BenchError : names file, line and key of the first mistake.
    """
    return validated(Manifest, load_yaml(path or Path(__file__).with_name("manifest.yaml")))


def known_file(task: Task) -> KnownFile | None:
    """Hash and size of a task's file as D4RL publishes it; None where the data is not D4RL's."""
    return load_manifest().files.get(task.name) if isinstance(task.dataset, D4RLDataset) else None


@dataclass(frozen=True)
class Remark:
    """Datasets that fall short in the same way."""

    shortfall: str
    """Of one of them, or of several: `not D4RL's file`, `not D4RL's files`."""
    datasets: tuple[tuple[str, str], ...]
    """Name, and what differs; empty where nothing can be named."""
    certain: bool = True
    """Their scores will not be comparable; otherwise they may not be."""

    @property
    def lines(self) -> list[str]:
        """A sentence about one dataset; about several a heading, a line for each, and what to type."""
        if len(self.datasets) == 1:
            ((name, detail),) = self.datasets
            differs = f" ({detail})" if detail else ""
            follows = f"its {self._consequence}; `bench data verify {name}` tells more"
            return [f"{name}: {self.shortfall}{differs}: {follows}."]
        return [
            f"{self.heading}.",
            *(f"  {name}: {detail}" if detail else f"  {name}" for name, detail in self.datasets),
            "  `bench data verify TASK` tells more of each.",
        ]

    @property
    def heading(self) -> str:
        """`9 datasets are not D4RL's files: their scores will not be comparable`."""
        number = len(self.datasets)
        subject, whose = ("1 dataset is", "its") if number == 1 else (f"{number} datasets are", "their")
        return f"{subject} {self.shortfall}: {whose} {self._consequence}"

    @property
    def _consequence(self) -> str:
        return f"scores {'will' if self.certain else 'may'} not be comparable"


def remarks_on(datasets: Iterable[DatasetRecord]) -> list[Remark]:
    """Remarks on those not verified, the worst first; none on collected data that fits its recipe."""
    manifest = load_manifest()
    found: dict[tuple[bool, str], list[tuple[str, str]]] = {kind: [] for kind in _SHORTFALLS}
    for dataset in dict.fromkeys(datasets):
        kind = (dataset.name in manifest.files, verification_of(dataset, manifest))
        if kind in found:
            found[kind].append((dataset.name, _difference(dataset, manifest)))
    return [
        Remark(_SHORTFALLS[kind][len(alike) > 1], tuple(alike), kind != (False, UNVERIFIED))
        for kind, alike in found.items()
        if alike
    ]


def verification_of(dataset: DatasetRecord, manifest: Manifest) -> str:
    """What a dataset's record says of it; but `verified` says its hash alone, whatever was written once."""
    known = manifest.files.get(dataset.name)
    if known is not None and dataset.sha256 == known.sha256:
        return VERIFIED
    return UNVERIFIED if dataset.verification == VERIFIED else dataset.verification


def _difference(dataset: DatasetRecord, manifest: Manifest) -> str:
    facts, known = manifest.datasets.get(dataset.name), manifest.files.get(dataset.name)
    if facts and facts.rows != dataset.rows:
        return f"rows {dataset.rows:,}, known {facts.rows:,}"
    return f"SHA-256 {dataset.sha256[:_DIGITS]}, known {known.sha256[:_DIGITS]}" if known else ""
