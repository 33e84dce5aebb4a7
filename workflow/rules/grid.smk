# The grid: the config, read and checked once, and where each product lies.

import gc
import inspect
import os
import re
import sys
from functools import cache
from itertools import chain
from pathlib import Path
from shlex import quote

# what is planned lives to the end: to look through it for garbage all the time takes a fifth of the planning
gc.freeze()
gc.set_threshold(200_000, 100, 100)

# jobs run in the Python that runs Snakemake, with or without an activated environment
os.environ |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])}

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from headwater.cluster import slurm
from headwater.core.errors import UserError
from headwater.planning import preflight
from headwater.study import config as study_config, lineage
from headwater.study.archive import window_of
from headwater.study.compute import Processes

try:
    CONFIG = study_config.load(config, file=", ".join(map(str, workflow.configfiles)))
    # what the grid needs was looked for when it was started; each of its jobs reads this file twice
    if workflow.is_main_process:
        preflight.check(CONFIG)
except UserError as error:
    print(f"headwater: {error}", file=sys.stderr)
    sys.exit(2)

# `snakemake -n` ends with the price of what it plans
if workflow.output_settings.dryrun and workflow.is_main_process:
    from snakemake_logger_plugin_headwater import priced

    priced(CONFIG, settings=workflow.output_settings)

GRID = CONFIG.grid()
RESULTS = CONFIG.results
SCRIPTS = os.path.relpath(Path(workflow.basedir) / "scripts")
ENVIRONMENT = str(Path(workflow.basedir) / "envs" / "headwater.yaml")

ARCHIVE = f"{RESULTS}/archives/{{archive}}"
CORPUS = f"{RESULTS}/corpora/{{archive}}/{{reduction}}.parquet"
MANIFEST = f"{RESULTS}/corpora/{{archive}}/{{reduction}}.manifest.parquet"
FEATURES = f"{RESULTS}/corpora/{{archive}}/{{source}}.features.npy"
LEDGER = f"{RESULTS}/ledger.parquet"
ENCODER = f"{RESULTS}/encoders/{{source}}.safetensors"
RUN = f"{RESULTS}/runs/{{dataset}}/{{source}}/{{recipe}}/seed{{seed}}"
COMPARED = f"{RESULTS}/comparisons/{{dataset}}"
REPORT = f"{RESULTS}/report"
PROGRESS = f"{RESULTS}/progress"


def looked_at_once(function):
    """The function with what it takes noted where Snakemake looks; it would find that out for every job anew."""
    function._overwrite_params = inspect.signature(function).parameters
    return function


def door(verb):
    """The beginning of a verb's command; no param, so that a moved checkout repeats no job."""
    return f"python {quote(SCRIPTS)}/{verb}.py "


def training_door(verb, lease=""):
    """The same for a verb that trains; how many processes on which nodes changes no result and repeats no job."""
    launch = f"python {quote(SCRIPTS)}/launch.py {{resources.launch}} {lease}"
    return f"{launch} -- {quote(SCRIPTS)}/{verb}.py --device {CONFIG.compute.device} "


def asked(processes):
    """What a training asks of the machine or of SLURM. Several nodes get their GPUs node by node: plugin 2.8.0 would
    share out `gpu` as SLURM likes, and `tasks` beside `gpu` would start as many tasks for each GPU."""
    here = processes.ranks // processes.nodes
    gpus = 0 if CONFIG.compute.device == "cpu" else here
    several = processes.nodes > 1
    by_node = "--ntasks-per-node=1" + (f" --gpus-per-node={gpus}" if gpus else "")
    return {
        "threads": here * processes.threads,
        "nodes": processes.nodes,
        "gpu": 0 if several else gpus,
        "tasks": processes.nodes if several else 0,
        "slurm_extra": by_node if several else "",
        "launch": f"--ranks {processes.ranks} --nodes {processes.nodes} --threads {processes.threads} --gpus {gpus}",
    }


ASKED_BY_SOURCE = {source.name: asked(CONFIG.compute.of(source.compute)) for source in CONFIG.sources.values()}
ASKED_BY_RECIPE = {recipe.name: asked(CONFIG.compute.of(recipe.compute)) for recipe in GRID.recipes}
ASKED_TO_PREDICT = asked(CONFIG.compute.of(Processes(ranks=1, nodes=1)))


PROBES = {recipe.name for recipe in GRID.recipes if recipe.kind == "linear_probe" and recipe.compute == Processes()}


@looked_at_once
def group_of_training(wildcards):
    """Small probes share a SLURM job, one after the other; every other training has its own."""
    return "probes" if wildcards.recipe in PROBES else None


def each(asked_by_name, key, *, wildcard):
    """One thing that trainings ask for: a constant where all ask the same, which plans quicker, else a function."""
    values = {name: asked[key] for name, asked in asked_by_name.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return lambda wildcards: values[getattr(wildcards, wildcard)]


def tracked():
    """Where curves go, for a training's command; a change of it repeats no training."""
    record = quote(CONFIG.tracking.as_json())
    return f"--tracking {record} ".replace("{", "{{").replace("}", "}}")


def one_of(names):
    """A wildcard pattern that matches these names and no others."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    archive=one_of(CONFIG.archives),
    reduction=one_of(GRID.reductions),
    source=one_of(source.name for source in GRID.sources),
    dataset=one_of(CONFIG.datasets),
    recipe=one_of(CONFIG.recipes),
    seed=r"\d+",


def archive_of(wildcards):
    """The archive record behind a job on a dataset."""
    return GRID.archive(GRID.dataset(wildcards.dataset).archive)


def sources_of(kind):
    """Names of the sources that get their weights in that way; a control has no weights of its own."""
    return [source.name for source in CONFIG.sources.values() if source.kind == kind]


def archives_used():
    """The archives that are trained or tested on, or by which a step is chosen."""
    learned = {archive for source in GRID.sources for archive in source.archives}
    return sorted({dataset.archive for dataset in GRID.datasets} | learned)


def prepared(product):
    """An input function: a product of `prepare` for the job's dataset."""
    return lambda wildcards: f"{RESULTS}/archives/{archive_of(wildcards).name}/{product}"


@looked_at_once
def encoder_given(wildcards, input):
    """The part of a fine-tuning's command that names the weights it starts from."""
    return f"--encoder {quote(input.encoder[0])}" if input.encoder else ""


def origin_of(wildcards):
    """What an archive's cases are read from: its label files, or the stamp of its twin."""
    archive = GRID.archive(wildcards.archive)
    return [f"{RESULTS}/twins/{GRID.images_of(archive.name)}.json"] if archive.twin else preflight.label_files(archive)


def images_at(archive):
    """The prepared images of an archive, which may be those of another."""
    return f"{RESULTS}/archives/{GRID.images_of(archive)}/images.npy"


def hashes_at(archive):
    """The hashes of those images."""
    return f"{RESULTS}/archives/{GRID.images_of(archive)}/hashes.npy"


def looking_at(archive, *, source):
    """A source that looks at the images of an archive, through that archive's window."""
    return GRID.source(source).model_copy(update={"seen": window_of(GRID.archive(archive))})


def rows_alike(wildcards):
    """The rows of the reduction that this one is to keep as many images as, if any."""
    like = GRID.like(wildcards.reduction)
    return [CORPUS.format(archive=wildcards.archive, reduction=like)] if like else []


def reduced_with(wildcards, input):
    """The part of a reduction's command that names what it needs besides the images."""
    given = {"--like": input.like, "--features": input.features}
    return " ".join(f"{flag} {quote(files[0])}" for flag, files in given.items() if files)


def manifests_of_corpora():
    """What became of the images of all corpora, where a pre-training learns from a part of one only."""
    corpora = GRID.corpora if GRID.reduced else ()
    return [MANIFEST.format(archive=archive, reduction=reduction) for archive, reduction in corpora]


def features_given(wildcards):
    """What an encoder sees in the images, for a reduction that asks for it."""
    looker = GRID.looked_at_by(wildcards.reduction)
    return [FEATURES.format(archive=wildcards.archive, source=looker)] if looker else []


@cache
def material_at(dataset):
    """What is fine-tuned on and tested, by the name of the input."""
    archive = GRID.dataset(dataset).archive
    return {"cases": f"{RESULTS}/archives/{archive}/cases.parquet", "images": images_at(archive)}


@looked_at_once
def cases_of(wildcards):
    """The cases of a job's dataset."""
    return material_at(wildcards.dataset)["cases"]


@looked_at_once
def images_of(wildcards):
    """The images of a job's dataset."""
    return material_at(wildcards.dataset)["images"]


@looked_at_once
def material_and_encoder_of(wildcards):
    """Cases and images of a job's dataset, and the weights that the run starts from: one function for all inputs,
    because Snakemake inspects each for every job."""
    return material_at(wildcards.dataset) | {"encoder": encoder_at(wildcards.source)}


@cache
def run_at(dataset, source, recipe, seed):
    """A run's record, ready for the shell, and its digest: made once, though several jobs and params ask."""
    run = GRID.run(dataset, source, recipe, seed)
    return quote(run.as_json()), run.digest


@looked_at_once
def run_of(wildcards):
    """The run record of a job, ready for the shell."""
    return run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[0]


@looked_at_once
def progress_of(wildcards):
    """Where the fine-tuning of a run keeps what it needs to go on."""
    digest = run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[1]
    return f"{PROGRESS}/{digest}.pt"


@cache
def exchanged(way, dataset):
    """What a dataset shares with others: `abroad` for what its networks are asked, `guests` for who is asked of it."""
    # reading labels takes a moment, which a study without external validation need not wait for
    from headwater.study import shared_labels

    return getattr(shared_labels, way)(GRID, dataset)


@cache
def asked_at(dataset):
    """What the networks of a dataset are asked of others, ready for the shell, and the others' material."""
    asked = exchanged("abroad", dataset)
    material = [material_at(other.dataset) for other in asked.others]
    return quote(asked.as_json()), *([one[kind] for one in material] for kind in ("cases", "images"))


def of_guests(wildcards, *, product):
    """A product of all runs that were fitted to other datasets and predict on a dataset's test cases."""
    if not CONFIG.comparison.external:
        return []
    from headwater.study import shared_labels

    others = exchanged("guests", wildcards.dataset).others
    runs = chain.from_iterable(shared_labels.runs(GRID, other.dataset) for other in others)
    return [f"{RESULTS}/runs/{run.path}/{product}" for run in runs]


def elsewhere_on(wildcards):
    """What all networks fitted to other datasets say of a dataset's test cases."""
    return of_guests(wildcards, product="elsewhere.parquet")


def validation_of_guests(wildcards):
    """What those networks say of their own validation cases."""
    return of_guests(wildcards, product="validation.parquet")


def guests_given(wildcards, input):
    """The part of an examination's command that names those networks' products."""
    if not input.elsewhere:
        return ""
    files = {name: " ".join(map(quote, input[name])) for name in GUESTS}
    named = " ".join(f"--{name.replace('_', '-')} {given}" for name, given in files.items())
    return f"--fitted-to {quote(exchanged('guests', wildcards.dataset).as_json())} {named}"


GUESTS = ("elsewhere", "validation_elsewhere", "labels_elsewhere")
"""Inputs of an examination that are there only where networks are tested elsewhere, too."""


def labels_of_guests(wildcards):
    """Who bears which label in the archives that those networks were fitted to."""
    if not CONFIG.comparison.external:
        return []
    archives = [GRID.dataset(other.dataset).archive for other in exchanged("guests", wildcards.dataset).others]
    return [f"{RESULTS}/archives/{archive}/labels.parquet" for archive in archives]


def crossed():
    """The tables of all datasets that share a finding with another; none where no one asks for them."""
    datasets = CONFIG.datasets if CONFIG.comparison.external else ()
    return [
        f"{RESULTS}/comparisons/{dataset}.crossed.parquet"
        for dataset in datasets
        if exchanged("guests", dataset).others
    ]


def products_of_runs(wildcards, *, product):
    """A product of every run on one dataset."""
    return [f"{RESULTS}/runs/{run.path}/{product}" for run in GRID.runs(wildcards.dataset)]


def size_of_encoder(wildcards):
    """Width and height that a source's network is built for: its corpus', or the largest of the datasets'."""
    source = GRID.source(wildcards.source)
    if source.corpus:
        return GRID.archive(source.corpus).size
    return max(GRID.archive(dataset.archive).size for dataset in GRID.datasets)


def cases_of_corpus(wildcards):
    """The cases of the job's corpus."""
    return f"{RESULTS}/archives/{GRID.source(wildcards.source).corpus}/cases.parquet"


def images_of_corpus(wildcards):
    """The images of the job's corpus."""
    return images_at(GRID.source(wildcards.source).corpus)


def rows_of(wildcards):
    """Which rows of the corpus the source learns from."""
    source = GRID.source(wildcards.source)
    return CORPUS.format(archive=source.corpus, reduction=source.reduction)


def start_of(wildcards):
    """The encoder that a pre-training continues from, if any."""
    start = GRID.source(wildcards.source).start
    return [f"{RESULTS}/encoders/{start}.safetensors"] if start else []


def probed_by(wildcards):
    """The cases and the images by which a pre-training chooses its step, if it does."""
    probe = GRID.source(wildcards.source).probe
    return [f"{RESULTS}/archives/{probe.archive}/cases.parquet", images_at(probe.archive)] if probe else []


def besides(wildcards, input):
    """The part of a pre-training's command that names what only some have: first weights, and what chooses a step."""
    start = f"--start {quote(input.start[0])}" if input.start else ""
    probe = "--probe-cases {} --probe-images {}".format(*map(quote, input.probe)) if input.probe else ""
    return " ".join(part for part in (start, probe) if part)


@cache
def encoder_at(source):
    """The weights that a run starts from: for a control those of its source; none for a random start."""
    original = GRID.source(source).original
    return [] if original.kind == "random" else [f"{RESULTS}/encoders/{original.name}.safetensors"]


def before_the_first_job():
    """Stop where trainings want several nodes and there is but this machine; end what a killed Snakemake has left."""
    asked = [*ASKED_BY_SOURCE.values(), *ASKED_BY_RECIPE.values()]
    if workflow.local_exec and not slurm.own_number() and max(training["nodes"] for training in asked) > 1:
        sys.exit("headwater: trainings on several nodes need SLURM; set nodes: 1, or say --profile profiles/slurm")
    # only the executor of SLURM knows a name for its jobs
    session = getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)
    slurm.end_former(Path(PROGRESS) / "sessions", session=session)


def forget_progress():
    """Take away what trainings have saved that are finished for good: nothing is at work any more."""
    products = {
        f"{PROGRESS}/{source.digest}.pt": f"{RESULTS}/encoders/{source.name}.safetensors" for source in GRID.sources
    }
    for run in chain.from_iterable(GRID.runs(dataset.name) for dataset in GRID.datasets):
        products[f"{PROGRESS}/{run.digest}.pt"] = f"{RESULTS}/runs/{run.path}/model.safetensors"
    for saved in map(str, Path(PROGRESS).glob("*.pt")):
        if saved in products and Path(products[saved]).exists():
            Path(saved).unlink()


def print_summary():
    """Show the verdict where the run was started."""
    summary = Path(REPORT) / "summary.txt"
    if summary.exists():
        print(summary.read_text())
