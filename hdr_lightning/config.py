"""Configurations, looked at without running them: what differs, what every option means, and a schema for editors."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from hdr_lightning.configuration import TrainingParser
from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError
from hdr_lightning.run_config import flattened, read_base
from hdr_lightning.training import EnhancementCLI, hush

ACTIONS = {"diff": 2, "explain": 1, "schema": 0}
"""How many configurations each looks at."""

ABSENT = "-"

OPEN = ("callbacks", "plugins")
"""Arguments of the trainer of which the schema takes anything: every class of every library would be described."""


def config(words: Sequence[Path], output: Path | None = None) -> str:
    """Look at configurations of `fit` without running them.

    `config diff A.yaml B.yaml` lists every setting that differs, defaults included; `config explain A.yaml` prints the
    complete configuration with the meaning of every setting above it; `config schema` prints a JSON schema by which
    editors complete and check configurations.

    Args:
        words: diff and two configurations, explain and one, or schema.
        output: a file to write to instead of the terminal.

    Returns:
        The text.

    Raises:
        InputError: if the words are others, or a configuration is missing or wrong.
    """
    action, files = (str(words[0]), list(words[1:])) if words else ("", [])
    if ACTIONS.get(action) != len(files):
        raise InputError(
            "expected `config diff A.yaml B.yaml`, `config explain A.yaml` or `config schema`, "
            f"got {' '.join(map(str, words))!r}"
        )
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such configuration")
        read_base(file)
    text = schema() if action == "schema" else explain(*files) if action == "explain" else diff_text(*files)
    if output is None:
        print(text)
    else:
        with writing(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return text


class Reader(EnhancementCLI):
    """Reads a configuration of `fit` as `fit` does, and stops there."""

    fit_parser: LightningArgumentParser

    def __init__(self, file: Path | None = None) -> None:
        hush()
        self.file = file
        super().__init__(["fit", *([] if file is None else ["--config", str(file)])])

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        return self._named(super().init_parser(**kwargs))

    def _named(self, parser: LightningArgumentParser) -> LightningArgumentParser:
        assert isinstance(parser, TrainingParser)
        parser.file = str(self.file or "")
        return parser

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        self.fit_parser = self._named(super()._prepare_subcommand_parser(klass, subcommand, **kwargs))
        return self.fit_parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Nothing is made."""

    def instantiate_classes(self) -> None:
        """Nothing is made."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing is run."""

    def _set_seed(self) -> None:
        """Nothing is drawn."""


class SchemaReader(Reader):
    """Knows the arguments of `fit`, but for those that may be anything."""

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(self.trainer_class, "trainer", skip=set(OPEN), instantiate=False)
        for name in OPEN:
            parser.add_argument(f"--trainer.{name}", type=Any, default=None)
        parser.add_lightning_class_args(self._model_class, "model")
        parser.add_lightning_class_args(self._datamodule_class, "data")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """There is no configuration."""
        self.config = Namespace(subcommand="fit", fit=Namespace(ckpt_path=None))  # type: ignore[no-untyped-call]


class Change(NamedTuple):
    """A setting that differs between two configurations."""

    key: str
    first: str
    second: str


def complete(file: Path) -> dict[str, Any]:
    """A configuration with every setting that it leaves to its default.

    Raises:
        SystemExit: if a setting is unknown or wrong, with code 2.
    """
    reader = Reader(file)
    whole = yaml.safe_load(reader.parser.dump(reader.config, skip_unset=False))["fit"]
    whole.pop("config", None)
    return whole


def diff(first: Path, second: Path) -> list[Change]:
    """List what differs between two configurations, defaults included, so that no key is lost on the way."""
    one, other = written(complete(first)), written(complete(second))
    keys = [*one, *(key for key in other if key not in one)]
    return [Change(key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys if one.get(key) != other.get(key)]


def written(config: Any) -> dict[str, str]:
    """Settings by their dotted keys, as they are given on the command line."""
    return {key: json.dumps(value) for key, value in flattened(config).items()}


def diff_text(first: Path, second: Path) -> str:
    """The same as a table for the terminal."""
    changes = diff(first, second)
    if not changes:
        return f"{first} and {second} mean the same"
    rows = [Change("", str(first), str(second)), *changes]
    wide = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row.key:<{wide[0]}}  {row.first:<{wide[1]}}  {row.second}" for row in rows)


def explain(file: Path) -> str:
    """A complete configuration, with the meaning of each setting above it.

    Raises:
        InputError: if the extra that writes comments is missing.
    """
    if find_spec("ruamel.yaml") is None:
        raise InputError("`config explain` needs ruamel.yaml: pip install 'jsonargparse[ruamel]'")
    reader = Reader(file)
    config = reader.config["fit"].clone()
    config.pop("config", None)
    text: str = reader.fit_parser.dump(config, skip_unset=False, with_comments=True)
    return text.rstrip()


def schema() -> str:
    """A JSON schema (draft 2020-12) of configurations of `fit`: keys, types, choices and their meaning.

    What is missing in a configuration it does not tell, as everything but the data has a default.
    """
    made = json.loads(SchemaReader().fit_parser.get_completion_script("jsonschema"))
    _drop_required(made)
    return json.dumps(made, indent=1)


def _drop_required(value: Any) -> None:
    if isinstance(value, dict):
        if isinstance(value.get("required"), list):
            value["required"] = [name for name in value["required"] if name == "class_path"]
        for each in value.values():
            _drop_required(each)
    elif isinstance(value, list):
        for each in value:
            _drop_required(each)
