import subprocess
import sys

import pytest
from conftest import TINY

import hdr_lightning
from hdr_lightning.cli import OWN_VERBS, TRAINER_VERBS, main


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_overview_names_every_verb(words, capsys):
    main(words)
    out = capsys.readouterr().out
    for verb in (*TRAINER_VERBS, *OWN_VERBS):
        assert f"  {verb} " in out


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out.strip() == hdr_lightning.__version__


@pytest.mark.parametrize("verb", [*TRAINER_VERBS, *OWN_VERBS])
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as leave:
        main([verb, "--help"])
    assert leave.value.code == 0
    out = capsys.readouterr().out
    assert f"hdr-lightning {verb}" in " ".join(out.replace("[options] ", "").split())
    assert "--config" in out


def test_overview_imports_nothing_heavy():
    code = "import sys; from hdr_lightning.cli import main; main(['--help']); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


def test_help_of_enhance_does_without_the_trainer():
    code = (
        "import sys, contextlib\n"
        "from hdr_lightning.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['enhance', '--help'])\n"
        "print('lightning' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "False"


def refusal(words, capsys):
    with pytest.raises(SystemExit) as leave:
        main(words)
    assert leave.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert len(err.splitlines()) < 12
    return err


def test_unknown_verb(capsys):
    assert "there is no verb 'tain'; there are fit, validate" in refusal(["tain"], capsys)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["fit", "--model.lr=1"], "model.lr"),
        (["fit", *TINY, "--data.bath_size=3"], "bath_size"),
        (["fit", *TINY, "--model.generator.init_args.widht=3"], "widht"),
        (["fit", *TINY, "--trainer.max_epoch=3"], "max_epoch"),
        (["fit", *TINY, "--model.loss.init_args.terms.window.init_args.gian=3"], "gian"),
        (["demo-data", "--nubmer=3"], "nubmer"),
        (["enhance", "a.jpg", "--chekpoint=x"], "chekpoint"),
    ],
)
def test_unknown_keys_are_refused_by_name(words, key, capsys):
    assert key in refusal(words, capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", *TINY, "--data.crop=large"], "large"),
        (["fit", *TINY, "--model.generator=NoSuchNet"], "NoSuchNet"),
        (["fit", "--config=none.yaml"], "none.yaml"),
        (["demo-data", "--output=x", "--number=many"], "many"),
        (["enhance", "a.jpg"], "output"),
    ],
)
def test_wrong_values_are_refused(words, message, capsys):
    assert message in refusal(words, capsys)


def test_a_config_with_an_unknown_key_is_refused_by_name(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("trainer: {max_epochs: 1}\ndata: {corp: 12}\n")
    assert "corp" in refusal(["fit", "--config", str(path)], capsys)


def test_options_of_own_verbs_come_from_a_config_too(tmp_path, capsys):
    path = tmp_path / "rooms.yaml"
    path.write_text(f"output: {tmp_path / 'rooms'}\nnumber: 1\nsize: [16, 24]\n")
    assert main(["demo-data", "--config", str(path)]) == tmp_path / "rooms" / "pairs.jsonl"


def test_fingerprint_through_the_command_line(manifest, capsys):
    sums = main(["fingerprint", str(manifest(2))])
    assert len(sums.read_text().splitlines()) == 4
