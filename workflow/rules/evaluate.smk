# Comparison of all runs of a dataset, and the report over all datasets.

from headwater.reporting import artefacts


rule compare:
    input:
        needed("compare"),
    output:
        **made("compare"),
    log:
        log_of("compare"),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
        records=lambda wildcards: " ".join(GRAPH.records(wildcards.dataset)),
    shell:
        door("compare")
        + results_tracked()
        + "--comparison {params.comparison} --predictions {input.predictions} --records {params.records}"
        " --labels {input.labels}"
        " --comparisons {output.comparisons} --curves {output.curves}"
        " --values {output.values} --replicates {output.replicates}"
        " --provenance {output.provenance} --threads {threads} > {log} 2>&1"


rule examine:
    input:
        needed("examine"),
    output:
        **made("examine"),
    log:
        log_of("examine"),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
        records=lambda wildcards: " ".join(GRAPH.records(wildcards.dataset)),
        guests=guests_given,
    shell:
        door("examine")
        + "--comparison {params.comparison} --predictions {input.predictions} --records {params.records}"
        " --validation {input.validation} --labels {input.labels} --cases {input.cases}"
        " --calibration {output.calibration} --reliability {output.reliability} --thresholds {output.thresholds}"
        " --subgroups {output.subgroups} --settled {output.settled} --provenance {output.provenance} {params.guests} --threads {threads} > {log} 2>&1"


rule cross:
    input:
        needed("cross"),
    output:
        **made("cross"),
    log:
        log_of("cross"),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
        records=lambda wildcards: " ".join(GRAPH.records(wildcards.dataset)),
        fitted_to=lambda wildcards: quote(GRAPH.exchanges("guests", wildcards.dataset).as_json()),
        records_elsewhere=lambda wildcards: " ".join(GRAPH.records_of_guests(wildcards.dataset)),
    shell:
        door("cross") + "--comparison {params.comparison} --fitted-to {params.fitted_to}"
        " --predictions {input.predictions} --records {params.records} --elsewhere {input.elsewhere}"
        " --records-elsewhere {params.records_elsewhere}"
        " --labels {input.labels} --labels-elsewhere {input.labels_elsewhere}"
        " --crossed {output.crossed} --threads {threads} > {log} 2>&1"


rule overlay:
    input:
        needed("overlay"),
    output:
        **made("overlay"),
    log:
        log_of("overlay"),
    conda:
        ENVIRONMENT
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
        records=lambda wildcards: " ".join(GRAPH.records(wildcards.dataset)),
        dataset=lambda wildcards: quote(GRID.dataset(wildcards.dataset).as_json()),
        images=images_of,
        patch=lambda wildcards: words(GRID.archive(GRID.dataset(wildcards.dataset).archive).patch),
    shell:
        door("overlay")
        + "--comparison {params.comparison} --predictions {input.predictions} --records {params.records}"
        " --dataset {params.dataset} --cases {input.cases} --images {params.images} --patch {params.patch}"
        " --page {output.page} > {log} 2>&1"


TABLES = artefacts.table_files(GRID)


rule report:
    input:
        needed("report"),
    output:
        PATHS.page(),
        [PATHS.table(name, suffix) for name, suffixes in TABLES.items() if len(suffixes) > 1 for suffix in suffixes],
        [PATHS.table(*file) for file in artefacts.documents(GRID)],
        PATHS.summary(),
        [PATHS.table(name, *suffixes) for name, suffixes in TABLES.items() if len(suffixes) == 1],
    log:
        log_of("report"),
    conda:
        ENVIRONMENT
    params:
        # a function, or Snakemake would look for wildcards in the labels
        grid=lambda wildcards: quote(GRID.as_json()),
        folder=subpath(output[0], parent=True),
    shell:
        door("report")
        + results_tracked()
        + f"--grid {{params.grid}} --results {quote(CONFIG.results)} --folder {{params.folder}} > {{log}} 2>&1"
