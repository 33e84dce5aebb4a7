# From archives to prepared pixels, and which of them a corpus keeps.


rule twin:
    output:
        f"{RESULTS}/twins/{{archive}}.json",
    log:
        "logs/twin/{archive}.log",
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
        origin_of,
    output:
        cases=f"{ARCHIVE}/cases.parquet",
        images=f"{ARCHIVE}/images.npy",
        hashes=f"{ARCHIVE}/hashes.npy",
        rejects=f"{ARCHIVE}/rejects.parquet",
        labels=f"{ARCHIVE}/labels.parquet",
        split=f"{ARCHIVE}/split.json",
    log:
        "logs/prepare/{archive}.log",
    wildcard_constraints:
        archive=one_of(archive.name for archive in GRID.archives if not archive.images_of),
    conda:
        ENVIRONMENT
    threads: CONFIG.compute.workers
    params:
        archive=lambda wildcards: quote(GRID.archive(wildcards.archive).as_json()),
    shell:
        door("prepare") + "--archive {params.archive} --cases {output.cases} --images {output.images}"
        " --hashes {output.hashes} --rejects {output.rejects} --labels {output.labels}"
        " --split {output.split} --workers {threads} 2>&1 | tee {log}"


rule relabel:
    input:
        origin_of,
        first=lambda wildcards: f"{RESULTS}/archives/{GRID.images_of(wildcards.archive)}/cases.parquet",
        first_rejects=lambda wildcards: f"{RESULTS}/archives/{GRID.images_of(wildcards.archive)}/rejects.parquet",
    output:
        cases=f"{ARCHIVE}/cases.parquet",
        rejects=f"{ARCHIVE}/rejects.parquet",
        labels=f"{ARCHIVE}/labels.parquet",
        split=f"{ARCHIVE}/split.json",
    log:
        "logs/relabel/{archive}.log",
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
        cases=f"{ARCHIVE}/cases.parquet",
        images=lambda wildcards: images_at(wildcards.archive),
        encoder=lambda wildcards: encoder_at(wildcards.source),
    output:
        features=FEATURES,
        account=f"{RESULTS}/corpora/{{archive}}/{{source}}.features.json",
    log:
        "logs/embed/{archive}/{source}.log",
    conda:
        ENVIRONMENT
    threads: ASKED_TO_PREDICT["threads"]
    resources:
        trainings=1,
        gpu=ASKED_TO_PREDICT["gpu"],
        launch=ASKED_TO_PREDICT["launch"],
    params:
        source=lambda wildcards: quote(looking_at(wildcards.archive, source=wildcards.source).as_json()),
        encoder=encoder_given,
    shell:
        training_door("embed") + "--source {params.source} --cases {input.cases} --images {input.images}"
        " {params.encoder} --features {output.features} --account {output.account} > {log} 2>&1"


rule reduce:
    input:
        cases=f"{ARCHIVE}/cases.parquet",
        images=lambda wildcards: images_at(wildcards.archive),
        hashes=lambda wildcards: hashes_at(wildcards.archive),
        like=rows_alike,
        features=features_given,
    output:
        rows=CORPUS,
        manifest=MANIFEST,
    log:
        "logs/reduce/{archive}/{reduction}.log",
    benchmark:
        "logs/reduce/{archive}/{reduction}.tsv"
    conda:
        ENVIRONMENT
    params:
        reduction=lambda wildcards: quote(GRID.reductions[wildcards.reduction].as_json()),
        like=reduced_with,
    shell:
        door("reduce") + "--reduction {params.reduction} --cases {input.cases} --images {input.images}"
        " --hashes {input.hashes} --rows {output.rows} --manifest {output.manifest} {params.like} > {log} 2>&1"


rule ledger:
    input:
        cases=expand(f"{ARCHIVE}/cases.parquet", archive=[learned.archive for learned in GRID.overlaps.archives]),
        hashes=expand(f"{ARCHIVE}/hashes.npy", archive=[learned.archive for learned in GRID.overlaps.archives]),
    output:
        ledger=LEDGER,
        readable=f"{RESULTS}/ledger.csv",
    log:
        "logs/ledger.log",
    conda:
        ENVIRONMENT
    params:
        overlaps=quote(lineage.overlaps(GRID).as_json()),
    shell:
        door("ledger") + "--overlaps {params.overlaps} --cases {input.cases} --hashes {input.hashes}"
        " --ledger {output.ledger} --readable {output.readable} 2>&1 | tee {log}"
