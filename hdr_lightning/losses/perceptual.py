"""Terms that compare what a network trained on photographs sees."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.image.statistics import gram_matrix
from hdr_lightning.losses.networks import Frozen, Network, extra, fill, read_features
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar, weighted_mean

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the RGB of ImageNet, which torchvision's networks expect to be taken off."""

CONVOLUTIONS = (2, 2, 4, 4, 4)
"""Of VGG-19, between its poolings."""

LPIPS_NETWORKS: dict[str, tuple[Network, int]] = {
    "alex": ("alexnet", 31),
    "vgg": ("vgg16", 16),
    "squeeze": ("squeezenet1_1", 15),
}
"""Torchvision's name of each, and the least height and width that its features take."""

Features = Float[Tensor, "_ _ _ _"]


def _places() -> dict[str, int]:
    """Layers of VGG-19 by name, and where torchvision has them."""
    places, index = {}, 0
    for block, count in enumerate(CONVOLUTIONS, start=1):
        for number in range(1, count + 1):
            places[f"conv{block}_{number}"] = index
            index += 2
        index += 1
    return places


class VGGFeatures(nn.Module):
    """Outputs of convolutions of VGG-19, before their ReLU (Simonyan, Zisserman, 2015).

    Args:
        layers: names such as `conv3_4`: the fourth convolution behind the second pooling.
        weights: by torchvision's names.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: list[str], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        with extra("torchvision"):
            from torchvision.models.vgg import cfgs, make_layers

        places = _places()
        self.wanted = {places[name]: name for name in layers}
        last = max(self.wanted)
        self.least = 2 ** (max(int(name[4]) for name in layers) - 1)
        net = cast("nn.Sequential", make_layers(cfgs["E"]))[: last + 1]
        own = {
            name.removeprefix("features."): value for name, value in weights.items() if int(name.split(".")[1]) <= last
        }
        self.net = fill(net, own, "vgg19")
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1))

    def forward(self, image: Pictures) -> dict[str, Features]:
        if min(image.shape[-2:]) < self.least:
            raise InputError(f"VGG needs pictures of {self.least} pixels or more for its layers, got {image.shape[-1]}")
        x = (image - self.mean) / self.deviation
        found = {}
        for index, layer in enumerate(self.net):
            # A ReLU of VGG works in place: what is handed out is a copy of its input.
            x = layer(x.clone() if index - 1 in self.wanted else x)
            if index in self.wanted:
                found[self.wanted[index]] = x
        return found


class VGG(LossTerm):
    """Mean absolute difference of features of VGG-19 (Johnson et al., 2016), over their mean size in the target.

    In [0, 2] or a little above, 0.2 to 0.6 on photos, 0 at best. Published terms leave the features as they are, and
    their scale depends on the layer; divided by the size of the target's, a weight means the same for each layer.

    Args:
        layers: weight of each layer, by names such as `conv3_4`; > 0.
        relative: whether differences are divided by the size of the target's features.
        weights: a file of VGG-19 by torchvision's names; if nothing is given, torchvision's.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a layer is unknown; at its first use, if there are no weights and they cannot be fetched.
    """

    def __init__(
        self,
        layers: dict[str, float] | None = None,
        relative: bool = True,
        weights: Path | None = None,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        self.layers = layers or {"conv3_4": 1.0}
        if min(self.layers.values()) <= 0:
            raise InputError(f"{type(self).__name__}: expected weights of layers above 0, got {self.layers}")
        self.relative = relative
        unknown = [name for name in self.layers if name not in _places()]
        if unknown:
            raise InputError(f"VGG-19 has no layer {', '.join(unknown)}: expected some of {', '.join(_places())}")
        self.features = Frozen(lambda: VGGFeatures(list(self.layers), read_features("vgg19", weights)))

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        with torch.no_grad():
            wanted = self.features(target)
        found = self.features(prediction)
        parts = [self._distance(self._aspect(found[name]), self._aspect(wanted[name])) for name in self.layers]
        return weighted_mean(parts, list(self.layers.values()))

    def _aspect(self, features: Features) -> Tensor:
        """What of the features is compared."""
        return features

    def _distance(self, found: Tensor, wanted: Tensor) -> Scalar:
        difference = (found - wanted).abs().mean()
        return difference / (wanted.abs().mean() + 1e-6) if self.relative else difference


class GramStyle(VGG):
    """`VGG` of the products of features instead (Gatys et al., 2016): style, wherever in the picture.

    0.3 to 1 on photos, 0 at best; it grows with the square of the contrast. Several layers are usual:
    `{conv1_1: 1, conv2_1: 1, conv3_1: 1, conv4_1: 1, conv5_1: 1}`.
    """

    def _aspect(self, features: Features) -> Tensor:
        return gram_matrix(features)


def lpips_network(network: str, weights: Path | None) -> nn.Module:
    """The module of the package lpips, v0.1, with the features of a file.

    Args:
        network: `alex`, `vgg` or `squeeze`.
        weights: a file of its features by torchvision's names; if nothing is given, torchvision's.

    Raises:
        InputError: if there are no weights, they cannot be fetched, or a package is missing.
    """
    name, _ = LPIPS_NETWORKS[network]
    with extra("lpips"):  # before its weights are looked for
        import lpips

        features = read_features(name, weights)
        net: nn.Module = lpips.LPIPS(net=network, pnet_rand=True, verbose=False)  # the features follow
    inner = net.get_submodule("net")
    theirs = {key: f"features.{key.partition('.')[2]}" for key in inner.state_dict()}
    fill(inner, {key: features[name] for key, name in theirs.items() if name in features}, name)
    return net.requires_grad_(False).eval()


class LPIPS(LossTerm):
    """Learned perceptual similarity (Zhang et al., CVPR 2018), v0.1: 0.1 to 0.5 on photos, 0 at best.

    The linear layers come with the package lpips, the features with torchvision.

    Args:
        network: whose features; `alex` agrees best with people, `vgg` trains best, `squeeze` is smallest.
        weights: a file of that network (alexnet, vgg16, squeezenet1_1) by torchvision's names; if nothing is given,
            torchvision's.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: at its first use, if there are no weights and they cannot be fetched.
    """

    def __init__(
        self,
        network: Literal["alex", "vgg", "squeeze"] = "vgg",
        weights: Path | None = None,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        _, self.least = LPIPS_NETWORKS[network]
        self.distance = Frozen(lambda: lpips_network(network, weights))

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        if min(prediction.shape[-2:]) < self.least:
            raise InputError(f"LPIPS needs pictures of {self.least} pixels or more, got {prediction.shape[-1]}")
        return self.distance(2 * prediction - 1, 2 * target - 1).mean()
