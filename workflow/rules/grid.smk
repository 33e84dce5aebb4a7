# The grid: reads and checks the config, and builds the common parts of rules. The job graph itself is in the library.

import gc
import inspect
import os
import re
import sys
from functools import cache
from pathlib import Path
from shlex import quote

# planned jobs live until the end, and scanning them for garbage takes a fifth of the planning time
gc.freeze()
gc.set_threshold(200_000, 100, 100)

# jobs use the Python that runs Snakemake, whether or not an environment is activated
os.environ |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])}

from headwater.cluster import config_copy, session
from headwater.core.errors import UserError
from headwater.planning import outdated, preflight
from headwater.study import config as study_config, lineage, paths, run_ids
from headwater.study.archive import ndim_of
from headwater.study.compute import Processes
from headwater.study.job_graph import JobGraph
from headwater.study.rules import PREPARED_BY

try:
    content = config if workflow.is_main_process else config_copy.in_job(config)
    CONFIG = study_config.load(content, file=", ".join(map(str, workflow.configfiles)))
    # only in the Snakemake that was started: each job reads this file twice, and need not repeat the check
    if workflow.is_main_process:
        for file in workflow.configfiles:
            config_text.refuse_ambiguous(Path(file))
        preflight.check(CONFIG)
except UserError as error:
    print(f"headwater: {error.printed}", file=sys.stderr)
    sys.exit(2)

GRAPH = JobGraph(CONFIG, label_files=preflight.label_files)
GRID, PATHS = GRAPH.grid, GRAPH.paths
if workflow.is_main_process:
    from snakemake_logger_plugin_headwater import has_last_word
    from snakemake_logger_plugin_headwater.one_timer import keep_one_timer

    keep_one_timer()
    # without label files, which need not be there any more once an archive is prepared
    LAST_WORD = has_last_word(JobGraph(CONFIG), workflow=workflow)
SCRIPTS = os.path.relpath(Path(workflow.basedir) / "scripts")
ENVIRONMENT = str(Path(workflow.basedir) / "envs" / "headwater.yaml")

ASKED_BY_SOURCE = {source.name: CONFIG.compute.resources(source.compute) for source in CONFIG.sources.values()}
ASKED_BY_RECIPE = {recipe.name: CONFIG.compute.resources(recipe.compute) for recipe in GRID.recipes}
ASKED_TO_PREDICT = CONFIG.compute.resources(Processes(ranks=1, nodes=1, compile=False, fsdp=False))
PROBES = {recipe.name for recipe in GRID.recipes if recipe.kind == "linear_probe" and recipe.compute == Processes()}


def one_of(names):
    """A wildcard pattern that matches exactly these names."""
    # (?!) matches nothing: an empty pattern would match everything
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    archive=one_of(CONFIG.archives),
    reduction=one_of(GRID.reductions),
    source=one_of(source.name for source in GRID.sources),
    dataset=one_of(dict.fromkeys(part.name for dataset in GRID.datasets for part in (dataset, *dataset.parts))),
    recipe=one_of(CONFIG.recipes),
    seed=r"\d+",


def looked_at_once(function):
    """The function with its parameters cached where Snakemake looks for them; else it inspects it for every job."""
    function._overwrite_params = inspect.signature(function).parameters
    return function


def needed(rule):
    """The inputs of a job from the job graph; one function for all, because Snakemake inspects each for every job."""
    return unpack(looked_at_once(lambda wildcards: inputs_of(rule, wildcards)))


def inputs_of(rule, wildcards):
    """The same, once Snakemake knows whether the job's products were made with other settings than the config's."""
    # an input function, because this is the first that Snakemake asks when it has begun to plan
    named = {name: getattr(wildcards, name) for name in GRAPH.rules[rule].wildcards}
    if REPEATS_OUTDATED() and outdated.differences(GRAPH, rule, named):
        workflow.dag.forcefiles.add(GRAPH.rules[rule].product.format_map(named))
    return GRAPH.looked_up(rule, wildcards)


@cache
def REPEATS_OUTDATED():
    """Whether products with other settings are made again, even those of which Snakemake has forgotten the settings.

    Not if `--rerun-triggers` leaves out `params`; what is outdated is then told at the end.
    """
    return workflow.is_main_process and LAST_WORD.repeats_outdated


def made(rule):
    """The named outputs of a rule."""
    return GRAPH.rules[rule].outputs


def log_of(rule, suffix="log"):
    """The logs of a rule's jobs: one, or one for each seed if a job covers all seeds."""
    logs = GRAPH.rules[rule].logs(rule, suffix)
    return logs if GRAPH.rules[rule].seeds else logs[0]


def each(asked_by_name, key, *, wildcard):
    """A resource of trainings: a constant if all request the same, which is planned faster, else a function."""
    values = {name: asked[key] for name, asked in asked_by_name.items()}
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return lambda wildcards: values[getattr(wildcards, wildcard)]


def prepared_by(rule):
    """Names of the archives that a rule prepares; those with `images_of` have no images of their own."""
    return [
        archive.name for archive in GRID.archives if not archive.images_of and rule == PREPARED_BY[ndim_of(archive)]
    ]


def sources_of(kind):
    """Names of the sources of this kind; controls are not among them, because they have no weights of their own."""
    return [source.name for source in CONFIG.sources.values() if source.kind == kind]
