"""A page in the browser, served on this machine alone: drop a photo, compare, download."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from hdr_lightning.data.files import output_name, read_photo, to_pixels, to_tensor, write_photo
from hdr_lightning.errors import InputError
from hdr_lightning.generators.loading import best_checkpoints
from hdr_lightning.inference import Editing, Enhancer, load
from hdr_lightning.inference.enhancer import Device
from hdr_lightning.report.pictures import thumbnail

if TYPE_CHECKING:
    import gradio

HEIGHT = 1080
"""Of the pictures on the page, at most, in pixels; the download has all."""

LARGEST = "512mb"
"""Photo that is taken."""


class Studio:
    """Enhances photos of the page.

    Args:
        checkpoints: what enhances, by the name that the page shows.
        folder: for enhanced photos.
        device: where to compute.
        memory: gigabytes to work in; what is free if nothing is given.
        modules: Python modules to import first, for generators of your own.
    """

    def __init__(
        self,
        checkpoints: dict[str, Path],
        folder: Path,
        device: Device = "auto",
        memory: float | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        self.checkpoints = checkpoints
        self.folder = folder
        self.memory = memory
        self._load = lru_cache(maxsize=2)(lambda name: load(checkpoints[name], device, modules=modules))

    def enhance(
        self, path: Path, checkpoint: str, strength: float, tta: bool, sharpen: float
    ) -> tuple[tuple[Image.Image, Image.Image], Path, str]:
        """Enhance a photo into a file of its own format, with all that it holds beside its pixels.

        Args:
            path: the photo.
            checkpoint: name of what enhances.
            strength: share of the result in a blend with the photo, 0 to 1.
            tta: whether the results of flips and turns are averaged.
            sharpen: amount of sharpening, 0 to 2.

        Returns:
            Small pictures before and after, the file, and what was done in words.

        Raises:
            InputError: if the file is no photo, or the result cannot be an edit of it.
        """
        start = time.monotonic()
        photo = read_photo(path)
        models = self._load(checkpoint)
        editing = Editing(memory=self.memory, strength=strength, tta=tta, sharpen=sharpen)
        image = Enhancer(models.models, models.device, editing).edit(to_tensor(photo.pixels)).image
        enhanced = replace(photo, pixels=to_pixels(image, photo.pixels.dtype))
        name = output_name(Path(path.name))
        output = Path(tempfile.mkdtemp(dir=self.folder)) / f"{name.stem}_enhanced{name.suffix}"
        write_photo(output, enhanced)
        before, after = (thumbnail(to_pixels(each), HEIGHT) for each in (to_tensor(photo.pixels), image))
        height, width = photo.pixels.shape[:2]
        words = f"{width} x {height} pixels, {photo.format}, {photo.pixels.dtype.itemsize * 8} bits a channel, on "
        return (before, after), output, f"{words}{models.device} in {time.monotonic() - start:.1f} s"


def demo(
    checkpoint: Path | Sequence[Path] = Path("runs"),
    port: int | None = None,
    device: Device = "auto",
    memory: float | None = None,
    browser: bool = True,
    modules: Sequence[str] = (),
) -> None:
    """Open a page in the browser that enhances photos: nothing leaves this machine. Ctrl-C ends it.

    Args:
        checkpoint: a checkpoint, an export, or a folder of runs, all of which can be chosen; several as [A, B].
        port: of the page on 127.0.0.1; a free one if nothing is given.
        device: where to compute; auto takes a GPU if there is one.
        memory: gigabytes to work in; what is free if nothing is given.
        browser: whether the page is opened.
        modules: Python modules to import first, if the generator is your own.

    Raises:
        InputError: if the extra `demo` is not installed, there is no checkpoint, or the port is taken.
    """
    if find_spec("gradio") is None:
        raise InputError("the demo needs Gradio: pip install 'hdr-lightning[demo]'")
    found = find_checkpoints([checkpoint] if isinstance(checkpoint, Path) else checkpoint)
    with tempfile.TemporaryDirectory(prefix="hdr_lightning_demo") as folder:
        page = build(Studio(found, Path(folder), device, memory, modules))
        try:
            address = launch(page, port, browser)
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error}): choose another --port") from None
        print(f"demo: {address} (Ctrl-C ends it)", flush=True)
        page.block_thread()


def find_checkpoints(paths: Sequence[Path]) -> dict[str, Path]:
    """All that can be chosen: the best of every run below a folder, and what is named itself.

    Raises:
        InputError: if there is none.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such checkpoint or folder of runs; give one with --checkpoint")
        best = best_checkpoints(path)[::-1]
        for run, file in [(file.parent.parent, file) for file in best] or [(path, path)]:
            name = str(run.relative_to(path)) if run != path else path.name
            found[str(run) if name in found else name] = file
    return found


def build(studio: Studio) -> "gradio.Blocks":
    """The page; serves nothing yet."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    import gradio as gr

    def enhance(
        photo: str | None, checkpoint: str, strength: float, tta: bool, sharpen: float
    ) -> tuple[tuple[Image.Image, Image.Image], str, str]:
        if photo is None:
            raise gr.Error("Drop a photo first.", print_exception=False)
        try:
            pictures, output, words = studio.enhance(Path(photo), checkpoint, strength, tta, sharpen)
        except InputError as error:
            raise gr.Error(str(error).replace(photo, Path(photo).name), print_exception=False) from None
        return pictures, str(output), words

    names = list(studio.checkpoints)
    with gr.Blocks(title="hdr_lightning", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown("## hdr_lightning\nDrop a photo. It stays on this machine.")
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                photo = gr.File(label="photo", type="filepath")
                checkpoint = gr.Dropdown(names, value=names[0], label="checkpoint")
                strength = gr.Slider(0, 1, value=1, step=0.05, label="strength")
                sharpen = gr.Slider(0, 2, value=0, step=0.1, label="sharpen")
                tta = gr.Checkbox(label="average flips and turns (eight times slower)")
                start = gr.Button("Enhance", variant="primary")
            with gr.Column(scale=3, min_width=320):
                slider = gr.ImageSlider(label="before and after", interactive=False, type="pil", max_height=900)
                words = gr.Textbox(label="what was done", interactive=False)
                download = gr.DownloadButton("Download the enhanced photo")
        options = [photo, checkpoint, strength, tta, sharpen]
        start.click(enhance, options, [slider, download, words], api_name="enhance")
    return page


def launch(page: "gradio.Blocks", port: int | None = None, browser: bool = False) -> str:
    """Serve the page to this machine alone.

    Args:
        page: what `build` made.
        port: a free one if nothing is given.
        browser: whether it is opened.

    Returns:
        Its address.
    """
    import gradio as gr

    _, address, _ = page.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        inbrowser=browser,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        max_file_size=LARGEST,
        footer_links=[],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
    )
    return str(address)
