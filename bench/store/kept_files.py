"""Files that are kept beside the database, such as weights: are they still what was stored?"""

from __future__ import annotations

from pathlib import Path

from bench.files import sha256_of
from bench.records import WeightsRecord


def fault_of(path: Path, record: WeightsRecord) -> str:
    """What is wrong with the file of a record, to be read after its name; empty where nothing is."""
    if not path.is_file():
        return "is missing"
    return "" if sha256_of(path) == record.sha256 else "is not what was stored: its SHA-256 differs"
