# All runs of a dataset compared, and the tables and figures over all datasets.


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
    params:
        comparison=lambda wildcards: quote(GRID.comparison(wildcards.dataset).as_json()),
    shell:
        door("compare") + "--comparison {params.comparison} --predictions {input.predictions}"
        " --labels {input.labels}"
        " --comparisons {output.comparisons} --curves {output.curves}"
        " --values {output.values} --replicates {output.replicates}"
        " --provenance {output.provenance} --threads {threads} > {log} 2>&1"


TABLES = ["significance", "macro", "characteristics", *(f"labelwise_{dataset}" for dataset in CONFIG.datasets)]


rule report:
    input:
        comparisons=expand(f"{COMPARED}.parquet", dataset=CONFIG.datasets),
        curves=expand(f"{COMPARED}.curves.parquet", dataset=CONFIG.datasets),
        values=expand(f"{COMPARED}.values.parquet", dataset=CONFIG.datasets),
        replicates=expand(f"{COMPARED}.replicates.parquet", dataset=CONFIG.datasets),
        provenance=expand(f"{COMPARED}.provenance.parquet", dataset=CONFIG.datasets),
        labels=[f"{RESULTS}/archives/{dataset.archive}/labels.parquet" for dataset in GRID.datasets],
        cases=[f"{RESULTS}/archives/{dataset.archive}/cases.parquet" for dataset in GRID.datasets],
        rejects=[f"{RESULTS}/archives/{archive}/rejects.parquet" for archive in archives_used()],
        ledger=LEDGER,
    output:
        report(
            f"{REPORT}/index.html",
            category="Comparison",
            caption="../report/comparison.rst",
            labels={"page": "sources compared"},
        ),
        expand(f"{REPORT}/{{table}}.{{suffix}}", table=TABLES, suffix=["csv", "md", "tex", "html"]),
        expand(f"{REPORT}/numbers.{{suffix}}", suffix=["json", "tex"]),
        expand(f"{REPORT}/provenance.{{suffix}}", suffix=["csv", "json"]),
        f"{REPORT}/summary.txt",
    log:
        "logs/report.log",
    conda:
        ENVIRONMENT
    params:
        grid=quote(GRID.as_json()),
        folder=subpath(output[0], parent=True),
    shell:
        door("report") + "--grid {params.grid} --comparisons {input.comparisons} --curves {input.curves}"
        " --values {input.values} --replicates {input.replicates} --provenance {input.provenance}"
        " --labels {input.labels} --rejects {input.rejects}"
        " --cases {input.cases} --ledger {input.ledger} --folder {params.folder} > {log} 2>&1"
