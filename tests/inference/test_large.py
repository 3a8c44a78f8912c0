import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from conftest import smooth
from torch._subclasses.fake_tensor import FakeTensor

from hdr_lightning.errors import InputError
from hdr_lightning.generators import (
    DarkIR,
    FeatureGuided,
    Generator,
    NAFNet,
    Restormer,
    RetinexFormer,
    ZeroConvCopy,
    edit,
)
from hdr_lightning.generators import tiles as in_tiles
from hdr_lightning.inference import large
from hdr_lightning.inference.free import free_memory, left_of_limits
from hdr_lightning.inference.large import edit_large
from hdr_lightning.inference.need import need
from hdr_lightning.inference.settings import Editing
from hdr_lightning.inference.ways import ways
from hdr_lightning.ledger import WEIGHTS, AsOnGPU, Ledger

CPU = torch.device("cpu")

BUILD = {
    "NAFNet": lambda: NAFNet(8, (1, 1), 1, (1, 1)),
    "Restormer": lambda: Restormer(dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1),
    "DarkIR": lambda: DarkIR(8, (1, 1), 1, 1, (1, 1)),
    "RetinexFormer": lambda: RetinexFormer(8, num_blocks=(1, 1, 1)),
}


@cache
def build(name="NAFNet"):
    """A generator, for all tests, as what passes need is counted once for each."""
    torch.manual_seed(0)
    generator = BUILD[name]()
    with torch.no_grad():
        for parameter in generator.parameters():  # published starts hide half of a net behind zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator.eval()


class Stranger(Generator):
    """A generator without parameters or blocks, as one of another runtime is."""

    stride = 4

    def forward(self, image):
        assert image.shape[-2] % 4 == image.shape[-1] % 4 == 0
        return image.sqrt()


class Greedy(NAFNet):
    """A generator for which the memory never suffices beyond a size."""

    most = 0

    def forward(self, image):
        if image.shape[-1] > self.most and not isinstance(image, FakeTensor):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(image)


@pytest.fixture
def small_tiles(monkeypatch):
    """Strips of a few pixels."""
    monkeypatch.setattr(large, "CACHE", 4096)


@pytest.mark.parametrize("name", BUILD)
def test_strips_are_the_whole(name, small_tiles):
    generator, image = build(name), smooth(0, (76, 100))
    whole, strips = (edit_large(generator, image, CPU, Editing(method)) for method in ("whole", "strips"))
    assert (whole.method, strips.method) == ("whole", "strips")
    with torch.enable_grad():
        exact = edit(generator, image).detach()  # as in training
    assert torch.equal(whole.image, exact)
    assert 0 < (strips.image - exact).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["NAFNet", "RetinexFormer"])
def test_tiles_that_share_their_statistics_are_nearly_the_whole(name, monkeypatch):
    generator, image = build(name), smooth(1, (200, 300)) * torch.linspace(0.1, 1, 300)  # tiles differ in brightness
    whole = edit_large(generator, image, CPU, Editing("whole")).image
    editing = Editing("tiles", tile=96, overlap=48)
    shared = edit_large(generator, image, CPU, editing)
    monkeypatch.setattr(large, "_shared_statistics", lambda *_: None)
    alone = edit_large(generator, image, CPU, editing)
    assert shared.tile == alone.tile == 96
    assert shared.seam < 0.2 * alone.seam
    assert (shared.image - whole).abs().mean() < 0.4 * (alone.image - whole).abs().mean()


def test_a_long_and_narrow_photo_shares_its_statistics_too():
    generator, image = build(), smooth(1, (44, 500)) * torch.linspace(0.1, 1, 500)
    whole = edit_large(generator, image, CPU, Editing("whole")).image
    tiled = edit_large(generator, image, CPU, Editing("tiles", tile=192, overlap=96)).image
    assert (tiled - whole).abs().max() < 0.01


def test_a_photo_smaller_than_a_tile_is_the_whole(small_tiles):
    generator, image = build(), smooth(2, (20, 28))
    passed = edit_large(generator, image, CPU, Editing("tiles", tile=96, overlap=16))
    assert (passed.image - edit_large(generator, image, CPU, Editing("whole")).image).abs().max() < 1e-5
    assert passed.seam == 0


def test_a_network_of_another_runtime_passes_in_tiles():
    image = smooth(3, (61, 90)).clamp(0.01, 1)
    for editing in (Editing(), Editing("whole"), Editing("tiles", tile=32, overlap=8)):
        assert torch.equal(edit_large(Stranger(), image, CPU, editing).image, image.sqrt())
    assert [way.method for way in ways(Stranger(), 2000, 3000, CPU, Editing())] == ["tiles"]
    with pytest.raises(InputError, match="Stranger is not made of blocks .* --method whole or tiles"):
        edit_large(Stranger(), image, CPU, Editing("strips"))


def test_features_of_the_source_are_those_of_the_whole():
    generator = FeatureGuided(NAFNet(8, (1, 1), 1, (1, 1), in_channels=6)).eval()
    image = smooth(4, (64, 96))
    tiled = edit_large(generator, image, CPU, Editing("tiles", tile=48, overlap=24)).image
    assert (tiled - edit_large(generator, image, CPU, Editing("whole")).image).abs().max() < 0.02


class TestChoice:
    def choose(self, generator, memory, size=(1000, 1500), method="auto", **editing):
        return next(ways(generator, *size, CPU, Editing(method, memory=memory, **editing)))

    def test_strips_come_first_on_a_cpu_and_use_files_where_memory_ends(self):
        generator = build()
        assert self.choose(generator, 8.0) == ("strips", 0, None)
        assert self.choose(generator, 0.1) == ("strips", 0, 0.1)
        assert self.choose(generator, 0.1, method="strips") == ("strips", 0, 0.1)

    def test_what_strips_do_not_bound_goes_to_tiles(self):
        generator = build("DarkIR")
        assert self.choose(generator, 8.0).method == "strips"
        way = self.choose(generator, 0.1)
        assert way.method == "tiles"
        assert 128 < way.tile < 1000
        with pytest.raises(InputError, match="in strips of 1500 x 1000 .* needs .* 0.1 GB are free: .* tiles"):
            self.choose(generator, 0.1, method="strips")
        assert not generator.runs_in_strips
        assert not ZeroConvCopy(BUILD["NAFNet"](), ["encoders.0"]).runs_in_strips
        assert NAFNet(8, local_window=64).runs_in_strips is False
        assert ZeroConvCopy(BUILD["NAFNet"]()).runs_in_strips is build("Restormer").runs_in_strips is True

    def test_a_whole_that_does_not_fit_is_refused_with_both_figures(self):
        with pytest.raises(InputError, match=r"whole of 1500 x 1000 .* needs \d\.\d GB with NAFNet on cpu, 0\.1 GB"):
            self.choose(build(), 0.1, method="whole")
        assert self.choose(build(), 4.0, method="whole").method == "whole"

    def test_more_memory_makes_larger_tiles(self):
        sides = [self.choose(build(), memory, method="tiles").tile for memory in (0.02, 0.05, 100.0)]
        assert sides == sorted(sides)
        assert sides[0] < sides[1]
        assert sides[-1] == 1024  # larger ones are no faster
        with pytest.raises(InputError, match="not even tiles of 192 pixels fit"):
            self.choose(build(), 0.002, method="tiles")

    def test_tiles_are_larger_than_their_overlap(self):
        assert self.choose(build(), 1.0, method="tiles", tile=99).tile == 100
        with pytest.raises(InputError, match="larger than their overlap of 64 pixels, got 60"):
            self.choose(build(), 1.0, method="tiles", tile=60)


def test_out_of_memory_goes_on_in_less_and_says_so(capsys):
    torch.manual_seed(0)
    generator = Greedy(8, (1, 1), 1, (1, 1)).eval()
    generator.most = 400
    image = smooth(5, (300, 512))
    passed = edit_large(generator, image, CPU, Editing())
    assert (passed.method, passed.tile) == ("tiles", 256)
    said = capsys.readouterr().out
    assert "512 x 300 pixels (strips) do not fit the memory of cpu" in said
    assert "(tiles of 1024)" in said and "(tiles of 512)" in said
    with pytest.raises(InputError, match=r"pixels \(whole\) do not fit the memory of cpu with Greedy"):
        edit_large(generator, image, CPU, Editing("whole"))
    generator.most = 100
    with pytest.raises(InputError, match="do not fit the memory"):
        edit_large(generator, image, CPU, Editing())


def test_threads_do_not_share_what_they_do():
    generator, images = build(), [smooth(seed, (96, 128)) for seed in range(6)]
    edits = [Editing("tiles", tile=48, overlap=16), Editing("whole"), Editing("strips")]
    jobs = [(image, editing) for image in images for editing in edits]
    expected = [edit_large(generator, *job[:1], CPU, job[1]).image for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: edit_large(generator, job[0], CPU, job[1]).image, jobs))
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))


class TestNeed:
    @pytest.mark.parametrize(("name", "kind"), [("NAFNet", "whole"), ("NAFNet", "strips"), ("DarkIR", "whole")])
    def test_what_is_foretold_is_what_a_pass_occupies(self, name, kind, monkeypatch):
        """Counted on real tensors, of a size that was not measured."""
        generator, image = build(name), torch.rand(1, 3, 512, 640)
        ledger = Ledger()
        for tensor in (image, *generator.parameters(), *generator.buffers()):
            ledger.count(tensor, WEIGHTS)
        ledger.kind = "pass"
        with torch.inference_mode(), in_tiles.strips({"whole": torch.inf, "strips": in_tiles.CACHE}[kind]), ledger:
            generator(image)
        real = ledger.peaks["pass"]["pass"]
        foretold = need(generator, kind, CPU)
        foretold = foretold.pixel * 512 * 640 + foretold.fixed
        assert 0.95 * real < foretold < (1.05 if kind == "whole" else 1.5) * real + image.nbytes

    def test_it_is_counted_once_and_touches_nothing(self, monkeypatch):
        generator = build()
        before = {name: value.clone() for name, value in generator.state_dict().items()}
        first = need(generator, "whole", CPU)
        monkeypatch.setattr("hdr_lightning.inference.need._count", None)
        assert need(generator, "whole", CPU) is first
        assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
        assert first.pixels(first.of(10**6)) == pytest.approx(10**6)

    def test_strips_bound_the_widest_features_on_a_gpu_too(self):
        """The ways of a GPU, of tensors that say that they are none of a CPU's."""
        generator, image = build("RetinexFormer"), torch.rand(1, 3, 192, 192)
        peaks, results = [], []
        for size in (torch.inf, 2**20):
            ledger = Ledger()
            with torch.inference_mode(), in_tiles.strips(size), ledger, AsOnGPU():
                results.append(generator(image))
            peaks.append(ledger.peaks[WEIGHTS][WEIGHTS])
        assert peaks[1] < 0.6 * peaks[0]
        assert (results[0] - results[1]).abs().max() < 1e-4

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["whole", "strips", "tiles"])
    def test_a_process_grows_by_what_is_foretold(self, method):
        code = f"""
import resource, torch
from hdr_lightning.generators import NAFNet
from hdr_lightning.inference.large import edit_large
from hdr_lightning.inference.need import need
from hdr_lightning.inference.settings import Editing
generator, device = NAFNet(32, (1, 1), 1, (1, 1)).eval(), torch.device("cpu")
kind = "whole" if {method!r} == "whole" else "strips"
pixels = 2048 * 2048 if {method!r} != "tiles" else 1024 * 1024
foretold = need(generator, kind, device).of(pixels) + (0 if {method!r} != "tiles" else 5 * 12 * 2048 * 2048)
edit_large(generator, torch.rand(1, 3, 64, 64), device, Editing({method!r}))
image = torch.rand(1, 3, 2048, 2048)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
edit_large(generator, image, device, Editing({method!r}))
grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(grown, foretold)
assert 0.6 * foretold < grown < 1.1 * foretold, (grown, foretold)
"""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)


class TestFreeMemory:
    def write(self, folder, **files):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(str(content))

    def test_there_is_some(self):
        psutil = pytest.importorskip("psutil")
        assert 0 < free_memory(CPU) <= psutil.virtual_memory().available * 1.05

    def test_limits_of_control_groups_of_version_2(self, tmp_path):
        """The least of what the job, its step and all above leave; what files occupy can be given up."""
        self.write(tmp_path / "proc" / "self", cgroup="0::/slurm/job/step\n")
        top = tmp_path / "sys" / "fs" / "cgroup"
        self.write(
            top / "slurm" / "job" / "step", memory__max="max\n", memory__current="100\n", memory__stat="anon 1\n"
        )
        self.write(
            top / "slurm" / "job", memory__max="1000\n", memory__current="700\n", memory__stat="inactive_file 200\n"
        )
        self.write(top / "slurm", memory__max="5000\n", memory__current="800\n", memory__stat="inactive_file 0\n")
        assert list(left_of_limits(tmp_path)) == [500, 4200]

    def test_limits_of_control_groups_of_version_1(self, tmp_path):
        self.write(tmp_path / "proc" / "self", cgroup="9:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n")
        top = tmp_path / "sys" / "fs" / "cgroup" / "memory"  # a container sees its own group as the topmost
        self.write(
            top, memory__limit_in_bytes="3000", memory__usage_in_bytes="1000", memory__stat="total_inactive_file 50\n"
        )
        assert list(left_of_limits(tmp_path)) == [2050]

    def test_without_limits_there_are_none(self, tmp_path):
        assert list(left_of_limits(tmp_path)) == []
