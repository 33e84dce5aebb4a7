# Each source fitted to each dataset; its predictions on test and validation split, and elsewhere where asked for.


rule finetune:
    input:
        unpack(material_and_encoder_of),
        ledger=ancient(LEDGER),
    output:
        model=f"{RUN}/model.safetensors",
        fit=f"{RUN}/fit.json",
    log:
        "logs/finetune/{dataset}/{source}/{recipe}/seed{seed}.log",
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
        # made by the job that made the images, which no plan of thousands of runs needs to look at again
        cases=cases_of,
        model=f"{RUN}/model.safetensors",
    output:
        predictions=f"{RUN}/predictions.parquet",
        validation=f"{RUN}/validation.parquet",
    log:
        "logs/predict/{dataset}/{source}/{recipe}/seed{seed}.log",
    conda:
        ENVIRONMENT
    threads: ASKED_TO_PREDICT["threads"]
    resources:
        trainings=1,
        gpu=ASKED_TO_PREDICT["gpu"],
        launch=ASKED_TO_PREDICT["launch"],
    params:
        run=run_of,
        images=images_of,
    shell:
        training_door("predict")
        + f"--saved {PROGRESS} "
        + "--runs {params.run} --cases {input.cases} --images {params.images}"
        " --models {input.model} --predictions {output.predictions} --validation {output.validation} > {log} 2>&1"


rule transport:
    input:
        cases=lambda wildcards: asked_at(wildcards.dataset)[1],
        model=f"{RUN}/model.safetensors",
    output:
        elsewhere=f"{RUN}/elsewhere.parquet",
    log:
        "logs/transport/{dataset}/{source}/{recipe}/seed{seed}.log",
    conda:
        ENVIRONMENT
    threads: ASKED_TO_PREDICT["threads"]
    resources:
        trainings=1,
        gpu=ASKED_TO_PREDICT["gpu"],
        launch=ASKED_TO_PREDICT["launch"],
    params:
        run=run_of,
        asked=lambda wildcards: asked_at(wildcards.dataset)[0],
        images=lambda wildcards: asked_at(wildcards.dataset)[2],
    shell:
        training_door("transport")
        + "--runs {params.run} --asked {params.asked} --cases {input.cases} --images {params.images}"
        " --models {input.model} --elsewhere {output.elsewhere} > {log} 2>&1"
