import pytest
import torch
from conftest import smooth

from hdr_lightning.evaluation.results import SOURCE, Contender, EvaluatedPhoto, Evaluation
from hdr_lightning.metrics import measure
from hdr_lightning.report.gallery import Gallery
from hdr_lightning.report.page import write_report

HOSTILE = "<script>document.title='run'</script>\"'><img src=x onerror=alert(1)> | `a` {{ 7 * 7 }} </textarea>.jpg"

NAMES = ["plain.jpg", HOSTILE, "größe & \u202egpj.jpg", "broken.jpg", "last.jpg"]

BRIGHT, DARK = "bright", "dark </script> & 'co'"


@pytest.fixture(scope="session")
def evaluated():
    """A function that makes an evaluation of five photos, one of them broken, with its gallery in a folder."""

    def make(folder, title="A & B", shown=24):
        found = {name: {} for name in (SOURCE, BRIGHT, DARK)}
        gallery, photos = Gallery(folder, height=80, shown=shown), []
        for number, name in enumerate(NAMES):
            target = smooth(number, (120, 168 + 8 * number))[0]
            pictures = {
                SOURCE: target * (0.1 if name == "last.jpg" else 0.5),
                BRIGHT: target * (1.1 + 0.05 * number),
                DARK: target * 0.8,
            }
            if name == "broken.jpg":
                pictures[BRIGHT][:, 50, 60] = torch.nan
            outputs = {contender: pictures[contender] for contender in (BRIGHT, DARK)}
            gallery.add(name, pictures[SOURCE], target, outputs)
            photos.append(EvaluatedPhoto(name, f"scene {number // 2}", target.shape[2], target.shape[1]))
            for contender, picture in pictures.items():
                for key, value in measure(picture[None], target[None]).items():
                    sound = bool(picture.isfinite().all())
                    found[contender].setdefault(key, []).append(value.item() if sound else None)
        found[BRIGHT]["ssim"][0] = None
        return (
            Evaluation(
                title,
                [Contender(SOURCE), Contender(BRIGHT, "runs/bright", "NAFNet"), Contender(DARK, "pictures")],
                photos,
                found,
                {BRIGHT: {"broken.jpg": "3 values are not finite"}},
                config="model: <b>NAFNet</b>\n",
                facts={"versions": "torch <2>"},
            ),
            gallery,
        )

    return make


@pytest.fixture(scope="session")
def written(evaluated, tmp_path_factory):
    """The folder of a written report; not to be changed."""
    folder = tmp_path_factory.mktemp("written")
    write_report(*evaluated(folder), folder)
    return folder
