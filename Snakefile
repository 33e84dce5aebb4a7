# headwater: where should my network's first weights come from?
#
#   snakemake -n                                  what would run, and why
#   snakemake                                     run it (config/config.yaml: the demo)
#   snakemake --configfile config/my_study.yaml   run another study
#
# The rules follow the data: archives -> prepare -> reduce -> pretrain | adopt -> finetune -> predict -> compare and
# examine -> report.

from snakemake.utils import min_version

min_version("9.8")

# a config given on the command line replaces the demo's; the two are not merged
if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/grid.smk"
include: "workflow/rules/commands.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/evaluate.smk"


rule all:
    default_target: True
    input:
        rules.report.output,


# runs only in the Snakemake that the user started, not in those inside its jobs
onstart:
    # the SLURM executor marks all its jobs with this name; other executors have none
    name = getattr(getattr(workflow.scheduler, "_executor", None), "run_uuid", None)
    try:
        session.begin(GRAPH, local=workflow.local_exec, session=name)
    except UserError as error:
        sys.exit(f"headwater: {error}")


onsuccess:
    session.end(GRAPH)
