"""All tables that pass between rules, wherever they are declared."""

import importlib
import pkgutil

from headwater import data, evaluation
from headwater.data.tables import Table


def declared_tables() -> dict[str, Table]:
    """Each table's declaration by its name; no two of them may have one name."""
    tables: dict[str, Table] = {}
    for room in (data, evaluation):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, Table):
                    assert tables.setdefault(value.name, value) is value, f"{value.name} is declared twice"
    return tables
