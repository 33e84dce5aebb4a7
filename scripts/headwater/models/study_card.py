"""The card that a study's report has of a network, of which the test results go along with the network's weights."""

from pathlib import Path

from headwater.core.fingerprints import sha256
from headwater.study.folds import apart
from headwater.study.grid import Run
from headwater.study.paths import Paths, results_of

TESTED = "Test results"
"""The heading of the part that is taken along."""


def of_model(model: Path, run: Run) -> str:
    """The test results of a run's model by the report beside it; "" without a report, or if that is of another file."""
    results = results_of(model, run=run.path)
    dataset, _ = apart(run.dataset.name)
    card = results and Path(Paths(results).model_card(dataset, run.source.name, run.recipe.name))
    return _tested(card, model=model)


def of_encoder(encoder: Path) -> str:
    """The same of the networks that start from an encoder."""
    file = encoder.resolve()
    paths = Paths(file.parent.parent)
    card = Path(paths.encoder_card(file.stem)) if Path(paths.encoder(file.stem)) == file else None
    return _tested(card, model=encoder)


def _tested(card: Path | None, *, model: Path) -> str:
    if card is None or not card.is_file():
        return ""
    told = card.read_text(encoding="utf-8")
    # a network that was trained again since has other results
    if sha256(model) not in told:
        return ""
    heading = f"## {TESTED}\n"
    return heading + told.partition(heading)[2].partition("\n## ")[0].rstrip() + "\n"
