"""Keys without effect beside others, such as the momentum of an optimiser that has none: refused, not ignored.

A key at its default is taken for one that was left out.
"""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.study import crops, target, usual_views
from headwater.study.archive import ndim_of, window_of
from headwater.study.recipe import JITTERED, OF_A_VIEW, OF_COLOURS, OF_PICTURES, OF_VOLUMES, Loss, Training, Views
from headwater.study.source import DEPTH, Probe, Source
from headwater.study.tracking import SERVICES

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each key that could have any value and would change nothing."""
    for name, source in config.sources.items():
        yield from _of_source(f"sources.{name}", source)
        yield from _of_method(f"sources.{name}", source)
        if source.training:
            yield from _of_training(f"sources.{name}.training", source.training)
        if source.training and not _by_blocks(source.method.name) and config.compute.of(source.compute).compile:
            why = f"{source.method.name} goes through the encoder layer by layer, so that torch has nothing to compile"
            yield f"sources.{name}.compute.compile: {why}; set it to false"
    for name, recipe in config.recipes.items():
        yield from _of_training(f"recipes.{name}.training", recipe.training)
        yield from _of_loss(f"recipes.{name}.loss", recipe.loss)
        if recipe.kind == "linear_probe" and recipe.training.layer_decay is not None:
            yield f"recipes.{name}.training.layer_decay: a linear_probe trains one layer only; remove it"
        for key in changed(recipe.training, "drop_path") if recipe.kind == "linear_probe" else ():
            yield f"recipes.{name}.training.{key}: a linear_probe uses its whole encoder; remove it"
        if recipe.kind == "linear_probe" and recipe.training.checkpointing:
            yield f"recipes.{name}.training.checkpointing: a linear_probe keeps nothing of its encoder; remove it"
    idle = (
        _drawn_seeds,
        _grey_views,
        _views_of_volumes,
        _still_views,
        _shards_of_volumes,
        _views_of_each,
        _flips_across_slices,
        _official_splits,
        _stored,
        _without_borders,
        _without_service,
        _unpaired,
    )
    for check in idle:
        yield from check(config)


def changed(record: Record, *keys: str) -> list[str]:
    """Those of the keys whose value is not their default."""
    fields = type(record).model_fields
    return [key for key in keys if getattr(record, key) != fields[key].get_default(call_default_factory=True)]


def _of_training(place: str, training: Training) -> Iterable[str]:
    """Settings of other optimisers and schedules."""
    for key in changed(training, "momentum") if training.optimiser not in ("sgd", "lars") else ():
        yield f"{place}.{key}: {training.optimiser} has no such setting; remove it, or set optimiser: sgd"
    for key in changed(training, "betas") if training.optimiser not in ("adamw", "adam", "lamb") else ():
        yield f"{place}.{key}: {training.optimiser} has no such setting; remove it, or set optimiser: adamw"
    if training.final_weight_decay is not None and not training.weight_decay:
        yield f"{place}.final_weight_decay: nothing decays at first, so nothing does later; set weight_decay too"
    for key in changed(training, "clip_by") if training.clip is None else ():
        yield f"{place}.{key}: no gradient is clipped; remove it, or set clip too"
    for key in changed(training, "final_lr") if training.schedule == "constant" else ():
        yield f"{place}.{key}: a constant schedule ends at lr; remove it, or set schedule: cosine"


def _of_loss(place: str, loss: Loss) -> Iterable[str]:
    """Settings of other losses."""
    for kind, keys in {"focal": ("gamma",), "asymmetric": ("gamma_positive", "gamma_negative", "clip")}.items():
        for key in changed(loss, *keys) if loss.kind != kind else ():
            yield f"{place}.{key}: {loss.kind} has no such setting; remove it, or set kind: {kind}"


def _of_source(place: str, source: Source) -> Iterable[str]:
    """Settings of a pre-training of a source without one, and a normalisation beside weights that bring their own."""
    for key in changed(source, "views", "collapse") if not source.method else ():
        yield f"{place}.{key}: this source is not pre-trained here; remove it, or set method, corpus and training"
    for key in changed(source, "mean", "std") if source.weights or source.start else ():
        own = "its weights bring" if source.weights else f"{source.start} brings"
        yield f"{place}.{key}: {own} the normalisation that they were trained with; remove it"
    if source.weights and source.whole and changed(source, "seed"):
        yield f"{place}.seed: all weights are loaded, none is drawn; remove it"
    if source.training:
        yield from _of_pretraining(f"{place}.training", source)
    for of, probe in source.probes.items():
        yield from _of_probe(f"{place}.{of}", probe)


def _of_pretraining(place: str, source: Source) -> Iterable[str]:
    """Settings that a method cannot follow, as of how it goes through its batches and its encoder."""
    if source.training.layer_decay is not None and source.method.name != "supervised":
        yield f"{place}.layer_decay: {source.method.name} trains all layers alike; remove it"
    if source.training.checkpointing and not _by_blocks(source.method.name):
        why = f"{source.method.name} goes through the encoder layer by layer, not block by block"
        yield f"{place}.checkpointing: {why}; remove it, and raise accumulate or compute.ranks"
    for key in changed(source.training, "drop_path") if not _by_blocks(source.method.name) else ():
        yield f"{place}.{key}: {source.method.name} uses the whole encoder; remove it"


def _of_probe(place: str, probe: Probe) -> Iterable[str]:
    """Settings of probes of the other kind."""
    for key in changed(probe, "neighbours", "temperature"):
        if probe.kind != "knn":
            yield f"{place}.{key}: a {probe.kind} has no neighbours; remove it, or set kind: knn"
    for key in changed(probe, "inverse_penalty"):
        if probe.kind != "linear_probe":
            yield f"{place}.{key}: a {probe.kind} has no penalty; remove it, or set kind: linear_probe"


def _by_blocks(method: str) -> bool:
    """Whether a method calls its encoder's own forward pass, which can compute its blocks a second time."""
    known = method in registry.names("methods")
    return not known or registry.constant("methods", method, "BY_BLOCKS", default=True)


def _of_method(place: str, source: Source) -> Iterable[str]:
    """A crop that is set twice, and options of a method that others of its options switch off."""
    if source.method is None or source.method.name not in registry.names("methods"):
        return
    method = source.method.name
    option = crops.option_of(method)
    if option and source.views.crop is not None:
        yield f"{place}.views.crop: {method}.{option} is set too and says the same; remove one of them"
    try:
        options = registry.chosen("methods", source.method)
    except UserError:
        # reported by `checks`
        return
    for key, switch in registry.constant("methods", method, "NEEDED", default={}).items():
        if changed(options, key) and not getattr(options, switch):
            yield f"{place}.method.{key}: has no effect with {switch}: {getattr(options, switch)}; remove it"


def _drawn_seeds(config: "Config") -> Iterable[str]:
    """Seeds of random starts that no reduction looks at the images with: `seeds` draws those of fine-tunings."""
    looking = {choice.options.get("source") for choice in config.reductions.values()}
    for name, source in config.sources.items():
        if source.kind == "random" and name not in looking and changed(source, "seed"):
            yield f"sources.{name}.seed: a random start is drawn anew for each of the seeds of the study; remove it"


def _grey_views(config: "Config") -> Iterable[str]:
    """Changes of the colours of CT, which has none."""
    places = {f"sources.{name}": (source.corpus, source.views) for name, source in config.sources.items()}
    for place, (corpus, views) in places.items():
        grey = corpus in config.archives and window_of(config.archives[corpus])
        for key in changed(views, *OF_COLOURS) if grey else ():
            yield f"{place}.views.{key}: the images of {corpus} are grey; remove it"
    used = {dataset.archive for dataset in config.datasets.values()} & config.archives.keys()
    all_grey = used and all(window_of(config.archives[archive]) for archive in used)
    for name, recipe in config.recipes.items():
        for key in changed(recipe.views, *OF_COLOURS) if all_grey else ():
            yield f"recipes.{name}.views.{key}: the images of all datasets are grey; remove it"


def _views_of_volumes(config: "Config") -> Iterable[str]:
    """Changes of volumes where only pictures are seen, and axes of flips that never happen."""
    places = {f"sources.{name}.views": (source.corpus, source.views) for name, source in config.sources.items()}
    dimensions = {name: ndim_of(archive) for name, archive in config.archives.items()}
    for place, (corpus, views) in places.items():
        yield from _of_views(place, views, dimensions={dimensions[corpus]} if corpus in dimensions else set())
    used = {dimensions[dataset.archive] for dataset in config.datasets.values() if dataset.archive in dimensions}
    for name, recipe in config.recipes.items():
        yield from _of_views(f"recipes.{name}.views", recipe.views, dimensions=used)


def _still_views(config: "Config") -> Iterable[str]:
    """Weights of a resampling where each picture is shown as it is stored, or mirrored."""
    smaller = {name for name, archive in config.archives.items() if archive.view}
    for name, source in config.sources.items():
        seen_smaller = source.view or source.corpus in smaller
        if source.method and changed(source.views, "resampling") and not (seen_smaller or _moved(source)):
            yield f"sources.{name}.views.resampling: nothing is cropped, turned or reduced; remove it, or set crop"
    of_datasets = any(dataset.view or dataset.archive in smaller for dataset in config.datasets.values())
    for name, recipe in config.recipes.items():
        if changed(recipe.views, "resampling") and not (of_datasets or _moves(recipe.views)):
            yield f"recipes.{name}.views.resampling: nothing is cropped, turned or reduced; remove it, or set crop"


def _moved(source: Source) -> bool:
    """Whether a pre-training shows anything but whole pictures of the stored size."""
    method = source.method.name
    if _moves(source.views) or method not in registry.names("methods"):
        return True
    # of options that are wrong, `checks` tell
    with contextlib.suppress(UserError):
        options, crop = registry.chosen("methods", source.method), crops.option_of(method)
        least = getattr(options, crop) if crop else 1
        small = registry.constant("methods", method, "NEEDED", default={}).values()
        return (min(least) if isinstance(least, tuple) else least) < 1 or any(
            getattr(options, views) for views in {*small} & {"local_views", "small_views"}
        )
    return True


def _moves(views: Views) -> bool:
    """Whether the places of a picture move by anything but a flip."""
    return bool(views.rotation or views.elastic or (views.crop or 1) < 1)


def _of_views(place: str, views: Views, *, dimensions: set[int]) -> Iterable[str]:
    """The keys of views that change nothing of images of these dimensions."""
    idle = changed(views, *OF_VOLUMES) if dimensions == {2} else []
    for key in idle:
        yield f"{place}.{key}: changes volumes only, and all images are pictures; remove it"
    if "flip_axes" not in idle and changed(views, "flip_axes") and not views.flip:
        yield f"{place}.flip_axes: nothing is flipped; remove it, or set flip"
    if changed(views, "elastic_displacement") and not views.elastic:
        yield f"{place}.elastic_displacement: nothing is deformed; remove it, or set elastic"
    for key in changed(views, *OF_PICTURES) if dimensions == {3} else ():
        yield f"{place}.{key}: changes pictures only, and all images are volumes; remove it"
    if changed(views, "jitter") and not any(getattr(views, key) for key in JITTERED):
        yield f"{place}.jitter: none of {', '.join(JITTERED)} is set; remove it, or set one of them"


def _shards_of_volumes(config: "Config") -> Iterable[str]:
    """An order of reading that volumes, of which a step reads patches, cannot follow."""
    volumes = {name for name, archive in config.archives.items() if ndim_of(archive) == 3}
    read = [(f"sources.{name}", source.training, {source.corpus}) for name, source in config.sources.items()]
    every = {dataset.archive for dataset in config.datasets.values()}
    read += [(f"recipes.{name}", recipe.training, every) for name, recipe in config.recipes.items()]
    for place, training, archives in read:
        if training and changed(training, "reading") and (whole := sorted(volumes & archives)):
            yield f"{place}.training.reading: {', '.join(whole)} holds volumes, which are read in patches; remove it"


def _views_of_each(config: "Config") -> Iterable[str]:
    """Probabilities for more views of an image than are made of it, and usual views where there are none."""
    made = {f"recipes.{name}": (recipe.views, 1) for name, recipe in config.recipes.items()}
    for name, source in config.sources.items():
        # of a method that does not exist, or whose options are wrong, `checks` tell
        with contextlib.suppress(UserError):
            if source.method:
                made[f"sources.{name}"] = source.views, usual_views.made_of_each(source.method)
    for place, (views, count) in made.items():
        if views.like:
            method = place.startswith("sources.")
            why = "this method has no usual ones" if method else "only pre-training has usual ones"
            yield f"{place}.views.like: {why}; remove it, and set the views one by one"
        for key in OF_A_VIEW:
            given = getattr(views, key)
            if isinstance(given, tuple) and count == 1:
                yield f"{place}.views.{key}: one view is made of each image; give a number in place of a list"
            elif isinstance(given, tuple) and len(given) > count:
                yield f"{place}.views.{key}: {count} views are made of each image; give at most {count} numbers"


def _flips_across_slices(config: "Config") -> Iterable[str]:
    """Flips of slices along the one axis that they have no extent in; volumes may be flipped beside them."""
    places = [(f"sources.{name}", source.views, {source.slices}) for name, source in config.sources.items()]
    every = {source.slices for source in config.sources.values()}
    places += [(f"recipes.{name}", recipe.views, every) for name, recipe in config.recipes.items()]
    for place, views, planes in places:
        across = {"xyz"[DEPTH[plane]] for plane in planes if plane}
        if views.flip and len(planes) == 1 and across == set(views.flip_axes):
            [plane], [axis] = planes, across
            yield f"{place}.views.flip_axes: {plane} slices have no extent along {axis}; name another axis"


def _official_splits(config: "Config") -> Iterable[str]:
    """Shares and seeds of splits that the archive's publisher made."""
    for name, archive in config.archives.items():
        if archive.images_of or archive.kind.name not in registry.names("datasets"):
            continue
        official = registry.constant("datasets", archive.kind.name, "OFFICIAL", default=())
        for split in changed(archive, *official):
            yield f"archives.{name}.{split}: {archive.kind.name} has an official {split} split; remove it"
        if {"validation", "test"} <= set(official) and changed(archive, "split_seed"):
            yield f"archives.{name}.split_seed: all splits of {archive.kind.name} are official; remove it"


def _stored(config: "Config") -> Iterable[str]:
    """Archives that are to be decoded picture by picture, but are read a volume or a scan at a time."""
    for name, archive in config.archives.items():
        kind = archive.kind.name
        if archive.stored or kind not in registry.names("datasets"):
            continue
        if ndim_of(archive) == 3 or registry.defines("datasets", kind, "read_scan"):
            yield f"archives.{name}.stored: {kind} is read a whole scan at a time, so its images are stored; remove it"


def _without_borders(config: "Config") -> Iterable[str]:
    """A tolerance of borders where nothing is outlined."""
    known = set(registry.names("tasks"))
    for name, dataset in config.datasets.items():
        outlined = any(target.fits("surface_dice", task) for task in dataset.tasks if task in known)
        for key in changed(dataset, "tolerance") if not outlined else ():
            yield f"datasets.{name}.{key}: no task of it outlines anything ({', '.join(dataset.tasks)}); remove it"


def _without_service(config: "Config") -> Iterable[str]:
    """A project or team at a service that gets nothing."""
    tracking = config.tracking
    off = tracking.wandb == "disabled"
    for key in changed(tracking, "study", "inputs"):
        yield f"tracking.{key}: follows from the rest of the config; remove it"
    for key in changed(tracking, "entity", "aggregates_only", "artifacts") if off else ():
        yield f"tracking.{key}: Weights & Biases is switched off; remove it, or set wandb: offline"
    if changed(tracking, "project") and not tracking.services:
        yield f"tracking.project: {', '.join(SERVICES)} are switched off; remove it, or set one of them to offline"


def _unpaired(config: "Config") -> Iterable[str]:
    """Pairing of seeds where the statistical method has no seeds to pair."""
    comparison = config.comparison
    if changed(comparison, "pairing") and (comparison.method == "percentile" or len(config.seeds) == 1):
        why = "percentile resamples the seeds" if comparison.method == "percentile" else "one seed has no spread"
        yield f"comparison.pairing: {why}; remove it"
