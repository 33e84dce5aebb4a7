# headwater: where should my network's first weights come from?
#
#   snakemake -n                                  what would run, and why
#   snakemake                                     run it (config/config.yaml: the demo)
#   snakemake --configfile config/my_study.yaml   run another study
#
# The rules follow the data: archives -> prepare -> reduce -> pretrain | adopt -> finetune -> predict -> compare and
# examine -> report.

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.8")

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from headwater.core.errors import exit_on_user_error
from headwater.reporting import exhibits
from headwater.study import config_text

# a config given on the command line replaces the demo's; the two are not merged. A job on a cluster is given the copy
# of the config by which it was planned
if not workflow.configfiles and "copy_of_config" not in config:

    # Snakemake ends in a traceback where it cannot read one; what is given by --configfile it has read before
    with exit_on_user_error(""):
        config_text.read(Path("config/config.yaml"))

    configfile: "config/config.yaml"


include: "workflow/rules/grid.smk"
include: "workflow/rules/commands.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/evaluate.smk"


# what `snakemake --report` shows, once there is anything to show
REPORTED = [PATHS.report()] if workflow.is_main_process and Path(PATHS.report()).is_dir() else []
EXHIBITS = exhibits.exhibits(GRID) if REPORTED else {}


report: "workflow/report/study.rst"


rule all:
    default_target: True
    input:
        rules.report.output,
        # inputs of this rule and not outputs of the last, so that neither is repeated where they change, and the
        # settings of the last, which name the user's folders, stand nowhere
        report(
            REPORTED,
            patterns=[exhibits.pattern(EXHIBITS)],
            caption="workflow/report/exhibit.rst",
            category=lambda wildcards: EXHIBITS[wildcards.file].category,
            subcategory=lambda wildcards: EXHIBITS[wildcards.file].subcategory,
            labels=lambda wildcards: EXHIBITS[wildcards.file].labels,
        ),
    params:
        captions=exhibits.captions(EXHIBITS),


# runs only in the Snakemake that the user started, not in those inside its jobs
onstart:
    # the SLURM executor marks all its jobs with this name; other executors have none
    name = getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)
    try:
        copy = session.begin(GRAPH, content=config, local=workflow.local_exec, session=name)
    except UserError as error:
        LAST_WORD.after_a_failure()
        sys.exit(f"headwater: {error}")
    # what Snakemake would give to jobs on a cluster: these files and options; the copy includes them
    workflow.config_settings.configfiles = []
    workflow.config_settings.config_args = config_copy.for_jobs(copy)
    LAST_WORD.before_the_first_job()


onsuccess:
    session.end(GRAPH)
    LAST_WORD.after_success()


onerror:
    LAST_WORD.after_a_failure()
