"""What the jobs of each rule of the workflow make, and what they need by their wildcards alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from headwater.study.paths import Paths, log, run_path

TABLES = {
    "compare": ("", "curves", "values", "replicates", "provenance"),
    "examine": ("calibration", "reliability", "thresholds", "subgroups", "settled", "examined"),
    "cross": ("crossed",),
}
"""The tables that are made of all runs of a dataset, by the rule that makes them."""

NAMES = {"": "comparisons", "examined": "provenance"}
"""What commands call a table that they do not call by the end of its file."""


Templates = str | list[str]
"""The template of a path, or of several."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the jobs of one rule make, and need by their wildcards alone."""

    wildcards: tuple[str, ...] = ()
    """What tells its jobs apart, in the order of its first output."""
    outputs: dict[str, Templates]
    """By name; a job is known by its first product."""
    inputs: dict[str, Templates] = field(default_factory=dict)
    """By name; they come after those that the grid tells."""
    seeds: tuple[int, ...] = ()
    """The seeds that each job serves, where that is not the seed of its wildcards."""

    @property
    def product(self) -> str:
        """The template of the first product."""
        return self.products[0]

    @property
    def products(self) -> list[str]:
        """The templates of all products."""
        return flat(self.outputs.values())

    def logs(self, name: str, suffix: str = "log") -> list[str]:
        """The templates of the logs of its jobs, as it is the rule of that name."""
        wildcards = tuple(f"{{{wildcard}}}" for wildcard in self.wildcards)
        return job_logs(name, wildcards, seeds=self.seeds, suffix=suffix)


def flat(templates: Iterable[Templates]) -> list[str]:
    """Every single template."""
    return [single for some in templates for single in ([some] if isinstance(some, str) else some)]


def rules(paths: Paths, *, seeds: tuple[int, ...]) -> dict[str, Rule]:
    """Every rule of a study with these seeds whose products lie below the results folder, by its name."""
    tables = {
        rule: {NAMES.get(table, table): paths.compared("{dataset}", table) for table in made}
        for rule, made in TABLES.items()
    }
    return {
        **_rules_of_data(paths),
        **_rules_of_training(paths, seeds=seeds),
        **{rule: Rule(wildcards=("dataset",), outputs=made) for rule, made in tables.items()},
        "report": Rule(outputs={"page": paths.page()}),
    }


def _rules_of_data(paths: Paths) -> dict[str, Rule]:
    """From archives to what a corpus keeps of them."""
    archive, source, corpus = "{archive}", "{source}", ("{archive}", "{reduction}")
    read_anew = {name: getattr(paths, name)(archive) for name in ("cases", "rejects", "labels", "split")}
    prepared = {name: getattr(paths, name)(archive) for name in ("cases", "images", "hashes", *read_anew)}
    features = {"features": paths.features(archive, source), "account": paths.account_of_features(archive, source)}
    kept = {"rows": paths.rows(*corpus), "manifest": paths.manifest(*corpus)}
    return {
        "twin": Rule(wildcards=("archive",), outputs={"stamp": paths.twin(archive)}),
        "prepare": Rule(wildcards=("archive",), outputs=prepared),
        "relabel": Rule(wildcards=("archive",), outputs=read_anew),
        "ledger": Rule(outputs={"ledger": paths.ledger(), "readable": paths.ledger("csv")}),
        "embed": Rule(wildcards=("archive", "source"), outputs=features),
        "reduce": Rule(wildcards=("archive", "reduction"), outputs=kept),
    }


def _rules_of_training(paths: Paths, *, seeds: tuple[int, ...]) -> dict[str, Rule]:
    """From first weights to what each run's network says, which one job asks the networks of all seeds for."""
    encoder, ledger = {"encoder": paths.encoder("{source}")}, {"ledger": paths.ledger()}
    run = ("dataset", "source", "recipe", "seed")
    folder = run_path(*(f"{{{name}}}" for name in run))
    fitted = {"model": paths.model(folder), "fit": paths.fit(folder)}
    folders = [run_path(*(f"{{{name}}}" for name in run[:-1]), seed) for seed in seeds]
    models = {"models": [paths.model(one) for one in folders]}
    said = {name: [getattr(paths, name)(one) for one in folders] for name in ("predictions", "validation")}
    elsewhere = {"elsewhere": [paths.elsewhere(one) for one in folders]}
    all_seeds = {"wildcards": run[:-1], "inputs": models, "seeds": seeds}
    return {
        "adopt": Rule(wildcards=("source",), outputs={**encoder, "coverage": paths.coverage("{source}")}),
        "pretrain": Rule(wildcards=("source",), outputs=encoder, inputs=ledger),
        "finetune": Rule(wildcards=run, outputs=fitted, inputs=ledger),
        "predict": Rule(outputs=said, **all_seeds),
        "transport": Rule(outputs=elsewhere, **all_seeds),
    }


def job_logs(rule: str, wildcards: tuple[str, ...], *, seeds: tuple[int, ...] = (), suffix: str = "log") -> list[str]:
    """The logs of a job, below the folder in which Snakemake is started: one for each of its seeds, if it has any."""
    if seeds:
        return [log(rule, run_path(*wildcards, seed), suffix=suffix) for seed in seeds]
    return [log(rule, *((run_path(*wildcards),) if wildcards[3:] else wildcards), suffix=suffix)]
