"""The check-lists: enough is filled in, each answer is true of the study, and each file that it names is there."""

import pytest

from headwater import __version__
from headwater.core.records import Choice
from headwater.data.tables import MACRO
from headwater.reporting import check_lists, study_facts
from headwater.reporting.figures import flow
from headwater.stages.report import report
from headwater.study.leaks import Leaks
from headwater.study.recipe import Recipe, Training
from report_made import SIZES, changed, study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    strengths = {"random": 0.3, "random_again": 0.3, "wild_dino": 1.2}
    return study(tmp_path_factory.mktemp("study"), strengths=strengths, controls=("random_again",), resamples=128)


def with_grid(made, **changes):
    """The study's results as those of a grid with other settings."""
    results = made.read_in()
    results.grid = made.grid.model_copy(update=changes)
    return results


def comparing(made, **settings):
    return with_grid(made, comparing=changed(made.grid, **settings).comparing)


def archive(made, **changes):
    chest, *others = made.grid.archives
    return with_grid(made, archives=(chest.model_copy(update=changes), *others))


def recipe(made, **changes):
    settings = {"name": "finetune", "training": Training(steps=100)} | changes
    return with_grid(made, recipes=(Recipe(**settings),))


def without_rejects(made):
    results = made.read_in()
    results.rejects = {name: table.iloc[:0] for name, table in results.rejects.items()}
    return results


def with_unknown(made):
    results = made.read_in()
    results.counts = {name: table.assign(unknown=table["unknown"] + 5) for name, table in results.counts.items()}
    return results


def half_of_the_cases(made):
    results = made.read_in()
    results.cases = {name: table[table["row"] % 4 < 2] for name, table in results.cases.items()}
    return results


def none_significant(made):
    results = made.read_in()
    results.comparisons = results.comparisons.assign(significant=False)
    return results


def none_tested(made):
    results = made.read_in()
    results.comparisons = results.comparisons.assign(tested=False)
    return results


def other_backbone(made):
    first, *others = made.grid.sources
    return with_grid(made, sources=(first.model_copy(update={"backbone": "timm/vit_tiny"}), *others))


def other_method(made):
    sources = tuple(
        source.model_copy(update={"method": Choice(name="moco")}) if source.method else source
        for source in made.grid.sources
    )
    return with_grid(made, sources=sources)


def without_controls(made):
    return with_grid(made, sources=tuple(source for source in made.grid.sources if not source.control))


def no_group_measured(made):
    results = made.read_in()
    results.subgroups = results.subgroups.assign(value=float("nan"))
    return results


def one_dataset(made):
    return with_grid(made, datasets=made.grid.datasets[:1])


CHANGED = {
    "goal": (lambda made: comparing(made, reference="wild_dino"), "with random as reference", "with wild_dino as"),
    "data": (one_dataset, "vindr: ", "chest: "),
    "exclusions": (without_rejects, "unreadable: 2: ", "unreadable: none"),
    "preparation": (lambda made: archive(made, size=96), "224 × 224 pixels", "96 × 96 pixels"),
    "subsets": (one_dataset, "Cardiomegaly", "4 labels (Atelectasis"),
    "missing": (with_unknown, "chest: 0 unknown", "chest: 60 unknown"),
    "partitions": (half_of_the_cases, f"train {SIZES['train']}", f"train {SIZES['train'] // 2}"),
    "apart": (
        lambda made: with_grid(made, leaks=Leaks(distance=3)),
        "at most 16 of 256 bits",
        "at most 3 of 256 bits",
    ),
    "networks": (other_backbone, "timm/resnet50", "timm/vit_tiny"),
    "first_weights": (other_method, "dino (prototypes 512)", "moco"),
    "training": (lambda made: recipe(made, training=Training(epochs=3, lr=0.02)), "100 steps", "3 epochs"),
    "selection": (lambda made: recipe(made, select="loss"), "finetune: auroc", "finetune: loss"),
    "ensembles": (lambda made: with_grid(made, seeds=(0, 1, 2)), "over 2 seeds", "over 3 seeds"),
    "metrics": (lambda made: comparing(made, metrics=("brier",)), "AUROC", "Brier score"),
    "statistics": (lambda made: comparing(made, resamples=999, level=0.1), "128 resamples", "999 resamples"),
    "sensitivity": (without_controls, "controls: random_again", "no control was run"),
    "internal": (half_of_the_cases, f"chest: {SIZES['test']} cases", f"chest: {SIZES['test'] // 2} cases"),
    "external": (lambda made: comparing(made, external=True), "its own dataset only", "on the other datasets"),
    "flow": (without_rejects, "2 unreadable", "0 unreadable"),
    "events": (none_tested, "chest: 2 labels tested", "chest: 0 labels tested"),
    "performance": (none_significant, "2 of 2 declared", "0 of 2 declared"),
    "fairness": (no_group_measured, "4 groups measured", "0 groups measured"),
    "imbalance": (lambda made: recipe(made, class_weights=True), "not weighted", "weighted in finetune"),
    "output": (lambda made: comparing(made, specificity=0.8), "specificity of 0.9", "specificity of 0.8"),
}
"""By the fact: a change of the study, what is said before it, and after it."""


TOLD = {
    "the head and LoRA of the attention and MLPs (rank 4, alpha 8), all else frozen": {
        "lora": {"rank": 4, "mlp": True}
    },
    "the head and the last 2 blocks, all below frozen": {"trained_blocks": 2},
    "layer-wise decay of the learning rate 0.75": {"training": Training(steps=100, layer_decay=0.75)},
    "focal loss (gamma 3)": {"loss": {"kind": "focal", "gamma": 3}},
    "asymmetric loss (gamma 0 of positives and 4 of negatives, clip 0.05)": {"loss": "asymmetric"},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "pairs of images mixed by mixup (alpha 0.2)": {"mixup": 0.2},
    "pairs of images mixed by mixup (alpha 0.8) or CutMix (alpha 1), either": {"mixup": 0.8, "cutmix": 1},
}
"""What is said of a recipe with these keys."""


@pytest.mark.parametrize("words", TOLD)
def test_a_way_to_fine_tune_is_told(made, words):
    assert words not in study_facts.training(made.read_in()).says
    changes = TOLD[words]
    assert words in study_facts.fitting(Recipe(**{"name": "r", "training": Training(steps=9)} | changes))
    assert words in study_facts.training(recipe(made, **changes)).says


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_an_answer_changes_with_the_study(made, name):
    change, before, after = CHANGED[name]
    tell = getattr(study_facts, name)
    first, then = tell(made.read_in()).says, tell(change(made)).says
    assert before in first, first
    assert after in then and first != then, then


def test_software_and_settings_are_those_at_hand(made):
    assert __version__ in study_facts.software(made.read_in()).says
    other = with_grid(made, seeds=(5, 6))
    assert made.grid.digest in study_facts.record(made.read_in()).says
    assert other.grid.digest in study_facts.record(other).says and other.grid.digest != made.grid.digest


def test_items_are_those_of_the_lists_in_their_order():
    assert [item.number for item in check_lists.CLAIM] == [str(number) for number in range(1, 45)]
    numbers = [item.number for item in check_lists.TRIPOD_AI]
    assert len(numbers) == len(set(numbers)) == 52
    assert list(dict.fromkeys(int(number.rstrip("abcdefg")) for number in numbers)) == list(range(1, 28))


@pytest.mark.slow
def test_twenty_items_are_filled_in_and_their_files_are_there(made, tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.reporting.writing.draw", lambda study: {"flow": flow.make(study)})
    report(**made.arguments(), folder=tmp_path)
    results = made.read_in()
    for items in (check_lists.CLAIM, check_lists.TRIPOD_AI):
        rows = check_lists.table(items, title="", study=results).exact
        filled = rows[rows["by"] == "study"]
        assert len(filled) >= 20 and (rows.loc[rows["by"] == "author", "answer"] == "–").all()
        for files in filled["files"].str.split(", "):
            assert files and all((tmp_path / file).is_file() for file in files), files
    assert "Check-lists of journals" in (tmp_path / "index.html").read_text()


def test_the_flow_adds_up(made):
    results = made.read_in()
    boxes = flow.steps(results.grid.dataset("chest"), results)
    total = sum(SIZES.values())
    assert boxes["found"] == [f"found in the archive\n{total + 2} cases"] and boxes["left_out"] == ["unreadable: 2"]
    assert [part.split("\n")[1].split(" ")[0] for part in boxes["parts"]] == [str(size) for size in SIZES.values()]
    rows = results.comparisons
    labels = set(rows.loc[rows["dataset"] == "chest", "label"]) - {MACRO}
    assert sum(int(line.split()[0]) for line in boxes["tested"][1:]) == len(labels)
