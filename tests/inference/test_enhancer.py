"""`Enhancer` and `load`: what Python programs enhance with."""

from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from conftest import smooth
from PIL import ExifTags, Image, ImageOps
from torch.nn import functional as F

import hdr_lightning
from hdr_lightning.data.files import read_photo, to_pixels, to_tensor
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator, NAFNet
from hdr_lightning.image.color import luminance
from hdr_lightning.inference import Editing, Enhancer
from hdr_lightning.inference.enhancer import find_ensemble
from hdr_lightning.inference.finishing import HALO

CPU = torch.device("cpu")


class Brighter(Generator):
    """A network that treats every direction alike."""

    def __init__(self, gain=1.2, stride=1):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.stride = stride

    def forward(self, image):
        assert all(length % self.stride == 0 for length in image.shape[-2:])
        around = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return self.gain * (2 * image - around)


class Leaning(Generator):
    """A network that looks to the left."""

    def forward(self, image):
        return 0.5 * image + 0.5 * F.pad(image, (1, 0, 0, 0), mode="replicate")[..., :-1]


def nafnet(seed, stride_blocks=1):
    torch.manual_seed(seed)
    network = NAFNet(width=4, encoder_blocks=[1] * stride_blocks, middle_blocks=1, decoder_blocks=[1] * stride_blocks)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return network


def enhancer(*models, **options):
    return Enhancer(models or [nafnet(0)], CPU, Editing(**options))


@pytest.fixture
def image():
    return smooth(0, (40, 52))[0]


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return hdr_lightning.load(checkpoint, device="cpu")


class TestOptions:
    def test_turns_of_a_network_without_a_direction_change_nothing(self, image):
        plain, averaged = (enhancer(Brighter(), tta=tta).edit(image) for tta in (False, True))
        torch.testing.assert_close(averaged.image, plain.image)
        assert (len(plain.passes), len(averaged.passes)) == (1, 8)

    @pytest.mark.parametrize("stride_blocks", [1, 3])
    def test_turned_photos_give_turned_results(self, image, stride_blocks):
        """Also where photos are padded, on two sides, to what the network wants."""
        averaging = enhancer(nafnet(0, stride_blocks), Leaning(), tta=True)
        result = averaging.edit(image[:, :37]).image
        for turn in (lambda x: x.flip(-1), lambda x: torch.rot90(x, 1, (-2, -1)), lambda x: x.transpose(-2, -1)):
            torch.testing.assert_close(averaging.edit(turn(image[:, :37])).image, turn(result))
        plain = enhancer(nafnet(0, stride_blocks), Leaning())
        assert (plain.edit(image.flip(-1)).image - plain.edit(image).image.flip(-1)).abs().max() > 1e-3

    def test_an_ensemble_is_the_mean_whatever_the_strides(self, image):
        models = [nafnet(1), nafnet(2, 3), Leaning()]
        image = image * 0.1 + 0.45  # nothing is clamped
        mean = torch.stack([enhancer(model, guard=False).edit(image).image for model in models]).mean(dim=0)
        torch.testing.assert_close(enhancer(*models, guard=False).edit(image).image, mean)

    def test_strength_blends_with_the_source(self, image):
        image = image * 0.5 + 0.2
        result = enhancer(Brighter()).edit(image).image
        torch.testing.assert_close(enhancer(Brighter(), strength=0.0).edit(image).image, image)
        halfway = enhancer(Brighter(), strength=0.5).edit(image).image
        torch.testing.assert_close(halfway, (image + result) / 2)

    def test_sharpening_steepens_edges_without_seams(self):
        edge = torch.sigmoid(torch.arange(60.0) - 30).expand(3, 40, 60) * 0.6 + 0.2
        plain, sharp = (enhancer(Brighter(1.0), sharpen=amount).edit(edge).image for amount in (0.0, 1.0))
        assert sharp.diff(dim=-1).max() > 1.15 * plain.diff(dim=-1).max()
        assert sharp.max() <= plain.max() + HALO + 1e-6
        assert sharp.min() >= plain.min() - HALO - 1e-6
        torch.testing.assert_close(sharp[..., :10], plain[..., :10], rtol=0, atol=1e-3)

    def test_sharpening_moves_the_luminance_alone(self, image):
        image = image * 0.5 + 0.2
        plain, sharp = (enhancer(Brighter(1.0), sharpen=amount).edit(image).image for amount in (0.0, 0.5))
        change = sharp - plain
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(change, luminance(change[None])[0].expand_as(change), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (5, 7)])
    def test_small_photos_pass_everything(self, size):
        image = torch.rand(3, *size)
        result = enhancer(nafnet(0), tta=True, sharpen=0.5, strength=0.7).edit(image).image
        assert result.shape == image.shape

    @pytest.mark.parametrize(
        "options",
        [{"strength": 1.5}, {"sharpen": -1}, {"memory": 0}, {"memory": float("inf")}, {"tile": 0}, {"overlap": -1}],
    )
    def test_values_out_of_range_are_refused(self, options):
        with pytest.raises(InputError, match="expected"):
            Editing(**options)

    def test_no_network_is_refused(self):
        with pytest.raises(InputError, match="expected one network"):
            Enhancer([], CPU)

    def test_half_precision_weights_work(self, image):
        assert enhancer(nafnet(0).bfloat16()).edit(image).image.dtype == torch.float32


def test_a_folder_of_folds_means_the_best_of_each(tmp_path):
    for fold in range(3):
        best = tmp_path / f"fold_{fold}" / "fit_0" / "checkpoints" / "best.ckpt"
        best.parent.mkdir(parents=True)
        best.touch()
    assert [path.parts[-4] for path in find_ensemble(tmp_path)] == ["fold_0", "fold_1", "fold_2"]
    assert find_ensemble([tmp_path / "a.ckpt", tmp_path / "fold_1"])[1].parts[-4] == "fold_1"
    with pytest.raises(InputError, match="names no checkpoint"):
        find_ensemble([])


class TestKinds:
    """A path, a Pillow image, an array, a tensor: the same kind comes back, and all hold the same picture."""

    def test_a_path_with_an_output_keeps_everything(self, loaded, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 65536, (24, 32, 3), np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
        assert loaded(tmp_path / "a.tif", output=tmp_path / "b" / "c.tif") == tmp_path / "b" / "c.tif"
        expected = to_pixels(loaded.edit(to_tensor(pixels)).image, np.uint16)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "b" / "c.tif"), expected)
        with pytest.raises(InputError, match="give an output"):
            loaded(str(tmp_path / "a.tif"))
        with pytest.raises(InputError, match="ends in .tif"):
            loaded(tmp_path / "a.tif", output=tmp_path / "a.jpg")
        with pytest.raises(InputError, match="onto itself"):
            loaded(tmp_path / "a.tif", output=tmp_path / "a.tif")

    def test_a_path_alone_gives_an_upright_image(self, loaded, photo):
        tags = Image.Exif()
        tags[ExifTags.Base.Orientation], tags[ExifTags.Base.Model] = 6, "Pinhole"
        path = photo("a.jpg", 24, 32, exif=tags)
        result = loaded(path)
        assert result.size == (24, 32)
        assert result.getexif()[ExifTags.Base.Model] == "Pinhole"
        assert result.getexif().get(ExifTags.Base.Orientation, 1) == 1
        np.testing.assert_array_equal(np.asarray(result), loaded(read_photo(path).pixels))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_an_image_is_edited_as_it_stands_and_lies_as_it_lay(self, photo, orientation):
        tags = Image.Exif()
        tags[ExifTags.Base.Orientation] = orientation
        leaning = enhancer(Leaning(), guard=False)
        with Image.open(photo("a.png", exif=tags)) as image:
            result = leaning(image)
            upright = np.asarray(ImageOps.exif_transpose(image))
        assert (result.mode, result.size) == (image.mode, image.size)
        assert result.getexif()[ExifTags.Base.Orientation] == orientation
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(result)), leaning(upright))

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
    def test_modes_alpha_and_profile_of_an_image_are_kept(self, loaded, photo, mode):
        with Image.open(photo()) as opened:
            image = opened.convert(mode)
        if "A" in mode:
            image.putalpha(Image.fromarray(np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)))
        image.info["icc_profile"] = imagecodecs.cms_profile("srgb")
        result = loaded(image)
        assert (result.mode, result.size) == (mode, image.size)
        assert result.info["icc_profile"] == image.info["icc_profile"]
        if "A" in mode:
            np.testing.assert_array_equal(np.asarray(result)[..., -1], np.asarray(image)[..., -1])
        assert (np.asarray(result)[..., 0] != np.asarray(image)[..., 0]).any()

    def test_colours_of_an_image_pass_through_its_profile(self, photo):
        """As those of a file with it: the network sees sRGB."""
        with Image.open(photo(seed=3)) as opened:
            image = Image.fromarray(np.asarray(opened) // 8 + 100)
        image.info["icc_profile"] = imagecodecs.cms_profile("adobergb")
        same = np.asarray(enhancer(Leaning(), strength=0.0)(image)).astype(int)
        assert np.abs(same - np.asarray(image)).max() <= 2  # two roundings
        image.save(path := photo().with_name("b.png"), icc_profile=image.info["icc_profile"])
        with Image.open(path) as opened:
            np.testing.assert_array_equal(
                np.asarray(enhancer(Leaning())(opened)), np.asarray(enhancer(Leaning())(path))
            )

    def test_arrays_keep_shape_and_type(self, loaded):
        picture = smooth(1, (24, 32))[0].permute(1, 2, 0).numpy()
        for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (np.float16, 1), (np.float32, 1), (np.float64, 1)):
            array = (picture * white).round().astype(dtype) if white > 1 else picture.astype(dtype)
            for given in (array, np.ascontiguousarray(array[..., 0]), array[::-1, ::2]):
                result = loaded(given)
                assert (result.shape, result.dtype) == (given.shape, given.dtype)
        expected = loaded.edit(torch.from_numpy(picture).permute(2, 0, 1)).image.permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(loaded(picture), expected)

    def test_grey_arrays_are_grey_pictures(self):
        grey = smooth(2, (24, 32))[0, 0].numpy()
        result = enhancer(Brighter(1.0), strength=0.0)(grey)
        np.testing.assert_allclose(result, grey, atol=1e-6)

    def test_tensors_keep_shape_and_type(self, loaded):
        batch = smooth(3, (24, 32), number=2)
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            result = loaded(batch.to(dtype))
            assert (result.shape, result.dtype, result.device) == (batch.shape, dtype, batch.device)
        result = loaded(batch.clone().requires_grad_())
        assert torch.equal(result[1], loaded(batch[1]))
        (result * torch.ones(1, requires_grad=True)).sum().backward()  # an ordinary tensor, that others may train with

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (3, "expected a path, a Pillow image, an array or a tensor, got int"),
            (np.zeros((4, 4, 3), np.int64), "expected an array of uint8, uint16, or floating point"),
            (np.zeros((4, 4, 4), np.uint8), r"expected \(height, width, 3\)"),
            (np.zeros((0, 4, 3), np.uint8), "1 x 1 pixels or more"),
            (np.full((4, 4, 3), 200.0), "divide it by its white"),
            (np.full((4, 4, 3), np.nan), "divide it by its white"),
            (torch.zeros(3, 4, 4, dtype=torch.uint8), "expected a tensor of floating point"),
            (torch.zeros(4, 4, 3), r"expected \(3, height, width\)"),
            (torch.zeros(0, 3, 4, 4), r"expected \(3, height, width\)"),
            (torch.full((3, 4, 4), -0.5), "divide it by its white"),
            (Image.new("P", (4, 4)), "convert it to RGB"),
            ("none.jpg", "none.jpg"),
        ],
    )
    def test_everything_else_is_refused(self, loaded, given, message):
        with pytest.raises(InputError, match=message):
            loaded(given)

    def test_an_output_is_for_paths(self, loaded):
        with pytest.raises(InputError, match="output is for paths"):
            loaded(np.zeros((4, 4, 3)), output="a.png")


def test_threads_may_share_one(loaded):
    pictures = [smooth(seed, (40, 52))[0] for seed in range(16)]
    alone = [loaded(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        for together, expected in zip(threads.map(loaded, pictures * 2), alone * 2, strict=True):
            assert torch.equal(together, expected)
