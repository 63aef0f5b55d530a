"""CUDA tensors without a GPU: devices, shapes and autograd of all that a method does, and no numbers.

torch's fake tensors have any device, but autograd asks how many CUDA devices there are: a CPU build of torch
aborts there, a CUDA build on a machine without one finds none. So a child process is started in which a small
library answers that there are devices and another, in the driver's place, that none of them is in use.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_impls import op_implementations_dict
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

DEVICES = 64
"""As many as c10 has room for: a device guard looks its number up in a table of that length."""
_LIBRARY = "BENCH_PRETENDED_DEVICES"
_CHANGE_IN_PLACE = tuple(
    overload
    for operator in (torch.ops.aten._fused_adam_, torch.ops.aten._fused_adamw_)
    for overload in (operator.default, operator.tensor_lr)
)
"""Operators of which torch does not know that they give nothing; it would ask a GPU."""
_COUNT = """
/* c10::cuda::device_count(): 0 until the process says otherwise, so that torch starts as without a GPU. */
int pretended_devices = 0;
signed char _ZN3c104cuda12device_countEv(void) { return (signed char)pretended_devices; }
"""
_ANSWERS = {
    # No device has a context, so that nothing is waited for on it.
    "cuDevicePrimaryCtxGetState": "(int d, unsigned *f, int *a) { *f = 0; *a = 0; return 0; }",
}
_NO_DEVICE = "(void) { return 100; }"  # CUDA_ERROR_NO_DEVICE


def why_not() -> str | None:
    """Why fake CUDA tensors cannot be had with this interpreter; None where they can."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is no CUDA build"
    if not sys.platform.startswith("linux"):
        return "only the Linux builds of torch can be told that there are devices"
    missing = [tool for tool in ("gcc", "nm") if shutil.which(tool) is None]
    return f"{missing[0]} is not installed" if missing else None


def environment(folder: Path) -> dict[str, str]:
    """What a child process needs for `pretend_devices`; builds its two libraries in `folder`.

    Raises
    ------
    subprocess.CalledProcessError : the compiler fails.
    """
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    asked_for = subprocess.run(
        ["nm", "-D", str(Path(spec.origin).parent / "lib" / "libcaffe2_nvrtc.so")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [line.split()[-1] for line in asked_for.splitlines() if " U cu" in line]
    driver = "\n".join(f"int {name}{_ANSWERS.get(name, _NO_DEVICE)}" for name in names)
    library = _built(folder, "devices.so", _COUNT)
    _built(folder, "libcuda.so.1", driver)
    return {
        **os.environ,
        _LIBRARY: str(library),
        "LD_PRELOAD": str(library),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH")))),
    }


def _built(folder: Path, name: str, source: str) -> Path:
    code = folder / f"{name}.c"
    code.write_text(source, encoding="utf-8")
    library = folder / name
    options = ("-shared", "-fPIC", f"-Wl,-soname,{name}")
    subprocess.run(["gcc", *options, "-o", str(library), str(code)], check=True)
    return library


def pretend_devices() -> None:
    """Let torch believe in CUDA devices, for the rest of this process; before anything else uses CUDA.

    Raises
    ------
    RuntimeError : the process was started without `environment`.
    """
    if _LIBRARY not in os.environ:
        raise RuntimeError("fake CUDA tensors need a process that was started for them")
    torch._C._ensureCUDADeviceGuardSet()  # chooses one that does nothing
    # Or else fake tensors would make a real one first, to start the device.
    torch.cuda.is_available = lambda: False
    library = ctypes.CDLL(os.environ[_LIBRARY])
    ctypes.c_int.in_dll(library, "pretended_devices").value = DEVICES


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Make every tensor a fake one until the end of the block; needs `pretend_devices`."""
    with (
        mock.patch.object(torch, "Generator", _AnyGenerator),
        mock.patch.object(nn.Module, "_apply", _applied),
        mock.patch.object(FakeTensor, "__deepcopy__", _deep_copy, create=True),
        mock.patch.object(nn.Parameter, "__deepcopy__", _deep_copy),
        mock.patch.dict(
            op_implementations_dict, dict.fromkeys(_CHANGE_IN_PLACE, lambda *args, **kwargs: None)
        ),
        FakeTensorMode(),
    ):
        yield


class HostReadings:
    """What a method reads of its tables while it is built, noted of a real one and given to a fake one.

    Fake tensors have no numbers. Of methods with equal hyper-parameters the readings are alike, in their
    order and whatever the device and the number of seeds.
    """

    def __init__(self) -> None:
        self._noted: list[Any] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what `Tensor.tolist` gives."""
        original = Tensor.tolist

        def noting(tensor: Tensor) -> Any:  # noqa: ANN401 (as torch has it)
            self._noted.append(original(tensor))
            return self._noted[-1]

        with mock.patch.object(Tensor, "tolist", noting):
            yield

    @contextmanager
    def given(self) -> Iterator[None]:
        """Answer `Tensor.tolist` with what was noted."""
        remaining = iter(self._noted)
        with mock.patch.object(FakeTensor, "tolist", lambda tensor: next(remaining)):
            yield


class _AnyGenerator(torch.Generator):
    """Of the CPU whatever device is named: no numbers are drawn."""

    def __new__(cls, device: object = "cpu") -> _AnyGenerator:
        return super().__new__(cls)


def _applied(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`nn.Module._apply`, which exchanges tensors' contents: fake ones are replaced instead."""
    for child in module.children():
        _applied(child, change)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                changed = change(parameter.detach())
            if (changed.device, changed.dtype) != (parameter.device, parameter.dtype):
                module._parameters[name] = nn.Parameter(changed, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = change(buffer)
    return module


def _deep_copy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """Of a fake tensor alone: its mode cannot be copied."""
    if id(tensor) not in memo:
        with torch.no_grad():
            copied = tensor.detach().clone()
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(copied, tensor.requires_grad) if is_parameter else copied
    return memo[id(tensor)]


def in_child(module: str, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module in a process that can `pretend_devices`; what it prints is captured."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment(folder),
        check=False,
        capture_output=True,
        text=True,
    )
