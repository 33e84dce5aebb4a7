"""Cards: the description of an archive, by its plug-in or, for an own folder, by the config."""

from headwater.core import registry
from headwater.data.datasets import Card
from headwater.study.archive import Archive


def card(archive: Archive) -> Card:
    """The card of an archive, under its options if these describe it."""
    plugin = registry.load("datasets", archive.kind.name)
    return plugin.card(registry.chosen("datasets", archive.kind)) if hasattr(plugin, "card") else plugin.CARD
