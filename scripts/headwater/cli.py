"""The `headwater` command; each sub-command is imported only when it is called."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cyclopts import App

from headwater import __version__
from headwater.core import command_line
from headwater.core.errors import exit_on_user_error

COMMANDS = {
    "plan": ("", "Show a whole study on one page before it runs; plan its hours and statistical power."),
    "status": ("headwater.planning.status:status", "Show the state of every job, the hours spent and the time left."),
    "doctor": ("headwater.data.integrity:doctor", "Check a copy of an archive before any job reads it."),
    "twin": ("headwater.stages.twin:twin", "Make a small synthetic archive in the layout of a real one."),
    "trace": ("headwater.reporting.trace:whence", "Follow a number of the report back to its files."),
    "dashboard": (
        "headwater.reporting.dashboards.making:dashboard",
        "Make a workspace and a report at W&B.",
    ),
    "sync": (
        "headwater.reporting.dashboards.sync:sync",
        "Upload the offline runs of a study to W&B, each once.",
    ),
    "predict": ("headwater.training.own_files:predict", "Predict the labels of images of your own."),
    "export": ("headwater.models.export:export", "Write a model or an encoder in a format of other programs."),
    "push": ("headwater.models.sharing:push", "Write a model as a folder for the Hugging Face hub; nothing is sent."),
    "submit": ("", "Run a study on a cluster by a controller job; watch it, end it, debug one run."),
}
"""Each command: the place of its function and its line in `headwater --help`. Groups have no function."""

GROUPS = {
    "plan": {
        "cost": ("headwater.planning.cost:cost", "List the hours of each kind of job, and the total duration."),
        "calibrate": (
            "headwater.planning.timing_benchmark:calibrate",
            "Time a few real training steps of each kind on this machine.",
        ),
        "memory": (
            "headwater.planning.memory:memory",
            "Show what GPU memory a step of each kind of training takes, and what makes it fit.",
        ),
        "compare": (
            "headwater.planning.estimate_vs_actual:compare",
            "Set estimates beside the actual durations of finished jobs.",
        ),
        "power": (
            "headwater.planning.power:power",
            "Show the smallest difference that the test patients and seeds could reveal.",
        ),
    },
    "submit": {
        "start": ("headwater.cluster.submit:start", "Run the study by a small job of its own."),
        "watch": ("headwater.cluster.submit:watch", "Run the study from this shell, for tmux or screen."),
        "status": ("headwater.cluster.submit:status", "Show the controller and its jobs."),
        "logs": ("headwater.cluster.submit:logs", "Show the end of the controller's log."),
        "cancel": ("headwater.cluster.submit:cancel", "End the controller and its jobs."),
        "one": ("headwater.cluster.debug_run:one", "Train one run by hand, for debugging."),
    },
}
"""The sub-commands of each group, in the same form."""

HELP = """Where should my network's first weights come from? Plan a study, watch it and trace its numbers.

Every command explains its arguments: headwater COMMAND --help. Studies themselves are run by snakemake.

Commands that read a config take --set KEY=VALUE, such as --set sources.dino.training.lr=1e-3, in place of its value."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line of `headwater`; a mistake prints one line and exits with 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # `plan study` is what `plan` without a sub-command was called in scripts/plan.py
    if words[:2] == ["plan", "study"]:
        del words[1]
    name = " ".join(_named(words))
    try:
        with exit_on_user_error(name), _overridden(words) as words:
            app = application(words)
            if not words or words == ["submit"]:
                app.help_print(words, console=app.error_console)
                sys.exit(2)
            command_line.run(app, words, name=name)
            sys.stdout.flush()
    except BrokenPipeError:
        # the reader of a pipe, such as `head`, has ended; without this Python would fail again when closing its output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@contextmanager
def _overridden(words: list[str]) -> Iterator[list[str]]:
    """The words without `--set KEY=VALUE`; within it, configs that are read have these values."""
    if words[:1] not in (["plan"], ["status"], ["trace"], ["submit"], ["sync"], ["dashboard"]) or not any(
        map(_sets, words)
    ):
        yield words
        return
    # imported here because most commands set nothing, and --help shall load nothing
    from headwater.study import overrides

    others, assignments = overrides.taken_from(words)
    with overrides.given(assignments):
        yield others


def _sets(word: str) -> bool:
    """Whether a word sets a key of the config."""
    return word.partition("=")[0] == "--set"


def _named(words: list[str]) -> list[str]:
    """The command and sub-command at the beginning of the words, if any."""
    if not words or words[0] not in COMMANDS:
        return []
    return words[:2] if len(words) > 1 and words[1] in GROUPS.get(words[0], ()) else words[:1]


def application(words: list[str]) -> App:
    """The command with its sub-commands; only those that the words call for are loaded."""
    app = command_line.application(
        "headwater",
        help=HELP,
        version=__version__,
    )
    app.register_install_completion_command(help="Install the completion of commands and options for your shell.")
    for name, (place, summary) in COMMANDS.items():
        is_called = words[:1] == [name]
        if name in GROUPS:
            app.command(_group(name, words[1:] if is_called else [], summary))
        else:
            # a called command's help is its full docstring, which a summary would replace
            app.command(place, name=name, help=None if is_called else summary)
    # cyclopts imports a group's default function at once, so it is registered only if it may be called
    if words[:1] in (["plan"], ["--install-completion"]):
        _add_overview(app["plan"], words[1:])
    return app


def _group(name: str, words: list[str], summary: str) -> App:
    """A command with sub-commands."""
    app = command_line.application(name, help=summary)
    for inner, (place, line) in GROUPS[name].items():
        app.command(place, name=inner, help=None if words[:1] == [inner] else line)
    return app


def _add_overview(plan: App, words: list[str]) -> None:
    """Make the overview the default of `plan`; a word that is neither a sub-command nor a file is a mistake."""
    from headwater.planning.overview import overview

    first = words[0] if words else "-"
    if first[0] != "-" and first not in GROUPS["plan"] and not os.path.lexists(first) and Path(first).suffix == "":
        raise command_line.unknown_command(first, plan)
    plan.help = None
    plan.default(overview)


if __name__ == "__main__":
    main()
