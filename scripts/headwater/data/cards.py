"""Cards: what an archive says of itself, or the config of a folder of one's own."""

from headwater.core import registry
from headwater.data.datasets import Card
from headwater.study.archive import Archive


def card(archive: Archive) -> Card:
    """What an archive says of itself, or the config of a folder of one's own."""
    plugin = registry.load("datasets", archive.kind.name)
    return plugin.card(registry.chosen("datasets", archive.kind)) if hasattr(plugin, "card") else plugin.CARD
