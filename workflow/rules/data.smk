# From archives to prepared pixels, and which of them a corpus keeps.


rule twin:
    output:
        f"{RESULTS}/twins/{{archive}}.json",
    log:
        "logs/twin/{archive}.log",
    wildcard_constraints:
        archive=one_of(archive.name for archive in GRID.archives if archive.twin),
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
        lambda wildcards: (
            [f"{RESULTS}/twins/{wildcards.archive}.json"]
            if GRID.archive(wildcards.archive).twin
            else preflight.label_files(GRID.archive(wildcards.archive))
        ),
    output:
        cases=f"{ARCHIVE}/cases.parquet",
        images=f"{ARCHIVE}/images.npy",
        rejects=f"{ARCHIVE}/rejects.parquet",
        labels=f"{ARCHIVE}/labels.parquet",
    log:
        "logs/prepare/{archive}.log",
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.workers
    params:
        archive=lambda wildcards: quote(GRID.archive(wildcards.archive).as_json()),
    shell:
        door("prepare") + "--archive {params.archive} --cases {output.cases} --images {output.images}"
        " --rejects {output.rejects} --labels {output.labels} --workers {threads} 2>&1 | tee {log}"


rule reduce:
    input:
        cases=f"{ARCHIVE}/cases.parquet",
        images=f"{ARCHIVE}/images.npy",
    output:
        rows=f"{RESULTS}/corpora/{{archive}}/{{reduction}}.parquet",
    log:
        "logs/reduce/{archive}/{reduction}.log",
    conda:
        ENVIRONMENT
    params:
        reduction=lambda wildcards: quote(GRID.reductions[wildcards.reduction].as_json()),
    shell:
        door("reduce") + "--reduction {params.reduction} --cases {input.cases} --images {input.images}"
        " --rows {output.rows} > {log} 2>&1"
