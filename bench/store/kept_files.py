"""Files that are kept beside the database, such as weights: are they still what was stored?"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.files import sha256_of, written_whole
from bench.records import WeightsRecord

MISSING = "is missing"
CHANGED = "is not what was stored: its SHA-256 differs"


def fault_of(path: Path, record: WeightsRecord) -> str:
    """What is wrong with the file of a record, to be read after its name; empty where nothing is."""
    if not path.is_file():
        return MISSING
    return "" if sha256_of(path) == record.sha256 else CHANGED


def bring(name: str, sha256: str, source: Path, target: Path) -> str:
    """Copy a kept file from one store's folder into another's, verified by its hash.

    What is in its place with another content stays.

    Parameters
    ----------
    name : its path below either folder.

    Returns
    -------
    What is wrong with the file, to be read after its name; empty where nothing is.
    """
    if not (target / name).resolve().is_relative_to(target.resolve()):
        return "is not below the store's folder"
    path = target / name
    if path.exists():
        return "" if sha256_of(path) == sha256 else f"is another one in {target}"
    if not (source / name).is_file():
        return MISSING
    if sha256_of(source / name) != sha256:
        return CHANGED
    with written_whole(path) as temporary:
        shutil.copyfile(source / name, temporary)
    return ""
