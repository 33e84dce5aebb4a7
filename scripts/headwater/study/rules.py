"""Outputs of each rule of the workflow, and those inputs that follow from its wildcards alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from headwater.study.paths import Paths, log, run_path

TABLES = {
    "compare": ("", "curves", "values", "replicates", "provenance"),
    "examine": ("calibration", "reliability", "thresholds", "subgroups", "settled", "examined"),
    "cross": ("crossed",),
}
"""The tables made from all runs of a dataset, by the rule that makes them."""

PREPARED_BY = {2: "prepare", 3: "prepare_volumes"}
"""The rule that prepares an archive, by the dimensions of its images."""

NAMES = {"": "comparisons", "examined": "provenance"}
"""Names of tables in commands, where they are not the suffix of the file."""


Templates = str | list[str]
"""The template of a path, or of several."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Outputs of the jobs of one rule, and the inputs that follow from their wildcards alone."""

    wildcards: tuple[str, ...] = ()
    """Its wildcards, in the order of its first output."""
    outputs: dict[str, Templates]
    """By name; the first product identifies a job."""
    inputs: dict[str, Templates] = field(default_factory=dict)
    """By name; they come after those that `JobGraph` looks up in the grid."""
    seeds: tuple[int, ...] = ()
    """The seeds that each job handles, if the seed is not a wildcard."""

    @property
    def product(self) -> str:
        """The template of the first product."""
        return self.products[0]

    @property
    def products(self) -> list[str]:
        """The templates of all products."""
        return flat(self.outputs.values())

    def logs(self, name: str, suffix: str = "log") -> list[str]:
        """The templates of the logs of its jobs, given the rule's name."""
        wildcards = tuple(f"{{{wildcard}}}" for wildcard in self.wildcards)
        return job_logs(name, wildcards, seeds=self.seeds, suffix=suffix)


def flat(templates: Iterable[Templates]) -> list[str]:
    """All templates in one list."""
    return [template for entry in templates for template in ([entry] if isinstance(entry, str) else entry)]


def rules(paths: Paths, *, seeds: tuple[int, ...], resolved: Iterable[str] = ()) -> dict[str, Rule]:
    """Every rule of a study with these seeds whose products lie below the results folder, by its name.

    `resolved`: the archives of which the ledger lists the cases to drop from training.
    """
    tables = {
        rule: {NAMES.get(table, table): paths.compared("{dataset}", table) for table in suffixes}
        for rule, suffixes in TABLES.items()
    }
    return {
        **_rules_of_data(paths, resolved=resolved),
        **_rules_of_training(paths, seeds=seeds),
        **{rule: Rule(wildcards=("dataset",), outputs=outputs) for rule, outputs in tables.items()},
        "overlay": Rule(wildcards=("dataset",), outputs={"page": paths.overlays("{dataset}")}),
        "report": Rule(outputs={"page": paths.page()}),
    }


def _rules_of_data(paths: Paths, *, resolved: Iterable[str]) -> dict[str, Rule]:
    """The rules from archives to reduced corpora."""
    archive, source, corpus = "{archive}", "{source}", ("{archive}", "{reduction}")
    relabelled = {name: getattr(paths, name)(archive) for name in ("cases", "rejects", "labels", "split")}
    # the dictionary drops the second `cases`, and keeps its place as the first product, by which the job is known
    prepared = {name: getattr(paths, name)(archive) for name in ("cases", "images", "hashes", *relabelled)}
    outlined = {name: getattr(paths, name)(archive) for name in ("masks", "references", "ceilings")}
    features = {"features": paths.features(archive, source), "account": paths.account_of_features(archive, source)}
    dropped = [paths.dropped(name) for name in resolved]
    ledger = {"ledger": paths.ledger(), "readable": paths.ledger("csv"), **({"dropped": dropped} if dropped else {})}
    kept = {"rows": paths.rows(*corpus), "manifest": paths.manifest(*corpus)}
    return {
        "twin": Rule(wildcards=("archive",), outputs={"stamp": paths.twin(archive)}),
        "prepare": Rule(wildcards=("archive",), outputs=prepared),
        "prepare_volumes": Rule(wildcards=("archive",), outputs=prepared | outlined),
        "relabel": Rule(wildcards=("archive",), outputs=relabelled),
        "ledger": Rule(outputs=ledger),
        "embed": Rule(wildcards=("archive", "source"), outputs=features),
        "reduce": Rule(wildcards=("archive", "reduction"), outputs=kept),
    }


def _rules_of_training(paths: Paths, *, seeds: tuple[int, ...]) -> dict[str, Rule]:
    """The rules from initial weights to predictions; one job predicts with the networks of all seeds."""
    encoder, ledger = {"encoder": paths.encoder("{source}")}, {"ledger": paths.ledger()}
    run = ("dataset", "source", "recipe", "seed")
    folder = run_path(*(f"{{{name}}}" for name in run))
    fitted = {"model": paths.model(folder), "fit": paths.fit(folder)}
    folders = [run_path(*(f"{{{name}}}" for name in run[:-1]), seed) for seed in seeds]
    models = {"models": [paths.model(path) for path in folders]}
    predicted = {name: [getattr(paths, name)(path) for path in folders] for name in ("predictions", "validation")}
    elsewhere = {"elsewhere": [paths.elsewhere(path) for path in folders]}
    all_seeds = {"wildcards": run[:-1], "inputs": models, "seeds": seeds}
    return {
        "adopt": Rule(wildcards=("source",), outputs={**encoder, "coverage": paths.coverage("{source}")}),
        "pretrain": Rule(wildcards=("source",), outputs=encoder, inputs=ledger),
        "finetune": Rule(wildcards=run, outputs=fitted, inputs=ledger),
        "predict": Rule(outputs=predicted, **all_seeds),
        "transport": Rule(outputs=elsewhere, **all_seeds),
    }


def job_logs(rule: str, wildcards: tuple[str, ...], *, seeds: tuple[int, ...] = (), suffix: str = "log") -> list[str]:
    """The logs of a job, below the folder in which Snakemake is started: one per seed for a job of several seeds."""
    if seeds:
        return [log(rule, run_path(*wildcards, seed), suffix=suffix) for seed in seeds]
    return [log(rule, *((run_path(*wildcards),) if wildcards[3:] else wildcards), suffix=suffix)]
