"""Configurations are compared, explained and described without being run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from hdr_lightning.cli import main
from hdr_lightning.config import complete, diff

CONFIGS = Path(__file__).parent.parent / "configs"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def demo(tmp_path):
    return write(tmp_path / "demo.yaml", (CONFIGS / "demo.yaml").read_text(encoding="utf-8"))


def test_one_changed_value_is_one_line(demo, tmp_path):
    other = write(tmp_path / "other.yaml", demo.read_text().replace("width: 16", "width: 12"))
    assert diff(demo, other) == [("model.generator.init_args.width", "16", "12")]
    assert main(["config", "diff", str(demo), str(demo)]).endswith("mean the same")


def test_what_is_spelled_out_equals_its_default(demo, tmp_path):
    other = write(tmp_path / "other.yaml", demo.read_text() + "early_stopping:\n  monitor: val/psnr\n  patience: 15\n")
    assert diff(demo, other) == []


def test_a_term_that_is_left_out_is_seen():
    one, other = CONFIGS / "restormer_combined_512.yaml", CONFIGS / "restormer_l1_384.yaml"
    changes = {change.key: change for change in diff(one, other)}
    weight = changes["model.loss.init_args.terms.window.init_args.weight"]
    assert (weight.first, weight.second) == ("0.5", "-")
    assert changes["data.crop"][1:] == ("512", "384")
    table = main(["config", "diff", str(one), str(other)])
    assert len(table.splitlines()) == len(changes) + 1


def test_the_explanation_is_the_complete_configuration(demo, capsys):
    text = main(["config", "explain", str(demo)])
    assert text in capsys.readouterr().out
    assert yaml.safe_load(text) == complete(demo)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index("width: 16") - 1].startswith("# channels at full resolution")


def test_the_explanation_is_a_configuration_itself(demo, tmp_path):
    explained = tmp_path / "explained.yaml"
    main(["config", "explain", str(demo), "--output", str(explained)])
    assert diff(demo, explained) == []


@pytest.mark.parametrize("content", [b"\xc4\x00\xff", b"model: [1", b""])
def test_a_file_that_is_no_configuration_is_named(demo, tmp_path, capsys, content):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_bytes(content)
    with pytest.raises(SystemExit) as leave:
        main(["config", "diff", str(demo), str(wrong)])
    assert leave.value.code == 2
    assert f"{wrong}: expected a configuration of `fit`" in capsys.readouterr().err


def test_fit_refuses_a_file_that_is_no_text(tmp_path, capsys):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_bytes(b"\xc4\x00\xff")
    with pytest.raises(SystemExit) as leave:
        main(["fit", "--config", str(wrong)])
    assert leave.value.code == 2
    assert "expected YAML, which is text" in capsys.readouterr().err


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    # A process of its own: classes that other tests define would be described, too.
    subprocess.run([sys.executable, "-m", "hdr_lightning", "config", "schema", "--output", str(path)], check=True)
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


class TestSchema:
    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
    def test_takes_every_configuration(self, schema, path):
        assert [error.message for error in schema.iter_errors(yaml.safe_load(path.read_text()))] == []

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("width: 16", "widht: 16"),
            ("generators.NAFNet", "generators.NAFNett"),
            ("class_path: hdr_lightning.losses.L1}", "class_path: hdr_lightning.losses.L1, init_args: {weigth: 1}}"),
            ("crop:", "corp:"),
            ("max_epochs: 28", "max_epochs: many"),
        ],
    )
    def test_refuses_what_fit_refuses(self, schema, before, after):
        text = (CONFIGS / "demo.yaml").read_text(encoding="utf-8")
        assert before in text
        assert not schema.is_valid(yaml.safe_load(text.replace(before, after, 1)))


@pytest.mark.parametrize("words", [["diff", "a"], ["explain"], ["draw"], ["schema", "b"]])
def test_other_words_are_refused(words, capsys):
    with pytest.raises(SystemExit) as leave:
        main(["config", *words])
    assert leave.value.code == 2
    assert "expected `config diff A.yaml B.yaml`" in capsys.readouterr().err


def test_a_wrong_configuration_is_refused_by_name(demo, tmp_path, capsys):
    wrong = write(tmp_path / "wrong.yaml", demo.read_text().replace("crop:", "corp:"))
    with pytest.raises(SystemExit) as leave:
        main(["config", "diff", str(demo), str(wrong)])
    assert leave.value.code == 2
    told = capsys.readouterr().err
    assert "corp" in told
    assert f"error: {wrong}: " in told
    assert "hdr-lightning fit --help" in told
    with pytest.raises(SystemExit):
        main(["config", "explain", str(tmp_path / "none.yaml")])
    assert "there is no such configuration" in capsys.readouterr().err
