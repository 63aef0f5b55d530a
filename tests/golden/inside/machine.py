"""Prints what the last digits of sums depend on; a script like its neighbours."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import torch


def main() -> None:
    """Version of torch, processor, and the instructions that torch uses of it."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    machine = {
        "torch": torch.__version__,
        "processor": models[0] if models else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    json.dump(machine, sys.stdout)


if __name__ == "__main__":
    main()
