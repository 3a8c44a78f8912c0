"""The verb that shows all evaluated networks together: a table of scores, and a picture."""

from collections.abc import Sequence
from pathlib import Path

from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import Evaluation
from hdr_lightning.evaluation.score import pareto_png, pareto_svg, score_table


def pareto(evaluations: Sequence[Path], output: Path = Path("pareto.svg")) -> str:
    """Print the scores of all evaluated networks, and draw their quality over their cost.

    Args:
        evaluations: files that `evaluate --cost=true` wrote (evaluation.json), or folders, searched for such files.
        output: an SVG file for the picture; the same as PNG is written beside it.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: if there is no evaluation, none has a score, or they are of different photos.
    """
    if output.suffix != ".svg":
        raise InputError(f"--output {output}: expected a name that ends in .svg; a .png is written beside it")
    found = [Evaluation.from_json(path) for path in _files(evaluations)]
    table = score_table(found)
    for path, content in ((output, pareto_svg(found).encode()), (output.with_suffix(".png"), pareto_png(found))):
        with writing(path) as part:
            part.write_bytes(content)
    print(table)
    print(f"\n{output} and {output.with_suffix('.png').name}")
    return table


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files, those in folders from the oldest to the newest; each once."""
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        found = [path]
        if path.is_dir():
            found = sorted(path.rglob("evaluation.json"), key=lambda file: file.stat().st_mtime)
        if not found:
            raise InputError(f"{path}: no evaluation.json below this folder: `evaluate --cost=true` writes one")
        files |= dict.fromkeys(found)
    return list(files)
