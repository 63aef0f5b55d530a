"""Saves the state of a stack while it trains on, or in turn, and not more often than is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from bench.training.checkpoint import Checkpoint


class Saver:
    """Packs a stack's state and hands it over, one checkpoint after the other.

    Parameters
    ----------
    send : takes a checkpoint; returns when it is kept.
    seconds : between checkpoints, at least.
    share : of the time that saving may take; the longer the last one took, the later the next is due.
    beside : pack and send in a thread of its own, from a copy on the device.
    """

    def __init__(
        self,
        send: Callable[[Checkpoint], None],
        *,
        seconds: float,
        share: float,
        beside: bool,
        device: torch.device,
    ) -> None:
        self._send, self._seconds, self._share = send, seconds, share
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint") if beside else None
        self._stream = torch.cuda.Stream(device) if beside and device.type == "cuda" else None
        self._saving: Future[None] | None = None
        self._saved_at = time.monotonic()
        self._took = 0.0

    def is_due(self) -> bool:
        """Whether it is time for the next one; an error of the last one is raised here at the latest."""
        if self._saving is not None:
            if not self._saving.done():
                return False
            self.settle()
        return time.monotonic() - self._saved_at > max(self._seconds, self._took / self._share)

    def save(self, tensors: Mapping[str, Tensor], host: Mapping[str, Any]) -> None:
        """Save the present state; tensors may change afterwards."""
        self.settle()
        if self._thread is None:
            self._save(tensors, host)
            return
        copied = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        self._saving = self._thread.submit(self._save, copied, host)

    def settle(self) -> None:
        """Wait until what is being saved is kept; raises what kept it from that."""
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.result()

    def close(self) -> None:
        """End the thread, once it has done what it does."""
        if self._thread is not None:
            self._thread.shutdown()

    def _save(self, tensors: Mapping[str, Tensor], host: Mapping[str, Any]) -> None:
        started = time.monotonic()
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            checkpoint = Checkpoint.of(tensors, host)
        self._send(checkpoint)
        self._saved_at = time.monotonic()
        self._took = self._saved_at - started
