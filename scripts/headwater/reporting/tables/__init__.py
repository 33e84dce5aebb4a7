"""Tables of the report: one file per table.

A plug-in holds
    CARD: artefacts.TableCard            where the table stands, when it is made, and in which formats
    make(study) -> dict[str, PrintedTable] the table, called ""; or one for each dataset, called after it

`study` is a `results.StudyResults`. Names, files, LaTeX, Markdown, CSV, HTML, the page, provenance.json and the rule's
outputs follow from this file alone. Its first sentence is the table's caption in the report that Snakemake makes.
"""
