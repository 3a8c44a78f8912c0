"""Archives of `torch.export`, looked through before they are loaded, as loading one may run code that it holds.

Loading unpickles, evaluates expressions of sizes as Python, and calls functions of torch by name. What is taken here:
plain tensors, arithmetic on sizes, and operators of ATen. It is put into a new archive, so that nothing else is loaded.
"""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hdr_lightning.errors import InputError

PLAIN = re.compile(
    r"data/(weights/weight_\d+|constants/tensor_\d+)|archive_(format|version)|byteorder|\.data/\w+|extra/hdr_lightning"
)
"""Members that are bytes, numbers or text, and nothing else to the loader."""

TARGET = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|torch\.ops\.higher_order\.wrap_with_autocast|torch\.sym_(float|int|max|min|not|ite|sqrt)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_)|math\.(trunc|floor|ceil)"
)
"""Functions that a graph may call."""

ARITHMETIC = (
    "Add Mul Pow Max Min Mod Integer Rational Float Symbol FloorDiv CeilDiv PythonMod ModularIndexing CleanDiv "
    "IntTrueDiv FloatTrueDiv ToFloat TruncToInt FloorToInt CeilToInt RoundToInt PowByNatural FloatPow Where Identity "
    "Eq Ne Equality Unequality GreaterThan LessThan StrictGreaterThan StrictLessThan And Or Not Piecewise "
    "ExprCondPair true false True False positive integer nonnegative negative"
)

EXPRESSION = re.compile(rf"(\b({'|'.join(ARITHMETIC.split())})\b|'?\b[szu]\d+\b'?|[-\d.(),=*+/ ]|precision=)*")
"""An expression of sizes, as sympy writes it."""

TREE = re.compile(
    r'("(type|context|children_spec|builtins\.(tuple|list|dict)|null|\[\]|\[\\"\w+\\"\])"|null|[\d\[\]{},: ])*'
)
"""How inputs and outputs are nested."""


def looked_through(path: Path) -> io.BytesIO:
    """Copy an archive of `torch.export` that nothing can run from.

    Raises:
        InputError: if it is missing or damaged, or holds what could run.
    """
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as safe:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise InputError(f"{path}: refused, two members of the archive have one name: export it again")
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise _refusal(path, "members of any size, packed")
            for name in names:
                safe.writestr(name, _member(name.partition("/")[2], archive.read(name), path))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, LookupError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: is damaged or no archive of torch.export ({error})") from None
    copy.seek(0)
    return copy


def _member(name: str, content: bytes, path: Path) -> bytes:
    """A member of the archive, without what the loader need not see."""
    if PLAIN.fullmatch(name):
        return content
    if name == "data/sample_inputs/model.pt":
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except pickle.UnpicklingError:
            raise _refusal(path, "an example that is no tensor") from None
        return content
    if name in ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json"):
        for entry in json.loads(content)["config"].values():
            if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                raise _refusal(path, "values that are no plain tensors")
        return content
    if name == "models/model.json":
        graph = json.loads(content)
        for key, value in _walk(graph):
            _refuse_what_runs(key, value, path)
        return json.dumps(graph).encode()
    raise _refusal(path, f"a member {name!r} that no export of ours has")


def _walk(part: Any) -> Iterator[tuple[str, Any]]:
    """All keys of nested JSON with their values."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "metadata":
                part[key] = {}
                continue
            yield key, value
            yield from _walk(value)
    elif isinstance(part, list):
        for value in part:
            yield from _walk(value)


def _refuse_what_runs(key: str, value: Any, path: Path) -> None:
    if key == "target" and not TARGET.fullmatch(str(value)):
        raise _refusal(path, f"a call of {str(value)[:60]!r}")
    if key == "expr_str" and not EXPRESSION.fullmatch(str(value)):
        raise _refusal(path, f"an expression {str(value)[:60]!r} that is no arithmetic")
    if key in ("in_spec", "out_spec") and not TREE.fullmatch(str(value)):
        raise _refusal(path, "inputs that are no tensors")
    if key in ("guards_code", "treespec_namedtuple_fields") and value:
        raise _refusal(path, "conditions on its inputs as code")


def _refusal(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: refused, it holds {what}, which could run code or is none of ours: export the checkpoint again"
    )
