"""Whether a configuration fits into a device, and which setting to turn where it does not."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf, isqrt
from typing import Literal, NamedTuple

import torch
from jsonargparse import Namespace

from hdr_lightning.data.module import PairDataModule
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.ledger import WEIGHTS, emptied, without_memory
from hdr_lightning.memory import (
    ACTIVATIONS,
    BACKWARD,
    BATCH,
    GRADIENTS,
    LOSS,
    METRICS,
    OPTIMISER,
    Footprint,
    blank_pair,
    measure_evaluation,
    measure_step,
    parse_size,
    split_precision,
)
from hdr_lightning.progress import track
from hdr_lightning.task import EnhancementTask

EMA, EXCHANGE = "EMA", "exchange between devices"

CONTEXT = 0.6e9
"""Bytes that the driver and its libraries take for themselves, roughly; nobody can compute them."""

SPARE = 0.05
"""Share of the peak set aside for workspaces of kernels and holes between tensors; an allowance, not a measurement."""

LARGEST = 1024
"""The largest batch that is looked for."""

STEP = 64
"""Crops that are proposed are multiples of so many pixels."""

Sharing = Literal["none", "ddp", "zero1", "zero2", "full"]

STRATEGIES: dict[str, Sharing] = {
    "modelparallel": "full",
    "fsdp": "full",
    "deepspeed": "zero2",
    "deepspeed_stage_1": "zero1",
    "deepspeed_stage_2": "zero2",
    "deepspeed_stage_3": "full",
    "ddp": "ddp",
}
"""What of a training several devices share out, by the trainer's name of the strategy."""


@dataclass(frozen=True)
class Settings:
    """What the memory of a training step hangs on.

    Attributes:
        precision: by the trainer's name.
        accumulate: batches a step.
        clip: whether gradients are clipped.
        gpu: whether it runs on a GPU.
        sharing: what devices share out.
        devices: that share it.
        ema: whether averaged weights are kept.
        crop: side of a square, in pixels.
        batch_size: crops a device.
        checkpointed: whether blocks keep their input alone.
    """

    precision: str
    accumulate: int = 1
    clip: bool = True
    gpu: bool = True
    sharing: Sharing = "none"
    devices: int = 1
    ema: bool = False
    crop: int = 0
    batch_size: int = 1
    checkpointed: bool = False

    @classmethod
    def taken(cls, config: Namespace) -> "Settings":
        """Take the device from a configuration, and leave one behind that every machine has."""
        trainer = config.trainer
        strategy, chosen = _name(trainer.strategy), trainer.strategy
        count = trainer.devices if isinstance(trainer.devices, int) and trainer.devices > 0 else 1
        if isinstance(trainer.devices, list):
            count = len(trainer.devices)
        devices = count * trainer.num_nodes
        if strategy == "modelparallel" and isinstance(chosen, Namespace):
            size = chosen.init_args.get("data_parallel_size", "auto")  # "auto" shards over nodes alone
            devices = size if isinstance(size, int) else trainer.num_nodes
        sharing = STRATEGIES.get(strategy, "ddp" if devices > 1 else "none")
        if strategy == "deepspeed" and isinstance(chosen, Namespace):
            sharing = STRATEGIES[f"deepspeed_stage_{chosen.init_args.get('stage', 2)}"]
        settings = cls(
            precision=str(trainer.precision or "32-true"),
            accumulate=trainer.accumulate_grad_batches,
            clip=bool(trainer.gradient_clip_val),
            gpu=trainer.accelerator != "cpu",
            sharing=sharing if devices > 1 else "none",
            devices=devices,
            ema=config.get("ema.decay", 0) > 0,
        )
        split_precision(settings.precision)
        plain = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": None}
        for name, value in {**plain, "logger": False, "plugins": None}.items():
            trainer[name] = value
        return settings


def _name(strategy: str | Namespace) -> str:
    """The trainer's name of a strategy that is given by name or by class.

    >>> _name("ddp_find_unused_parameters_true"), _name(Namespace(class_path="lightning.FSDPStrategy"))
    ('ddp', 'fsdp')
    """
    name = strategy if isinstance(strategy, str) else strategy.class_path.rpartition(".")[2].removesuffix("Strategy")
    name = name.lower()
    return next((each for each in sorted(STRATEGIES, key=len, reverse=True) if name.startswith(each)), name)


class Row(NamedTuple):
    """A way to train, and the bytes that it needs."""

    setting: str
    needed: float


class Plan:
    """Predictions for a task and its data.

    Args:
        task: whose weights are given up.
        data: its crops and stages.
        settings: of the device.
        memory: bytes of one device.
    """

    def __init__(self, task: EnhancementTask, data: PairDataModule, settings: Settings, memory: float) -> None:
        largest = max(data.stages.stages, key=lambda stage: stage.batch_size * stage.crop**2)
        blocks = task.generator.blocks
        self.settings = replace(
            settings,
            crop=largest.crop,
            batch_size=largest.batch_size,
            checkpointed=task.checkpoint_blocks or any(block.checkpointed for block in blocks),
        )
        self.task = task
        self.memory = memory
        self.weights = sum(p.numel() * 4 for p in task.generator.parameters() if p.requires_grad)
        self.widest_block = max((sum(p.nbytes for p in block.parameters()) for block in blocks), default=0)
        self._measured: dict[Settings, Footprint] = {}

    def footprint(self, settings: Settings) -> Footprint:
        """Memory of a training step on one device, shared with others where they share it out."""
        alone = replace(settings, sharing="none", devices=1, ema=False, accumulate=min(settings.accumulate, 2))
        if alone not in self._measured:
            self.task.generator.checkpoint_blocks(settings.checkpointed)
            pair = blank_pair(self.task, settings.batch_size, settings.crop, settings.crop)
            self._measured[alone] = measure_step(
                self.task, pair, settings.precision, settings.accumulate, settings.clip, settings.gpu
            )
        found = self._measured[alone]
        return replace(found, moments={name: self._shared(moment, settings) for name, moment in found.moments.items()})

    def _shared(self, moment: Mapping[str, int], settings: Settings) -> Mapping[str, int]:
        """What of a moment lies on one of several devices."""
        sharing, devices = settings.sharing, settings.devices
        shared = {
            "full": (WEIGHTS, GRADIENTS, OPTIMISER, EMA),
            "zero2": (GRADIENTS, OPTIMISER),
            "zero1": (OPTIMISER,),
        }.get(sharing, ())
        exchange = {"ddp": self.weights, "full": 2 * self.widest_block}.get(sharing, 0)
        whole = {**moment, EMA: self.weights if settings.ema else 0, EXCHANGE: exchange}
        return {kind: size // devices if kind in shared else size for kind, size in whole.items()}

    def evaluation(self, width: int, height: int) -> int:
        """Bytes that the validation of a photo occupies, with what training leaves in memory."""
        pair = blank_pair(self.task, 1, height, width)
        found = measure_evaluation(self.task, pair, self.settings.precision).fullest
        step = self.footprint(self.settings)
        resting = {kind: max(m.get(kind, 0) for m in step.moments.values()) for kind in (GRADIENTS, OPTIMISER)}
        return sum({**self._shared({**found, **resting}, self.settings)}.values())

    def needed(self, settings: Settings) -> float:
        """Bytes of a device that a training step takes, with the allowance for what nobody can compute."""
        return allowed_for(self.footprint(settings).peak)

    def fits(self, settings: Settings) -> bool:
        """Whether a training step fits."""
        return self.needed(settings) <= self.memory

    def largest_batch(self, settings: Settings) -> int:
        """The most crops a device that fit, at most `LARGEST`; 0 where one does not."""
        one, two = (self.footprint(replace(settings, batch_size=size)).moments for size in (1, 2))
        if not self.fits(replace(settings, batch_size=1)):
            return 0
        room = (self.memory - CONTEXT) / (1 + SPARE)
        guess: float = LARGEST
        for name in one.keys() & two.keys():  # each grows by a line, and the sum of a step is the highest of them
            first, second = sum(one[name].values()), sum(two[name].values())
            guess = min(guess, 1 + (room - first) / (second - first) if second > first else inf)
        low, high = 1, max(1, int(guess))
        if self.fits(replace(settings, batch_size=high)):  # lines through the first two are never too steep
            return high
        while high - low > 1:
            below, above = (self.needed(replace(settings, batch_size=size)) for size in (low, high))
            middle = low + int((self.memory - below) / (above - below) * (high - low))
            middle = min(max(middle, low + 1), high - 1)
            low, high = (middle, high) if self.fits(replace(settings, batch_size=middle)) else (low, middle)
        return low

    def largest_crop(self, settings: Settings) -> int:
        """The largest square below the present one that fits, a multiple of `STEP`; 0 where none does."""
        room = (self.memory - CONTEXT) / (1 + SPARE)
        moment = self.footprint(settings).fullest
        growing = sum(moment.get(kind, 0) for kind in (BATCH, ACTIVATIONS, LOSS, BACKWARD))
        pixels = settings.crop**2 * max(0.0, room - sum(moment.values()) + growing) / growing
        crop = min(isqrt(int(pixels)), settings.crop - 1) // STEP * STEP
        while crop and not self.fits(replace(settings, crop=crop)):
            crop -= STEP
        return crop

    @cached_property
    def frugal(self) -> tuple[str, Settings]:
        """The settings that need least memory with the same batches, and how to set them."""
        new = replace(self.settings, checkpointed=True)
        words = [] if self.settings.checkpointed else ["model.checkpoint_blocks=true"]
        if self._wide:
            new = replace(new, precision="bf16-mixed")
            words.append("trainer.precision=bf16-mixed")
        return ", ".join(words), new

    @property
    def _wide(self) -> bool:
        return self.settings.precision in ("32-true", "32", "64-true", "64")

    def alternatives(self) -> Iterator[Callable[[], list[Row]]]:
        """Ways to train with less memory, each computed when it is asked for."""
        now = self.settings

        def row(setting: str, settings: Settings) -> list[Row]:
            return [Row(setting, self.needed(settings))]

        yield partial(row, "as configured", now)
        if not now.checkpointed:
            yield partial(row, "model.checkpoint_blocks=true", replace(now, checkpointed=True))
        if self._wide:
            yield partial(row, "trainer.precision=bf16-mixed", replace(now, precision="bf16-mixed"))
        words, frugal = self.frugal
        if self._wide and not now.checkpointed:
            yield partial(row, words, frugal)
        prefix = f"{words}, " if words else ""
        single = replace(frugal, batch_size=1, accumulate=frugal.accumulate * frugal.batch_size)
        if frugal.batch_size > 1:
            prefix += f"data.batch_size=1, trainer.accumulate_grad_batches={single.accumulate}"
            yield partial(row, prefix, single)
            prefix += ", "
        yield partial(self._smaller, prefix, single)

        def shared(prefix: str) -> list[Row]:
            wide = [replace(single, sharing="full", devices=count) for count in (2, 4, 8) if count > now.devices]
            return [Row(f"{prefix}sharded over {each.devices} devices", self.needed(each)) for each in wide]

        yield partial(shared, prefix)

    def _smaller(self, prefix: str, settings: Settings) -> list[Row]:
        crop = 0 if self.fits(settings) else self.largest_crop(settings)
        return [Row(f"{prefix}data.crop={crop}", self.needed(replace(settings, crop=crop)))] if crop else []


def allowed_for(peak: float) -> float:
    """Bytes of a device for tensors of so many bytes."""
    return peak * (1 + SPARE) + CONTEXT


def device_memory(gigabytes: float | None) -> float:
    """Bytes of a device: of one with so many GB (10^9 bytes), or of this machine's GPU.

    Raises:
        InputError: if nothing is given and there is no GPU, or what is given is not above 0.
    """
    if gigabytes is None and not torch.cuda.is_available():
        raise InputError("there is no GPU here: give the memory of one, as --memory=24 (GB)")
    if gigabytes is None:
        return float(torch.cuda.get_device_properties(0).total_memory)
    if not gigabytes > 0:
        raise InputError(f"expected a memory above 0 GB, got {gigabytes}")
    return gigabytes * 1e9


def plan(task: EnhancementTask, data: PairDataModule, settings: Settings, memory: float | None, photo: str) -> None:
    """Print what a training step and the validation of a photo take of a device, and what takes less.

    Args:
        task: what would be trained; its weights are given up.
        data: whose crops it would be trained on; no file of it is opened.
        settings: of the device.
        memory: GB (10^9 bytes) of one device; of this machine's GPU if nothing is given.
        photo: width x height of the largest photo that is validated, before `data.resize`.

    Raises:
        InputError: if the memory is not known, or the photo's size is none.
        RunStopped: if training or validation does not fit.
    """
    room = device_memory(memory)
    width, height = reduced(parse_size(photo), data.resize)
    with without_memory(settings.gpu):
        emptied(task)
        plans = Plan(task, data, settings, room)
        steps = list(plans.alternatives())
        rows = [row for step in track(steps, "computing", len(steps), "alternative") for row in step()]
        validation = allowed_for(plans.evaluation(width, height))
        batch, frugal = plans.largest_batch(plans.settings), plans.largest_batch(plans.frugal[1])
    now = plans.settings
    where = f"{now.devices} devices of" if now.devices > 1 else "a device of"
    print(
        f"{type(task.generator).__name__}, {now.batch_size} x {now.crop} x {now.crop} a device, {now.precision}, "
        f"on {where} {room / 1e9:.1f} GB\n"
    )
    print(_composition(plans.footprint(now), validation, f"{width} x {height}"))
    print(_alternatives(rows, room))
    words = plans.frugal[0]
    print(f"largest batch a device: {_count(batch)}" + (f"; with {words}: {_count(frugal)}" if words else ""))
    verdict(rows, validation, room)


def reduced(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    """Width and height of a photo whose shorter side is reduced to a length.

    >>> reduced((3296, 2192), 512), reduced((3296, 2192), None)
    ((770, 512), (3296, 2192))
    """
    if shorter is None or min(size) <= shorter:
        return size
    width, height = (round(length * shorter / min(size)) for length in size)
    return width, height


def _count(batch: int) -> str:
    return f"{batch} or more" if batch == LARGEST else str(batch)


def _composition(step: Footprint, validation: float, photo: str) -> str:
    about = {
        ACTIVATIONS: "kept for the gradient",
        BACKWARD: "computed again, and gradients of features",
        GRADIENTS: "of the weights",
        LOSS: "of which the gradient is taken",
    }
    lines = ["| at the fullest moment of a training step | GB |", "|---|---|"]
    for kind in (WEIGHTS, GRADIENTS, OPTIMISER, EMA, EXCHANGE, BATCH, ACTIVATIONS, LOSS, BACKWARD, METRICS):
        size = step.fullest.get(kind, 0)
        if size:
            lines.append(f"| {kind}{', ' + about[kind] if kind in about else ''} | {size / 1e9:.2f} |")
    lines += [
        f"| allowed for driver, workspaces and holes | {(allowed_for(step.peak) - step.peak) / 1e9:.2f} |",
        f"| **training step** | **{allowed_for(step.peak) / 1e9:.2f}** |",
        f"| **validation of a photo of {photo}** | **{validation / 1e9:.2f}** |",
    ]
    return "\n".join(lines) + "\n"


def _alternatives(rows: list[Row], room: float) -> str:
    lines = ["| setting | training step (GB) | fits |", "|---|---|---|"]
    lines += [f"| {row.setting} | {row.needed / 1e9:.2f} | {'yes' if row.needed <= room else 'no'} |" for row in rows]
    return "\n".join(lines) + "\n"


def verdict(rows: list[Row], validation: float, room: float) -> None:
    """Say whether it fits.

    Raises:
        RunStopped: if training or validation does not fit.
    """
    remedy = next((row.setting for row in rows[1:] if row.needed <= room), None)
    if rows[0].needed > room:
        raise RunStopped(
            f"a training step takes {rows[0].needed / 1e9:.1f} GB, there are {room / 1e9:.1f}: "
            + (f"set {remedy}" if remedy else "none of the settings above makes it fit, take a smaller generator")
        )
    if validation > room:
        raise RunStopped(
            f"training fits, but the validation of a photo takes {validation / 1e9:.1f} GB, there are "
            f"{room / 1e9:.1f}: reduce photos with data.resize"
        )
    print(f"fits: {rows[0].needed / 1e9:.1f} of {room / 1e9:.1f} GB")
