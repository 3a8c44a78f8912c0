"""A generator that is spread over devices: every one holds a share of the weights, of their gradient and optimiser."""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy, ParallelStrategy, StrategyRegistry
from lightning_utilities import apply_to_collection
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator, SideGenerator
from hdr_lightning.tensors import read_safely


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2: each device holds its share of every block and gathers a block's weights when it comes to it.

    Runs on any number of devices and nodes, on GPUs and CPUs. A checkpoint is one file with whole weights and the whole
    state of the optimiser, as one device writes it, so either goes on from the other's.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state of an optimiser with whole tensors.

        Lightning's own numbers parameters by their place in the task, and not in the optimiser as everyone else: where
        some are frozen, the state would go to others.
        """
        optimizer = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return apply_to_collection(optimizer.state_dict(), Tensor, lambda tensor: whole(tensor).cpu())

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)  # what is in a file, on every rank

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.model is not None
        held = self.model.state_dict()
        shares = {name: share_of(value, held.get(name)) for name, value in checkpoint["state_dict"].items()}
        self.model.load_state_dict(shares, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            numbers = [number for group in state["param_groups"] for number in group["params"]]
            shares = {
                number: {name: share_of(value, like) for name, value in state["state"][number].items()}
                for number, like in zip(numbers, held, strict=True)
                if number in state["state"]
            }
            optimizer.load_state_dict({"state": shares, "param_groups": state["param_groups"]})


StrategyRegistry.register("fsdp2", ShardedStrategy, description=ShardedStrategy.__doc__)


def share_of(value: Any, like: Tensor | None) -> Any:
    """The share of this device of something as large as a parameter."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or isinstance(value, DTensor):
        return value
    if value.shape != like.shape:
        return value  # such as the number of a step
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


class EvenPasses(LightningModule):
    """A module with a generator that may be spread over devices, which then do not evaluate equally many photos.

    A device that is out of photos while others have one left runs the generator on an empty picture: the others need
    the weights that it holds, and would wait for ever. Nothing is measured of it. These are hooks of the module, which
    come after those of callbacks: what these agree on over all devices comes first on all.
    """

    generator: Generator
    _once_more_after = -1

    def on_validation_start(self) -> None:
        sanity = self.trainer.sanity_checking
        self._count(self.trainer.num_sanity_val_batches if sanity else self.trainer.num_val_batches)

    def on_test_start(self) -> None:
        self._count(self.trainer.num_test_batches)

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._keep_pace(batch_idx)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._keep_pace(batch_idx)

    def _count(self, batches: Sequence[int | float]) -> None:
        """Shares of photos differ by one at most."""
        strategy, own = self.trainer.strategy, int(sum(batches))
        self._once_more_after = -1
        if isinstance(strategy, (ShardedStrategy, DeepSpeedStrategy)):
            most = strategy.reduce(torch.tensor(own, device=strategy.root_device), reduce_op="max")
            self._once_more_after = own - 1 if own < most else -1

    def _keep_pace(self, batch_idx: int) -> None:
        if batch_idx == self._once_more_after:
            shape = (1, self.generator.in_channels, self.generator.stride, self.generator.stride)
            dtype = next(self.generator.parameters()).dtype
            with self.trainer.precision_plugin.forward_context():
                self(torch.zeros(shape, device=self.device, dtype=dtype))


def refuse_strategy(strategy: object, precision: object, accelerator: object) -> None:
    """Tell before anything is opened that a strategy cannot run here.

    Args:
        strategy: as configured, a name or a class with its arguments.
        precision: of the training, as configured.
        accelerator: as configured, by name.

    Raises:
        InputError: if it lacks a library, devices of its kind, or the precision.
    """
    if "deepspeed" in str(strategy).lower():
        if find_spec("deepspeed") is None:
            raise InputError("DeepSpeed is not installed: pip install 'hdr-lightning[deepspeed]'")
        if accelerator == "cpu" or not torch.cuda.is_available():
            raise InputError("DeepSpeed runs on NVIDIA GPUs alone: trainer.strategy=fsdp2 runs on CPUs, too")
    if strategy == "fsdp2" and str(precision) in ("16-mixed", "16"):
        raise InputError(f"fsdp2 does not train in {precision}: set trainer.precision to bf16-mixed")


def refuse_layout(checkpoint: Path, strategy: object) -> None:
    """Tell before anything is opened that a strategy cannot read a checkpoint, and let none run code from one.

    Args:
        checkpoint: a file, or a folder of DeepSpeed.
        strategy: as configured, a name or a class with its arguments.

    Raises:
        InputError: if one is of DeepSpeed and the other is not.
    """
    deepspeed = "deepspeed" in str(strategy).lower()
    if checkpoint.is_dir() and not deepspeed:
        raise InputError(
            f"{checkpoint} is a folder of DeepSpeed, and trainer.strategy is {strategy}: go on with "
            "deepspeed_stage_2 or _3, as it was trained, or make one file of it (see the head of "
            "configs/restormer_deepspeed_2.yaml)"
        )
    if deepspeed and not checkpoint.is_dir():
        raise InputError(
            f"{checkpoint} is a file, and DeepSpeed goes on from its own folders alone: give its weights with "
            "--model.init_from, or go on with ddp or fsdp2"
        )


def read_progress(folder: Path) -> dict[str, Any]:
    """What a checkpoint of DeepSpeed holds beside the optimiser; its later, own reading is kept to tensors and numbers.

    Raises:
        InputError: if it is damaged, or holds code.
    """
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # DeepSpeed asks for everything that a pickle can do
    torch.serialization.add_safe_globals([DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address])
    states = sorted((folder / "checkpoint").glob("*model_states.pt"))
    path = states[0] if states else folder / "checkpoint" / "mp_rank_00_model_states.pt"
    progress: dict[str, Any] = read_safely(path, "no checkpoint", "what `fit` wrote under DeepSpeed")
    return progress


def shard(generator: Generator, loss: nn.Module, mesh: DeviceMesh) -> None:
    """Spread a generator over devices in place, block by block; a loss stays whole on each, its gradients averaged.

    Args:
        generator: on any device; the same weights on every rank afterwards, those of the first.
        loss: what it is trained on.
        mesh: the devices, in one dimension.
    """
    if isinstance(generator, FSDPModule):
        return
    device = torch.device("cuda", torch.cuda.current_device()) if mesh.device_type == "cuda" else torch.device("cpu")
    group = mesh.get_group()
    for module in (generator, loss):
        module.to(device)
        for tensor in (*module.parameters(), *module.buffers()):
            distributed.broadcast(tensor.detach(), src=0)
    for module in (*generator.blocks, generator):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)  # so that between steps there are shares alone
    if isinstance(generator, SideGenerator):
        register_fsdp_forward_method(generator, "forward_with_side")

    def average(parameter: Tensor) -> None:
        assert parameter.grad is not None
        distributed.all_reduce(parameter.grad, group=group)
        parameter.grad /= mesh.size()

    for parameter in loss.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(average)  # type: ignore[no-untyped-call]


def gather_by_block(generator: Generator) -> None:
    """Have DeepSpeed's stage 3 gather the weights of a whole block at once: its layers are not called one by one."""
    from deepspeed.utils import set_z3_leaf_modules

    set_z3_leaf_modules(generator, list({type(block) for block in generator.blocks}))


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its values, of which this device may hold a share; all ranks are to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """What this device holds of a tensor, without its history; the same memory."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gradient_norm(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    """The Euclidean norm of all gradients together, the same on every rank."""
    norms = [whole(get_total_norm(gradients)) for gradients in _gradients(parameters) if gradients]
    return torch.linalg.vector_norm(torch.stack(norms)) if len(norms) > 1 else (norms or [torch.tensor(0.0)])[0]


def clip_gradients(parameters: Iterable[Tensor], largest: float, norm: Float[Tensor, ""]) -> None:
    """Scale gradients in place so that their norm, which is known, is at most `largest`."""
    factor = (largest / (norm + 1e-6)).clamp(max=1.0)
    held = [local(each) for part in _gradients(parameters) for each in part]
    if held:
        torch._foreach_mul_(held, factor)


def _gradients(parameters: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients that are whole, and shares of gradients."""
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return [g for g in found if not isinstance(g, DTensor)], [g for g in found if isinstance(g, DTensor)]
