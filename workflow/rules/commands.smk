# Commands: how they begin, records quoted for the shell, and arguments that only some jobs have.


def door(verb):
    """The beginning of a verb's command. Not a param, because a moved checkout would then repeat all jobs."""
    return f"python {quote(SCRIPTS)}/{verb}.py "


def training_door(verb, lease=""):
    """The same for a verb that trains. The launch is a resource, not a param, because it changes no result."""
    launch = f"python {quote(SCRIPTS)}/launch.py {{resources.launch}} {lease}"
    memory = f"--gpu-memory {CONFIG.compute.gpu_memory} " if CONFIG.compute.gpu_memory and verb in LEARNING else ""
    return f"{launch} -- {quote(SCRIPTS)}/{verb}.py --device {CONFIG.compute.device} {memory}"


LEARNING = ("pretrain", "finetune")
"""The verbs that take batches in parts."""


TRACKING = run_ids.told(CONFIG)


def tracked():
    """The tracking option of a training's command. Not a param, so that a change of it repeats no training."""
    record = quote(TRACKING.as_json())
    return f"--tracking {record} ".replace("{", "{{").replace("}", "}}")


def results_tracked():
    """The same of jobs that only add results to runs; nothing where no service shows them."""
    return tracked() if TRACKING.services else ""


def dropped():
    """The option for cases that the ledger drops from training. Not a param, so that other studies keep theirs."""
    return "--dropped {input.dropped} " if GRID.leaks.resolve else ""


@looked_at_once
def encoder_given(wildcards, input):
    """The argument for the initial weights."""
    return f"--encoder {quote(input.encoder[0])}" if input.encoder else ""


def reduced_with(wildcards, input):
    """The arguments for a reduction's inputs that only some reductions have."""
    inputs = {"--like": input.like, "--features": input.features}
    return " ".join(f"{flag} {quote(files[0])}" for flag, files in inputs.items() if files)


def patch_of(archive, source):
    """The argument for the patch in which a source's networks see volumes; nothing for pictures."""
    size = GRID.size_of(archive, source=source)
    return "" if isinstance(size, int) else f" --patch {words(size)}"


@looked_at_once
def size_of_encoder(wildcards):
    """The size that a source's network is built for: one number for pictures, three for volumes."""
    size = GRID.size_of_encoder(wildcards.source)
    return size if isinstance(size, int) else words(size)


def words(numbers):
    """Several numbers of one argument."""
    return " ".join(map(str, numbers))


def besides(wildcards, input):
    """The arguments that only some pre-trainings have: the initial weights and the archives of feature probes."""
    start = f"--start {quote(input.start[0])}" if input.start else ""
    options = ("--probe-cases", "--probe-images", "--probe-dropped")
    # the last only in a study that resolves leaks; each option has a file of each probe
    of_each = len(options) if GRID.leaks.resolve else len(options) - 1
    files = {option: input.probe[number::of_each] for number, option in enumerate(options[:of_each])}
    probe = " ".join(f"{option} {' '.join(map(quote, each))}" for option, each in files.items() if each)
    return " ".join(part for part in (start, probe) if part)


@cache
def run_at(dataset, source, recipe, seed):
    """A run's record, quoted for the shell, and its digest; cached, because several jobs and params use it."""
    run = GRID.run(dataset, source, recipe, seed)
    return quote(run.as_json()), run.digest


@looked_at_once
def run_of(wildcards):
    """The run record of a job, quoted for the shell."""
    run = run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[0]
    return run + patch_of(GRID.dataset(wildcards.dataset).archive, wildcards.source)


@looked_at_once
def runs_of(wildcards):
    """The run records of a job for all seeds, quoted for the shell."""
    runs = [run_at(wildcards.dataset, wildcards.source, wildcards.recipe, seed)[0] for seed in GRID.seeds]
    return " ".join(runs) + patch_of(GRID.dataset(wildcards.dataset).archive, wildcards.source)


@looked_at_once
def runs_to_predict(wildcards):
    """The same, and whether outlines are written."""
    return runs_of(wildcards) + (" --write-outlines" if GRID.dataset(wildcards.dataset).write_outlines else "")


@looked_at_once
def progress_of(wildcards):
    """The path of a run's checkpoint."""
    return PATHS.progress_of(run_at(wildcards.dataset, wildcards.source, wildcards.recipe, wildcards.seed)[1])


@looked_at_once
def group_of_training(wildcards):
    """Linear probes with the default `compute` share SLURM jobs, in which they run one after the other."""
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
    """The other datasets that a dataset's networks are tested on, quoted for the shell, and their images."""
    images = [GRAPH.images(archive) for archive in GRAPH.archives_of("abroad", dataset)]
    return quote(GRAPH.exchanges("abroad", dataset).as_json()), images


GUESTS = ("elsewhere", "validation_elsewhere", "labels_elsewhere")
"""Inputs of `examine` that exist only with external validation."""


def guests_given(wildcards, input):
    """The arguments of `examine` for networks that were fine-tuned on other datasets."""
    if not input.elsewhere:
        return ""
    files = {name: " ".join(map(quote, input[name])) for name in GUESTS}
    options = " ".join(f"--{name.replace('_', '-')} {words}" for name, words in files.items())
    records = " ".join(GRAPH.records_of_guests(wildcards.dataset))
    fitted_to = quote(GRAPH.exchanges("guests", wildcards.dataset).as_json())
    return f"--fitted-to {fitted_to} {options} --records-elsewhere {records}"
