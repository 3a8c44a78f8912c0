"""The main job from nothing: render rooms, train on them, test, enhance; each step a command that is shown."""

import shlex
from pathlib import Path
from typing import Any

from hdr_lightning import cli
from hdr_lightning.errors import InputError


def quickstart(
    recipe: Path = Path("configs/demo.yaml"),
    data: Path = Path("data/rooms"),
    runs: Path = Path("runs/demo"),
    number: int = 96,
    epochs: int | None = None,
) -> Path:
    """Run the whole path of a photo once, on rendered rooms: a few minutes on two CPU cores.

    Args:
        recipe: configuration of the training.
        data: folder for the rendered rooms; used as it is if it holds them already.
        runs: folder for what is trained and tested.
        number: how many pairs to render; the first five are held out for the test.
        epochs: how long to train, instead of what the configuration says.

    Returns:
        The report, a page to open in a browser.

    Raises:
        InputError: if the configuration is missing, or the data folder holds something else.
    """
    if not recipe.is_file():
        raise InputError(f"{recipe}: there is no such configuration; run quickstart in a clone of the repository")

    def run(*words: object) -> Any:
        line = [str(word) for word in words]
        print(f"\n$ hdr-lightning {shlex.join(line)}", flush=True)
        return cli.main(line)

    common = ["--config", recipe, f"--data.pairs={data / 'pairs.jsonl'}", f"--trainer.default_root_dir={runs}"]
    run("demo-data", "--output", data, "--number", number)
    trained = run("fit", *common, *([f"--trainer.max_epochs={epochs}"] if epochs is not None else []))
    tested = run("test", *common, "--ckpt_path", trained)
    run("enhance", data / "source" / "00000.png", "--checkpoint", trained, "--output", trained / "enhanced")
    report: Path = (tested / "report.html").resolve()
    print(f"\nDone. Before and after, with all figures: {report.as_uri()}")
    return report
