"""How long recorded kernels would take on an NVIDIA H200: a model, good to about 40 %, nothing measured.

Kernels of a CUDA graph run one after another, each with a fixed cost and what its bytes take; products of
matrices take what their tiles do, or their bytes where that is more. `benchmarks.gpu_check` writes what a GPU
takes beside what this says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from benchmarks.gpu.launches import Launch, Product

Precision = Literal["fp32", "tf32"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32")


@dataclass(frozen=True)
class Rates:
    """What the model takes of a GPU."""

    multiprocessors: int
    flops: dict[Precision, float]
    """Floating-point operations per second, a multiplication and an addition counted as two."""
    shares: dict[Precision, dict[int, float]]
    """Edge of a square tile -> share of a multiprocessor's peak at which it is worked off."""
    bandwidth: float
    """Bytes per second."""
    between_kernels: float
    """Seconds from one kernel of a graph to the next that waits for it."""
    shortest_kernel: float
    """Seconds."""
    product_start: float
    """Seconds before a product's first tile and after its last."""


H200 = Rates(
    # NVIDIA H200 data sheet (SXM): 67 TFLOP/s in FP32; 989 in TF32 with sparsity, half of it without.
    multiprocessors=132,
    flops={"fp32": 67e12, "tf32": 494e12},
    # Assumed: small tiles are bound by loads from shared memory; after CUTLASS's published profiles.
    shares={"fp32": {32: 0.35, 64: 0.55, 128: 0.75}, "tf32": {32: 0.08, 64: 0.2, 128: 0.4}},
    bandwidth=4.0e12,  # of 4.8 on the data sheet; large copies were measured at 4.3
    # Assumed: 2.5 us for a kernel that does next to nothing, as NVIDIA reports of graphs of short kernels.
    between_kernels=1.3e-6,
    shortest_kernel=1.2e-6,
    product_start=2.0e-6,
)


def product_seconds(product: Product, precision: Precision, rates: Rates = H200) -> float:
    """Of a batch of products by the best of a few square tilings: waves of tiles over the processors."""
    peak = rates.flops[precision] / rates.multiprocessors
    best = math.inf
    for edge, share in rates.shares[precision].items():
        tiles = product.batch * math.ceil(product.rows / edge) * math.ceil(product.columns / edge)
        # Several small tiles fit on a multiprocessor, so that only the largest leave it idle at the end.
        waves = tiles / rates.multiprocessors
        waves = math.ceil(waves) if edge == max(rates.shares[precision]) else max(1.0, waves)
        best = min(best, waves * 2 * edge * edge * product.inner / (peak * share))
    return best + rates.product_start


def seconds(launches: list[Launch], precision: Precision, rates: Rates = H200) -> float:
    """Of kernels one after another in a captured graph."""
    return sum(_launch_seconds(launch, precision, rates) for launch in launches)


def _launch_seconds(launch: Launch, precision: Precision, rates: Rates) -> float:
    moving = launch.bytes / rates.bandwidth
    if launch.product is not None:
        return rates.between_kernels + max(product_seconds(launch.product, precision, rates), moving)
    return launch.kernels * (rates.between_kernels + rates.shortest_kernel) + moving
