# Where first weights come from: adopted from a checkpoint, or pre-trained here.


def size_of_encoder(wildcards):
    """Width and height that a source's network is built for: its corpus', or the largest of the datasets'."""
    source = GRID.source(wildcards.source)
    if source.corpus:
        return GRID.archive(source.corpus).size
    return max(GRID.archive(dataset.archive).size for dataset in GRID.datasets)


def corpus_of(product):
    """An input function: a product of `prepare` for the job's corpus."""
    return lambda wildcards: f"{RESULTS}/archives/{GRID.source(wildcards.source).corpus}/{product}"


def rows_of(wildcards):
    """Which rows of the corpus the source learns from."""
    source = GRID.source(wildcards.source)
    return f"{RESULTS}/corpora/{source.corpus}/{source.reduction}.parquet"


def start_of(wildcards):
    """The encoder that a pre-training continues from, if any."""
    start = GRID.source(wildcards.source).start
    return [f"{RESULTS}/encoders/{start}.safetensors"] if start else []


rule adopt:
    input:
        lambda wildcards: GRID.source(wildcards.source).weights.path or [],
    output:
        encoder=ENCODER,
        coverage=f"{RESULTS}/encoders/{{source}}.coverage.json",
    log:
        "logs/adopt/{source}.log",
    conda:
        ENVIRONMENT
    wildcard_constraints:
        source=one_of(source.name for source in GRID.sources if source.kind == "adopted"),
    params:
        source=lambda wildcards: quote(GRID.source(wildcards.source).as_json()),
        size=size_of_encoder,
    shell:
        "python {SCRIPTS}/adopt.py --source {params.source} --size {params.size}"
        " --encoder {output.encoder} --coverage {output.coverage} > {log} 2>&1"


rule pretrain:
    input:
        cases=corpus_of("cases.parquet"),
        images=corpus_of("images.npy"),
        rows=rows_of,
        start=start_of,
    output:
        encoder=ENCODER,
    log:
        "logs/pretrain/{source}.log",
    conda:
        ENVIRONMENT
    wildcard_constraints:
        source=one_of(source.name for source in GRID.sources if source.kind == "pretrained"),
    threads: TRAINING_THREADS
    params:
        launch=LAUNCH,
        source=lambda wildcards: quote(GRID.source(wildcards.source).as_json()),
        size=size_of_encoder,
        start=lambda wildcards, input: f"--start {quote(input.start[0])}" if input.start else "",
        history=f"{RESULTS}/encoders/{{source}}",
        progress=lambda wildcards: f"{PROGRESS}/{GRID.source(wildcards.source).digest}.pt",
        tracking=quote(CONFIG.tracking.as_json()),
        threads=CONFIG.compute.threads,
    shell:
        "{params.launch} {SCRIPTS}/pretrain.py --source {params.source} --size {params.size} --cases {input.cases}"
        " --images {input.images} --rows {input.rows} {params.start} --encoder {output.encoder}"
        " --history {params.history} --progress {params.progress} --tracking {params.tracking}"
        " --threads {params.threads} > {log} 2>&1"
