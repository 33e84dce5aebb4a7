# The grid: the config, read and checked once, and the beginnings of commands; the library knows the job graph.

import gc
import inspect
import os
import re
import sys
from functools import cache
from pathlib import Path
from shlex import quote

# what is planned lives to the end: to look through it for garbage all the time takes a fifth of the planning
gc.freeze()
gc.set_threshold(200_000, 100, 100)

# jobs run in the Python that runs Snakemake, with or without an activated environment
os.environ |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])}

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from headwater.cluster import session
from headwater.core.errors import UserError
from headwater.planning import preflight
from headwater.study import config as study_config, lineage, paths
from headwater.study.archive import window_of
from headwater.study.compute import Processes
from headwater.study.job_graph import JobGraph

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

GRAPH = JobGraph(CONFIG, label_files=preflight.label_files)
GRID, PATHS = GRAPH.grid, GRAPH.paths
SCRIPTS = os.path.relpath(Path(workflow.basedir) / "scripts")
ENVIRONMENT = str(Path(workflow.basedir) / "envs" / "headwater.yaml")

ASKED_BY_SOURCE = {source.name: CONFIG.compute.resources(source.compute) for source in CONFIG.sources.values()}
ASKED_BY_RECIPE = {recipe.name: CONFIG.compute.resources(recipe.compute) for recipe in GRID.recipes}
ASKED_TO_PREDICT = CONFIG.compute.resources(Processes(ranks=1, nodes=1))
PROBES = {recipe.name for recipe in GRID.recipes if recipe.kind == "linear_probe" and recipe.compute == Processes()}


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


def looked_at_once(function):
    """The function with what it takes noted where Snakemake looks; it would find that out for every job anew."""
    function._overwrite_params = inspect.signature(function).parameters
    return function


def needed(rule):
    """The inputs of a job as the grid tells them, by one function, because Snakemake inspects each for every job."""
    return unpack(looked_at_once(lambda wildcards: GRAPH.looked_up(rule, wildcards)))


def made(rule):
    """The outputs of a rule by name."""
    return GRAPH.rules[rule].outputs


def log_of(rule, suffix="log"):
    """The logs of a rule's jobs: one, or one for each seed that a job serves."""
    logs = GRAPH.rules[rule].logs(rule, suffix)
    return logs if GRAPH.rules[rule].seeds else logs[0]


def door(verb):
    """The beginning of a verb's command; no param, so that a moved checkout repeats no job."""
    return f"python {quote(SCRIPTS)}/{verb}.py "


def training_door(verb, lease=""):
    """The same for a verb that trains; how many processes on which nodes changes no result and repeats no job."""
    launch = f"python {quote(SCRIPTS)}/launch.py {{resources.launch}} {lease}"
    return f"{launch} -- {quote(SCRIPTS)}/{verb}.py --device {CONFIG.compute.device} "


def tracked():
    """Where curves go, for a training's command; a change of it repeats no training."""
    record = quote(CONFIG.tracking.as_json())
    return f"--tracking {record} ".replace("{", "{{").replace("}", "}}")


def each(asked_by_name, key, *, wildcard):
    """One thing that trainings ask for: a constant where all ask the same, which plans quicker, else a function."""
    values = {name: asked[key] for name, asked in asked_by_name.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return lambda wildcards: values[getattr(wildcards, wildcard)]


@looked_at_once
def encoder_given(wildcards, input):
    """The part of a command that names the weights it starts from."""
    return f"--encoder {quote(input.encoder[0])}" if input.encoder else ""


def sources_of(kind):
    """Names of the sources that get their weights in that way; a control has no weights of its own."""
    return [source.name for source in CONFIG.sources.values() if source.kind == kind]
