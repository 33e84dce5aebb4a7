# Sources of initial weights: adopted from a published checkpoint, or pre-trained here.


rule adopt:
    input:
        needed("adopt"),
    output:
        **made("adopt"),
    log:
        log_of("adopt"),
    wildcard_constraints:
        source=one_of(sources_of("adopted")),
    conda:
        ENVIRONMENT
    params:
        source=lambda wildcards: quote(GRID.source(wildcards.source).as_json()),
        size=size_of_encoder,
    shell:
        door("adopt") + "--source {params.source} --size {params.size}"
        " --encoder {output.encoder} --coverage {output.coverage} > {log} 2>&1"


rule pretrain:
    input:
        needed("pretrain"),
        # no training before the ledger is clean; `ancient`, so that a newer ledger repeats no training
        ledger=ancient(PATHS.ledger()),
    output:
        **made("pretrain"),
    log:
        log_of("pretrain"),
    wildcard_constraints:
        source=one_of(sources_of("pretrained")),
    conda:
        ENVIRONMENT
    threads: each(ASKED_BY_SOURCE, "threads", wildcard="source")
    resources:
        trainings=1,
        nodes=each(ASKED_BY_SOURCE, "nodes", wildcard="source"),
        gpu=each(ASKED_BY_SOURCE, "gpu", wildcard="source"),
        tasks=each(ASKED_BY_SOURCE, "tasks", wildcard="source"),
        slurm_extra=each(ASKED_BY_SOURCE, "slurm_extra", wildcard="source"),
        launch=each(ASKED_BY_SOURCE, "launch", wildcard="source"),
    params:
        source=lambda wildcards: quote(GRID.source(wildcards.source).as_json()),
        size=size_of_encoder,
        besides=besides,
        history=lambda wildcards, output: paths.history(output.encoder),
        progress=lambda wildcards: PATHS.progress_of(GRID.source(wildcards.source).digest),
    shell:
        training_door("pretrain", "--lease {params.progress}")
        + tracked()
        + dropped()
        + "--source {params.source} --size {params.size} --cases {input.cases}"
        " --images {input.images} --rows {input.rows} {params.besides} --encoder {output.encoder}"
        " --history {params.history} --progress {params.progress} > {log} 2>&1"
