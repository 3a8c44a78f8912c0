"""Damaged checkpoints, and files that were made to do harm."""

import os
import random
import shutil
import zipfile

import pytest
import torch
from conftest import TINY
from PIL import Image

from hdr_lightning.checkpoints import is_sound
from hdr_lightning.cli import main


@pytest.fixture(scope="module")
def words(demo):
    return ["fit", *TINY, f"--data.pairs={demo}", "--run=one", "--loss_check.pairs=0", "--previews.photos=0"]


@pytest.fixture(scope="module")
def trained(words, tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    return main([*words, f"--trainer.default_root_dir={root}", "--trainer.max_epochs=2"])


@pytest.fixture
def run(trained, tmp_path):
    """A run of two epochs of three steps, with a checkpoint after each."""
    shutil.copytree(trained, tmp_path / "one")
    return tmp_path / "one"


@pytest.fixture
def go_on(words, run, caplog):
    """A function that trains it for a third epoch, and tells what it went on from."""

    def go_on(epochs=3):
        main([*words, f"--trainer.default_root_dir={run.parent}", f"--trainer.max_epochs={epochs}"])
        told = [line for line in caplog.text.splitlines() if "checkpoint: " in line]
        return told[0].split("checkpoint: ")[1].split(";")[0].rpartition("/")[2]

    return go_on


def refused(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    return capsys.readouterr().err


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path, at=None):
    """Flip a bit: of a weight, or at a share of the file."""
    content = bytearray(path.read_bytes())
    if at is None:
        with zipfile.ZipFile(path) as archive:
            largest = max(archive.infolist(), key=lambda part: part.file_size)
            place = content.index(archive.read(largest)) + largest.file_size // 2
    else:
        place = int(at * len(content))
    content[place] ^= 16
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
@pytest.mark.filterwarnings("default:.*is damaged")
def test_a_damaged_checkpoint_is_set_aside_by_name_and_the_one_before_is_taken(run, go_on, damage):
    damage(run / "checkpoints" / "last.ckpt")
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged, and is now last\.ckpt\.damaged: the"):
        assert go_on() == "last_1.ckpt"
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "last_1.ckpt", "last.ckpt.damaged"}
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 9


@pytest.mark.filterwarnings("ignore:.*is damaged")
def test_where_all_are_damaged_the_error_says_what_to_do(run, words, capsys):
    truncate(run / "checkpoints" / "last.ckpt")
    flip(run / "checkpoints" / "last_1.ckpt")
    told = refused([*words, f"--trainer.default_root_dir={run.parent}", "--trainer.max_epochs=3"], capsys)
    assert "every checkpoint is damaged (last.ckpt.damaged, last_1.ckpt.damaged): begin anew with another --run" in told


def test_a_flipped_bit_anywhere_is_found_or_changes_no_value(trained, tmp_path):
    """CRC-32 covers each part of the archive; its own headers and padding hold no values."""
    whole = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    drawn, path, found = random.Random(0), tmp_path / "flipped.ckpt", 0
    # Anywhere, and in the directory of the archive at its end.
    for at in [drawn.random() for _ in range(100)] + [drawn.uniform(0.9, 1) for _ in range(100)]:
        shutil.copy(trained / "checkpoints" / "last.ckpt", path)
        flip(path, at)
        if not is_sound(path):
            found += 1
            continue
        values = torch.load(path, weights_only=True)["state_dict"]
        assert all(torch.equal(value, whole[name]) for name, value in values.items())
    assert found > 50


def test_half_written_files_are_swept(run, go_on):
    parts = [run / "checkpoints" / ".last.ckpt.1.part", run / ".metrics.csv.1.part"]
    for part in parts:
        part.write_bytes(b"half")
    assert go_on() == "last.ckpt"
    assert not any(part.exists() for part in parts)


class Harm:
    """What an attacker puts into a file: it is run by whoever unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def harmful(trained, tmp_path):
    """A checkpoint that is whole in every respect, and runs a command when it is unpickled."""
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    path = tmp_path / "harmful.ckpt"
    torch.save(checkpoint | {"callbacks": {"x": Harm(tmp_path / "harm")}}, path)
    assert is_sound(path)
    return path


@pytest.mark.parametrize("verb", ["fit", "continue", "init", "test", "validate", "enhance"])
def test_reading_a_checkpoint_runs_nothing(run, words, demo, harmful, tmp_path, capsys, verb):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (16, 16)).save(photo)
    shutil.copy(harmful, run / "checkpoints" / "last.ckpt")
    shutil.copy(harmful, run / "checkpoints" / "best.ckpt")
    best, root = run / "checkpoints" / "best.ckpt", f"--trainer.default_root_dir={tmp_path}"
    told = refused(
        {
            "fit": [*words[:-3], root, f"--ckpt_path={best}"],
            "continue": [*words, root, "--trainer.max_epochs=3"],
            "init": [*words[:-3], root, f"--model.init_from={best}"],
            "test": ["test", *TINY, f"--data.pairs={demo}", root, f"--ckpt_path={best}"],
            "validate": ["validate", *TINY, f"--data.pairs={demo}", root, f"--ckpt_path={run}"],
            "enhance": ["enhance", str(photo), f"--checkpoint={best}", f"--output={tmp_path / 'out'}"],
        }[verb],
        capsys,
    )
    assert "code" in told or "pickle" in told
    assert not (tmp_path / "harm").exists()


HARM = '{"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "harm"]}}'


@pytest.mark.parametrize(
    "option",
    [
        "--model.optimizer=os.system",
        "--model.optimizer=torch.load",
        f"--model.optimizer={HARM}",
        f"--model.schedule={HARM}",
        f"--model.generator={HARM}",
        f"--model.loss={HARM}",
        f"--data.stages=[{HARM}]",
        f"--trainer.callbacks=[{HARM}]",
        f"--trainer.logger={HARM}",
        f"--trainer.plugins=[{HARM}]",
        '--trainer.callbacks=[{"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": '
        f'{{"on_fit_start": {HARM}}}}}]',
    ],
)
def test_a_configuration_names_only_what_its_types_allow(words, tmp_path, capsys, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    refused([*words, "--trainer.max_epochs=1", option], capsys)
    assert list(tmp_path.iterdir()) == []
