"""What an iteration does to a GPU: its kernels with their arithmetic and bytes, and what a capture forbids.

Counted as torch launches them eagerly: one kernel for an elementwise operation or a reduction, a copy of the
bias before a product that adds one, as many for a list of tensors as multi_tensor_apply needs.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.training.contract import operator_name, waits

_ROOT = Path(__file__).resolve().parents[2]
_PRODUCT_FOLDERS = tuple(str(_ROOT / name) + "/" for name in ("algorithms", "bench"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WITHOUT_KERNEL = _words(
    "view _unsafe_view expand unsqueeze squeeze transpose permute t select slice split split_with_sizes "
    "unbind detach alias as_strided unflatten flatten reshape chunk _reshape_alias narrow movedim lift_fresh "
    "is_same_size diagonal empty empty_like new_empty empty_strided new_empty_strided _local_scalar_dense "
    "size stride numel dim sym_size sym_numel device unfold"
)
_RANDOM = _words(
    "randn rand randint randperm bernoulli normal uniform random multinomial native_dropout rand_like "
    "randn_like exponential"
)
_PRODUCTS = _words("mm bmm addmm baddbmm mv dot addmv addbmm")
_REDUCTIONS = _words(
    "sum mean amin amax std norm linalg_vector_norm all any argmax argmin var logsumexp _softmax "
    "native_layer_norm native_layer_norm_backward prod cumsum cumprod"
)
_COPIES = _words("clone copy _to_copy cat stack index gather")
_FILLS = _words(
    "zeros ones full fill zero zeros_like ones_like full_like arange new_zeros scalar_tensor linspace "
    "new_ones new_full"
)
# ATen/native/cuda/MultiTensorApply.cuh, the limits before large kernel arguments: tensors of one launch by
# the number of lists, its blocks, and the numbers that a block works on.
_TENSORS_PER_LAUNCH = {1: 110, 2: 64, 3: 48, 4: 36, 5: 30}
_BLOCKS_PER_LAUNCH, _BLOCK_NUMBERS = 320, 65536


@dataclass(frozen=True)
class Product:
    """A batch of products of matrices: (batch, rows, inner) times (batch, inner, columns)."""

    batch: int
    rows: int
    columns: int
    inner: int

    @property
    def flops(self) -> float:
        """A multiplication and an addition counted as two."""
        return 2.0 * self.batch * self.rows * self.columns * self.inner


@dataclass(frozen=True)
class Launch:
    """One operation's kernels."""

    operation: str
    kind: str
    """product, pointwise, reduction, copy, fill or list; `fused` of what the compiler made."""
    kernels: int
    bytes: float
    """Read and written, each once."""
    product: Product | None = None
    place: str = ""
    """File and function of the product that is at work; `backward` where autograd is."""


class Recorder(TorchDispatchMode):
    """Notes launches, faults and changed tensors of what runs within it, on `device`.

    A fault is what a captured graph cannot have or would freeze: waiting for the device, tensors of another
    device, random numbers.
    """

    def __init__(self, device: str = "cuda") -> None:
        super().__init__()
        self.device = device
        self.launches: list[Launch] = []
        self.faults: Counter[str] = Counter()
        self.changed: dict[int, Tensor] = {}
        """Tensors that were written to, by storage; kept, so that no address comes twice."""
        self.made: dict[int, Tensor] = {}
        """Tensors whose memory is new, by storage; kept for the same reason."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (an operator of torch)
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (what the operator gives)
        """Run an operator and note what it does."""
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        out = func(*args, **kwargs)
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        for fault in self._faults_of(func, inputs, outputs):
            self.faults[f"{fault} in {_line_at_work()}"] += 1
        known = {storage(tensor) for tensor in inputs}
        for tensor in outputs:
            if storage(tensor) not in known:
                self.made.setdefault(storage(tensor), tensor)
        for tensor in _written_to(func, args, kwargs):
            self.changed.setdefault(storage(tensor), tensor)
        self.launches += _launches(func, args, kwargs, inputs, outputs, _function_at_work())
        return out

    def _faults_of(self, func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> Iterator[str]:  # noqa: ANN401
        name = operator_name(func)
        if waits(func, inputs):
            yield f"waits for the device: {name}"
        if name in _RANDOM:
            yield f"draws random numbers: {name}"
        if name in _WITHOUT_KERNEL:
            return
        for tensor in (*inputs, *outputs):
            if tensor.device.type != self.device:
                yield f"a tensor {tuple(tensor.shape)} on {tensor.device.type}: {name}"


def storage(tensor: Tensor) -> int:
    """Tells the memory of a tensor from that of others that are alive."""
    return tensor.untyped_storage()._cdata


def _written_to(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:  # noqa: ANN401
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from (leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor))


def _launches(
    func: Any,  # noqa: ANN401 (an operator of torch)
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    inputs: list[Tensor],
    outputs: list[Tensor],
    place: str,
) -> Iterator[Launch]:
    name = operator_name(func)
    if name in _WITHOUT_KERNEL:
        return
    if name in _PRODUCTS:
        yield from _product(name, func, inputs, outputs, kwargs, place)
    elif name.startswith("_foreach"):
        yield _list_launch(func, name, args, kwargs, outputs, place)
    elif name in ("_fused_adam", "_fused_adamw"):
        # Parameters, gradients and both moments; all are read, all but the gradients written.
        lists = [list(tensors) for tensors in args[:4]]
        touched = [tensor for tensors in (*lists, lists[0], *lists[2:]) for tensor in tensors]
        moved = float(sum(map(_size, touched)))
        yield Launch(name, "list", _list_kernels(lists[0], len(lists)), moved, place=place)
    else:
        # Of an expanded tensor only what it holds is read.
        read = sum(min(_size(tensor), tensor.untyped_storage().nbytes()) for tensor in inputs)
        written = sum(map(_size, outputs))
        moved = 2.0 * written if name in ("index", "gather") else float(read + written)
        # The gradient of a slice is filled with zeros first; a number that is raised to tensors becomes one.
        two = name in ("select_backward", "slice_backward") or (
            name == "pow" and func._overloadname == "Scalar"
        )
        yield Launch(name, _kind(name), 2 if two else 1, moved, place=place)


def _kind(name: str) -> str:
    for kind, names in (("reduction", _REDUCTIONS), ("copy", _COPIES), ("fill", _FILLS)):
        if name in names:
            return kind
    return "pointwise"


def _product(
    name: str,
    func: Any,  # noqa: ANN401 (an operator of torch)
    inputs: list[Tensor],
    outputs: list[Tensor],
    kwargs: Mapping[str, Any],
    place: str,
) -> Iterator[Launch]:
    left, right = inputs[-2:]
    batch = left.shape[0] if left.dim() == 3 else 1
    rows = left.shape[-2] if left.dim() > 1 else 1
    columns = right.shape[-1] if right.dim() > 1 else 1
    # at::baddbmm copies what is added into the result before the product, unless it is the result already;
    # at::addmm leaves a bias vector to the product.
    in_place = func._schema.name.endswith("_")
    added = name == "baddbmm" or (name == "addmm" and inputs[0].dim() > 1)
    if added and not in_place and kwargs.get("beta", 1) != 0:
        yield Launch(f"{name}: bias", "copy", 1, 2.0 * _size(outputs[0]), place=place)
    read = sum(min(_size(tensor), tensor.untyped_storage().nbytes()) for tensor in inputs)
    moved = float(read + _size(outputs[0]))
    yield Launch(name, "product", 1, moved, Product(batch, rows, columns, left.shape[-1]), place)


def _list_launch(
    func: Any,  # noqa: ANN401 (an operator of torch)
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    outputs: list[Tensor],
    place: str,
) -> Launch:
    lists = [
        list(given)
        for given in (*args, *kwargs.values())
        if isinstance(given, (list, tuple)) and given and isinstance(given[0], Tensor)
    ]
    in_place = func._schema.name.endswith("_")
    alike = _alike(lists)
    if outputs and not in_place:
        lists.append(outputs)
    moved = float(sum(_size(tensor) for tensors in lists for tensor in tensors))
    moved += sum(map(_size, lists[0])) if in_place else 0
    if not alike:
        return Launch(f"{name} one by one", "list", len(lists[0]), moved, place=place)
    return Launch(name, "list", _list_kernels(lists[0], min(5, len(lists))), moved, place=place)


def _list_kernels(tensors: list[Tensor], lists: int) -> int:
    """Launches of multi_tensor_apply: each takes so many tensors and blocks."""
    launches, tensors_in, blocks_in = 1, 0, 0
    for tensor in tensors:
        blocks = math.ceil(tensor.numel() / _BLOCK_NUMBERS)
        if tensors_in == _TENSORS_PER_LAUNCH[lists]:
            launches, tensors_in, blocks_in = launches + 1, 0, 0
        tensors_in += 1
        while blocks_in + blocks > _BLOCKS_PER_LAUNCH:
            blocks -= _BLOCKS_PER_LAUNCH - blocks_in
            launches, tensors_in, blocks_in = launches + 1, 1, 0
        blocks_in += blocks
    return launches


def _alike(lists: list[list[Tensor]]) -> bool:
    """Whether operators on lists take their fused route, as `can_use_fast_route` of ATen decides."""
    first = lists[0]
    return len({tensor.dtype for tensor in first}) == 1 and all(
        (one.device, one.dtype, one.shape, one.stride())
        == (other.device, other.dtype, other.shape, other.stride())
        and _dense(other)
        for tensors in lists
        for one, other in zip(first, tensors, strict=True)
    )


def _dense(tensor: Tensor) -> bool:
    """Whether it fills its memory without gaps, in whatever order of axes."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != expected:
                return False
            expected *= size
    return True


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _function_at_work() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PRODUCT_FOLDERS):
            return f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "backward"


def _line_at_work() -> str:
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(_PRODUCT_FOLDERS):
            return f"{Path(frame.filename).relative_to(_ROOT)}:{frame.lineno}: {frame.line}"
    return "backward"
