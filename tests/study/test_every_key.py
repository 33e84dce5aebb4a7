"""Every key of a config changes what is done, or is refused: none is accepted and then ignored.

The keys are enumerated from the records, so a new one without an entry here fails.
"""

import copy
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.core.errors import UserError
from headwater.core.records import Choice, Record
from headwater.study import config as study_config
from headwater.study import lineage, shared_labels
from headwater.study.archive import seen_of
from headwater.study.config import UNWRITTEN, Config
from headwater.study.ct_windows import Window
from headwater.study.job_graph import JobGraph
from workflow_made import small_config

CONFIGS = Path(__file__).parents[2] / "config"
LEAVES = (Choice, Window)
"""Records that are one value: plug-ins with their options, which tests/training/test_every_option.py tries."""

SGD = {"optimiser": "sgd"}
TRAINING = {"steps": 40, "batch": 16, "lr": 1e-3}


def whole() -> dict[str, Any]:
    """A config in which every section has something that its keys can be about."""
    config = small_config()
    twin = {"kind": "chestxray14", "folder": "second", "size": 32, "twin": {"cases": 100, "seed": 2}}
    config["archives"] |= {
        "second": twin,
        "third": {**twin, "folder": "third"},
        "fifth": {**twin, "folder": "fifth"},
        "scans": {"kind": "ct_ich", "folder": "scans", "size": 32, "twin": {"cases": 60}},
        "again": {"images_of": "scans"},
    }
    ssl = {"method": "simclr", "corpus": "photographs", "training": dict(TRAINING), "probe": {"archive": "third"}}
    ssl["further_probes"] = [{"archive": "fifth"}]
    config["sources"] |= {
        "published": {"weights": {"layout": "timm", "path": "w.safetensors"}},
        "contrastive": ssl,
        "of_scans": {"method": "supervised", "corpus": "scans", "training": dict(TRAINING)},
    }
    config["reductions"] = {"few": {"name": "random", "share": 0.5}}
    config["source_grids"] = {
        "more": {"methods": ["supervised"], "corpora": ["photographs"], "trainings": {"short": dict(TRAINING)}}
    }
    config["datasets"]["second"] = {}
    config["comparison"] |= {"metrics": ["auroc"], "subsets": {"heart": {"chestxray14": ["Cardiomegaly"]}}}
    config["leaks"] = {"excused": [dict(EXCUSE)]}
    config["controls"] = {"again": [], "shuffled": []}
    config["tracking"] = {"wandb": "offline"}
    return config


EXCUSE = {"kind": "patients", "between": ["photographs train", "second test"], "reason": "they are known to be shared"}


def put(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The config with values at dotted places."""
    config = copy.deepcopy(config)
    for place, value in changes.items():
        *above, last = place.split(".")
        section: Any = config
        for part in above:
            section = section[int(part)] if isinstance(section, list) else section.setdefault(part, {})
        section[last] = value
    return config


def told(content: dict[str, Any]) -> dict[str, Any]:
    """All that a config tells the jobs: their records, files and resources, and the order of the work."""
    config = study_config.load(content)
    grid, graph = config.grid(), JobGraph(config)
    runs = [run for dataset in grid.datasets for run in grid.runs(dataset.name)]
    entries = [*config.recipes.values(), *config.sources.values()]
    return {
        # `window`, `intensity`, `made_from` and `trained_on` are in no digest: the records of what they change are
        "archives": {archive.name: archive.as_json() for archive in grid.archives},
        "shown": {archive.name: str(seen_of(archive)) for archive in grid.archives},
        "sources": {source.name: source.as_json() for source in grid.sources},
        "reductions": {name: reduction.as_json() for name, reduction in grid.reductions.items()},
        "runs": [f"{run.path} {run.digest} {run.stream}" for run in runs],
        "comparisons": [grid.comparison(dataset.name).as_json() for dataset in grid.datasets],
        "exchanges": [shared_labels.guests(grid, dataset.name).as_json() for dataset in grid.datasets],
        "overlaps": lineage.overlaps(grid).as_json(),
        "tracking": config.tracking.as_json(),
        "resources": [config.compute.resources(entry.compute) for entry in entries],
        "machine": (config.compute.device, config.compute.workers, config.compute.gpu_memory),
        # what things are called reaches the report alone
        "wording": grid.wording.as_json(),
        "jobs": [(job.product, job.needs, job.ranks) for job in graph.jobs()],
    }


@dataclasses.dataclass(frozen=True)
class Change:
    """Another value of a key, in a config in which the key is about something."""

    place: str
    value: Any
    beside: dict[str, Any] = dataclasses.field(default_factory=dict)
    refused: str = ""
    """What is said where another value shows in a refusal only."""


A, D, R, S = "archives.chestxray14", "datasets.chestxray14", "recipes.finetune", "sources.contrastive"
CT = {"kind": "ct_ich", "folder": "more"}
OWN = {"kind": "own_folder", "folder": "own"}
IN_FOLDS = {"archives.own": OWN, "datasets.own": {"splits": {"folds": 3}}}
VOLUMES = {"archives.volumes": {"kind": {"name": "msd", "structures": ["organ"]}, "folder": "volumes", "size": 32}}
VIT = {"backbone": "timm/vit_tiny_patch16_224"}
CHANGES = {
    "results": Change("results", "elsewhere"),
    "backbone": Change("backbone", "timm/resnet18"),
    "seeds": Change("seeds", [0, 2]),
    "archives.kind": Change("archives.third.kind", "vindr"),
    "archives.folder": Change(f"{A}.folder", "elsewhere"),
    "archives.images_of": Change(
        "archives.again.images_of", "more", {"archives.more": {"kind": "ct_ich", "folder": "x"}}
    ),
    "archives.projections": Change(f"{A}.projections", ["PA"]),
    "archives.size": Change(f"{A}.size", 48),
    "archives.view": Change(f"{A}.view", 24),
    "archives.resize": Change(f"{A}.resize", "squash"),
    "archives.stored": Change(f"{A}.stored", False),
    "archives.validation": Change(f"{A}.validation", 0.3),
    "archives.test": Change("archives.own.test", 0.3, {"archives.own": OWN}),
    "archives.split_seed": Change(f"{A}.split_seed", 1),
    "archives.patients_apart": Change(f"{A}.patients_apart", False),
    "archives.rejects": Change(f"{A}.rejects", 0.5),
    "archives.window": Change("archives.scans.window", "bone"),
    "archives.spacing": Change("archives.volumes.spacing", "median", VOLUMES),
    "archives.intensity": Change("archives.volumes.intensity", {"percentiles": [1, 99]}, VOLUMES),
    "archives.intensity.zscore": Change(
        "archives.volumes.intensity", "zscore", VOLUMES | {"archives.volumes.intensity": {"percentiles": [1, 99]}}
    ),
    "archives.intensity.percentiles": Change("archives.volumes.intensity", {"percentiles": [0, 100]}, VOLUMES),
    "archives.made_from": Change(
        "archives.photographs.made_from", ["lits"], {f"{A}.made_from": ["lits"]}, refused="both come from lits"
    ),
    "archives.twin": Change("archives.third.twin", None),
    "archives.twin.cases": Change(f"{A}.twin.cases", 200),
    "archives.twin.seed": Change(f"{A}.twin.seed", 9),
    "archives.twin.first_patient": Change(f"{A}.twin.first_patient", 500),
    "archives.twin.size": Change(f"{A}.twin.size", 64),
    "reductions": Change("reductions.few.share", 0.4),
    "sources.backbone": Change(f"{S}.backbone", "timm/resnet18"),
    # tests/study/test_volume_checks.py tries it where it has an effect
    "sources.slices": Change("sources.published.slices", "axial", refused="slices: all that it sees are pictures"),
    "sources.weights": Change(f"{S}.weights", {"layout": "timm"}, refused="weights and method exclude each other"),
    "sources.weights.layout": Change("sources.published.weights.layout", "torchvision"),
    "sources.weights.path": Change("sources.published.weights.path", "other.safetensors"),
    "sources.weights.coverage": Change("sources.published.weights.coverage", 0.5),
    "sources.weights.inflate": Change(
        "sources.published.weights.inflate", "axial", refused="inflate makes networks for volumes of those for slices"
    ),
    "sources.weights.fed_otherwise": Change(
        "sources.published.weights.fed_otherwise", ["spacing"], refused="spacing is as in the training of the weights"
    ),
    "sources.weights.trained_on": Change(
        "sources.published.weights.trained_on",
        ["chestxray14"],
        {f"{A}.twin": None},
        refused="published and chestxray14 test both come from",
    ),
    "sources.method": Change(f"{S}.method", "byol"),
    "sources.corpus": Change(f"{S}.corpus", "second"),
    "sources.reduction": Change(f"{S}.reduction", "few"),
    "sources.start": Change(f"{S}.start", "photographs"),
    "sources.training": Change(f"{S}.training", {**TRAINING, "steps": 41}),
    "sources.views": Change(f"{S}.views", {"flip": 0.5}),
    "sources.view": Change(f"{S}.view", 16),
    "sources.collapse": Change(f"{S}.collapse", {"spread": 0.5}),
    "sources.collapse.spread": Change(f"{S}.collapse.spread", 0.5),
    "sources.collapse.rank": Change(f"{S}.collapse.rank", 2.0),
    "sources.probe": Change(f"{S}.probe", None),
    "sources.probe.archive": Change(f"{S}.probe.archive", "fourth", {"archives.fourth": {**OWN, "size": 32}}),
    "sources.probe.labels": Change(f"{S}.probe.labels", ["Effusion"]),
    "sources.probe.kind": Change(f"{S}.probe.kind", "linear_probe"),
    "sources.probe.neighbours": Change(f"{S}.probe.neighbours", 5),
    "sources.probe.temperature": Change(f"{S}.probe.temperature", 0.5),
    "sources.probe.inverse_penalty": Change(
        f"{S}.probe.inverse_penalty", "chosen", {f"{S}.probe.kind": "linear_probe"}
    ),
    "sources.probe.images": Change(f"{S}.probe.images", 50),
    "sources.further_probes": Change(f"{S}.further_probes", []),
    **{
        f"sources.further_probes.{key}": Change(f"{S}.further_probes.0.{key}", value, beside)
        for key, value, beside in [
            ("archive", "fourth", {"archives.fourth": {**OWN, "size": 32}}),
            ("labels", ["Effusion"], {}),
            ("kind", "linear_probe", {}),
            ("neighbours", 5, {}),
            ("temperature", 0.5, {}),
            ("inverse_penalty", "chosen", {f"{S}.further_probes.0.kind": "linear_probe"}),
            ("images", 50, {}),
        ]
    },
    "sources.compute": Change(f"{S}.compute", {"ranks": 2}),
    "sources.initialisation": Change(f"{S}.initialisation", "zero_residual"),
    "sources.seed": Change(f"{S}.seed", 3),
    "sources.mean": Change("sources.random.mean", [0.5]),
    "sources.std": Change("sources.random.std", [0.5]),
    "sources.title": Change("sources.random.title", "Random start"),
    "sources.short": Change("sources.random.short", "Random"),
    "source_grids": Change("source_grids", {}),
    "source_grids.pattern": Change("source_grids.more.pattern", "x_{method}"),
    "source_grids.methods": Change("source_grids.more.methods", ["byol"]),
    "source_grids.corpora": Change("source_grids.more.corpora", ["second"]),
    "source_grids.reductions": Change("source_grids.more.reductions", ["few"]),
    "source_grids.trainings": Change("source_grids.more.trainings", {"long": {**TRAINING, "steps": 80}}),
    "source_grids.each": Change("source_grids.more.each", {"views": {"flip": 0.5}}),
    "controls.again": Change("controls.again", ["random"]),
    "controls.shuffled": Change("controls.shuffled", ["random"]),
    "datasets.archive": Change("datasets.scans.archive", "again", {"datasets.scans": {}}),
    "datasets.sources": Change(f"{D}.sources", ["random", "photographs"]),
    "datasets.recipes": Change(f"{D}.recipes", ["no"], refused="there is no 'no'"),
    "datasets.labels": Change(f"{D}.labels", ["Cardiomegaly", "Mass"]),
    "datasets.task": Change(f"{D}.task", "nothing", refused="there is no 'nothing'"),
    "datasets.splits": Change("datasets.own.splits", {"folds": 3}, IN_FOLDS | {"datasets.own": {}}),
    "datasets.splits.folds": Change("datasets.own.splits.folds", 4, IN_FOLDS),
    "datasets.splits.validation": Change("datasets.own.splits.validation", 0.2, IN_FOLDS),
    "datasets.splits.seed": Change("datasets.own.splits.seed", 1, IN_FOLDS),
    "datasets.title": Change(f"{D}.title", "ChestX-ray14"),
    "datasets.short": Change(f"{D}.short", "CXR14"),
    "datasets.view": Change(f"{D}.view", 16),
    "datasets.tolerance": Change(f"{D}.tolerance", 2.0, refused="tolerance: no task of it outlines anything"),
    "datasets.targets": Change("datasets.second.targets", {"organ": {"labels": ["Cardiomegaly"]}}),
    "datasets.targets.task": Change(
        "datasets.second.targets", {"organ": {"task": "no", "labels": ["Cardiomegaly"]}}, refused="there is no 'no'"
    ),
    "datasets.targets.labels": Change(
        "datasets.second.targets.organ.labels", ["Mass"], {"datasets.second.targets": {"organ": {"labels": ["Hernia"]}}}
    ),
    # tests/study/test_keys_of_volumes.py tries these where they have an effect
    "datasets.write_outlines": Change(f"{D}.write_outlines", True, refused="no task outlines structures here"),
    "recipes.foreground": Change(f"{R}.foreground", 0.5, refused="no task outlines structures; remove it"),
    "recipes.deep_supervision": Change(f"{R}.deep_supervision", True, refused="no task outlines structures; remove it"),
    "recipes.kind": Change(f"{R}.kind", "linear_probe"),
    "recipes.training": Change(f"{R}.training", {**TRAINING, "steps": 41}),
    "recipes.views": Change(f"{R}.views", {"flip": 0.5}),
    "recipes.compute": Change(f"{R}.compute", {"ranks": 2}),
    "recipes.class_weights": Change(f"{R}.class_weights", True),
    "recipes.loss": Change(f"{R}.loss", "focal"),
    "recipes.loss.kind": Change(f"{R}.loss.kind", "asymmetric"),
    "recipes.loss.gamma": Change(f"{R}.loss.gamma", 3.0, {f"{R}.loss": {"kind": "focal"}}),
    **{
        f"recipes.loss.{key}": Change(f"{R}.loss.{key}", value, {f"{R}.loss": {"kind": "asymmetric"}})
        for key, value in {"gamma_positive": 1.0, "gamma_negative": 2.0, "clip": 0.1}.items()
    },
    "recipes.trained_blocks": Change(f"{R}.trained_blocks", 2),
    "recipes.lora": Change(f"{R}.lora", {}, VIT),
    **{
        f"recipes.lora.{key}": Change(f"{R}.lora.{key}", value, VIT | {f"{R}.lora": {}})
        for key, value in {"rank": 4, "alpha": 16.0, "mlp": True}.items()
    },
    "recipes.label_smoothing": Change(f"{R}.label_smoothing", 0.1),
    "recipes.mixup": Change(f"{R}.mixup", 0.2),
    "recipes.cutmix": Change(f"{R}.cutmix", 1.0),
    "recipes.fraction": Change(f"{R}.fraction", 0.5),
    "recipes.select": Change(f"{R}.select", "loss"),
    "recipes.frozen_steps": Change(f"{R}.frozen_steps", 5),
    "recipes.frozen_epochs": Change(f"{R}.frozen_epochs", 1),
    "recipes.title": Change(f"{R}.title", "Fine-tuning"),
    "recipes.short": Change(f"{R}.short", "Full"),
    "labels": Change("labels", {"Mass": {"title": "Lung mass"}}),
    "labels.title": Change("labels.Cardiomegaly", {"title": "Large heart"}),
    "labels.short": Change("labels.Cardiomegaly", {"short": "Heart"}),
    "recipes.unfrozen_lr": Change(f"{R}.unfrozen_lr", 1e-4, {f"{R}.frozen_steps": 5}),
    "comparison.reference": Change("comparison.reference", "photographs"),
    "comparison.metrics": Change("comparison.metrics", ["auroc", "average_precision"]),
    "comparison.method": Change("comparison.method", "published"),
    "comparison.pairing": Change("comparison.pairing", "nested"),
    "comparison.correction": Change("comparison.correction", "max_t"),
    "comparison.margin": Change("comparison.margin", 0.01),
    "comparison.resamples": Change("comparison.resamples", 2000),
    "comparison.seed": Change("comparison.seed", 1),
    "comparison.level": Change("comparison.level", 0.1),
    "comparison.fewest_positive": Change("comparison.fewest_positive", 3),
    "comparison.external": Change("comparison.external", True),
    "comparison.specificity": Change("comparison.specificity", 0.8),
    "comparison.subsets": Change("comparison.subsets.heart.chestxray14", ["Effusion"]),
    "leaks.distance": Change("leaks.distance", 4),
    "leaks.edited_copies": Change("leaks.edited_copies", True),
    "leaks.excused": Change("leaks.excused", []),
    "leaks.resolve": Change("leaks.resolve", {"identical": "drop_from_training"}),
    "leaks.excused.kind": Change("leaks.excused.0.kind", "identical"),
    "leaks.excused.between": Change("leaks.excused.0.between", ["photographs train", "chestxray14 test"]),
    "leaks.excused.reason": Change("leaks.excused.0.reason", "another one that is long enough"),
    "tracking.wandb": Change("tracking.wandb", "online"),
    "tracking.mlflow": Change("tracking.mlflow", "offline"),
    "tracking.clearml": Change("tracking.clearml", "offline"),
    "tracking.project": Change("tracking.project", "mine"),
    "tracking.entity": Change("tracking.entity", "ours"),
    "tracking.aggregates_only": Change("tracking.aggregates_only", True),
    "tracking.artifacts": Change("tracking.artifacts", ["encoders"]),
    "tracking.also": Change("tracking.also", ["wandb"]),
    "compute.ranks": Change("compute.ranks", 2),
    "compute.nodes": Change("compute.nodes", 2, {"compute.ranks": 2}),
    "compute.threads": Change("compute.threads", 3),
    "compute.workers": Change("compute.workers", 3),
    "compute.device": Change("compute.device", "cpu"),
    "compute.compile": Change("compute.compile", True),
    "compute.fsdp": Change("compute.fsdp", True, {"compute.ranks": 2}),
    "compute.gpu_memory": Change("compute.gpu_memory", 80),
}
for _owner, _place in (("sources", S), ("recipes", R)):
    CHANGES |= {
        f"{_owner}.compute.ranks": Change(f"{_place}.compute.ranks", 4),
        f"{_owner}.compute.nodes": Change(f"{_place}.compute.nodes", 2, {f"{_place}.compute.ranks": 2}),
        f"{_owner}.compute.threads": Change(f"{_place}.compute.threads", 3),
        f"{_owner}.compute.compile": Change(f"{_place}.compute.compile", False, {"compute.compile": True}),
        f"{_owner}.compute.fsdp": Change(f"{_place}.compute.fsdp", True, {"compute.ranks": 2}),
        # no config of this test drops colours, rotates or blurs
        **{
            f"{_owner}.views.{key}": Change(f"{_place}.views.{key}", value)
            for key, value in {
                "crop": 0.5, "flip": 0.5, "rotation": 5, "brightness": 0.1, "contrast": 0.1, "grey": 0.1, "blur": 0.1,
                "noise": 0.1, "saturation": 0.1, "hue": 0.1, "solarise": 0.1, "elastic": 0.1,
            }.items()
        },
        **{
            f"{_owner}.views.{key}": Change(f"{_place}.views.{key}", value, refused=f"{key}: changes volumes only")
            for key, value in {"flip_axes": ["y"], "scaling": 0.1, "low_resolution": 0.1}.items()
        },
        **{
            f"{_owner}.training.{key}": Change(f"{_place}.training.{key}", value)
            for key, value in {
                "steps": 41, "batch": 32, "optimiser": "lamb", "lr": 2e-3, "weight_decay": 0.1, "schedule": "constant",
                "warmup_steps": 3, "final_lr": 1e-5, "ema": 0.9, "clip": 1.0, "precision": "bf16", "validations": 3,
                "drop_path": 0.1, "patience": 2, "save_minutes": 1.0, "betas": [0.9, 0.95], "final_weight_decay": 0.2,
                "reading": "sharded",
            }.items()
        },
        f"{_owner}.training.clip_by": Change(f"{_place}.training.clip_by", "tensor", {f"{_place}.training.clip": 1.0}),
        f"{_owner}.views.jitter": Change(f"{_place}.views.jitter", 0.8, {f"{_place}.views.contrast": 0.1}),
        f"{_owner}.views.resampling": Change(
            f"{_place}.views.resampling", "bicubic", {f"{_place}.views.rotation": 5}
        ),
        f"{_owner}.views.elastic_displacement": Change(
            f"{_place}.views.elastic_displacement", 0.02, {f"{_place}.views.elastic": 0.5}
        ),
        f"{_owner}.training.epochs": Change(f"{_place}.training", {"epochs": 2, "batch": 16}),
        f"{_owner}.training.momentum": Change(f"{_place}.training", {**TRAINING, **SGD, "momentum": 0.5}, {
            f"{_place}.training": {**TRAINING, **SGD}
        }),
    }  # fmt: skip
CHANGES |= {
    "sources.views.like": Change(f"{S}.views.like", "photographs"),
    "recipes.views.like": Change(f"{R}.views.like", "ct", refused="views.like: only pre-training has usual ones"),
    "recipes.training.accumulate": Change(f"{R}.training.accumulate", 2),
    "sources.training.accumulate": Change("sources.photographs.training.accumulate", 2),
    "recipes.training.checkpointing": Change(f"{R}.training.checkpointing", True),
    "sources.training.checkpointing": Change(f"{S}.training.checkpointing", True),
    "recipes.training.layer_decay": Change(f"{R}.training.layer_decay", 0.7),
    "sources.training.layer_decay": Change("sources.photographs.training.layer_decay", 0.7),
}
SECTIONS = {"archives", "sources", "datasets", "recipes", "controls", "comparison", "leaks", "tracking", "compute"}
"""Keys that only hold others."""

IDLE = {
    "momentum": ({f"{R}.training.momentum": 0.5}, "finetune.training.momentum: adamw has no such setting"),
    "final_lr": ({f"{R}.training": {**TRAINING, "schedule": "constant", "final_lr": 1e-5}}, "a constant schedule ends"),
    "views": ({"sources.random.views": {"flip": 0.5}}, "random.views: this source is not pre-trained here"),
    "collapse": ({"sources.published.collapse": {"rank": 2}}, "published.collapse: this source is not pre-trained"),
    "mean": ({"sources.published.mean": [0.5]}, "published.mean: its weights bring the normalisation"),
    "std": ({f"{S}.std": [0.5], f"{S}.start": "photographs"}, "contrastive.std: photographs brings the normalisation"),
    "seed": ({"sources.published.seed": 1}, "published.seed: all weights are loaded"),
    "drawn": ({"sources.random.seed": 1}, "random.seed: a random start is drawn anew"),
    "loaded": ({"sources.published.initialisation": "zero_residual"}, "are loaded, not drawn"),
    "flat": ({"sources.random.initialisation": "zero_residual", "sources.random.backbone": "timm/vit_tiny_patch16_224"},
             "has no residual branches"),
    "betas": ({f"{R}.training": {**TRAINING, **SGD, "betas": [0.9, 0.95]}}, "training.betas: sgd has no such setting"),
    "decay": ({f"{R}.training": {**TRAINING, "weight_decay": 0, "final_weight_decay": 0.1}}, "nothing decays at first"),
    "unclipped": ({f"{R}.training.clip_by": "tensor"}, "training.clip_by: no gradient is clipped"),
    "twice computed": ({f"{R}.training.checkpointing": True, f"{R}.kind": "linear_probe"}, "keeps nothing of its"),
    "whole probe": ({f"{R}.training.drop_path": 0.1, f"{R}.kind": "linear_probe"}, "uses its whole encoder; remove it"),
    "whole spark": ({f"{S}.training.drop_path": 0.1, f"{S}.method": "spark", f"{S}.backbone": "timm/resnet18"},
                    "training.drop_path: spark uses the whole encoder; remove it"),
    "compiled": ({"compute.compile": True, f"{S}.method": "spark", f"{S}.backbone": "timm/resnet18"},
                 "contrastive.compute.compile: spark goes through the encoder layer by layer"),
    "one share": ({"compute.fsdp": True}, "compute.fsdp: the weights of a training are split among its ranks, and"),
    "own share": ({f"{S}.compute.fsdp": True}, "contrastive.compute.fsdp: the weights of a training are split among"),
    "compiled shares": ({"compute.fsdp": True, "compute.ranks": 2, "compute.compile": True}, "split are not compiled"),
    "length": ({"compute.fsdp": True, "compute.ranks": 2, f"{R}.training.optimiser": "lamb"},
               "compute.fsdp: lamb needs the length of whole weights, and each rank has a part (recipes.finetune)"),
    "measured shares": ({"compute.fsdp": True, "compute.ranks": 2, f"{R}.training.accumulate": "auto"},
                        "what a step takes is not measured on split weights (recipes.finetune); set it to false, or"),
    "parts of shares": ({"compute.fsdp": True, "compute.ranks": 2, f"{S}.training.accumulate": 2,
                         f"{S}.backbone": "timm/vit_tiny_patch16_224"}, "compared are not made part by part on split"),
    "halves": ({"compute.fsdp": True, "compute.ranks": 2, f"{R}.training.precision": "fp16"},
               "gradients in fp16 are scaled on each rank by itself (recipes.finetune); set it to false, or"),
    "by layers": ({f"{S}.training.checkpointing": True, f"{S}.method": "spark"}, "goes through the encoder layer by"),
    "layers": ({f"{S}.training.layer_decay": 0.5}, "simclr trains all layers alike"),
    "gamma": ({f"{R}.loss.gamma": 3}, "finetune.loss.gamma: cross_entropy has no such setting"),
    "gammas": ({f"{R}.loss": {"kind": "focal", "clip": 0.1}}, "loss.clip: focal has no such setting; remove it"),
    "head": ({f"{R}.training.layer_decay": 0.5, f"{R}.kind": "linear_probe"}, "a linear_probe trains one layer only"),
    "neighbours": ({f"{S}.probe.neighbours": 3, f"{S}.probe.kind": "linear_probe"}, "a linear_probe has no neighbours"),
    "penalty": ({f"{S}.probe.inverse_penalty": 0.1}, "probe.inverse_penalty: a knn has no penalty"),
    "further": ({f"{S}.further_probes": [{"archive": "third"}]}, "knn on third is probed twice; remove one"),
    "watching": ({"sources.random.further_probes": [{"archive": "third"}]}, "further_probes needs a method"),
    "further penalty": (
        {f"{S}.further_probes.0.inverse_penalty": 0.1},
        "contrastive.further_probes.0.inverse_penalty: a knn has no penalty",
    ),
    "twice": ({f"{S}.views.crop": 0.5, f"{S}.method": {"name": "simclr", "crop": 0.4}}, "simclr.crop is set too"),
    "queue": ({f"{S}.method": {"name": "swav", "queue_starts": 0.5}}, "queue_starts: has no effect with queue: 0"),
    "local": ({f"{S}.method": {"name": "dino", "local_views": 0, "local_size": 0.3}}, "local_size: has no effect with"),
    "grey": ({"sources.of_scans.views": {"grey": 0.5}}, "of_scans.views.grey: the images of scans are grey"),
    "hue": ({"sources.of_scans.views": {"hue": 0.5}}, "of_scans.views.hue: the images of scans are grey"),
    "jitter": ({f"{S}.views.jitter": 0.5}, "views.jitter: none of brightness, contrast, saturation, hue is set"),
    "deformed": ({f"{S}.views.elastic_displacement": 0.02}, "views.elastic_displacement: nothing is deformed"),
    "resampled": ({f"{S}.views.resampling": "bicubic", f"{S}.method": {"name": "simclr", "crop": 1.0}},
                  "contrastive.views.resampling: nothing is cropped, turned or reduced"),
    "resampled by a recipe": ({f"{R}.views.resampling": "bicubic"}, "finetune.views.resampling: nothing is cropped"),
    "one view": ({f"{R}.views.blur": [0.5]}, "finetune.views.blur: one view is made of each image; give a number"),
    "views of each": ({f"{S}.views.blur": [0.5, 0.1, 0.1]}, "blur: 2 views are made of each image; give at most 2"),
    "official": ({f"{A}.test": 0.3}, "chestxray14.test: chestxray14 has an official test split"),
    "stored scans": ({"archives.scans.stored": False}, "archives.scans.stored: ct_ich is read a whole scan at a time"),
    "stored volumes": (VOLUMES | {"archives.volumes.stored": False}, "archives.volumes.stored: msd is read a whole"),
    "all official": ({"archives.organs": {"kind": "organsmnist", "folder": "o", "split_seed": 2}}, "are official"),
    "project": ({"tracking": {"project": "mine"}}, "tracking.project: wandb, mlflow, clearml are switched off"),
    "entity": ({"tracking": {"mlflow": "offline", "project": "mine", "entity": "ours"}},
               "tracking.entity: Weights & Biases is switched off"),
    "pairing": ({"seeds": [0], "comparison.pairing": "nested"}, "comparison.pairing: one seed has no spread"),
}  # fmt: skip


def keys(form: type[Record], *, above: str = "") -> Iterator[str]:
    """The keys of a record and of those that it holds, as dotted places without the names of entries."""
    for name, field in form.model_fields.items():
        if name in UNWRITTEN:
            continue
        yield f"{above}{name}"
        for inner in records(field.annotation):
            # a training or views in a list of a grid are those of a source
            if not (above.startswith("source_grids") and name == "trainings"):
                yield from keys(inner, above=f"{above}{name}.")


def records(annotation: Any) -> set[type[Record]]:
    """The records within an annotation that have keys of their own."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return set() if issubclass(annotation, LEAVES) else {annotation}
    return {form for inner in typing.get_args(annotation) for form in records(inner)}


def test_every_key_has_an_entry_and_every_entry_a_key():
    assert set(keys(Config)) - SECTIONS == set(CHANGES)


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_every_key_reaches_a_job_or_the_main_process(key: str):
    change = CHANGES[key]
    before = put(whole(), change.beside)
    after = put(before, {change.place: change.value})
    if change.refused:
        with pytest.raises(UserError, match=change.refused):
            study_config.load(after)
        return
    assert told(after) != told(before)


@pytest.mark.parametrize("name", sorted(IDLE))
def test_a_key_without_effect_is_refused_by_name(name: str):
    changes, words = IDLE[name]
    study_config.load(whole())
    with pytest.raises(UserError) as refusal:
        study_config.load(put(whole(), changes))
    assert words in str(refusal.value)


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.stem)
def test_no_shipped_config_has_a_key_without_effect(file: Path):
    study_config.read(file)


CROPS = dict.fromkeys(("simclr", "byol", "moco", "moco_v3", "vicreg", "barlow_twins"), "crop") | {
    "dino": "global_crop",
    "ibot": "global_crop",
    "swav": "large_crop",
}


@pytest.mark.parametrize("method", CROPS)
def test_views_crop_is_the_methods_own_option(method: str):
    option, value = CROPS[method], [0.3, 1.0] if method == "swav" else 0.3
    by_views, by_option, by_default = (
        study_config.load(put(whole(), changes)).sources["contrastive"]
        for changes in (
            {f"{S}.method": method, f"{S}.views": {"crop": 0.3, "flip": 0.5}},
            {f"{S}.method": {"name": method, option: value}, f"{S}.views": {"flip": 0.5}},
            {f"{S}.method": method, f"{S}.views": {"flip": 0.5}},
        )
    )
    assert by_views == by_option and by_views.digest == by_option.digest != by_default.digest
    # once it was ignored, so that its digest must not be the one of then
    assert (
        by_views.digest
        != by_default.model_copy(update={"views": by_default.views.model_copy(update={"crop": 0.3})}).digest
    )


def test_no_cropping_said_aloud_changes_no_digest():
    said, unsaid = (study_config.load(put(whole(), {f"{R}.views": views})) for views in ({"crop": 1.0}, {}))
    assert said.recipes["finetune"].digest == unsaid.recipes["finetune"].digest
