# Fine-tuning of each source on each dataset, predictions for its splits, and predictions for other datasets.


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
        + dropped()
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
        runs=runs_to_predict,
        images=images_of,
    shell:
        training_door("predict")
        + dropped()
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
