# All runs of a dataset compared, and the tables and figures over all datasets.

from headwater.reporting import artefacts


rule compare:
    input:
        predictions=lambda wildcards: products_of_runs(wildcards, product="predictions.parquet"),
        labels=prepared("labels.parquet"),
    output:
        comparisons=f"{COMPARED}.parquet",
        curves=f"{COMPARED}.curves.parquet",
        values=f"{COMPARED}.values.parquet",
        replicates=f"{COMPARED}.replicates.parquet",
        provenance=f"{COMPARED}.provenance.parquet",
    log:
        "logs/compare/{dataset}.log",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
    shell:
        door("compare") + "--comparison {params.comparison} --predictions {input.predictions}"
        " --labels {input.labels}"
        " --comparisons {output.comparisons} --curves {output.curves}"
        " --values {output.values} --replicates {output.replicates}"
        " --provenance {output.provenance} --threads {threads} > {log} 2>&1"


rule examine:
    input:
        predictions=lambda wildcards: products_of_runs(wildcards, product="predictions.parquet"),
        validation=lambda wildcards: products_of_runs(wildcards, product="validation.parquet"),
        labels=prepared("labels.parquet"),
        cases=cases_of,
        elsewhere=elsewhere_on,
        validation_elsewhere=validation_of_guests,
        labels_elsewhere=labels_of_guests,
    output:
        calibration=f"{COMPARED}.calibration.parquet",
        reliability=f"{COMPARED}.reliability.parquet",
        thresholds=f"{COMPARED}.thresholds.parquet",
        subgroups=f"{COMPARED}.subgroups.parquet",
        settled=f"{COMPARED}.settled.parquet",
        provenance=f"{COMPARED}.examined.parquet",
    log:
        "logs/examine/{dataset}.log",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
        guests=guests_given,
    shell:
        door("examine") + "--comparison {params.comparison} --predictions {input.predictions}"
        " --validation {input.validation} --labels {input.labels} --cases {input.cases}"
        " --calibration {output.calibration} --reliability {output.reliability} --thresholds {output.thresholds}"
        " --subgroups {output.subgroups} --settled {output.settled} --provenance {output.provenance} {params.guests} --threads {threads} > {log} 2>&1"


rule cross:
    input:
        predictions=lambda wildcards: products_of_runs(wildcards, product="predictions.parquet"),
        elsewhere=elsewhere_on,
        labels=prepared("labels.parquet"),
        labels_elsewhere=labels_of_guests,
    output:
        crossed=f"{COMPARED}.crossed.parquet",
    log:
        "logs/cross/{dataset}.log",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        comparing=1,
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
        fitted_to=lambda wildcards: quote(exchanged("guests", wildcards.dataset).as_json()),
    shell:
        door("cross") + "--comparison {params.comparison} --fitted-to {params.fitted_to}"
        " --predictions {input.predictions} --elsewhere {input.elsewhere}"
        " --labels {input.labels} --labels-elsewhere {input.labels_elsewhere}"
        " --crossed {output.crossed} --threads {threads} > {log} 2>&1"


TABLES = artefacts.table_files(GRID)


rule report:
    input:
        comparisons=expand(f"{COMPARED}.parquet", dataset=CONFIG.datasets),
        curves=expand(f"{COMPARED}.curves.parquet", dataset=CONFIG.datasets),
        values=expand(f"{COMPARED}.values.parquet", dataset=CONFIG.datasets),
        replicates=expand(f"{COMPARED}.replicates.parquet", dataset=CONFIG.datasets),
        calibration=expand(f"{COMPARED}.calibration.parquet", dataset=CONFIG.datasets),
        reliability=expand(f"{COMPARED}.reliability.parquet", dataset=CONFIG.datasets),
        thresholds=expand(f"{COMPARED}.thresholds.parquet", dataset=CONFIG.datasets),
        subgroups=expand(f"{COMPARED}.subgroups.parquet", dataset=CONFIG.datasets),
        provenance=expand(f"{COMPARED}.{{by}}.parquet", dataset=CONFIG.datasets, by=["provenance", "examined"]),
        labels=[f"{RESULTS}/archives/{dataset.archive}/labels.parquet" for dataset in GRID.datasets],
        cases=[f"{RESULTS}/archives/{dataset.archive}/cases.parquet" for dataset in GRID.datasets],
        rejects=[f"{RESULTS}/archives/{archive}/rejects.parquet" for archive in archives_used()],
        ledger=LEDGER,
        crossed=lambda wildcards: crossed(),
        manifests=manifests_of_corpora(),
    output:
        report(
            f"{REPORT}/index.html",
            category="Comparison",
            caption="../report/comparison.rst",
            labels={"page": "sources compared"},
        ),
        [f"{REPORT}/{name}.{suffix}" for name in TABLES for suffix in TABLES[name] if len(TABLES[name]) > 1],
        expand(f"{REPORT}/numbers.{{suffix}}", suffix=["json", "tex"]),
        expand(f"{REPORT}/provenance.{{suffix}}", suffix=["csv", "json"]),
        f"{REPORT}/summary.txt",
        [f"{REPORT}/{name}.{suffix}" for name in TABLES for suffix in TABLES[name] if len(TABLES[name]) == 1],
    log:
        "logs/report.log",
    conda:
        ENVIRONMENT
    params:
        grid=quote(GRID.as_json()),
        folder=subpath(output[0], parent=True),
    shell:
        door("report") + f"--grid {{params.grid}} --results {quote(RESULTS)} --folder {{params.folder}} > {{log}} 2>&1"
