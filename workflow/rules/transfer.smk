# Each source fitted to each dataset, and its predictions on the test split.


rule finetune:
    input:
        cases=prepared("cases.parquet"),
        images=prepared("images.npy"),
        encoder=encoder_of,
    output:
        model=f"{RUN}/model.safetensors",
        fit=f"{RUN}/fit.json",
    log:
        "logs/finetune/{dataset}/{source}/{recipe}/seed{seed}.log",
    conda:
        ENVIRONMENT
    threads: TRAINING_THREADS
    resources:
        trainings=1,
    params:
        run=run_of,
        encoder=lambda wildcards, input: (f"--encoder {quote(input.encoder[0])}" if input.encoder else ""),
        history=subpath(output.model, parent=True),
        progress=progress_of,
    shell:
        training_door("finetune") + tracked() + "--run {params.run} --cases {input.cases} --images {input.images}"
        " {params.encoder} --model {output.model} --fit {output.fit} --history {params.history}"
        " --progress {params.progress} > {log} 2>&1"


rule predict:
    input:
        cases=prepared("cases.parquet"),
        images=prepared("images.npy"),
        model=f"{RUN}/model.safetensors",
    output:
        predictions=f"{RUN}/predictions.parquet",
    log:
        "logs/predict/{dataset}/{source}/{recipe}/seed{seed}.log",
    conda:
        ENVIRONMENT
    threads: TRAINING_THREADS
    resources:
        trainings=1,
    params:
        run=run_of,
    shell:
        training_door("predict") + "--run {params.run} --cases {input.cases} --images {input.images}"
        " --model {input.model} --predictions {output.predictions} > {log} 2>&1"
