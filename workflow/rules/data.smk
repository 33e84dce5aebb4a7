# Archives, prepared images, reductions of corpora, and the ledger of leaks.


rule twin:
    input:
        needed("twin"),
    output:
        **made("twin"),
    log:
        log_of("twin"),
    wildcard_constraints:
        archive=one_of(archive.name for archive in GRID.archives if archive.twin and not archive.images_of),
    conda:
        ENVIRONMENT
    params:
        kind=lambda wildcards: GRID.archive(wildcards.archive).kind.name,
        folder=lambda wildcards: quote(GRID.archive(wildcards.archive).folder),
        cases=lambda wildcards: GRID.archive(wildcards.archive).twin.cases,
        seed=lambda wildcards: GRID.archive(wildcards.archive).twin.seed,
        first_patient=lambda wildcards: GRID.archive(wildcards.archive).twin.first_patient,
        size=lambda wildcards: GRID.archive(wildcards.archive).twin.size,
    shell:
        door("twin") + "{params.kind} {params.folder} --cases {params.cases} --seed {params.seed}"
        " --first-patient {params.first_patient} --size {params.size} > {log} 2>&1"
        " && cp {params.folder}/twin.json {output}"


rule prepare:
    input:
        needed("prepare"),
    output:
        **made("prepare"),
    log:
        log_of("prepare"),
    wildcard_constraints:
        archive=one_of(prepared_by("prepare")),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.workers
    params:
        archive=lambda wildcards: quote(GRID.archive(wildcards.archive).as_json()),
    shell:
        door("prepare") + "--archive {params.archive} --cases {output.cases} --images {output.images}"
        " --hashes {output.hashes} --rejects {output.rejects} --labels {output.labels}"
        " --split {output.split} --workers {threads} 2>&1 | tee {log}"


rule prepare_volumes:
    input:
        needed("prepare_volumes"),
    output:
        **made("prepare_volumes"),
    log:
        log_of("prepare_volumes"),
    wildcard_constraints:
        archive=one_of(prepared_by("prepare_volumes")),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.workers
    params:
        archive=lambda wildcards: quote(GRID.archive(wildcards.archive).as_json()),
    shell:
        door("prepare_volumes") + "--archive {params.archive} --cases {output.cases} --images {output.images}"
        " --masks {output.masks} --references {output.references} --ceilings {output.ceilings}"
        " --hashes {output.hashes} --rejects {output.rejects} --labels {output.labels}"
        " --split {output.split} --workers {threads} 2>&1 | tee {log}"


rule relabel:
    input:
        needed("relabel"),
    output:
        **made("relabel"),
    log:
        log_of("relabel"),
    wildcard_constraints:
        archive=one_of(archive.name for archive in GRID.archives if archive.images_of),
    conda:
        ENVIRONMENT
    params:
        archive=lambda wildcards: quote(GRID.archive(wildcards.archive).as_json()),
    shell:
        door("relabel") + "--archive {params.archive} --first {input.first} --first-rejects {input.first_rejects}"
        " --cases {output.cases} --rejects {output.rejects} --labels {output.labels}"
        " --split {output.split} 2>&1 | tee {log}"


rule embed:
    input:
        needed("embed"),
    output:
        **made("embed"),
    log:
        log_of("embed"),
    conda:
        ENVIRONMENT
    threads: ASKED_TO_PREDICT["threads"]
    resources:
        trainings=1,
        gpu=ASKED_TO_PREDICT["gpu"],
        launch=ASKED_TO_PREDICT["launch"],
    params:
        source=lambda wildcards: (
            quote(GRAPH.looking_at(wildcards.archive, wildcards.source).as_json())
            + patch_of(wildcards.archive, wildcards.source)
        ),
        encoder=encoder_given,
    shell:
        training_door("embed") + dropped() + "--source {params.source} --cases {input.cases} --images {input.images}"
        " {params.encoder} --features {output.features} --account {output.account} > {log} 2>&1"


rule reduce:
    input:
        needed("reduce"),
    output:
        **made("reduce"),
    log:
        log_of("reduce"),
    benchmark:
        log_of("reduce", suffix="tsv")
    conda:
        ENVIRONMENT
    params:
        reduction=lambda wildcards: quote(GRID.reductions[wildcards.reduction].as_json()),
        like=reduced_with,
    shell:
        door("reduce") + dropped() + "--reduction {params.reduction} --cases {input.cases} --images {input.images}"
        " --hashes {input.hashes} --rows {output.rows} --manifest {output.manifest} {params.like} > {log} 2>&1"


rule ledger:
    input:
        needed("ledger"),
    output:
        **made("ledger"),
    log:
        log_of("ledger"),
    conda:
        ENVIRONMENT
    params:
        # a function, or Snakemake would look for wildcards in the reasons
        overlaps=lambda wildcards: quote(lineage.overlaps(GRID).as_json()),
    shell:
        door("ledger") + "--overlaps {params.overlaps} --cases {input.cases} --hashes {input.hashes}"
        " --ledger {output.ledger} --readable {output.readable}"
        + (" --dropped {output.dropped}" if GRID.leaks.resolve else "")
        + " 2>&1 | tee {log}"
