"""Files of the golden records: compressed, and the same bytes for the same content."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RECORDS = FOLDER / "records"
STORES = FOLDER / "stores"
INTENDED = FOLDER / "intended.yaml"


def pack(source: Path, target: Path) -> None:
    """Compress a file."""
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(lzma.compress(source.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


def unpack(source: Path, target: Path) -> None:
    """Write the file that `source` holds."""
    target.write_bytes(lzma.decompress(source.read_bytes()))


def write_record(section: str, record: dict[str, Any]) -> Path:
    """Keep what a section found."""
    path = RECORDS / f"{section}.json.xz"
    RECORDS.mkdir(exist_ok=True)
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    path.write_bytes(lzma.compress(text.encode(), preset=9))
    return path


def read_record(section: str) -> dict[str, Any]:
    """What a section found when it was recorded.

    Raises
    ------
    FileNotFoundError : it never was.
    """
    return json.loads(lzma.decompress((RECORDS / f"{section}.json.xz").read_bytes()))
