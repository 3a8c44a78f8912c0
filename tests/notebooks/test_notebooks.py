"""Notebooks call the package and define nothing, hold no outputs, and run from the first cell to the last."""

import ast
import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("IPython", reason="IPython is not installed")

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAINED = ("01_first_run", "04_reading_a_run", "05_enhance_and_compare")
COMPARED = ("02_loss_ablation", "03_generator_ablation")

SMALL = [
    "--model.generator.init_args.width=4",
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
    "--trainer.check_val_every_n_epoch=1",
    "--loss_shares.every_n_steps=2",
    "--data.crop=32",
    "--data.workers=0",
    "--data.batch_size=2",
]

TINY_NETWORK = {"encoder_blocks": [1], "middle_blocks": 1, "decoder_blocks": [1]}


def read(path):
    return nbformat.read(path, as_version=4)


def cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def run(path, parameters):
    """Run the cells one after the other, as a kernel does, with other parameters.

    Returns:
        What each cell shows.
    """
    names, shown = {"__name__": "notebook"}, []
    for cell in cells(path):
        *body, last = ast.parse(cell.source).body
        value = isinstance(last, ast.Expr)
        exec(compile(ast.Module(body if value else [*body, last], []), path.name, "exec"), names)
        if value:
            shown.append(display(eval(compile(ast.Expression(last.value), path.name, "eval"), names)))
        if "parameters" in cell.metadata.get("tags", []):
            assert parameters.keys() <= names.keys(), "a parameter is not one of the notebook"
            names.update(parameters)
    return shown


def display(value):
    """What a notebook shows of a value: never what `repr` makes of it."""
    for kind in ("png", "jpeg", "markdown", "html"):
        found = getattr(value, f"_repr_{kind}_", lambda: None)()
        if found:
            return kind, found
    raise AssertionError(f"a cell shows a bare {type(value)}")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the notebooks share rooms and runs."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def first_run(place):
    return {
        "rooms": 12,
        "held_out": 3,
        "epochs": 2,
        "config": str(ROOT / "configs" / "demo.yaml"),
        "data": str(place / "rooms"),
        "runs": str(place / "runs"),
        "options": [*SMALL, *(f"--model.generator.init_args.{key}={value}" for key, value in TINY_NETWORK.items())],
    }


@pytest.mark.parametrize("name", TRAINED)
def test_notebooks_of_a_run(name, first_run, place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    shown = run(ROOT / "notebooks" / f"{name}.ipynb", first_run)
    kinds = [kind for kind, _ in shown]
    assert {"png", "jpeg", "markdown"} <= set(kinds) or name == "01_first_run"
    assert "Warning" not in capfd.readouterr().err
    if name == "04_reading_a_run":
        assert "dead\\_rate" in shown[-2][1]
        assert "| none |" in shown[-1][1]


@pytest.mark.parametrize("name", COMPARED)
def test_notebooks_of_an_ablation(name, place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    network = {f"model.generator.init_args.{key}": value for key, value in TINY_NETWORK.items()}
    kinds = {
        "02_loss_ablation": {"simple": {"model.loss.init_args.terms.window": None}, "complex": {}},
        "03_generator_ablation": {"narrow": {}, "wide": {"model.generator.init_args.width": 6}},
    }
    settings = {**network, "model.generator.init_args.width": 4, "data.crop": 32, "data.workers": 0}
    settings |= {"data.batch_size": 2, "trainer.accelerator": "cpu", "trainer.check_val_every_n_epoch": 1}
    settings |= {"data.validation": 0.5}
    file = {"settings": settings, "variations": kinds[name], "seeds": [0], "budget": {"steps": 2}}
    ablation = place / f"{name}.yaml"
    ablation.write_text(json.dumps(file))  # YAML, too
    parameters = {
        "rooms": 12,
        "base": str(ROOT / "configs" / "demo.yaml"),
        "ablation": str(ablation),
        "data": str(place / "rooms"),
        "output": str(place / name),
    }
    shown = run(ROOT / "notebooks" / f"{name}.ipynb", parameters)
    assert [kind for kind, _ in shown].count("png") == 3
    assert "Warning" not in capfd.readouterr().err


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestForm:
    def test_there_is_nothing_defined(self, path):
        for cell in cells(path):
            for node in ast.walk(ast.parse(cell.source)):  # which magics would break, too
                assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)

    def test_outputs_are_stripped(self, path):
        for cell in cells(path):
            assert cell.outputs == []
            assert cell.execution_count is None
        assert set(read(path).metadata) <= {"kernelspec", "language_info"}

    def test_parameters_can_be_changed(self, path):
        tagged = [cell for cell in cells(path) if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        assert cells(path)[0] == tagged[0]

    def test_there_are_words_between_the_figures(self, path):
        kinds = [cell.cell_type for cell in read(path).cells]
        assert kinds[0] == "markdown"
        assert kinds.count("markdown") * 3 >= kinds.count("code")

    def test_links_lead_somewhere(self, path):
        for cell in read(path).cells:
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source if cell.cell_type == "markdown" else ""):
                assert (path.parent / target).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_as_they_are(path, tmp_path_factory):
    """In a kernel each, with their own parameters, in a folder like a clone."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    clone = tmp_path_factory.getbasetemp() / "clone"
    (clone / "notebooks").mkdir(parents=True, exist_ok=True)
    if not (clone / "configs").exists():
        (clone / "configs").symlink_to(ROOT / "configs")
    notebook = read(path)
    client = nbclient.NotebookClient(
        notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(clone / "notebooks")}}
    )
    client.execute()
    told = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"]
    assert not [output.text for output in told if "Warning" in output.text]
