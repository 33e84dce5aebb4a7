"""Where each product of a study lies below its results folder, and each log: no other file spells a product's path.

Names may be Snakemake's wildcards: `Paths("results").cases("{archive}")` is the path of every archive's cases.
"""

from dataclasses import dataclass
from pathlib import Path

LOGS = "logs"
"""The folder of all logs, below the folder in which Snakemake is started."""

PREDICTIONS, VALIDATION, ELSEWHERE = "predictions.parquet", "validation.parquet", "elsewhere.parquet"
"""What a run's network says of the test cases, of the validation cases, and of other datasets' test cases."""


@dataclass(frozen=True)
class Paths:
    """The paths of a study's products; each is text, as Snakemake has it."""

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

    def hashes(self, archive: str) -> str:
        """The hashes of the prepared images."""
        return f"{self.archive(archive)}/hashes.npy"

    def rejects(self, archive: str) -> str:
        """The table of cases that could not be read."""
        return f"{self.archive(archive)}/rejects.parquet"

    def labels(self, archive: str) -> str:
        """Who bears which label."""
        return f"{self.archive(archive)}/labels.parquet"

    def split(self, archive: str) -> str:
        """How the patients were split."""
        return f"{self.archive(archive)}/split.json"

    def ledger(self, suffix: str = "parquet") -> str:
        """The table of what the parts of the grid share; `csv` for people."""
        return f"{self.results}/ledger.{suffix}"

    # what is learned from, and first weights

    def rows(self, corpus: str, reduction: str) -> str:
        """The table of the images that a reduction keeps."""
        return f"{self.results}/corpora/{corpus}/{reduction}.parquet"

    def manifest(self, corpus: str, reduction: str) -> str:
        """What became of each image of a corpus."""
        return f"{self.results}/corpora/{corpus}/{reduction}.manifest.parquet"

    def features(self, corpus: str, source: str) -> str:
        """What the encoder of a source sees in the training images of a corpus."""
        return f"{self.results}/corpora/{corpus}/{source}.features.npy"

    def account_of_features(self, corpus: str, source: str) -> str:
        """How the features were computed, and how long that took."""
        return f"{self.results}/corpora/{corpus}/{source}.features.json"

    def encoders(self) -> str:
        """The folder of all first weights."""
        return f"{self.results}/encoders"

    def encoder(self, source: str) -> str:
        """A source's first weights."""
        return f"{self.encoders()}/{source}.safetensors"

    def coverage(self, source: str) -> str:
        """Which parameters the adopted weights of a source cover."""
        return f"{self.encoders()}/{source}.coverage.json"

    # runs

    def run(self, path: str) -> str:
        """The folder of a run; `path` as `run_path` gives it."""
        return f"{self.results}/runs/{path}"

    def model(self, path: str) -> str:
        """The fitted network of a run."""
        return f"{self.run(path)}/model.safetensors"

    def fit(self, path: str) -> str:
        """How the network was fitted."""
        return f"{self.run(path)}/fit.json"

    def predictions(self, path: str) -> str:
        """What the network says of the test cases."""
        return f"{self.run(path)}/{PREDICTIONS}"

    def validation(self, path: str) -> str:
        """What it says of the validation cases."""
        return f"{self.run(path)}/{VALIDATION}"

    def elsewhere(self, path: str) -> str:
        """What it says of other datasets' test cases."""
        return f"{self.run(path)}/{ELSEWHERE}"

    def progress(self) -> str:
        """The folder of what trainings need to go on after they were killed."""
        return f"{self.results}/progress"

    def progress_of(self, digest: str) -> str:
        """The progress of the training whose record has that digest."""
        return f"{self.progress()}/{digest}.pt"

    def sessions(self) -> str:
        """The folder in which the names of Snakemake's jobs on a cluster are noted."""
        return f"{self.progress()}/sessions"

    def by_hand(self) -> str:
        """The folder of what runs that were started by hand have made, which no job of the grid looks at."""
        return f"{self.results}/by_hand"

    # comparisons and the report

    def compared(self, dataset: str, table: str = "") -> str:
        """A table of a dataset's comparison; the comparisons themselves, or `curves`, `values`, `calibration`, ..."""
        return f"{self.results}/comparisons/{dataset}{f'.{table}' if table else ''}.parquet"

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

    def timing_profile(self) -> str:
        """How long a few steps of each kind of training took on this machine."""
        return f"{self.results}/calibration.json"


def run_path(dataset: str, source: str, recipe: str, seed: int | str) -> str:
    """Where the products of a run lie below the folder of all runs."""
    return f"{dataset}/{source}/{recipe}/seed{seed}"


def log(rule: str, *wildcards: str, suffix: str = "log") -> str:
    """The log of a job, below the folder in which Snakemake is started."""
    return f"{'/'.join((LOGS, rule, *wildcards))}.{suffix}"


def controller_logs() -> Path:
    """The folder in which a controller job writes its output."""
    return Path(LOGS) / "controller"


def history(encoder: str) -> str:
    """The folder of a pre-training's curves, beside the encoder that it makes."""
    return encoder.removesuffix(".safetensors")


def seconds_of_training(folder: Path) -> Path:
    """What the attempts of a training took, in the folder of its curves."""
    return folder / "spent.json"


def seconds_of_reduction(file: Path) -> Path:
    """What the attempts of a reduction took, beside its table of rows and its manifest."""
    return file.with_name(f"{file.name.partition('.')[0]}.spent.json")


def refused(product: Path) -> Path:
    """What a job says of a product that it refuses to make, beside where that would lie."""
    return product.with_suffix(f".refused{product.suffix}")
