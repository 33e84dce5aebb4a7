"""Outlines on the test volumes of another archive: its structures and its tolerance, and what `cross` says of them."""

import numpy as np
import pytest

import tiny_networks_made
import volumes_made
from headwater.data.store import CASES
from headwater.evaluation.external import CROSSED
from headwater.evaluation.predictions import ELSEWHERE, PREDICTIONS, with_evidence
from headwater.stages.cross import cross
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.transport import transport
from headwater.study.comparison import Comparison
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.shared_labels import Exchange, Exchanges
from headwater.study.source import Source
from headwater.study.target import evidence
from predictions_made import counted

PATCH = [8, 8, 6]
SEEN = Intensity(zscore=True)
OUTLINE = {"task": "segmentation"}
OUTLINED = {**OUTLINE, "labels": ("back", "front")}
PAIRS = (("front", "front"), ("back", "back"))
EVIDENCE = evidence(("segmentation",))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """(folder of a fitted network, its run, the archive that it was fitted to, its predictions there)."""
    folder = tmp_path_factory.mktemp("fitted")
    with tiny_networks_made.there(tmp_path_factory.mktemp("tiny")):
        made = volumes_made.archive(folder / "made", cases=20, sides=(10, 12, 8))
        run = Run(
            dataset={"name": "made", "archive": "made", "seen": SEEN, **OUTLINED},
            source=Source(name="random", backbone="tiny/net", mean=(0.0,), std=(1.0,)),
            recipe={"name": "full", "training": {"steps": 8, "batch": 4, "lr": 0.02}, "select": "dice"},
            seed=0,
        )
        products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "p.pt"}
        finetune(run=run, cases=made.cases, images=made.images, patch=PATCH, **products)
        tables = {"predictions": [folder / "predictions.parquet"], "validation": [folder / "validation.parquet"]}
        models = {"models": [products["model"]], "patch": PATCH}
        predict(runs=[run], cases=made.cases, images=made.images, **models, **tables)
        yield folder, run, made, with_evidence(PREDICTIONS, EVIDENCE).read(tables["predictions"][0])


def transported(path, network, made, **exchange):
    """What the network outlines in the test volumes of an archive called `other`."""
    folder, run, _, _ = network
    transport(
        runs=[run],
        asked=Exchanges(others=(Exchange(dataset="other", labels=PAIRS, seen=SEEN, **OUTLINE, **exchange),)),
        cases=[made.cases],
        images=[made.images],
        models=[folder / "model.safetensors"],
        elsewhere=[path],
        patch=PATCH,
    )
    return with_evidence(ELSEWHERE, EVIDENCE).read(path)


def test_on_its_own_archive_a_network_outlines_what_it_outlines_at_home(tmp_path, network):
    _, _, made, at_home = network
    there = transported(tmp_path / "elsewhere.parquet", network, made)
    assert set(there["label"]) == {"front", "back"} and (there["label"] == there["asked"]).all()
    both = [frame.set_index(["case", "label"]).sort_index()[list(EVIDENCE)] for frame in (at_home, there)]
    np.testing.assert_array_equal(both[0], both[1])
    wide = transported(tmp_path / "wide.parquet", network, made, tolerance=9.0)
    nearer = wide["surface_dice"] - there["surface_dice"]
    assert (nearer >= 0).all() and nearer.sum() > 0
    np.testing.assert_array_equal(wide["hausdorff95"], there["hausdorff95"])


def test_structures_are_found_by_their_names_whatever_their_values_are(tmp_path, network):
    random = np.random.default_rng(4)
    masks = [volumes_made.outlines((11, 12, 9), random) for _ in range(10)]
    images = [(100 + 60 * mask + random.normal(0, 15, mask.shape)).round().astype(np.int16) for mask in masks]
    plain = volumes_made.written(tmp_path / "plain", images=images, masks=masks)
    turned = [np.choose(mask, [0, 2, 1]).astype(np.uint8) for mask in masks]
    swapped = volumes_made.written(tmp_path / "swapped", images=images, masks=turned, structures=("back", "front"))
    one, other = (transported(tmp_path / f"{at}.parquet", network, made) for at, made in enumerate((plain, swapped)))
    at = ["case", "label"]
    np.testing.assert_array_equal(
        one.set_index(at).sort_index()[list(EVIDENCE)], other.set_index(at).sort_index()[list(EVIDENCE)]
    )
    tested = CASES.read(plain.cases).query("split == 'test'")
    assert set(one["case"]) == set(tested["case"]) and set(one["tested_on"]) == {"other"}


def test_what_is_outlined_elsewhere_is_compared_with_home(tmp_path, network):
    _, _, made, at_home = network
    there = transported(tmp_path / "elsewhere.parquet", network, made)
    files = {"predictions": [], "elsewhere": []}
    for source in ("random", "suprem"):
        for name, frame, table in (("predictions", at_home, PREDICTIONS), ("elsewhere", there, ELSEWHERE)):
            files[name].append(tmp_path / source / f"{name}.parquet")
            # home is the archive called other here, and the network's own is abroad
            home = {"dataset": "other"} if name == "predictions" else {}
            with_evidence(table, EVIDENCE).write(frame.assign(source=source, **home), files[name][-1])
    labels = counted(tmp_path / "labels.parquet", files["predictions"])
    comparison = Comparison(
        **{"dataset": "other", "sources": ("random", "suprem"), "reference": "random", "recipes": ("full",)},
        **{"metrics": ("dice", "hausdorff95"), "seeds": (0,), "resamples": 128, "fewest_positive": 2, **OUTLINE},
    )
    fitted_to = Exchanges(others=(Exchange(dataset="made", labels=PAIRS, seen=SEEN, **OUTLINE),))
    crossed = tmp_path / "crossed.parquet"
    cross(
        comparison=comparison, fitted_to=fitted_to, labels=labels, labels_elsewhere=[labels], crossed=crossed, **files
    )
    guests = CROSSED.read(crossed).query("fitted_to == 'made'")
    assert set(guests["metric"]) == {"dice", "hausdorff95"} and set(guests["label"]) == {"macro", "front", "back"}
    np.testing.assert_allclose(guests["value"], guests["home_value"])
    assert (guests.loc[guests["label"] == "macro", "value"] > 0).all() and (guests["difference"] == 0).all()
