"""Hosting: which archives' terms allow no logging on a server outside, and what is refused for their sake."""

from pathlib import Path

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.study.config import Config


def not_hosted(config: Config) -> list[str]:
    """The archives of a study whose terms allow no logging on a server outside; twins hold nobody."""
    used = {dataset.archive for dataset in config.datasets.values()}
    used |= {name for source in config.sources.values() for name in source.archives}
    return [
        name
        for name in sorted(used)
        if not config.archives[name].twin
        and not registry.constant("datasets", config.archives[name].kind.name, "CARD.hosted_logging", default=True)
    ]


def refuse_private(study: Config, *, file: Path) -> None:
    """Refuse a study of which nothing may go to a server outside."""
    names = not_hosted(study)
    if names and not study.tracking.aggregates_only:
        raise UserError(
            f"nothing of archives.{names[0]} may go to a server outside",
            file=file,
            remedy="keep the runs here, or if its terms allow tables of results, set tracking.aggregates_only: true",
        )
