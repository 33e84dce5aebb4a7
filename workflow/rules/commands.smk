# The parts of commands that differ from job to job: records ready for the shell, and words that only some jobs have.


def looking_at(wildcards):
    """A source that looks at the images of an archive, through that archive's window."""
    window = window_of(GRID.archive(wildcards.archive))
    return GRID.source(wildcards.source).model_copy(update={"seen": window})


def reduced_with(wildcards, input):
    """The part of a reduction's command that names what it needs besides the images."""
    given = {"--like": input.like, "--features": input.features}
    return " ".join(f"{flag} {quote(files[0])}" for flag, files in given.items() if files)


def size_of_encoder(wildcards):
    """Width and height that a source's network is built for: its corpus', or the largest of the datasets'."""
    source = GRID.source(wildcards.source)
    if source.corpus:
        return GRID.archive(source.corpus).size
    return max(GRID.archive(dataset.archive).size for dataset in GRID.datasets)


def besides(wildcards, input):
    """The part of a pre-training's command that names what only some have: first weights, and what chooses a step."""
    start = f"--start {quote(input.start[0])}" if input.start else ""
    probe = "--probe-cases {} --probe-images {}".format(*map(quote, input.probe)) if input.probe else ""
    return " ".join(part for part in (start, probe) if part)


@cache
def run_at(dataset, source, recipe, seed):
    """A run's record, ready for the shell, and its digest: made once, though several jobs and params ask."""
    run = GRID.run(dataset, source, recipe, seed)
    return quote(run.as_json()), run.digest


@looked_at_once
def run_of(wildcards):
    """The run record of a job, ready for the shell."""
    return run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[0]


@looked_at_once
def runs_of(wildcards):
    """The records of a job's runs with all seeds, ready for the shell."""
    return " ".join(run_at(wildcards.dataset, wildcards.source, wildcards.recipe, seed)[0] for seed in GRID.seeds)


@looked_at_once
def progress_of(wildcards):
    """Where the fine-tuning of a run keeps what it needs to go on."""
    return PATHS.progress_of(run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[1])


@looked_at_once
def group_of_training(wildcards):
    """Small probes share a SLURM job, one after the other; every other training has its own."""
    return "probes" if wildcards.recipe in PROBES else None


@cache
def images_at(dataset):
    """The images of a dataset."""
    return GRAPH.images(GRID.dataset(dataset).archive)


@looked_at_once
def images_of(wildcards):
    """The images of a job's dataset."""
    return images_at(wildcards.dataset)


@cache
def asked_at(dataset):
    """What the networks of a dataset are asked of others, ready for the shell, and the others' images."""
    images = [GRAPH.images(archive) for archive in GRAPH.archives_of("abroad", dataset)]
    return quote(GRAPH.exchanges("abroad", dataset).as_json()), images


GUESTS = ("elsewhere", "validation_elsewhere", "labels_elsewhere")
"""Inputs of an examination that are there only where networks are tested elsewhere, too."""


def guests_given(wildcards, input):
    """The part of an examination's command that names those networks' products."""
    if not input.elsewhere:
        return ""
    files = {name: " ".join(map(quote, input[name])) for name in GUESTS}
    named = " ".join(f"--{name.replace('_', '-')} {given}" for name, given in files.items())
    return f"--fitted-to {quote(GRAPH.exchanges('guests', wildcards.dataset).as_json())} {named}"
