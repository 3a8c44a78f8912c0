import gc
import os
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

import hdr_lightning.demo as demo_module
from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo
from hdr_lightning.demo import Studio, build, find_checkpoints, launch
from hdr_lightning.errors import InputError
from hdr_lightning.inference import Editing, Enhancer

HARMLESS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
"""Of Gradio and what it stands on."""


@pytest.fixture
def studio(checkpoint, tmp_path):
    folder = tmp_path / "enhanced"
    folder.mkdir()
    return Studio({"tiny": checkpoint}, folder, device="cpu")


def test_all_runs_below_a_folder_can_be_chosen_the_newest_first(checkpoint, tmp_path):
    for number, name in enumerate(("a/fit_0", "b/fit_0", "b/fit_1")):
        shutil.copytree(checkpoint.parent, tmp_path / name / "checkpoints")
        best = tmp_path / name / "checkpoints" / "best.ckpt"
        os.utime(best, (number, number))
    assert list(find_checkpoints([tmp_path])) == ["b/fit_1", "b/fit_0", "a/fit_0"]
    assert find_checkpoints([checkpoint]) == {"best.ckpt": checkpoint}
    both = find_checkpoints([tmp_path / "a", tmp_path / "b"])
    assert both["fit_0"].parts[-4] == "a"
    assert both[str(tmp_path / "b" / "fit_0")].parts[-4] == "b"
    with pytest.raises(InputError, match="no such checkpoint or folder of runs"):
        find_checkpoints([tmp_path / "nowhere"])


def test_what_is_downloaded_is_what_enhance_writes(studio, checkpoint, photo, tmp_path):
    """The same format, metadata and pixels."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    path = photo("kitchen.jpg", exif=exif, quality=95)
    pictures, output, words = studio.enhance(path, "tiny", 1.0, False, 0.0)
    main(["enhance", str(path), "--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), "--device=cpu"])
    assert output.name == "kitchen_enhanced.jpg"
    assert output.read_bytes() == (tmp_path / "out" / "kitchen.jpg").read_bytes()
    with Image.open(output) as written:
        assert written.getexif()[0x010F] == "Maker"
    assert [picture.size for picture in pictures] == [(32, 24)] * 2
    assert words.startswith("32 x 24 pixels, JPEG, 8 bits a channel, on cpu in ")


def test_the_options_of_the_page_reach_the_network(studio, photo, monkeypatch):
    given = []

    class Recorder(Enhancer):
        def __init__(self, models, device, editing):
            super().__init__(models, device, editing)
            given.append(editing)

    monkeypatch.setattr(demo_module, "Enhancer", Recorder)
    studio.memory = 3.0
    studio.enhance(photo("kitchen.png"), "tiny", 0.25, True, 0.5)
    assert given == [Editing(memory=3.0, strength=0.25, tta=True, sharpen=0.5)]


def test_without_gradio_the_verb_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(demo_module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as leave:
        main(["demo"])
    assert leave.value.code == 2
    assert "pip install 'hdr-lightning[demo]'" in capsys.readouterr().err


@pytest.fixture
def served(studio):
    """The address of the page, on a free port."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    page = build(studio)
    assert page.analytics_enabled is False
    yield launch(page)
    page.close()
    with warnings.catch_warnings():  # what Gradio and its client leave open would be blamed on a later test
        warnings.simplefilter("ignore")
        gc.collect()


@HARMLESS
def test_a_photo_goes_through_the_page_and_back(served, photo, tmp_path):
    from gradio_client import Client, exceptions, handle_file

    assert served.startswith("http://127.0.0.1:")
    client = Client(served, verbose=False, download_files=str(tmp_path))
    path = photo("kitchen.png", height=40, width=30)
    (_, after), output, words = client.predict(handle_file(path), "tiny", 1, False, 0, api_name="/enhance")
    with Image.open(after) as shown:
        assert shown.size == (30, 40)
    assert Path(output).name == "kitchen_enhanced.png"
    assert read_photo(Path(output)).pixels.shape == (40, 30, 3)
    assert "PNG" in words
    other = tmp_path / "letter.jpg"
    other.write_text("no photo")
    with pytest.raises(exceptions.AppError, match=r"^letter\.jpg: "):
        client.predict(handle_file(other), "tiny", 1, False, 0, api_name="/enhance")


@HARMLESS
def test_the_page_asks_this_machine_alone(served, photo, chromium):
    opened = chromium.new_page()
    requests = []
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(served)
    button = opened.get_by_role("button", name="Enhance", exact=True)
    button.wait_for()
    opened.set_input_files("input[type=file]", photo("kitchen.jpg"))
    opened.get_by_text("kitchen").wait_for()
    button.click()
    opened.locator("textarea, input[type=text]").filter(visible=True).last.wait_for()
    opened.wait_for_function("[...document.querySelectorAll('textarea,input')].some(e => e.value.includes('32 x 24'))")
    assert len([url for url in requests if "/gradio_api/" in url]) >= 3
    assert all(url.startswith((served, "data:", "blob:")) for url in requests), requests
    opened.close()
