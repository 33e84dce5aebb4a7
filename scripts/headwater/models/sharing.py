"""Writes a model or an encoder as a folder in the layout of the Hugging Face hub, with a card; nothing is sent."""

import json
from pathlib import Path

from headwater import __version__
from headwater.core.errors import UserError
from headwater.core.files import write_json, write_text
from headwater.core.records import without_places
from headwater.models import export, loading, study_card
from headwater.models.loading import Loaded
from headwater.models.weight_files import save_weights
from headwater.study import paths
from headwater.study.grid import Run

CARD = """---
library_name: {library}
tags:
- medical-imaging
- headwater
license: other
---

# {title}

{what}

| | |
|---|---|
{facts}

## Use

```python
{use}
```

{images}
{tested}
## Before you share it

- The terms of the images that it was trained on, and of the weights that it started from, decide whether it may be
  shared, and under which licence. Replace `license: other` above accordingly.
- It is the result of a comparison of first weights, and no medical device. Its performance on other patients, devices
  and hospitals is unknown.
"""


def push(model: Path, folder: Path) -> None:
    """Write a model or an encoder as a folder for the Hugging Face hub: weights, configuration and a model card.

    Nothing is uploaded. Read the card, complete it, and upload the folder with your own account: hf upload NAME FOLDER.

    Args:
        model: A run's folder, its model file, or an encoder's file.
        folder: The folder to write, which must be new or empty.
    """
    loaded = loading.read(model)
    with export.new_folder(folder) as place:
        library = _library(loaded)
        if library == "timm":
            export.write(loaded, place, to="safetensors")
        else:
            _write_own(loaded, place)
        write_text(_card(loaded, library=library), place / "README.md")
    print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    print("Nothing was uploaded. Complete the card in README.md, then: hf upload NAME " + str(folder))


def _library(loaded: Loaded) -> str:
    """What reads the weights: timm, or headwater where timm has no such network."""
    try:
        export.timm_network(loaded)
    except UserError:
        return "headwater"
    return "timm"


def _write_own(loaded: Loaded, folder: Path) -> None:
    """The weights in headwater's own file, without any path of this machine."""
    records = {key: json.loads(loaded.metadata[key]) for key in ("run", "source") if key in loaded.metadata}
    public = {key: json.dumps(without_places(record)) for key, record in records.items()}
    if "run" in public:
        public["run"] = Run.from_json(public["run"]).as_json()
    save_weights(loaded.network.state_dict(), folder / paths.SHARED_MODEL, {**loaded.metadata, **public})
    write_json(export.described(loaded, to="torch-export"), folder / export.DESCRIPTION)


def _card(loaded: Loaded, *, library: str) -> str:
    """The text of the model card."""
    backbone = loaded.encoder.name
    facts = {"Backbone": backbone, "Image size": " x ".join(map(str, loaded.encoder.space))}
    if loaded.fitted:
        run = loaded.fitted.run
        title = f"{backbone} fine-tuned on {run.dataset.name}"
        what = f"Predicts {', '.join(loaded.labels)}."
        facts |= {"Dataset": run.dataset.name, "First weights": run.source.name, "Recipe": run.recipe.name}
        facts |= {"Seed": str(run.seed)}
    else:
        source = json.loads(loaded.metadata.get("source", "{}"))
        title, what = f"{backbone} encoder", f"An encoder that gives {loaded.encoder.width} features for each image."
        facts |= {key.capitalize(): str(source[key]) for key in ("name", "method", "corpus") if source.get(key)}
    facts["Made with"] = f"headwater {__version__}"
    mean, std = loaded.normalisation
    use = {
        "timm": 'import timm\n\nnetwork = timm.create_model("local-dir:FOLDER", pretrained=True).eval()',
        "headwater": 'import headwater\n\nnetwork = headwater.load("FOLDER/model.safetensors")',
    }[library]
    images = {
        "timm": f"Images are scaled to [0, 1] and normalised per channel: mean {mean}, standard deviation {std}.",
        "headwater": "Images are given as headwater prepares and shows them; the network normalises them itself.",
    }[library]
    lines = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    card = study_card.of_model(loaded.file, loaded.fitted.run) if loaded.fitted else study_card.of_encoder(loaded.file)
    tested = f"\n{card}" if card else ""
    return CARD.format(library=library, title=title, what=what, facts=lines, use=use, images=images, tested=tested)
