"""W&B session: one run at Weights & Biases, live or as files to sync later.

Nothing leaves the machine unless the config says so, and even then no host name, user, command line, path or code.
"""

import glob
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import UserError
from headwater.study.tracking import Tracking

LONGEST_TAG = 64
"""Characters of a tag that W&B takes."""

PRIVACY = {
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_save_requirements": False,
    "disable_git": True,
    "disable_code": True,
    "console": "off",
    "silent": True,
    # else the names of the node and the path of the script
    "host": "x",
    "program": "headwater",
    "program_abspath": "headwater",
    "program_relpath": "headwater",
}
"""Settings of W&B by which it says nothing of the machine, its user and what was called."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """How a run is known at W&B; `former` are ids under which earlier versions wrote the same run."""

    identity: str
    name: str
    group: str
    job: str
    tags: tuple[str, ...] = ()
    former: tuple[str, ...] = ()


class Session:
    """A run of W&B that is open; `variables` are the environment variables to unset at its end."""

    def __init__(self, run: Any, *, offline: bool, variables: list[str], former: list[Path]):
        self.run = run
        self.offline = offline
        self.variables = variables
        self.former = former
        """Folders of former attempts at an offline run; none for an online one, which a server puts together."""

    def use(self, artifact: Any) -> None:
        """Tell that the run reads an artifact, which is uploaded if the server does not have it."""
        try:
            # what its use_artifact does, which refuses offline runs although their files can hold the same
            self.run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        except (AttributeError, TypeError):
            raise UserError(
                "this version of wandb cannot tell which encoder a training reads",
                remedy="remove encoders from tracking.artifacts, or call make setup for the version that is tested",
            ) from None

    def remove_former(self) -> None:
        """Remove what former attempts wrote, once this one holds it too.

        Of several offline folders of one run, `wandb sync` may upload steps twice, or one folder in place of another.
        """
        while self.former:
            shutil.rmtree(self.former.pop())

    def close(self, exit_code: int = 0) -> None:
        """End the run."""
        self.run.finish(exit_code=exit_code)
        for name in self.variables:
            del os.environ[name]


def begin(folder: Path, *, named: Named, config: Mapping[str, Any], tracking: Tracking) -> Session:
    """A run, new or resumed by its id, whose files lie below `folder`."""
    wandb = library()
    variables = keep_below(folder, tracking=tracking)
    # before the new run has a folder, which must stay
    former = _folders((named.identity, *named.former)) if tracking.wandb == "offline" else []
    try:
        run = wandb.init(
            # said here too: W&B reads the environment once in a process, and a former run may have been elsewhere
            dir=os.environ["WANDB_DIR"],
            project=tracking.project,
            entity=tracking.entity,
            group=named.group,
            name=named.name,
            job_type=named.job,
            id=named.identity,
            tags=[tag[:LONGEST_TAG] for tag in dict.fromkeys(named.tags) if tag],
            # an offline run is written whole by each attempt: resumed, its points would be added to those of a former
            # upload; without it they take their places
            resume="allow" if tracking.wandb == "online" else None,
            config=dict(config),
            mode=tracking.wandb,
            settings=wandb.Settings(**PRIVACY),
        )
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        raise unreachable(error, otherwise="set tracking.wandb: offline and call headwater sync later") from None
    return Session(run, offline=tracking.wandb == "offline", variables=variables, former=former)


def library() -> Any:
    """The package wandb; refuses if it is not installed."""
    try:
        import wandb
    except ImportError:
        raise UserError(
            "tracking.wandb needs the package wandb",
            remedy="pip install -e '.[wandb]', or set tracking.wandb: disabled",
        ) from None
    return wandb


def unreachable(error: Exception, *, otherwise: str) -> UserError:
    """That the server does not answer, with what else may be done."""
    said = next(iter(str(error).splitlines()), type(error).__name__)
    remedy = f"call wandb login and start again, or {otherwise}"
    return UserError(f"Weights & Biases does not answer: {said}", remedy=remedy)


def _folders(identities: Iterable[str]) -> list[Path]:
    """The folders of former offline attempts at a run, in the folder that W&B writes to."""
    place = Path(os.environ["WANDB_DIR"])
    return [
        folder
        for identity in dict.fromkeys(identities)
        for folder in place.glob(f"*wandb/offline-run-*-{glob.escape(identity)}")
    ]


def keep_below(folder: Path, *, tracking: Tracking) -> list[str]:
    """Keep W&B's files below `folder` instead of the home folder; the environment variables that were set for it.

    Variables that the user has set are left alone.
    """
    places = {"WANDB_DIR": ".", "WANDB_DATA_DIR": "wandb/data", "WANDB_CACHE_DIR": "wandb/cache"}
    if tracking.wandb == "offline":
        # online runs need the user's own settings, which hold the server of `wandb login`
        places["WANDB_CONFIG_DIR"] = "wandb/config"
    unset = [name for name in places if name not in os.environ]
    for name in unset:
        (folder / places[name]).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str((folder / places[name]).absolute())
    return unset
