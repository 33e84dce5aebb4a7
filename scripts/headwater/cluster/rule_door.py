"""Rule door: runs a stage as a job of the workflow, which is alone at its products and records its settings."""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

from headwater.cluster import product_lock
from headwater.core import command_line, files
from headwater.core.records import plain
from headwater.study.archive import sized
from headwater.study.paths import Paths
from headwater.study.rules import rules

OF_THE_MACHINE = {"threads", "workers", "device", "compile", "fsdp", "gpu_memory", "tracking"}
"""Options that change no product."""


def door(stage: Callable, arguments: Sequence[str] | None = None) -> None:
    """Run a stage with parameters from the command line, as `command_line.door` does."""
    command_line.door(_alone(stage), arguments)


def _alone(stage: Callable) -> Callable:
    """The stage, which first waits until no other job writes its products."""

    @wraps(stage)
    def run(*arguments: Any, **options: Any) -> None:
        given = signature(stage).bind(*arguments, **options).arguments
        # of a training of several processes the first one writes
        if os.environ.get("RANK", "0") != "0":
            return stage(*arguments, **options)
        products = _products(stage.__name__, given)
        # while the first process waits here, the collectives of the others would time out; they wait together at the
        # lock of their checkpoint
        waits = os.environ.get("WORLD_SIZE", "1") == "1"
        first = _first_of_each_folder(products)
        with product_lock.held(first, settings=_settings(given), verb=stage.__name__, waits=waits):
            for product in products:
                files.remove_temporaries(product)
            return stage(*arguments, **options)

    return run


def _products(verb: str, given: dict[str, Any]) -> list[Path]:
    """The products that a command names; the folder of a stage that writes a folder."""
    named = [given[name] for name in rules(Paths(""), seeds=())[verb].outputs if name in given]
    return [file for entry in named for file in (entry if isinstance(entry, list) else [entry])] or [given["folder"]]


def _first_of_each_folder(products: list[Path]) -> list[Path]:
    """One product of each folder, as those of one job in one folder are always written together."""
    return list({product.parent: product for product in reversed(products)}.values())


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """What products depend on besides the files that are read."""
    # a size of one number is recorded as that number, as the config says it
    given = {name: sized(value) if name == "size" and value else value for name, value in given.items()}
    asked = {name: plain(value) for name, value in given.items() if name not in OF_THE_MACHINE}
    return {name: value for name, value in asked.items() if not _is_of_paths(value)}


def _is_of_paths(value: Any) -> bool:
    return isinstance(value, Path) or (isinstance(value, list) and any(isinstance(entry, Path) for entry in value))
