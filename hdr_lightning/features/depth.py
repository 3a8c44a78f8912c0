"""Depth of a photo by a monocular depth model of `transformers`."""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image as Picture
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.errors import InputError

DepthMap = Float[Tensor, "1 1 rows columns"]
"""Depth at the resolution of the model, in [0, 1]: 1 for the nearest point of the photo, 0 for the farthest."""


@dataclass(frozen=True)
class DepthModel:
    """A depth model, loaded at its first use, from this machine alone: nothing is downloaded, no code of it is run.

    Attributes:
        name: a folder with the model, or its name on the Hugging Face hub.
        revision: branch, tag or commit, for a name on the hub.
        metric: whether the model gives distances, which are large where it is far, instead of inverse depth.
    """

    name: str
    revision: str = "main"
    metric: bool = False

    def __call__(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
        """Estimate the depth of whole photos, in [0, 1]: 1 is near, 0 far.

        Raises:
            InputError: if the model is not there, or gives values that are not finite.
        """
        height, width = image.shape[-2:]
        return torch.cat([enlarge(self.estimate(one), height, width) for one in image]).to(image.dtype)

    def estimate(self, image: Float[Tensor, "3 h w"]) -> DepthMap:
        """Estimate the depth of a whole photo; where the model sees one depth everywhere, 0.

        Raises:
            InputError: as above.
        """
        processor, network = self.load()
        pixels = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        inputs = processor(images=Picture.fromarray(pixels), return_tensors="pt")["pixel_values"]
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            depth = network.to(image.device)(pixel_values=inputs.to(image.device)).predicted_depth.float()[None]
        low, high = depth.aminmax()
        if not (low.isfinite() and high.isfinite()):
            raise InputError(f"the depth model {self.name} gave values that are not finite: choose another")
        depth = (depth - low) / (high - low if high > low else 1)
        return 1 - depth if self.metric else depth

    def load(self) -> tuple[Any, Any]:
        """Load the model once in this process; what prepares photos for it, and the network.

        Raises:
            InputError: if `transformers` or the model is not there, or the model is none that can be used here.
        """
        processor, network = _load(self.name, self.revision)
        kind = getattr(network.config, "depth_estimation_type", None)
        if kind is not None and (kind == "metric") != self.metric:
            raise InputError(f"the depth model {self.name} gives {kind} depth: set depth_metric to {not self.metric}")
        return processor, network

    @property
    def fingerprint(self) -> str:
        """What the depth of a photo depends on: weights, configuration, preparation of photos. SHA-256, hexadecimal."""
        self.load()  # which refuses what cannot be used
        return _fingerprint(self.name, self.revision) + ("-metric" if self.metric else "")


@cache
def _load(name: str, revision: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation
    except ImportError:
        raise InputError("a depth model needs transformers: pip install 'hdr-lightning[depth]'") from None
    try:
        with torch.inference_mode(mode=False):
            processor = AutoImageProcessor.from_pretrained(name, revision=revision, local_files_only=True)
            network = AutoModelForDepthEstimation.from_pretrained(
                name, revision=revision, local_files_only=True, use_safetensors=True
            )
    except ImportError as error:
        raise InputError(f"the depth model {name} needs more: pip install 'hdr-lightning[depth]' ({error})") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the depth model {name} ({revision}) cannot be loaded from this machine: give a folder with a depth model "
            f"of transformers, or fetch it first with `hf download {name}` ({str(error).splitlines()[0]})"
        ) from None
    if getattr(processor, "do_pad", False):
        raise InputError(
            f"the depth model {name} pads photos, so that its depth does not cover them: "
            "choose one that resizes them, such as Depth Anything"
        )
    return processor, network.requires_grad_(False).eval()


@cache
def _fingerprint(name: str, revision: str) -> str:
    processor, network = _load(name, revision)
    digest = hashlib.sha256(processor.to_json_string().encode())
    digest.update(network.config.to_json_string(use_diff=False).encode())
    for key, value in network.state_dict().items():
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def enlarge(
    depth: DepthMap, height: int, width: int, window: tuple[slice, slice] | None = None
) -> Float[Tensor, "1 1 h w"]:
    """Bring depth to the size of its photo, as `transformers` does (bicubic); values stay in [0, 1].

    Args:
        depth: of the whole photo.
        height: of the photo.
        width: of the photo.
        window: rows and columns that are wanted, and nothing else computed; all of them if nothing is given.
    """
    if window is None:
        return F.interpolate(depth, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    rows, columns = (
        (2 * torch.arange(part.start, part.stop, device=depth.device) + 1) / length - 1
        for part, length in zip(window, (height, width), strict=True)
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)[None]
    return F.grid_sample(depth, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)
