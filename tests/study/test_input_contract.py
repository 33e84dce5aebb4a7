"""What archives feed against what published weights were trained on: refused with the remedy, or excused aloud."""

import pytest

from headwater.study import input_contract
from headwater.study.archive import Archive, Dataset
from headwater.study.source import Source
from headwater.study.wording import Wording

AS_SUPREM = {"size": 96, "spacing": [1.5, 1.5, 1.5], "window": {"centre": 37.5, "width": 425}}


class Study:
    """As much of a config as the check looks at."""

    def __init__(self, archives, *sources):
        self.archives = {archive.name: archive for archive in archives}
        self.sources = {source.name: source for source in sources}
        self.datasets = {"organs": Dataset(name="organs", archive="ct")}


def ct(**other):
    return Archive(name="ct", kind="ct_organs", folder="x", **{**AS_SUPREM, **other})


def mr(**other):
    return Archive(name="ct", kind="knee", folder="x", size=96, spacing=[1.5, 1.5, 1.5], **other)


def adopted(layout="suprem", *, name="published", otherwise=()):
    weights = {"layout": layout, "path": "x.pth", "fed_otherwise": otherwise}
    return Source(name=name, backbone="monai/segresnet", weights=weights)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    """Two archives of volumes: one in Hounsfield units, one of MR."""
    from headwater.core import registry

    constant = registry.constant
    cards = {"ct_organs": {"CARD.ndim": 3, "CARD.window": "chest"}, "knee": {"CARD.ndim": 3, "CARD.window": ""}}

    def told(family, name, which, *, default):
        return cards[name].get(which, default) if name in cards else constant(family, name, which, default=default)

    option = registry.option
    monkeypatch.setattr(
        registry, "option", lambda family, name, **asked: None if name in cards else option(family, name, **asked)
    )
    names = registry.names
    monkeypatch.setattr(registry, "constant", told)
    monkeypatch.setattr(registry, "names", lambda family: [*names(family), *(cards if family == "datasets" else ())])


def mistakes(archive, *sources):
    return list(input_contract.mistakes(Study([archive], *sources)))


def test_what_is_fed_as_in_the_training_is_let_pass():
    assert mistakes(ct(), adopted()) == []


@pytest.mark.parametrize(
    ("fed", "said"),
    [
        ({"spacing": "native"}, "spacing native of ct, but 1.5 x 1.5 x 1.5 mm"),
        ({"spacing": "native"}, "set archives.ct.spacing: [1.5, 1.5, 1.5], or set sources.published.weights.fed"),
        ({"spacing": [1.5, 1.5, 3]}, "spacing 1.5 x 1.5 x 3 of ct"),
        ({"window": "lung"}, "of ct, but -175 to 250 HU in the training of its weights"),
        ({"window": "lung"}, "set archives.ct.window: {centre: 37.5, width: 425}, or"),
        ({"size": [96, 96, 64]}, "patch 96 x 96 x 64 of ct, but 96 x 96 x 96 voxels"),
        ({"size": [96, 96, 64]}, "set archives.ct.size: [96, 96, 96], or"),
    ],
)
def test_each_difference_is_refused_with_the_remedy(fed, said):
    (line,) = mistakes(ct(**fed), adopted())
    assert line.startswith("sources.published.weights: ") and said in line


def test_rounded_distances_are_the_same():
    assert mistakes(ct(spacing=[1.4999, 1.5, 1.5]), adopted()) == []


def test_axes_that_the_weights_know_otherwise_are_no_difference_as_volumes_are_turned():
    fed = {"spacing": [1, 1, 3], "window": {"centre": 512, "width": 3072}}
    assert mistakes(ct(**fed), adopted("ct_fm")) == []


def test_values_without_hounsfield_units_are_no_window():
    (line,) = mistakes(mr(), adopted())
    assert "intensity z-scores of ct, but -175 to 250 HU" in line and "window:" not in line
    assert mistakes(mr(), adopted("medicalnet")) == []
    (line,) = mistakes(mr(intensity={"percentiles": [0.5, 99.5]}), adopted("medicalnet"))
    assert "percentiles 0.5 to 99.5 of ct, but z-scores" in line and "set archives.ct.intensity: zscore, or" in line
    (line,) = mistakes(mr(), adopted("dino_3d"))
    assert "set archives.ct.intensity: {percentiles: [0.05, 99.95]}, or" in line


def test_an_excuse_for_nothing_is_refused():
    (line,) = mistakes(ct(), adopted(otherwise=["spacing"]))
    assert "fed_otherwise: spacing is as in the training of the weights; remove it" in line


def test_corpora_that_go_on_from_the_weights_are_fed_to_them_as_well():
    archives = [ct(), ct().model_copy(update={"name": "corpus", "spacing": "native"})]
    further = Source.model_construct(name="further", start="published", corpus="corpus", probe=None, weights=None)
    (line,) = input_contract.mistakes(Study(archives, adopted(), further))
    assert "spacing native of corpus" in line


def test_pictures_have_no_such_contract():
    archive = Archive(name="ct", kind="organsmnist", folder="x")
    assert mistakes(archive, adopted("headwater")) == []


def test_every_difference_that_is_excused_is_a_footnote():
    class Grid:
        wording = Wording()
        archives = (ct(spacing="native"),)
        datasets = (Dataset(name="organs", archive="ct"),)
        sources = (adopted(otherwise=["spacing"]), adopted(otherwise=["spacing"]).as_control("again"))

    from headwater.reporting import footnotes

    told = "published: fed spacing native of ct, but 1.5 x 1.5 x 1.5 mm in the training of its weights."
    assert footnotes.of_weights(Grid) == [told]
