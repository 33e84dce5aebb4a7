"""Initialisation: what a random start means for each kind of network, which libraries and papers do differently."""

from functools import cache

from headwater.core import registry


@cache
def zeroable(backbone: str) -> bool:
    """Whether the library can start each residual branch of this network at zero."""
    library, _, model = backbone.partition("/")
    return model.startswith(tuple(_of(library, "ZEROABLE", default=())))


def named(backbone: str, *, residual: str | None) -> str:
    """The distribution of the first weights of a network, for people; `residual` is a source's `initialisation`."""
    library, _, model = backbone.partition("/")
    kinds = _of(library, "INITIALISATIONS", default={})
    kind = next((text for name, text in kinds.items() if model.startswith(name)), f"as {library} draws it")
    if not zeroable(backbone):
        return kind
    return f"{kind}, residual branches {'' if residual == 'zero_residual' else 'not '}at zero"


def _of(library: str, which: str, *, default: tuple | dict) -> tuple | dict:
    """A constant of a library's plug-in; the default for a library that does not exist, which the checks report."""
    known = library in registry.names("backbones")
    return registry.constant("backbones", library, which, default=default) if known else default
