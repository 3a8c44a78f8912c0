"""The layout of the Hugging Face hub: weights, configuration and a card, in a folder that is pushed only when asked."""

from importlib.util import find_spec
from pathlib import Path

from hdr_lightning.errors import InputError
from hdr_lightning.exports.facts import Facts
from hdr_lightning.exports.weights import WEIGHTS, write_weights
from hdr_lightning.generators import Generator

CARD = """---
license: {license}
library_name: hdr_lightning
pipeline_tag: image-to-image
tags:
- photo-enhancement
- image-restoration
- hdr
- pytorch
---

# {name}: photo enhancement

A {name} ({parameters:,} parameters) that turns unedited photographs into professionally edited, HDR-looking ones,
trained with [hdr_lightning](https://pypi.org/project/hdr-lightning) {version}.

## Use

```python
import hdr_lightning

enhancer = hdr_lightning.load("FOLDER")  # this folder, downloaded
enhanced = enhancer("photo.jpg")
```

```bash
hdr-lightning enhance photo.jpg --checkpoint FOLDER --output enhanced
```

**Input.** {preprocessing}.

**Output.** RGB, sRGB-encoded; {postprocessing}.

## Training

{training}

`config.json` holds the class and its arguments. License of the weights: {license}.
"""


def write_hub_folder(generator: Generator, facts: Facts, folder: Path) -> None:
    """Write `model.safetensors`, `config.json` and `README.md`, the model card."""
    folder.mkdir()
    write_weights(generator, facts, folder / WEIGHTS)
    (folder / WEIGHTS).with_suffix(".json").rename(folder / "config.json")
    figures = "\n".join(f"- {key}: {value:.5g}" for key, value in facts.training.items())
    card = CARD.format(
        name=facts.name,
        parameters=sum(parameter.numel() for parameter in generator.parameters()),
        license=facts.license,
        version=facts.version,
        preprocessing=facts.preprocessing,
        postprocessing=facts.postprocessing,
        training=figures or "Nothing is known of it.",
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def check_hub() -> None:
    """Refuse to push where that cannot work.

    Raises:
        InputError: if the extra `hub` is missing.
    """
    if find_spec("huggingface_hub") is None:
        raise InputError("--push needs huggingface_hub: pip install 'hdr-lightning[hub]'")


def push_folder(folder: Path, repository: str) -> str:
    """Upload a folder to the Hugging Face hub, with the user's own login; a new repository is private.

    Args:
        folder: what `write_hub_folder` wrote.
        repository: `owner/name`.

    Returns:
        The address of the upload.

    Raises:
        InputError: if the extra `hub` is missing, or the hub refuses or cannot be reached.
    """
    check_hub()
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Add the network"))
    except (huggingface_hub.errors.HfHubHTTPError, ValueError, OSError) as error:
        raise InputError(
            f"--push {repository}: the hub refused or was not reached ({error}): see `hf auth login`; the folder "
            f"{folder} is whole and can be uploaded later"
        ) from None
