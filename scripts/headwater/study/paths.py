"""Paths of all products of a study below its results folder, and of all logs: no other module spells a product's path.

Names may be Snakemake wildcards: `Paths("results").cases("{archive}")` is the template for the cases of any archive.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SHARED_MODEL = "model.safetensors"
"""The file of weights in a folder for the Hugging Face hub, which asks for this name."""

LOGS = "logs"
"""The folder of all logs, below the folder in which Snakemake is started."""

PRIVATE = "private"
"""The folder, below a study's results, of files that name cases and patients; none is in the report."""

FIT = "fit.json"
"""The record of how a run's model was fitted."""

PREDICTIONS, VALIDATION, ELSEWHERE = "predictions.parquet", "validation.parquet", "elsewhere.parquet"
"""A run's predictions on the test cases, on the validation cases, and on other datasets' test cases."""


@dataclass(frozen=True)
class Paths:
    """The paths of a study's products, as text, which is what Snakemake uses."""

    results: str | Path

    # archives

    def archive(self, archive: str) -> str:
        """The folder of an archive's prepared cases."""
        return f"{self.results}/archives/{archive}"

    def twin(self, archive: str) -> str:
        """The stamp of a synthetic archive."""
        return f"{self.results}/twins/{archive}.json"

    def cases(self, archive: str) -> str:
        """The table of an archive's prepared cases."""
        return f"{self.archive(archive)}/cases.parquet"

    def images(self, archive: str) -> str:
        """The prepared images."""
        return f"{self.archive(archive)}/images.npy"

    def masks(self, archive: str) -> str:
        """The masks of prepared volumes, at the same places."""
        return f"{self.archive(archive)}/masks.npy"

    def references(self, archive: str) -> str:
        """The masks of volumes on each source's own grid."""
        return f"{self.archive(archive)}/references.npy"

    def ceilings(self, archive: str) -> str:
        """The table of the Dice that masks reach on the prepared grid."""
        return f"{self.archive(archive)}/ceilings.parquet"

    def hashes(self, archive: str) -> str:
        """The hashes of the prepared images."""
        return f"{self.archive(archive)}/hashes.npy"

    def rejects(self, archive: str) -> str:
        """The table of cases that could not be read."""
        return f"{self.archive(archive)}/rejects.parquet"

    def labels(self, archive: str) -> str:
        """The table of labels, by patient and case."""
        return f"{self.archive(archive)}/labels.parquet"

    def split(self, archive: str) -> str:
        """How the patients were split."""
        return f"{self.archive(archive)}/split.json"

    def ledger(self, suffix: str = "parquet") -> str:
        """The table of overlaps between the parts of the grid; `csv` for people."""
        return f"{self.results}/ledger.{suffix}"

    def dropped(self, archive: str) -> str:
        """The list of an archive's cases that are dropped from training, in a study that resolves leaks."""
        return f"{self.archive(archive)}/dropped.parquet"

    # corpora and initial weights

    def rows(self, corpus: str, reduction: str) -> str:
        """The table of the images that a reduction keeps."""
        return f"{self.results}/corpora/{corpus}/{reduction}.parquet"

    def manifest(self, corpus: str, reduction: str) -> str:
        """The table of which images of a corpus a reduction keeps or drops."""
        return f"{self.results}/corpora/{corpus}/{reduction}.manifest.parquet"

    def features(self, corpus: str, source: str) -> str:
        """The features of a corpus' training images by the encoder of a source."""
        return f"{self.results}/corpora/{corpus}/{source}.features.npy"

    def account_of_features(self, corpus: str, source: str) -> str:
        """How the features were computed, and how long that took."""
        return f"{self.results}/corpora/{corpus}/{source}.features.json"

    def encoders(self) -> str:
        """The folder of all encoders."""
        return f"{self.results}/encoders"

    def encoder(self, source: str) -> str:
        """The encoder of a source."""
        return f"{self.encoders()}/{source}.safetensors"

    def coverage(self, source: str) -> str:
        """Which parameters the adopted weights of a source cover."""
        return f"{self.encoders()}/{source}.coverage.json"

    # runs

    def run(self, path: str) -> str:
        """The folder of a run; `path` as `run_path` gives it."""
        return f"{self.results}/runs/{path}"

    def model(self, path: str) -> str:
        """The fine-tuned model of a run."""
        return f"{self.run(path)}/model.safetensors"

    def fit(self, path: str) -> str:
        """The record of how the model was fitted."""
        return f"{self.run(path)}/{FIT}"

    def predictions(self, path: str) -> str:
        """The predictions on the test cases."""
        return f"{self.run(path)}/{PREDICTIONS}"

    def validation(self, path: str) -> str:
        """The predictions on the validation cases."""
        return f"{self.run(path)}/{VALIDATION}"

    def elsewhere(self, path: str) -> str:
        """The predictions on other datasets' test cases."""
        return f"{self.run(path)}/{ELSEWHERE}"

    def progress(self) -> str:
        """The folder of checkpoints, from which killed trainings resume."""
        return f"{self.results}/progress"

    def progress_of(self, digest: str) -> str:
        """The checkpoint of the training whose record has that digest."""
        return f"{self.progress()}/{digest}.pt"

    def plans(self) -> str:
        """The folder of the configs by which jobs work, a copy for each plan."""
        return f"{self.progress()}/plans"

    def sessions(self) -> str:
        """The folder of the names of Snakemake's jobs on a cluster."""
        return f"{self.progress()}/sessions"

    def by_hand(self) -> str:
        """The folder of products of runs that were started by hand; no job of the grid reads it."""
        return f"{self.results}/by_hand"

    # comparisons and the report

    def compared(self, dataset: str, table: str = "") -> str:
        """A table of a dataset's comparison; the comparisons themselves, or `curves`, `values`, `calibration`, ..."""
        return f"{self.results}/comparisons/{dataset}{f'.{table}' if table else ''}.parquet"

    def overlays(self, dataset: str) -> str:
        """The page of the cases that sources outline most differently, which shows patients."""
        return f"{self.results}/{PRIVATE}/overlays/{dataset}.html"

    def report(self) -> str:
        """The folder of the report."""
        return f"{self.results}/report"

    def page(self) -> str:
        """The page of the report."""
        return self.report_file("index.html")

    def summary(self) -> str:
        """The verdict in a few lines."""
        return self.report_file("summary.txt")

    def report_file(self, name: str) -> str:
        """Any file of the report."""
        return f"{self.report()}/{name}"

    def table(self, name: str, suffix: str = "csv") -> str:
        """A table of the report."""
        return self.report_file(f"{name}.{suffix}")

    def model_card(self, dataset: str, source: str, recipe: str) -> str:
        """The card of the networks of all seeds, and folds, of a dataset, source and recipe."""
        return self.report_file(f"{model_card(dataset, source, recipe)}.md")

    def encoder_card(self, source: str) -> str:
        """The card of an encoder."""
        return self.report_file(f"{encoder_card(source)}.md")

    def tracking(self) -> str:
        """The folder of what dashboards keep of a whole study: its own run, and MLflow's database."""
        return f"{self.results}/tracking"

    def timing_profile(self) -> str:
        """The timing profile: seconds per step of each kind of training on this machine."""
        return f"{self.results}/calibration.json"

    def memory_profile(self) -> str:
        """The memory profile: the bytes that a step of each kind of training takes."""
        return f"{self.results}/memory.json"


def run_path(dataset: str, source: str, recipe: str, seed: int | str) -> str:
    """The folder of a run's products below the folder of all runs."""
    return f"{dataset}/{source}/{recipe}/seed{seed}"


# names have no points, so that no two cards have one name


def model_card(dataset: str, source: str, recipe: str) -> str:
    """The name, without suffix, of the card of the networks of a dataset, source and recipe."""
    return f"model.{dataset}.{source}.{recipe}"


def encoder_card(source: str) -> str:
    """The same of the card of an encoder."""
    return f"encoder.{source}"


def datasheet(archive: str) -> str:
    """The same of the datasheet of an archive."""
    return f"datasheet.{archive}"


def results_of(model: Path, *, run: str) -> Path | None:
    """The results folder of the study that a model lies in; none if it was taken out of it."""
    file, depth = model.resolve(), len(Path(run).parts) + 1
    results = file.parents[depth] if len(file.parents) > depth else file.parent
    return results if Path(Paths(results).model(run)) == file else None


def log(rule: str, *wildcards: str, suffix: str = "log") -> str:
    """The log of a job, below the folder in which Snakemake is started."""
    return f"{'/'.join((LOGS, rule, *wildcards))}.{suffix}"


def controller_logs() -> Path:
    """The folder of the controller's logs."""
    return Path(LOGS) / "controller"


def history(encoder: str) -> str:
    """The folder of a pre-training's curves, beside its encoder."""
    return encoder.removesuffix(".safetensors")


def outlines_of(predictions: Path, *, target: str, case: str) -> Path:
    """The label map that a network predicts of a case, beside its predictions; targets with a name have a folder."""
    # a case may be named by a path
    return predictions.with_name("outlines") / target / f"{quote(case, safe='')}.nii.gz"


def seconds_of_training(folder: Path) -> Path:
    """The file of the seconds that each attempt of a training took, in the folder of its curves."""
    return folder / "spent.json"


def figures_of_features(folder: Path) -> Path:
    """The record of the quality of a pre-trained encoder's features, in the same folder."""
    return folder / "features.json"


def bad_loss(folder: Path) -> Path:
    """The file of the batches at which a training's loss became no number, in the folder of its curves."""
    return folder / "bad_loss.json"


def seconds_of_reduction(file: Path) -> Path:
    """The file of the seconds that each attempt of a reduction took, beside its table of rows."""
    return file.with_name(f"{file.name.partition('.')[0]}.spent.json")


def refused(product: Path) -> Path:
    """The file that explains why a job refused to make a product, beside the place of that product."""
    return product.with_suffix(f".refused{product.suffix}")


def leaking_pairs(ledger: Path) -> Path:
    """The file of the cases and patients by which parts leak: in a folder beside the ledger that is not for sharing."""
    return ledger.parent / PRIVATE / "leaks.csv"


def opposite_labels(ledger: Path) -> Path:
    """The file of the cases that look the same and have opposite labels, in the same folder."""
    return ledger.parent / PRIVATE / "opposite_labels.csv"
