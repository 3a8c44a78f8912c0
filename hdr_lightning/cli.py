"""The commands: `python -m hdr_lightning VERB ...`, or `hdr-lightning VERB ...`.

Everything heavy is imported by the verb that needs it, so that help comes at once.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser

import hdr_lightning
from hdr_lightning.errors import InputError, PhotosFailed, RunInterrupted, RunStopped

TRAINER_VERBS = {
    "fit": "train a generator on pairs of photos",
    "validate": "measure a checkpoint on the validation photos",
    "test": "measure a checkpoint on the held-out photos and write a report",
    "predict": "enhance a large folder with a checkpoint, on all GPUs",
    "check-loss": "look for sick terms in the loss of a configuration",
    "plan": "say whether a configuration fits into the memory of a GPU",
}
"""Verbs of the Lightning trainer; they share one configuration."""

OWN_VERBS = {
    "enhance": ("hdr_lightning.enhance:enhance", "enhance photos with a checkpoint"),
    "evaluate": ("hdr_lightning.evaluate:evaluate", "measure checkpoints and folders of pictures, and compare them"),
    "export": ("hdr_lightning.export:export", "write a checkpoint in other formats, each checked"),
    "report": ("hdr_lightning.report.page:report", "write the pages of evaluations and tests anew"),
    "demo": ("hdr_lightning.demo:demo", "enhance photos on a page in the browser, on this machine alone"),
    "demo-data": ("hdr_lightning.data.rooms:write_demo_set", "render rooms to train on"),
    "fetch-weights": ("hdr_lightning.losses.networks:fetch_weights", "download what perceptual loss terms need"),
    "audit": ("hdr_lightning.data.audit:audit", "look for what is wrong with a data set"),
    "fingerprint": ("hdr_lightning.data.contents:fingerprint", "record the content of a data set's photos"),
    "split": ("hdr_lightning.data.split_file:write_split", "divide a data set once, into a file to keep"),
    "shard": ("hdr_lightning.data.stream:shard", "write training pairs to a few large files, for streaming"),
    "fuse-brackets": ("hdr_lightning.data.sources.brackets:fuse_brackets", "make pairs of exposure brackets"),
    "write-manifest": ("hdr_lightning.data.sources.listing:write_manifest", "list the pairs of a public data set"),
    "benchmark": ("hdr_lightning.benchmark:benchmark", "measure what generators cost, beside the published code"),
    "benchmark-data": ("hdr_lightning.benchmark_data:benchmark_data", "time how samples are read from photos"),
    "benchmark-guards": ("hdr_lightning.benchmark_guards:benchmark_guards", "time what watching a loss costs"),
    "benchmark-memory": ("hdr_lightning.benchmark_memory:benchmark_memory", "compute what training steps occupy"),
    "benchmark-sizes": (
        "hdr_lightning.benchmark_sizes:benchmark_sizes",
        "time a photo whole, in strips, in tiles",
    ),
    "pareto": ("hdr_lightning.evaluation.pareto:pareto", "score evaluated networks and draw quality over cost"),
    "ablate": ("hdr_lightning.ablate:ablate", "train what a file varies, seed by seed, and compare"),
    "config": ("hdr_lightning.config:config", "compare and explain configurations, or make a schema for editors"),
    "quickstart": ("hdr_lightning.quickstart:quickstart", "render rooms, train on them, test and show the result"),
}
"""Verbs that are a function each: its typed arguments are the options."""

POSITIONAL = {
    "audit": ("pairs", "manifest, or two folders"),
    "config": ("words", "diff A.yaml B.yaml, explain A.yaml, or schema"),
    "enhance": ("photos", "photos, folders or quoted patterns"),
    "evaluate": ("contenders", "checkpoints, runs, exports, or folders of pictures; also as NAME=PATH"),
    "export": ("checkpoint", "checkpoint, or run"),
    "fingerprint": ("pairs", "manifest, or two folders"),
    "fuse-brackets": ("folder", "brackets"),
    "pareto": ("evaluations", "evaluation.json, or folders with some"),
    "report": ("folders", "of evaluations or tests"),
    "shard": ("pairs", "manifest, or two folders"),
    "split": ("pairs", "manifest, or two folders"),
}
"""The argument of a verb that is given without its name, and what it is."""


SETTINGS = "--settings."
"""Before a key of a configuration of `fit`, for verbs that change some of one."""


class Parser(ArgumentParser):
    """A parser whose errors are one line instead of a page of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        refuse(message.strip(), self.prog.replace(" [options]", ""))


def refuse(message: str, prog: str = "hdr-lightning") -> NoReturn:
    """Print what is wrong and leave with code 2: what was given cannot be used."""
    print(f"error: {message}\n(all options: {prog} --help)", file=sys.stderr)
    raise SystemExit(2)


def main(args: Sequence[str] | None = None) -> Any:
    """Run a command.

    Args:
        args: the words behind the program's name; those of the shell if nothing is given.

    Returns:
        What the verb made: for `fit`, `test` and the like the folder of the run, for others what their function gives.

    Raises:
        SystemExit: with code 2 if what was given cannot be used, with code 1 if a run stopped itself or photos failed,
            and with 75, 130 or 143 if a signal ended it.
    """
    words = list(sys.argv[1:] if args is None else args)
    verb = words[0] if words else "--help"
    if verb in ("-h", "--help"):
        print(overview())
        return None
    if verb == "--version":
        print(hdr_lightning.__version__)
        return None
    try:
        if verb in TRAINER_VERBS:
            return importlib.import_module("hdr_lightning.training").run(words)
        if verb in OWN_VERBS:
            return _run_function(verb, words[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except PhotosFailed as failed:
        print(f"error: {failed}", file=sys.stderr)
        raise SystemExit(1) from failed
    except RunStopped as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        raise SystemExit(1) from stop
    except RunInterrupted as interrupt:
        print(f"interrupted: {interrupt}", file=sys.stderr)
        raise SystemExit(interrupt.code) from interrupt
    refuse(f"there is no verb {verb!r}; there are {', '.join([*TRAINER_VERBS, *OWN_VERBS])}")


def overview() -> str:
    """The text of `--help`."""
    verbs = TRAINER_VERBS | {verb: about for verb, (_, about) in OWN_VERBS.items()}
    lines = [f"  {verb:<16} {about}" for verb, about in verbs.items()]
    return "\n".join(
        [
            f"hdr-lightning {hdr_lightning.__version__}: learned photo enhancement",
            "",
            "usage: hdr-lightning VERB [--config FILE] [--option value ...]",
            "",
            *lines,
            "",
            "hdr-lightning VERB --help explains a verb's options.",
        ]
    )


def _run_function(verb: str, words: list[str]) -> Any:
    module, _, name = OWN_VERBS[verb][0].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    parser = Parser(prog=f"hdr-lightning {verb}", description=OWN_VERBS[verb][1], allow_abbrev=False)
    parser.add_argument("-c", "--config", action="config", help="YAML file with options")
    positional, meaning = POSITIONAL.get(verb, ("", ""))
    if positional:
        parser.add_argument(positional, nargs="+", type=Path, help=meaning)
    parser.add_function_arguments(function, skip={positional} if positional else None)
    words, settings = _settings(words) if "settings" in get_type_hints(function) else (words, {})
    options = parser.instantiate(parser.parse_args(_explicit(words, function)))
    options.pop("config", None)
    if settings:
        options["settings"] = {**(options["settings"] or {}), **settings}
    return function(**options.as_dict())


def _settings(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Take `--settings.KEY=VALUE` out of the words: the parser would keep the last of them alone, as text.

    >>> _settings(["a.yaml", "--settings.data.crop=128", "--settings.data.cache", "null"])
    (['a.yaml'], {'data.crop': 128, 'data.cache': None})
    """
    left, settings = list[str](), dict[str, Any]()
    following = iter(words)
    for word in following:
        if word.startswith(SETTINGS):
            key, sign, text = word.removeprefix(SETTINGS).partition("=")
            settings[key] = _value(key, text if sign else next(following, ""))
        else:
            left.append(word)
    return left, settings


def _value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--settings.{key}: expected a value as YAML, got {text!r}") from error


def _explicit(words: Sequence[str], function: Callable[..., Any]) -> list[str]:
    """Give switches without a value, such as `--tta`, the value true; the next word may be a photo."""
    kinds = get_type_hints(function)
    switches = {f"--{name}" for name, kind in kinds.items() if kind is bool or bool in get_args(kind)}
    following = [*words[1:], ""][: len(words)]
    return [
        f"{word}=true" if word in switches and after.lower() not in ("true", "false", "yes", "no") else word
        for word, after in zip(words, following, strict=True)
    ]
