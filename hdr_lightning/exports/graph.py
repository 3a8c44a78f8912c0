"""A generator as a graph of tensor operations, which takes pictures of any size and needs nothing of this package."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config
from torch.utils._sympy.value_ranges import ValueRanges

from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator
from hdr_lightning.generators.block import Count

LONGEST = 32768
"""The longest side of a picture, in pixels, that a graph takes."""

INPUT = "photo"
OUTPUTS = ("enhanced", "unclamped")


class AnySize(nn.Module):
    """A generator with what `edit` does around it, so that the graph alone is enough.

    Padding is a choice of rows and columns by number: `torch.nn.functional.pad` cannot be recorded for sizes at which
    it would choose another mode (`image.tiling.run_padded`).
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, photo: Float[Tensor, "1 3 h w"]) -> tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 h w"]]:
        """Edit a picture.

        Args:
            photo: RGB, sRGB-encoded, [0, 1], of any size.

        Returns:
            The edited picture clamped to [0, 1], and as the generator made it.
        """
        stride = self.generator.stride
        height, width = photo.shape[-2:]
        if stride > 1:
            rows, columns = ((length + stride - 1) // stride * stride for length in (height, width))
            reflect = _fits(photo, height, rows) & _fits(photo, width, columns)
            padded = photo.index_select(2, _places(photo, height, rows, reflect))
            padded = padded.index_select(3, _places(photo, width, columns, reflect))
        else:
            padded = photo
        result = self.generator(padded)
        if stride > 1:
            result = result.index_select(2, torch.arange(height, device=photo.device))
            result = result.index_select(3, torch.arange(width, device=photo.device))
        return result.clamp(0, 1), result


def _fits(photo: Tensor, length: Count, padded: Count) -> Bool[Tensor, " 1"]:
    """Whether there is enough of a side to reflect."""
    real, wanted = (torch.full((1,), value, dtype=torch.int64, device=photo.device) for value in (length, padded))
    return wanted - real < real


def _places(photo: Tensor, length: Count, padded: Count, reflect: Bool[Tensor, " 1"]) -> Int64[Tensor, " p"]:
    """Which row (or column) of a picture each one of the padded picture is."""
    place = torch.arange(padded, device=photo.device)
    last = torch.full((1,), length - 1, dtype=torch.int64, device=photo.device)
    return torch.where(place > last, torch.where(reflect, 2 * last - place, last), place)


def record(generator: Generator) -> ExportedProgram:
    """Record what a generator does with a picture of any size, from 1 x 1 to `LONGEST` pixels a side.

    Args:
        generator: in evaluation mode, on the CPU.

    Raises:
        InputError: if it takes more than a picture, or does what no graph for all sizes can hold.
    """
    name = type(generator).__name__
    if generator.depth is not None or generator.in_channels != 3:
        raise InputError(
            f"{name} takes {generator.in_channels} planes: a graph takes a picture alone, so choose "
            "--formats=[safetensors] or hub"
        )
    # As the smallest size that is no special case; what holds for it holds below.
    least = 2 * generator.stride + 1
    sizes = {2 + axis: Dim(name, min=least, max=LONGEST) for axis, name in enumerate(("height", "width"))}
    example = torch.rand(1, 3, 5 * generator.stride + 3, 6 * generator.stride + 1)
    try:
        # No choice is to hang on whether a side has one pixel.
        oblivious = _config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
        with torch.no_grad(), oblivious:
            module = AnySize(generator).eval().requires_grad_(False)
            program = torch.export.export(module, (example,), dynamic_shapes=(sizes,), strict=False)
    except (torch._dynamo.exc.UserError, torch._dynamo.exc.TorchRuntimeError) as error:
        raise InputError(
            f"{name} cannot be recorded for all sizes: choose --formats=[safetensors] or hub ({_first_line(error)})"
        ) from error
    for symbol in program.range_constraints:
        program.range_constraints[symbol] = ValueRanges(1, LONGEST)
    program._guards_code = []  # of what was assumed; whether it holds for small pictures, too, `check.compare` sees
    for node in program.graph.nodes:  # where on this machine the code lies
        for what in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(what, None)
    return program


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
