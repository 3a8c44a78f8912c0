"""The contract of every network that turns a source photo into an edited one."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.features.depth import DepthModel
from hdr_lightning.generators.block import Block
from hdr_lightning.image.tiling import run_padded


class Generator(nn.Module, ABC):
    """A network from a source picture to an edited one of the same size.

    A generator is only a generator: no padding, clamping, loss, weight loading or printing inside.
    Parameter names follow the published layout, so that published weights load as they are.

    Attributes:
        in_channels: planes that `forward` takes: 3 for RGB, more where features are added to it.
        stride: height and width given to `forward` are multiples of it (`image.tiling.run_padded` sees to that).
        countable: whether all that it does are operations of PyTorch, from which its memory can be added up.
    """

    in_channels: int = 3
    stride: int = 1
    countable: bool = True

    @property
    def blocks(self) -> list[Block]:
        """The blocks that the network is made of, in their order."""
        return [module for module in self.modules() if isinstance(module, Block)]

    @property
    def stages(self) -> list[list[str]]:
        """Its parts by name, in stages from the source to the output, every parameter in one (`model.layer_decay`).

        Unless a generator says otherwise, they are its children, in the order in which they were defined.
        """
        return [[part] for part in dict.fromkeys(name.partition(".")[0] for name, _ in self.named_parameters())]

    @property
    def runs_in_strips(self) -> bool:
        """Whether strips bound its memory: all features of a whole picture are those between blocks."""
        return bool(self.blocks) and all(block.runs_in_strips for block in self.blocks)

    def checkpoint_blocks(self, on: bool = True) -> None:
        """Keep only the input of every block for the gradient, and compute the rest again: less memory, more time."""
        for block in self.blocks:
            block.checkpointed = on

    def compile_blocks(self) -> None:
        """Compile every block in place when it first runs; names of parameters stay as they are.

        Blocks of one shape share their code, so it takes as long as there are shapes, not blocks.
        """
        # One a shape of block and size of crop: PyTorch gives up after 8.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        for block in self.blocks:
            block.compile(dynamic=False)

    @property
    def base(self) -> "Generator":
        """The network whose published weights these are; a generator around another one names that."""
        return self

    @property
    def depth(self) -> DepthModel | None:
        """The model whose depth is the fourth plane that `forward` takes; nothing where it takes RGB alone."""
        return None if self.base is self else self.base.depth

    def base_loaded(self) -> None:
        """Do what follows from new weights in `base`."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Edit pictures.

        Args:
            image: `in_channels` planes, RGB first, sRGB-encoded, [0, 1]; height and width multiples of `stride`.

        Returns:
            RGB, sRGB-encoded, of the same height and width, not clamped to [0, 1].
        """


def edit(generator: Generator, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
    """Edit pictures of any size.

    Args:
        generator: what edits them.
        image: RGB, sRGB-encoded, [0, 1]; the depth of the whole photo behind it, if the generator takes that. Outside
            training it is computed where it is not given.

    Raises:
        InputError: if the number of planes is another, there are no pixels, or, outside training, some are not finite.
    """
    image = with_depth(generator, image)
    check_picture(generator, image)
    return run_padded(generator, image, generator.stride)


def with_depth(generator: Generator, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h w"]:
    """Put the depth of whole photos behind them, outside training, if the generator takes it and it is not there."""
    if generator.depth is None or image.shape[1] != 3 or not image.numel() or generator.training:
        return image
    return torch.cat((image, generator.depth(image)), dim=1)


def check_picture(generator: Generator, image: Float[Tensor, "n c h w"]) -> None:
    """Refuse pictures that a generator cannot edit.

    Raises:
        InputError: if the number of planes is another, there are no pixels, or, outside training, some are not finite.
    """
    _, planes, height, width = image.shape
    if planes != generator.in_channels:
        raise InputError(f"{type(generator).__name__} takes {generator.in_channels} planes, got {planes}")
    if not height or not width:
        raise InputError(f"expected a picture of 1 x 1 pixels or more, got {width} x {height}")
    if not torch.is_grad_enabled() and not image.isfinite().all():
        raise InputError(f"{int((~image.isfinite()).sum())} values of the picture are not finite: expected [0, 1]")


class SideGenerator(Generator):
    """A generator that makes a second, smaller picture on its way, which a loss may pull on."""

    @abstractmethod
    def forward_with_side(
        self, image: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 hs ws"]]:
        """Edit pictures as `forward` does, and give the side output: the edited picture at a lower resolution."""

    @abstractmethod
    def train_side(self) -> None:
        """Let the parameters of the side output train; until then they are frozen, as DDP wants unused ones."""
