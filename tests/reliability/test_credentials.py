"""A key that the environment gives is written nowhere, and one in a configuration is refused."""

import pytest
from conftest import TINY
from jsonargparse import Namespace

from hdr_lightning.cli import main
from hdr_lightning.credentials import refuse_credentials
from hdr_lightning.errors import InputError

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("library", "logger", "written_by", "variable"),
    [
        ("wandb", ["WandbLogger", "--trainer.logger.offline=true"], ".wandb", "WANDB_API_KEY"),
        ("mlflow", ["MLFlowLogger"], ".db", "MLFLOW_TRACKING_TOKEN"),
    ],
)
def test_the_key_of_the_environment_is_written_nowhere(forks, demo, tmp_path, library, logger, written_by, variable):
    pytest.importorskip(library, reason=f"{library} is not installed")
    words = ["fit", *TINY, f"--data.pairs={demo}", "--trainer.max_epochs=1", "--run=one", "--loss_check.pairs=0"]
    words += [f"--trainer.logger={logger[0]}", *logger[1:], "--trainer.default_root_dir=runs"]
    log = tmp_path / "log"
    assert forks.run(words, tmp_path, log, **{variable: KEY}) == 0, log.read_text()[-3000:]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"log", "config.yaml", "last.ckpt"} < {path.name for path in written}
    assert any(path.suffix == written_by for path in written)
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    "option",
    [
        f'--trainer.logger.settings={{"api_key": "{KEY}", "mode": "offline"}}',
        f"--trainer.logger.dict_kwargs.api_key={KEY}",
        f"--trainer.logger.settings.base_url=https://me:{KEY}@dashboard.example",
    ],
)
def test_a_key_in_a_configuration_is_refused_and_not_repeated(demo, tmp_path, capsys, option):
    pytest.importorskip("wandb")
    words = ["fit", *TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    with pytest.raises(SystemExit) as left:
        main([*words, "--trainer.logger=WandbLogger", option])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "holds a credential" in told
    assert KEY not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "config",
    [
        Namespace(class_path="Logger", init_args=Namespace(project="tokens", save_dir=".", name="a:b@c", key=None)),
        Namespace(init_args=Namespace(api_key=None, tracking_uri="https://host:5000/x")),
        [True, None],
    ],
)
def test_what_is_no_credential_passes(config):
    refuse_credentials(config, "trainer.logger")


def test_a_password_in_the_address_of_a_database_is_refused():
    with pytest.raises(InputError, match="MLFLOW_TRACKING_TOKEN"):
        refuse_credentials(Namespace(tracking_uri="postgresql+psycopg://me:secret@host/runs"), "trainer.logger")


def test_a_list_of_loggers_is_looked_through():
    with pytest.raises(InputError, match="trainer.logger.init_args.api_key holds"):
        refuse_credentials([True, Namespace(init_args=Namespace(api_key="x"))], "trainer.logger")
