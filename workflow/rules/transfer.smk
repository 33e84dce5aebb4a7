# Each source fitted to each dataset; its predictions on test and validation split, and elsewhere where asked for.


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
def runs_of(wildcards):
    """The records of a job's runs with all seeds, ready for the shell."""
    return " ".join(run_at(wildcards.dataset, wildcards.source, wildcards.recipe, seed)[0] for seed in GRID.seeds)


@looked_at_once
def progress_of(wildcards):
    """Where the fine-tuning of a run keeps what it needs to go on."""
    return PATHS.progress_of(run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[1])


@looked_at_once
def group_of_training(wildcards):
    """Small probes share a SLURM job, one after the other; every other training has its own."""
    return "probes" if wildcards.recipe in PROBES else None


@cache
def images_at(dataset):
    """The images of a dataset."""
    return GRAPH.images(GRID.dataset(dataset).archive)


@looked_at_once
def images_of(wildcards):
    """The images of a job's dataset."""
    return images_at(wildcards.dataset)


@cache
def asked_at(dataset):
    """What the networks of a dataset are asked of others, ready for the shell, and the others' images."""
    images = [GRAPH.images(archive) for archive in GRAPH.archives_of("abroad", dataset)]
    return quote(GRAPH.exchanges("abroad", dataset).as_json()), images


rule finetune:
    input:
        needed("finetune"),
        ledger=ancient(PATHS.ledger()),
    output:
        **made("finetune"),
    log:
        log_of("finetune"),
    group:
        group_of_training if PROBES else None
    conda:
        ENVIRONMENT
    threads: each(ASKED_BY_RECIPE, "threads", wildcard="recipe")
    resources:
        trainings=1,
        nodes=each(ASKED_BY_RECIPE, "nodes", wildcard="recipe"),
        gpu=each(ASKED_BY_RECIPE, "gpu", wildcard="recipe"),
        tasks=each(ASKED_BY_RECIPE, "tasks", wildcard="recipe"),
        slurm_extra=each(ASKED_BY_RECIPE, "slurm_extra", wildcard="recipe"),
        launch=each(ASKED_BY_RECIPE, "launch", wildcard="recipe"),
    params:
        run=run_of,
        encoder=encoder_given,
        progress=progress_of,
    shell:
        training_door("finetune", "--lease {params.progress}")
        + tracked()
        + "--run {params.run} --cases {input.cases} --images {input.images}"
        " {params.encoder} --model {output.model} --fit {output.fit}"
        " --progress {params.progress} > {log} 2>&1"


rule predict:
    input:
        needed("predict"),
        **GRAPH.rules["predict"].inputs,
    output:
        **made("predict"),
    log:
        log_of("predict"),
    conda:
        ENVIRONMENT
    threads: ASKED_TO_PREDICT["threads"]
    resources:
        trainings=1,
        gpu=ASKED_TO_PREDICT["gpu"],
        launch=ASKED_TO_PREDICT["launch"],
    params:
        runs=runs_of,
        images=images_of,
    shell:
        training_door("predict")
        + f"--saved {PATHS.progress()} "
        + "--runs {params.runs} --cases {input.cases} --images {params.images} --models {input.models}"
        " --predictions {output.predictions} --validation {output.validation} 2>&1 | tee {log} > /dev/null"


rule transport:
    input:
        needed("transport"),
        **GRAPH.rules["transport"].inputs,
    output:
        **made("transport"),
    log:
        log_of("transport"),
    conda:
        ENVIRONMENT
    threads: ASKED_TO_PREDICT["threads"]
    resources:
        trainings=1,
        gpu=ASKED_TO_PREDICT["gpu"],
        launch=ASKED_TO_PREDICT["launch"],
    params:
        runs=runs_of,
        asked=lambda wildcards: asked_at(wildcards.dataset)[0],
        images=lambda wildcards: asked_at(wildcards.dataset)[1],
    shell:
        training_door("transport")
        + "--runs {params.runs} --asked {params.asked} --cases {input.cases} --images {params.images}"
        " --models {input.models} --elsewhere {output.elsewhere} 2>&1 | tee {log} > /dev/null"
