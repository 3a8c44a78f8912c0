"""Every export does what the original does, says how it is used, and cannot run code when it is read."""

import io
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import safetensors
import torch
from conftest import smooth

from hdr_lightning.cli import main
from hdr_lightning.errors import InputError
from hdr_lightning.exports import check, hub
from hdr_lightning.exports.graph import AnySize
from hdr_lightning.exports.reading import load_model
from hdr_lightning.generators import NAFNet, edit
from hdr_lightning.generators.loading import load_generator
from hdr_lightning.inference import load

FORMATS = ("safetensors", "torch", "onnx", "int8", "hub")
FILES = {
    "safetensors": "model.safetensors",
    "torch": "model.pt2",
    "onnx": "model.onnx",
    "int8": "model_int8.onnx",
    "hub": "hub",
}
SIZES = [(1, 1), (1, 5), (7, 4), (33, 50)]


def export(checkpoint, output, *words):
    return main(["export", str(checkpoint), f"--output={output}", *words])


@pytest.fixture(scope="module")
def exported(checkpoint, demo, tmp_path_factory):
    """A folder with the tiny run in every format."""
    pytest.importorskip("onnxscript")
    return export(
        checkpoint,
        tmp_path_factory.mktemp("exports") / "all",
        f"--formats=[{','.join(FORMATS)}]",
        f"--photos={demo}",
        f"--calibration={demo}",
        "--calibration_number=4",
        "--number=1",
        "--weights_license=cc-by-4.0",
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_comes_back_as_a_generator_that_does_the_same(kind, exported, checkpoint):
    original, again = load_generator(checkpoint), load_model(exported / FILES[kind])
    assert not again.training
    for size in SIZES:
        image = smooth(3, (64, 64))[..., : size[0], : size[1]]
        with torch.inference_mode():
            difference = (edit(again, image) - edit(original, image)).abs()
        assert difference.max() < (0.05 if kind == "int8" else 1e-5), size
        assert kind != "int8" or difference.max() > 0


@pytest.mark.parametrize("kind", FORMATS)
def test_what_enhances_photos_takes_every_format(kind, exported, checkpoint):
    image = smooth(4)[0]
    expected = load(checkpoint, device="cpu").edit(image).image
    result = load(exported / FILES[kind], device="cpu").edit(image).image
    assert (result - expected).abs().max() < (0.05 if kind == "int8" else 1e-5)


def test_no_path_of_this_machine_is_in_a_file(exported, checkpoint):
    import hdr_lightning

    places = [str(path).encode() for path in (checkpoint.parents[2], hdr_lightning.__path__[0], torch.__path__[0])]
    for file in exported.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not any(place in content for place in places), file


def test_onnx_alone_takes_any_size_and_gives_a_picture_in_range(exported, checkpoint):
    """As a colleague without this package uses it."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["hdr_lightning"])
    assert facts["stride"] == 2 and "RGB" in facts["preprocessing"] and facts["license"] == "cc-by-4.0"
    assert facts["training"]["epoch"] == 0 and "val/psnr" in facts["training"]
    image = np.float32(np.random.default_rng(0).uniform(-0.5, 1.5, (1, 3, 13, 22)))
    enhanced, unclamped = session.run(None, {"photo": image})
    np.testing.assert_array_equal(enhanced, unclamped.clip(0, 1))
    with torch.inference_mode():
        expected = edit(load_generator(checkpoint), torch.from_numpy(image))
    np.testing.assert_allclose(unclamped, expected.numpy(), atol=1e-5)


def test_pt2_alone_takes_any_size(exported, checkpoint):
    module = torch.export.load(exported / "model.pt2").module()
    image = torch.rand(1, 3, 9, 14)
    with torch.inference_mode():
        assert torch.allclose(module(image)[0], edit(load_generator(checkpoint), image).clamp(0, 1), atol=1e-5)


def test_safetensors_say_what_they_are(exported, checkpoint):
    with safetensors.safe_open(exported / "model.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["hdr_lightning"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    assert facts == json.loads((exported / "model.json").read_text())
    assert facts == json.loads((exported / "hub" / "config.json").read_text())
    assert facts["generator"]["class_path"] == "hdr_lightning.generators.NAFNet"
    original = load_generator(checkpoint).state_dict()
    assert weights.keys() == original.keys()
    assert all(torch.equal(weights[name], value) for name, value in original.items())


def test_spandrel_loads_the_weights(tmp_path):
    spandrel = pytest.importorskip("spandrel")
    from hdr_lightning.exports.facts import Facts
    from hdr_lightning.exports.weights import write_weights

    torch.manual_seed(0)
    generator = NAFNet(width=8, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1)).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    write_weights(generator, Facts({"class_path": "NAFNet"}, 4, 3), tmp_path / "model.safetensors")
    theirs = spandrel.ModelLoader().load_from_file(tmp_path / "model.safetensors").eval()
    image = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.allclose(theirs.model(image), generator(image), atol=1e-5)


def test_the_card_of_the_hub_has_a_head_that_is_yaml(exported):
    import yaml

    card = (exported / "hub" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["pipeline_tag"] == "image-to-image"
    assert "val/psnr" in card and "NAFNet" in card


class FakeHub:
    """Stands in for the hub, and keeps what comes."""

    calls = ()

    def create_repo(self, repository, private, exist_ok):
        FakeHub.calls += ((repository, private),)

    def upload_folder(self, repo_id, folder_path, commit_message):
        FakeHub.calls += (sorted(path.name for path in folder_path.iterdir()),)
        return f"https://hub/{repo_id}"


def test_a_push_uploads_the_hub_folder_only_when_asked(exported, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    assert hub.push_folder(exported / "hub", "me/rooms") == "https://hub/me/rooms"
    assert FakeHub.calls == (("me/rooms", True), ["README.md", "config.json", "model.safetensors"])


def test_padding_in_the_graph_is_that_of_edit():
    from hdr_lightning.generators import Generator

    class Place(Generator):
        """Shows what it was given: the mean of all, so that padding counts."""

        stride = 8

        def forward(self, image):
            return image + image.mean(dim=(2, 3), keepdim=True) + image.amax(dim=3, keepdim=True)

    for height in range(1, 20):
        for width in (1, 3, 5, 8, 9, 17):
            image = torch.rand(1, 3, height, width)
            expected = edit(Place().eval(), image)
            assert torch.allclose(AnySize(Place().eval())(image)[1], expected, atol=1e-6), (height, width)


class TestRefused:
    def test_an_export_that_differs_leaves_nothing(self, checkpoint, demo, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(check, "TOLERANCES", {"safetensors": -1.0})
        with pytest.raises(SystemExit) as leave:
            export(checkpoint, tmp_path / "out", f"--photos={demo}", "--number=1")
        assert leave.value.code == 1
        assert (
            "model.safetensors: the largest difference to the original is 0, its tolerance -1"
            in capsys.readouterr().err
        )
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--formats=[]"], "expected formats, each once"),
            (["--push=me/rooms"], "add hub to --formats"),
            (["--number=0"], "1 photo or more"),
            (["--formats=[tflite]"], "tflite"),
            (["--photos=nowhere.jsonl"], "nowhere.jsonl"),
        ],
    )
    def test_what_cannot_be_done(self, words, message, checkpoint, tmp_path, capsys):
        with pytest.raises(SystemExit) as leave:
            export(checkpoint, tmp_path / "out", *words)
        assert leave.value.code == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    def test_a_push_without_its_extra_before_anything_is_made(self, checkpoint, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(hub, "find_spec", lambda name: None)
        with pytest.raises(SystemExit) as leave:
            export(checkpoint, tmp_path / "out", "--formats=[hub]", "--push=me/rooms")
        assert leave.value.code == 2
        assert "pip install 'hdr-lightning[hub]'" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_is_there(self, checkpoint, tmp_path, capsys):
        with pytest.raises(SystemExit):
            export(checkpoint, tmp_path)
        assert "exists: choose another --output" in capsys.readouterr().err

    def test_a_missing_extra(self, checkpoint, demo, tmp_path, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(SystemExit):
            export(checkpoint, tmp_path / "out", "--formats=[onnx]", f"--photos={demo}")
        assert "pip install 'hdr-lightning[onnx]'" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("kind", ["safetensors", "torch", "onnx"])
    @pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut"])
    def test_damaged_and_foreign_files(self, kind, damage, exported, tmp_path):
        path = tmp_path / FILES[kind]
        whole = (exported / FILES[kind]).read_bytes()
        content = {"empty": b"", "text": b"no network\n" * 40, "cut": whole[: len(whole) // 2]}.get(damage)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=str(path)):
            load_model(path)

    def test_safetensors_of_others(self, tmp_path):
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match="does not say of which network"):
            load_model(tmp_path / "model.safetensors")

    def test_onnx_of_others(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
        for operator, domain, message in (("Abs", "", "was not written by"), ("Run", "evil", "not standard")):
            node = onnx.helper.make_node(operator, ["x"], ["y"], domain=domain)
            graph = onnx.helper.make_graph([node], "g", value[:1], value[1:])
            imports = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("evil", 1)]
            onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=9), tmp_path / "x.onnx")
            with pytest.raises(InputError, match=message):
                load_model(tmp_path / "x.onnx")

    @pytest.mark.parametrize("ends", [("photo", "enhanced", "other"), ("x", "enhanced", "unclamped"), None])
    def test_onnx_that_says_it_is_ours(self, ends, exported, tmp_path):
        """It has other inputs or outputs, or makes another size of a picture."""
        onnx = pytest.importorskip("onnx")
        names, make = ends or ("photo", "enhanced", "unclamped"), onnx.helper
        nodes = [make.make_node("ReduceMean", names[:1], [name]) for name in names[1:]]
        values = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names]
        model = make.make_model(
            make.make_graph(nodes, "g", values[:1], values[1:]),
            opset_imports=[make.make_opsetid("", 20)],
            ir_version=9,
        )
        facts = {each.key: each.value for each in onnx.load(exported / "model.onnx").metadata_props}
        make.set_model_props(model, facts)
        onnx.save(model, tmp_path / "x.onnx")
        with pytest.raises(
            InputError, match="other inputs or outputs" if ends else r"made \(1, 1, 1, 1\) of a picture"
        ):
            edit(load_model(tmp_path / "x.onnx"), smooth(0, (8, 8)))

    def test_an_onnx_of_which_a_name_is_no_text(self, exported, tmp_path):
        pytest.importorskip("onnx")
        whole = (exported / "model.onnx").read_bytes()
        (tmp_path / "x.onnx").write_bytes(whole.replace(b"hdr_lightning", b"hdr_\xff\xfe\xfd" + b"_" * 6, 1))
        with pytest.raises(InputError, match="is damaged"):
            load_model(tmp_path / "x.onnx")

    @pytest.mark.parametrize("arguments", [{"width": -3}, {"width": 10**7}, [1], "abc"])
    def test_safetensors_with_arguments_of_which_nothing_can_be_built(self, arguments, exported, tmp_path):
        from safetensors.torch import load_file, save_file

        path = exported / "model.safetensors"
        facts = json.loads((exported / "model.json").read_text())
        facts["generator"]["init_args"] = arguments
        save_file(load_file(path), tmp_path / "x.safetensors", {"hdr_lightning": json.dumps(facts)})
        with pytest.raises(InputError, match="NAFNet cannot be built"):
            load_model(tmp_path / "x.safetensors")


class Evil:
    ran = False

    def __reduce__(self):
        return (setattr, (Evil, "ran", True))


def rewritten(source, target, change):
    """A copy of an archive, whose members pass a function."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name.partition("/")[2], old.read(name)))
    return target


def in_graph(old, new):
    return lambda name, content: content.replace(old, new) if name == "models/model.json" else content


CODE = {
    "call": in_graph(b"torch.ops.aten.clamp.default", b"torch.hub.load"),
    "operator": in_graph(b'"_operator.floordiv"', b'"_operator.methodcaller"'),
    "expression": in_graph(b'"expr_str": "FloorDiv(', b'"expr_str": "__import__(\'os\').getcwd('),
    "guard": in_graph(b'"guards_code": []', b'"guards_code": ["print(1)"]'),
    "weights": lambda name, content: content.replace(b'"use_pickle": false', b'"use_pickle": true'),
    "object": lambda name, content: content.replace(b'"weight_0"', b'"custom_obj_0"'),
    "example": lambda name, content: pickled() if name == "data/sample_inputs/model.pt" else content,
}


def pickled():
    buffer = io.BytesIO()
    torch.save(Evil(), buffer, pickle_module=pickle)
    return buffer.getvalue()


@pytest.mark.parametrize("code", CODE)
def test_a_pt2_that_could_run_code_is_refused(code, exported, tmp_path):
    path = rewritten(exported / "model.pt2", tmp_path / "model.pt2", CODE[code])
    assert path.read_bytes() != (exported / "model.pt2").read_bytes()
    with pytest.raises(InputError, match="refused, it holds"):
        load_model(path)
    assert not Evil.ran


def test_a_pt2_whose_members_are_packed_is_refused(exported, tmp_path):
    """They may be of any size: a small file would fill the memory."""
    with zipfile.ZipFile(exported / "model.pt2") as old, zipfile.ZipFile(tmp_path / "x.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="refused, it holds members of any size"):
        load_model(tmp_path / "x.pt2")


def test_a_pt2_rewritten_without_a_change_is_loaded(exported, tmp_path):
    path = rewritten(exported / "model.pt2", tmp_path / "model.pt2", lambda name, content: content)
    assert load_model(path).stride == 1
