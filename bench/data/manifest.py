"""What is known of D4RL's files, to tell them by: their hashes, and facts of their content."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.catalog import D4RLDataset, Task
from bench.yaml_lines import load_yaml, validated

Count = Annotated[int, Field(ge=0, strict=True)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KnownFile(_Entry):
    """A file as D4RL publishes it; who recorded this is written at the top of manifest.yaml."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0, strict=True)]


class DatasetFacts(_Entry):
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


class Manifest(_Entry):
    """Files and facts by dataset name (`hopper-medium-v2`)."""

    state_tolerance: Annotated[float, Field(gt=0)]
    """How far mean and std may be off, in standard deviations of the dimension."""
    files: dict[str, KnownFile] = {}
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
