"""Generators made of other generators."""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.features import Feature, extract
from hdr_lightning.features.depth import DepthModel
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.block import Block
from hdr_lightning.image.regions import bright_mask


def _inside(name: str, generator: Generator) -> list[list[str]]:
    """The stages of a generator that is a part of another one."""
    return [[f"{name}.{part}" for part in stage] for stage in generator.stages]


class GainConstrained(Generator):
    """Source times a gain, per pixel and channel, that can only darken windows and only brighten the rest.

    With `s` from -1 (dark) over 0 (at the threshold) to 1 (bright) and `a` in [0, 1] from the generator, the gain is
    `1 - s * (1 - darkest) * a` in windows and `1 - s * (brightest - 1) * a` elsewhere: whatever the weights, in
    [darkest, 1] and [1, brightest], and 1 on the boundary.

    Args:
        generator: says how much; what it adds to the picture is turned into `a`.
        darkest: the least gain in windows, in (0, 1].
        brightest: the largest gain elsewhere, 1 or more.
        threshold: luminance above which a pixel is a window.
        softness: luminance over which the mask goes from one half to 0.73.

    Raises:
        InputError: if a gain is out of its range.
    """

    def __init__(
        self,
        generator: Generator,
        darkest: float = 0.3,
        brightest: float = 3.0,
        threshold: float = 0.75,
        softness: float = 0.05,
    ) -> None:
        super().__init__()
        if not 0 < darkest <= 1 <= brightest < math.inf:
            raise InputError(f"expected 0 < darkest <= 1 <= brightest, got {darkest} and {brightest}")
        if not softness > 0:
            raise InputError(f"expected a softness above 0, got {softness}")
        self.generator = generator
        self.in_channels, self.stride = generator.in_channels, generator.stride
        self.darkest, self.brightest = darkest, brightest
        self.threshold, self.softness = threshold, softness

    @property
    def base(self) -> Generator:
        return self.generator

    @property
    def stages(self) -> list[list[str]]:
        return _inside("generator", self.generator)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        return image[:, :3] * self.gain(image)

    def gain(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """The factor of every value; a generator that adds nothing gives 1.05 and less."""
        source = image[:, :3]
        side = 2 * bright_mask(source, self.threshold, self.softness) - 1
        amount = (4 * (self.generator(image) - source) - 3).sigmoid()
        return 1 - side * torch.where(side > 0, 1 - self.darkest, self.brightest - 1) * amount


class ZeroConvCopy(Generator):
    """A locked generator and a copy of it that trains, joined by convolutions that start at zero.

    Before the first step it is the locked generator, bit for bit. After Zhang, Rao, Agrawala: "Adding Conditional
    Control to Text-to-Image Diffusion Models", ICCV 2023 (arXiv:2302.05543), with the whole net as the copy.

    Args:
        generator: what is locked and copied; its weights come through `init_from` of the task.
        joins: blocks or rows of blocks, by their published names, whose output gets that of the copy through a 1x1
            convolution. The output of the net is always joined.

    Raises:
        InputError: if the generator has no such blocks.
    """

    def __init__(self, generator: Generator, joins: Sequence[str] = ()) -> None:
        super().__init__()
        known = _rows_of_blocks(generator) if joins else []
        unknown = [name for name in joins if name not in known]
        if unknown:
            raise InputError(
                f"{type(generator).__name__} has no blocks called {unknown[0]!r}: choose among {', '.join(known)}"
            )
        self.in_channels, self.stride = generator.in_channels, generator.stride
        self.joins = list(joins)
        widths = _widths(generator, self.joins)
        self.copy = copy.deepcopy(generator).train()  # what is frozen in it stays frozen
        self.locked = generator.requires_grad_(False).eval()
        self.zeros = nn.ModuleDict({name.replace(".", "_"): _zero(width) for name, width in widths.items()})
        self.last = _zero(3)

    @property
    def base(self) -> Generator:
        return self.locked

    @property
    def stages(self) -> list[list[str]]:
        both = zip(_inside("copy", self.copy), _inside("locked", self.locked), strict=True)
        return [*(copy + locked for copy, locked in both), ["last", "zeros"]]

    @property
    def runs_in_strips(self) -> bool:
        return super().runs_in_strips and not self.joins  # whole maps are added at every join

    def base_loaded(self) -> None:
        self.copy.load_state_dict(self.locked.state_dict())

    def train(self, mode: bool = True) -> "ZeroConvCopy":
        super().train(mode)
        self.locked.eval()
        return self

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        seen: dict[str, Tensor] = {}

        def keep(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen[name] = output

        def add(name: str, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            return output + self.zeros[name.replace(".", "_")](seen.pop(name))

        with _Hooks(self.copy, self.joins, keep):
            change = self.copy(image)
        with _Hooks(self.locked, self.joins, add):
            result = self.locked(image)
        return result + self.last(change)


class _Hooks:
    """Forward hooks on modules by name, for the length of a `with`."""

    def __init__(self, net: nn.Module, names: Sequence[str], function: Any) -> None:
        self.pairs = [(net.get_submodule(name), partial(function, name)) for name in names]

    def __enter__(self) -> None:
        self.handles = [module.register_forward_hook(hook) for module, hook in self.pairs]

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


def _zero(width: int) -> nn.Conv2d:
    conv = nn.Conv2d(width, width, 1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _rows_of_blocks(generator: Generator) -> list[str]:
    """Names of what runs once a picture: blocks, and modules that are called and made of them."""
    blocks = [name for name, module in generator.named_modules() if isinstance(module, Block)]
    parts = [name.split(".") for name in blocks]
    around = dict.fromkeys(".".join(names[:length]) for names in parts for length in range(1, len(names) + 1))
    inside = tuple(f"{name}." for name in blocks)
    return list(_widths(generator, [name for name in around if not name.startswith(inside)]))


def _widths(generator: Generator, names: Sequence[str]) -> dict[str, int]:
    """Channels that modules give, found by running the net on nothing; what is not called gives none."""
    widths: dict[str, int] = {}

    def note(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        widths[name] = output.shape[1]

    if names:
        device = next(generator.parameters()).device
        with torch.no_grad(), _Hooks(generator, names, note):
            generator(torch.zeros(1, generator.in_channels, generator.stride, generator.stride, device=device))
    return widths


class ColorRefiner(Generator):
    """A frozen generator and a small one behind it that trains.

    Args:
        backbone: frozen; its weights come through `init_from` of the task.
        refiner: corrects the output of the backbone; where it takes 3 planes more than RGB, it sees the source too.

    Raises:
        InputError: if the refiner takes neither the output alone nor output and source.
    """

    def __init__(self, backbone: Generator, refiner: Generator) -> None:
        super().__init__()
        if refiner.in_channels not in (3, 6):
            raise InputError(f"the refiner takes {refiner.in_channels} planes: expected 3, or 6 with the source")
        self.in_channels = backbone.in_channels
        self.stride = max(backbone.stride, refiner.stride)
        if self.stride % backbone.stride or self.stride % refiner.stride:
            self.stride = backbone.stride * refiner.stride
        self.backbone = backbone.requires_grad_(False).eval()
        self.refiner = refiner

    @property
    def base(self) -> Generator:
        return self.backbone

    @property
    def stages(self) -> list[list[str]]:
        return _inside("backbone", self.backbone) + _inside("refiner", self.refiner)

    def train(self, mode: bool = True) -> "ColorRefiner":
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        with torch.no_grad():
            edited = self.backbone(image)
        return self.refiner(edited if self.refiner.in_channels == 3 else torch.cat((edited, image[:, :3]), dim=1))


class FeatureGuided(Generator):
    """A generator that is given planes computed from the source beside it.

    Args:
        generator: takes 3 planes and one for each feature.
        features: which, in their order.
        depth_model: a depth model of `transformers`: a folder, or its name on the Hugging Face hub; it is no part of
            the checkpoint. Without one the luminance stands in for depth.
        depth_revision: its branch, tag or commit on the hub.
        depth_metric: whether it gives distances instead of inverse depth.

    Raises:
        InputError: if the generator takes another number of planes, or a depth model is given and depth no feature.
    """

    def __init__(
        self,
        generator: Generator,
        features: Sequence[Feature] = ("depth", "edge", "saturation"),
        depth_model: str | None = None,
        depth_revision: str = "main",
        depth_metric: bool = False,
    ) -> None:
        super().__init__()
        if depth_model is not None and "depth" not in features:
            raise InputError(f"depth_model is given, and the features are {', '.join(features)}: add depth to them")
        if generator.in_channels != 3 + len(features):
            raise InputError(
                f"{type(generator).__name__} takes {generator.in_channels} planes, RGB and {len(features)} features "
                f"are {3 + len(features)}: set its in_channels to that"
            )
        self.generator = generator
        self.features = list(features)
        self.stride = generator.stride
        self._depth = None if depth_model is None else DepthModel(depth_model, depth_revision, depth_metric)
        self.in_channels = 3 if depth_model is None else 4

    @property
    def base(self) -> Generator:
        return self.generator

    @property
    def stages(self) -> list[list[str]]:
        return _inside("generator", self.generator)

    @property
    def depth(self) -> DepthModel | None:
        return self._depth

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        return self.generator(torch.cat((image[:, :3], extract(image, self.features)), dim=1))
