"""A network of volumes, asked about files of one's own, says what it said of the same files in its grid."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

import tiny_networks_made
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.evaluation.predictions import PREDICTIONS
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study.archive import Archive
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.paths import Paths
from headwater.study.source import Source
from headwater.training import own_files

PATCH = (8, 8, 8)
RUN = Run(
    dataset={"name": "mine", "archive": "mine", "seen": Intensity(zscore=True), "labels": ("bright",)},
    source=Source(name="random", backbone="tiny/net", mean=(0.0,), std=(1.0,)),
    recipe={"name": "full", "training": {"steps": 2, "batch": 4, "lr": 0.02}},
    seed=0,
)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with tiny_networks_made.there(tmp_path_factory.mktemp("tiny")):
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, Paths]:
    """(folder of the volumes, paths of a study that has prepared them, fitted a network and tested it)."""
    place = tmp_path_factory.mktemp("study")
    folder, paths, random = place / "volumes", Paths(place / "results"), np.random.default_rng(0)
    folder.mkdir()
    lines = ["file,split,bright"]
    for number in range(12):
        voxels = random.normal(100 + 60 * (number % 2), 10, (10 + number % 3, 12, 9))
        # each in an orientation and with a spacing of its own
        affine = np.diag([-1.0 - number % 2, 1.5, 2.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), affine), folder / f"{number:02}.nii.gz")
        lines.append(f"{number:02}.nii.gz,{('train', 'validation', 'test')[number // 2 % 3]},{number % 2}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    kind = Choice(name="own_volumes", options={"table": "table.csv", "labels": ["bright"]})
    archive = Archive(name="mine", kind=kind, folder=str(folder), size=PATCH, spacing=(1.5, 1.5, 2.0))
    names = ("cases", "images", "masks", "references", "hashes", "rejects", "labels", "split", "ceilings")
    products = {name: Path(getattr(paths, name)("mine")) for name in names}
    prepare_volumes(archive=archive, **products, workers=0)
    read = {"cases": products["cases"], "images": products["images"], "patch": list(PATCH)}
    model = Path(paths.model(RUN.path))
    finetune(run=RUN, **read, model=model, fit=Path(paths.fit(RUN.path)), progress=place / "progress.pt", device="cpu")
    tested = {"predictions": [Path(paths.predictions(RUN.path))], "validation": [Path(paths.validation(RUN.path))]}
    predict(runs=[RUN], **read, models=[model], **tested, device="cpu")
    return folder, paths


def test_volumes_are_predicted_as_in_the_grid(study):
    folder, paths = study
    said = own_files.predicted(folder, model=Path(paths.model(RUN.path)), device="cpu")
    assert len(said) == 12 and not said["reason"].notna().any()
    grid = PREDICTIONS.read(Path(paths.predictions(RUN.path))).set_index("case")["score"]
    assert len(grid) == 4
    np.testing.assert_allclose(said.set_index("file")["score"].loc[grid.index], grid, rtol=0, atol=1e-6)


def test_a_bad_volume_is_a_row_and_a_picture_no_volume(study, tmp_path):
    folder, paths = study
    (tmp_path / "cut.nii.gz").write_bytes((folder / "00.nii.gz").read_bytes()[:200])
    said = own_files.predicted(tmp_path, model=Path(paths.model(RUN.path)), device="cpu")
    assert said["file"].tolist() == ["cut.nii.gz"] and said["reason"].notna().all()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="holds no image; images end in"):
        own_files.predicted(tmp_path / "pictures", model=Path(paths.model(RUN.path)), device="cpu")
