"""Damage to bytes and odd values, shared by the targets."""

from __future__ import annotations

import random

ODD_TEXTS = (
    "", " ", "x", "0", "-1", "nan", "inf", "1e400", "null", "true", "yes", "[]", "{}", "[1,2", '{"a":',
    "\x1b[31mred\x1b[0m",
    "\x00", "a\nb", "é", "日本", "\U0001f600", "‮abc", "=1+1", "'; DROP TABLE trials; --",
    "<script>alert(1)</script>",
    "%s%n", "../../outside/precious.txt", "/etc/passwd", "~", "~nosuchuser", "2025-01-01", "2025-13-45",
    "0001-01-01",
    "9999-12-31 23:59:59.999999", "2025-03-01 12:00:00.000000", "12:60", "1_000", "0x10", "1e3", "١٢",
    "A" * 300,
    "ab" * 5000, "-", "--", "\t", "None", "NaN", "Infinity", "1" * 400,
)  # fmt: skip

ODD_NUMBERS = (
    0, -1, 1, 2, 7, 255, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), 0.5, -0.0, 1e-308, 1e308, -1e308,
    float("inf"), float("-inf"), 3.0000001,
)  # fmt: skip


def damaged(content: bytes, random: random.Random) -> tuple[str, bytes]:
    """(kind, bytes) of a file with its bytes damaged in one of many ways."""
    kind = random.choice(list(_DAMAGE))
    return kind, _DAMAGE[kind](content, random)


def _flip(content: bytes, random: random.Random, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _header(content: bytes, random: random.Random) -> bytes:
    """A byte of the first 2 kB, where formats keep their structure."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        changed[random.randrange(min(len(changed), 2048))] = random.choice(
            (0, 1, 127, 128, 255, random.randrange(256))
        )
    return bytes(changed)


def _span(content: bytes, random: random.Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 4, 16, 100, 1000, 5000)))


def _zeros(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + bytes(end - start) + content[end:]


def _removed(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + content[end:]


def _repeated(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:end] + content[start:end] + content[end:]


def _noise(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + random.randbytes(end - start) + content[end:]


def _inserted(content: bytes, random: random.Random) -> bytes:
    start, _ = _span(content, random)
    return content[:start] + random.randbytes(random.choice((1, 2, 8, 512))) + content[start:]


def _number(content: bytes, random: random.Random) -> bytes:
    """Eight bytes as a number at an edge: sizes and offsets that lead astray."""
    start = random.randrange(max(1, min(len(content) - 8, random.choice((2048, len(content))))))
    value = random.choice((0, 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1, len(content)))
    return content[:start] + value.to_bytes(8, "little") + content[start + 8 :]


_DAMAGE = {
    "a bit": lambda content, random: _flip(content, random, 1),
    "some bits": lambda content, random: _flip(content, random, random.choice((2, 8, 64))),
    "a byte of the header": _header,
    "cut off": lambda content, random: content[: random.randrange(len(content) + 1)],
    "zeros": _zeros,
    "bytes removed": _removed,
    "bytes repeated": _repeated,
    "noise": _noise,
    "bytes inserted": _inserted,
    "an edge number": _number,
    "more at the end": lambda content, random: content + random.randbytes(random.choice((1, 7, 4096))),
    "noise alone": lambda content, random: random.randbytes(random.choice((0, 1, 8, 100, 4096))),
}
