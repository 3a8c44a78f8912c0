"""What tensors occupy, added up as they are made: with their memory, or without it and the hardware."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

WEIGHTS = "weights"
"""What tensors are for that were there before."""

IS_CPU = getattr(Tensor, "is_cpu").__get__  # noqa: B009 - of the class; the checker knows that of its tensors alone

HALF = (torch.float16, torch.bfloat16)

WIDENED = (
    {"layer_norm", "group_norm", "exp", "expm1", "log", "log10", "log2", "log1p", "pow", "__pow__", "__rpow__", "rsqrt"}
    | {"reciprocal", "__rdiv__", "norm", "normalize", "cosine_similarity", "softplus", "acos", "asin", "cosh", "sinh"}
    | {"tan", "l1_loss", "mse_loss", "smooth_l1_loss"}
)
"""What autocast computes in float32 on a GPU, by the documentation of `torch.amp`; on a CPU it does not with all."""

SUMMED = {"softmax", "log_softmax", "sum", "prod", "cumsum", "cumprod"}
"""The same, where the result alone is float32."""


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what tensors occupy: each piece of memory once, from its making until it is freed, by what it is for.

    Attributes:
        kind: what tensors that are made now are for.
        live: bytes occupied now, by kind.
        peaks: for each `kind` there was, the bytes by kind at its fullest moment.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = WEIGHTS
        self.live: Counter[str] = Counter()
        self.peaks: dict[str, dict[str, int]] = {}
        self._kinds: dict[int, str] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_iter((args, kwargs, result)):  # arguments may have been there before
            if isinstance(each, Tensor):
                self.count(each, self.kind)
        if self.live.total() > sum(self.peaks.get(self.kind, {}).values()):
            self.peaks[self.kind] = dict(self.live)
        return result

    def count(self, tensor: Tensor, kind: str) -> None:
        """Count the memory of a tensor, unless that is done."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._kinds:
            self._kinds[key] = kind
            self.live[kind] += storage.nbytes()
            weakref.finalize(storage, self._free, key, storage.nbytes())

    def name(self, tensor: Tensor, kind: str) -> None:
        """Say what a tensor is for that was counted already."""
        storage = tensor.untyped_storage()
        self.live[self._kinds[storage._cdata]] -= storage.nbytes()
        self.live[kind] += storage.nbytes()
        self._kinds[storage._cdata] = kind

    def _free(self, key: int, size: int) -> None:
        self.live[self._kinds.pop(key)] -= size


class AsOnGPU(TorchFunctionMode):
    """Take the ways that a GPU takes, though tensors say that they are a CPU's: of our layers, and of autocast."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func == IS_CPU:
            return False
        name = getattr(func, "__name__", "")
        if torch.is_autocast_enabled("cpu") and name in WIDENED:
            args, kwargs = tree_map_only(Tensor, _widened, (args, kwargs))
        elif torch.is_autocast_enabled("cpu") and name in SUMMED and args[0].dtype in HALF:
            kwargs.setdefault("dtype", torch.float32)
        return func(*args, **kwargs)


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in HALF else x


@contextmanager
def without_memory(gpu: bool = True) -> Iterator[None]:
    """Let tensors have shapes and no memory while this lasts.

    Args:
        gpu: whether to count what a GPU would occupy, or this CPU.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), AsOnGPU() if gpu else nullcontext():
        yield


def emptied(module: nn.Module) -> None:
    """Give up the memory of a module's weights: in `without_memory`, so that they keep their shapes alone."""
    known: dict[int, Tensor] = {}

    def empty(tensor: Tensor) -> Tensor:
        if id(tensor) not in known:
            known[id(tensor)] = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
        return known[id(tensor)]

    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        module._apply(empty)  # type: ignore[no-untyped-call]
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
