"""What every generator promises, tested on each the moment that the package exports it."""

import os
import subprocess
import sys

import pytest
import torch
from generators_common import SMALL, build

from hdr_lightning import generators
from hdr_lightning.benchmark import kept_bytes
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator, NAFNet, Restormer, edit, maps, tiles
from hdr_lightning.generators.layers import gram

WRAPPERS = {"ColorRefiner", "FeatureGuided", "GainConstrained", "ZeroConvCopy"}
"""Generators around others, tested in test_wrappers."""


def test_every_generator_is_tested():
    exported = {name for name in generators.__all__ if name[0].isupper() and not name.endswith("Generator")}
    assert exported - WRAPPERS == set(SMALL)
    assert all(issubclass(getattr(generators, name), Generator) for name in exported)


@pytest.mark.parametrize("name", SMALL)
class TestGenerator:
    @pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 32), (40, 64)])
    def test_any_size_through_padding(self, name, size):
        generator = build(name).eval()
        image = torch.rand(2, 3, *size)
        output = edit(generator, image)
        assert output.shape == image.shape
        assert output.isfinite().all()

    def test_what_cannot_be_edited_is_refused(self, name):
        generator = build(name).eval()
        with pytest.raises(InputError, match=f"{name} takes 3 planes, got 4"):
            edit(generator, torch.rand(1, 4, 32, 32))
        with pytest.raises(InputError, match="1 x 1 pixels or more, got 32 x 0"):
            edit(generator, torch.rand(1, 3, 0, 32))
        image = torch.rand(1, 3, 32, 32)
        image[0, 0, :2, 0] = torch.nan
        with torch.no_grad(), pytest.raises(InputError, match="2 values of the picture are not finite"):
            edit(generator, image)

    def test_gradient_reaches_every_parameter_and_the_input(self, name):
        generator = build(name)
        image = torch.rand(2, 3, 32, 32, requires_grad=True)
        generator(image).square().mean().backward()
        assert image.grad.abs().max() > 0
        for key, parameter in generator.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().max() > 0, key

    def test_pictures_of_a_batch_do_not_see_each_other(self, name):
        generator = build(name).eval()
        images = torch.rand(3, 3, 32, 32)
        alone = torch.cat([generator(image[None]) for image in images])
        assert torch.allclose(generator(images), alone, atol=1e-5)

    def test_bf16_agrees(self, name):
        generator = build(name).eval()
        image = torch.rand(1, 3, 32, 32)
        exact = generator(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = generator(image).float()
        assert (rounded - exact).norm() / (exact - image).norm() < 0.05

    def test_bf16_gradients_agree(self, name):
        """PyTorch's layer norm on a CPU in bfloat16 does not (see `layers.channel_norm`)."""
        generator = build(name)
        image = torch.rand(1, 3, 192, 192)
        expected = []
        for enabled in (False, True):
            generator.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                output = generator(image)
            output.float().square().mean().backward()
            gradients = {k: p.grad.clone() for k, p in generator.named_parameters() if p.requires_grad}
            expected = expected or gradients
        norms = [key for key in gradients if "norm" in key]
        assert norms
        for key in norms:
            error = (gradients[key] - expected[key]).norm() / expected[key].norm()
            assert error < 0.1, key

    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
    def test_flat_pictures_are_finite(self, name, value):
        image = torch.full((1, 3, 32, 32), value, requires_grad=True)
        output = build(name)(image)
        output.sum().backward()
        assert output.isfinite().all()
        assert image.grad.isfinite().all()

    def test_takes_as_many_planes_as_it_says(self, name):
        generator = build(name, in_channels=6)
        assert generator.in_channels == 6
        assert generator(torch.rand(1, 6, 32, 32)).shape == (1, 3, 32, 32)

    def test_tiles_are_the_whole(self, name, monkeypatch):
        """Inference on a CPU works on a tile at a time, training on the whole."""
        monkeypatch.setattr(tiles, "CACHE", 1)
        monkeypatch.setattr(tiles, "WHOLE", 1)
        generator = build(name).eval()
        image = torch.rand(2, 3, 72, 40)
        whole = generator(image)
        with torch.inference_mode():
            assert tiles.tile_size(image, widening=1) == (8, 8)
            error = (generator(image) - whole).abs().max() / (whole - image).abs().max()
        assert 0 < error < 1e-5

    def test_features_in_files_change_nothing(self, name, monkeypatch, tmp_path):
        monkeypatch.setattr(tiles, "CACHE", 1)
        monkeypatch.setattr(tiles, "WHOLE", 1)
        generator = build(name).eval()
        image = torch.rand(1, 3, 72, 40)
        made = []
        monkeypatch.setattr(
            maps.mmap, "mmap", lambda *args, made=made, real=maps.mmap.mmap: made.append(1) or real(*args)
        )
        with torch.inference_mode():
            expected = generator(image)
            assert not made
            with maps.bounded(memory=1e-6, folder=tmp_path):
                output = generator(image)
        assert len(made) > 4
        assert torch.equal(output, expected)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_weights_of_any_precision(self, name, dtype):
        exact = build(name).double()
        image = torch.rand(1, 3, 32, 32).double()
        generator = build(name).to(dtype)
        output = generator(image.to(dtype))
        assert output.dtype == dtype
        assert {parameter.dtype for parameter in generator.parameters()} == {dtype}
        error = (output.double() - exact(image)).norm() / (exact(image) - image).norm()
        assert error < {torch.bfloat16: 0.1, torch.float16: 0.02, torch.float64: 1e-9}[dtype]

    def test_checkpointing_keeps_less_and_changes_nothing(self, name):
        image = torch.rand(1, 3, 64, 64)
        gradients, kept = [], []
        for checkpointed in (False, True):
            generator = build(name)
            generator.checkpoint_blocks(checkpointed)

            def step(generator=generator):
                output = generator(image)
                output.square().mean().backward()
                return output

            kept.append(kept_bytes(step))
            gradients.append({key: p.grad for key, p in generator.named_parameters() if p.requires_grad})
        assert kept[1] < 0.5 * kept[0]
        for key, gradient in gradients[0].items():
            assert torch.allclose(gradient, gradients[1][key], rtol=1e-4, atol=1e-7), key

    def test_it_can_be_built_without_memory(self, name):
        with torch.device("meta"):
            generator = getattr(generators, name)(**SMALL[name])
        assert all(parameter.is_meta for parameter in generator.parameters())
        generator = generator.to_empty(device="cpu")
        generator.load_state_dict(build(name).state_dict())
        image = torch.rand(1, 3, 16, 16)
        assert torch.equal(generator(image), build(name)(image))

    def test_export_with_free_sizes(self, name):
        generator = build(name).eval()
        stride = generator.stride
        rows, columns = (stride * torch.export.Dim(axis, min=2, max=64) for axis in ("rows", "columns"))
        program = torch.export.export(
            generator, (torch.rand(1, 3, 4 * stride, 6 * stride),), dynamic_shapes=({2: rows, 3: columns},)
        )
        image = torch.rand(1, 3, 7 * stride, 5 * stride)
        assert torch.allclose(program.module()(image), generator(image), atol=1e-5)

    def test_memory_format_changes_nothing(self, name):
        generator = build(name)
        image = torch.rand(2, 3, 32, 32)
        expected = generator(image)
        generator = generator.to(memory_format=torch.channels_last)
        assert torch.allclose(generator(image.to(memory_format=torch.channels_last)), expected, atol=1e-5)

    @pytest.mark.slow
    def test_compiled_without_breaks_at_any_size(self, name):
        """In a process without the type checks of the tests, through which nothing can be compiled."""
        code = f"""
import torch
from hdr_lightning import generators
torch.manual_seed(0)
generator = generators.{name}(**{SMALL[name]}).eval()
compiled = torch.compile(generator, fullgraph=True, dynamic=True)
for size in ((32, 48), (64, 32)):
    image = torch.rand(1, 3, *size)
    assert torch.allclose(compiled(image), generator(image), atol=1e-4), size
"""
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=600)


def test_no_room_for_files_is_told(monkeypatch):
    with pytest.raises(InputError, match="above 0 GB"), maps.bounded(0):
        pass
    monkeypatch.setattr(maps.tempfile, "TemporaryFile", _full)
    with (
        torch.inference_mode(),
        maps.bounded(1e-9),
        pytest.raises(InputError, match=r"no room for 0\.0 GB .* \(full\)"),
    ):
        maps.empty_map(torch.zeros(1), 1000)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room for a file")
def test_a_full_disk_is_told_before_it_is_written_to(tmp_path, monkeypatch):
    """Written to through memory, it would end the process."""

    def reserve(file, start, size):
        assert (start, size) == (0, 4000)
        raise OSError(28, "full")

    monkeypatch.setattr(maps.os, "posix_fallocate", reserve)
    with pytest.raises(InputError, match=r"\(full\): set TMPDIR"), maps.bounded(1e-9, folder=tmp_path):
        maps.empty_map(torch.zeros(1), 1000)


def _full(**_):
    raise OSError(28, "full")


def test_wrong_levels_are_refused():
    with pytest.raises(InputError, match="4 levels down .* and 3 up"):
        NAFNet(decoder_blocks=(1, 1, 1))
    with pytest.raises(InputError, match="4 levels; num_blocks gives 2"):
        Restormer(num_blocks=(1, 1))
    with pytest.raises(InputError, match="level 2 of Restormer has 20 channels, which 8 heads do not divide"):
        Restormer(dim=10, heads=(1, 8, 4, 8))


def test_sums_over_a_large_picture_keep_their_size_in_half_precision():
    """As float64 has them: float16 ends at 65504, and a running sum in bfloat16 stands still at 256 equal tiles."""
    q, k = torch.rand(2, 1, 8, 192, 192, generator=torch.Generator().manual_seed(0)) * 4
    exact = gram(q.double(), k.double(), 2)
    for dtype in (torch.float16, torch.bfloat16):
        for sums, expected in zip(gram(q.to(dtype), k.to(dtype), 2), exact, strict=True):
            assert sums.dtype == torch.float32
            torch.testing.assert_close(sums.double(), expected, rtol=0.01, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_after_training_flat_photos_stay_flat_and_noise_stays_bounded(name, demo):
    """What users of other restorers meet as coloured blocks and white squares."""
    pairs = [(to_tensor(read_photo(p.source).pixels), to_tensor(read_photo(p.target).pixels)) for p in read_pairs(demo)]
    source, target = (torch.stack(pictures) for pictures in zip(*pairs, strict=True))
    torch.manual_seed(0)
    generator = getattr(generators, name)(**SMALL[name])
    optimizer = torch.optim.AdamW(generator.parameters(), lr=2e-3)
    for step in range(150):
        rows = torch.arange(4 * step, 4 * step + 4) % len(source)
        optimizer.zero_grad()
        (edit(generator, source[rows]) - target[rows]).abs().mean().backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        optimizer.step()
    generator.eval()
    with torch.inference_mode():
        assert (edit(generator, source) - target).abs().mean() < 0.3 * (source - target).abs().mean()  # it did train
        for value in (0.0, 0.25, 0.5, 0.75, 1.0):
            output = edit(generator, torch.full((1, 3, 96, 128), value))[0]
            means = output.mean((1, 2))
            assert output.min() > -0.25 and output.max() < 1.4, value
            assert output[:, 16:-16, 16:-16].std((1, 2)).max() < 0.1, value  # zero padding shows at the border
            assert (means - means.mean()).abs().max() < 0.15, value
        noise = edit(generator, torch.rand(1, 3, 96, 128))
        assert noise.min() > -0.6 and noise.max() < 1.6
