"""What the jobs of each rule of the workflow make, and what they need by their wildcards alone."""

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


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the jobs of one rule make, and need by their wildcards alone."""

    wildcards: tuple[str, ...] = ()
    """What tells its jobs apart, in the order of its first output."""
    outputs: dict[str, str]
    """Templates by name; a job is known by its first product."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Templates by name; they come after those that the grid tells."""

    @property
    def product(self) -> str:
        """The template of the first product."""
        return next(iter(self.outputs.values()))

    def log(self, name: str, suffix: str = "log") -> str:
        """The template of the logs of its jobs, as it is the rule of that name."""
        return job_log(name, tuple(f"{{{wildcard}}}" for wildcard in self.wildcards), suffix=suffix)


def rules(paths: Paths) -> dict[str, Rule]:
    """Every rule whose products lie below the results folder, by its name."""
    tables = {
        rule: {NAMES.get(table, table): paths.compared("{dataset}", table) for table in made}
        for rule, made in TABLES.items()
    }
    return {
        **_rules_of_data(paths),
        **_rules_of_training(paths),
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


def _rules_of_training(paths: Paths) -> dict[str, Rule]:
    """From first weights to what each run's network says."""
    encoder, ledger = {"encoder": paths.encoder("{source}")}, {"ledger": paths.ledger()}
    run = ("dataset", "source", "recipe", "seed")
    folder = run_path(*(f"{{{name}}}" for name in run))
    model, said = {"model": paths.model(folder)}, ("predictions", "validation")
    return {
        "adopt": Rule(wildcards=("source",), outputs={**encoder, "coverage": paths.coverage("{source}")}),
        "pretrain": Rule(wildcards=("source",), outputs=encoder, inputs=ledger),
        "finetune": Rule(wildcards=run, outputs={**model, "fit": paths.fit(folder)}, inputs=ledger),
        "predict": Rule(wildcards=run, outputs={name: getattr(paths, name)(folder) for name in said}, inputs=model),
        "transport": Rule(wildcards=run, outputs={"elsewhere": paths.elsewhere(folder)}, inputs=model),
    }


def job_log(rule: str, wildcards: tuple[str, ...], *, suffix: str = "log") -> str:
    """The log of a job, below the folder in which Snakemake is started."""
    folders = (run_path(*wildcards),) if wildcards[3:] else wildcards
    return log(rule, *folders, suffix=suffix)
