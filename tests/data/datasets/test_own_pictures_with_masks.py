"""Own pictures with masks: they lie on each other whatever turns them, in pixels or mm, and mistakes have names."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
import torch
from PIL import ExifTags, Image

from headwater.core.errors import UserError
from headwater.core.page import as_text
from headwater.core.records import Choice
from headwater.data import cards, integrity, prepared, volume_hash
from headwater.data.datasets.own_pictures_with_masks import (
    IN_PIXELS,
    Options,
    _lengths,
    read_cases,
    read_mask,
    read_volume,
)
from headwater.data.index import CATALOGUE
from headwater.data.io.dicom_writing import write_radiograph
from headwater.data.io.raster import TURNS, read_labels
from headwater.data.perceptual_hash import LEDGER, every
from headwater.data.store import REJECTS
from headwater.data.twins import own_pictures_with_masks as twins
from headwater.evaluation.pairwise import COMPARISONS
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.models import backbones, outlines
from headwater.models.predictor import Predictor
from headwater.models.slices import as_pictures
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.planning import preflight, volume_sizes
from headwater.reporting import footnotes, formatting, overlays, prose
from headwater.stages.compare import compare
from headwater.stages.predict import predict
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study import config
from headwater.study.archive import Archive
from headwater.study.comparison import Comparison
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.source import Source
from headwater.study.target import evidence
from headwater.training import prediction

STRUCTURES = ("left", "right")
SHAPE = (24, 36)
SEEN = Intensity(percentiles=(0.0, 100.0))
PATCH = (16, 16, 1)
PRODUCTS = ("cases", "images", "masks", "references", "hashes", "rejects", "labels", "split", "ceilings")


def outlined(seed: int, shape: tuple[int, int] = SHAPE, structures: int = 2) -> np.ndarray:
    """Two boxes of different sizes at random places of a mask uint8 (rows, columns)."""
    random, mask = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for value in range(1, structures + 1):
        row, column = random.integers(1, shape[0] - 10), random.integers(1, shape[1] // 2 - 8)
        column += (value - 1) * shape[1] // 2
        mask[row : row + 5 + value, column : column + 6] = value
    return mask


def pictured(mask: np.ndarray) -> np.ndarray:
    """A picture whose brightness tells the mask's values; its background is neither black nor even."""
    shade = np.add.outer(np.arange(mask.shape[0]), np.arange(mask.shape[1])) % 20
    return (40 + shade + 80 * mask.astype(int)).astype(np.uint8)


def save(pixels: np.ndarray, path: Path, *, orientation: int = 1) -> None:
    tags = Image.Exif()
    if orientation != 1:
        tags[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=tags)


def folder_of(folder: Path, masks: list[np.ndarray], **columns) -> Path:
    """An archive of these masks and their pictures: two train, one validates, one tests, in turns of ten."""
    splits = ["train", "train", "train", "validation", "test"]
    rows = []
    for at, mask in enumerate(masks):
        save(pictured(mask), folder / f"p{at}.png")
        save(mask, folder / "masks" / f"p{at}.png")
        rows.append({"file": f"p{at}.png", "mask": f"masks/p{at}.png", "patient": f"P{at}", "split": splits[at % 5]})
    pd.DataFrame(rows).assign(**columns).to_csv(folder / "cases.csv", index=False)
    return folder


def archive_of(folder: Path, **options) -> Archive:
    kind = Choice(name="own_pictures_with_masks", options={"structures": list(STRUCTURES), **options})
    return Archive(name="lungs", kind=kind, folder=str(folder), size=16, rejects=1)


def prepared_in(folder: Path, archive: Archive) -> dict[str, Path]:
    """The products of preparing an archive."""
    files = {name: folder / f"{name}.parquet" for name in PRODUCTS} | {"split": folder / "split.json"}
    files |= {name: folder / f"{name}.npy" for name in ("images", "masks", "references", "hashes")}
    prepare_volumes(archive=archive, **files, workers=0)
    return files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twenty pictures, and what `prepare` makes of them."""
    folder = folder_of(tmp_path_factory.mktemp("whole"), [outlined(seed) for seed in range(20)])
    return folder, prepared_in(tmp_path_factory.mktemp("prepared"), archive_of(folder))


def test_a_picture_and_its_mask_are_prepared_as_they_are_seen(whole):
    folder, files = whole
    data = prepared.read(files["cases"], images=files["images"], seen=Intensity(zscore=True), patch=PATCH)
    assert data.images.structures == STRUCTURES and len(data.cases) == 20
    for row, (file, mean, std) in enumerate(zip(*(data.cases[name] for name in ("file", "mean", "std")), strict=True)):
        picture, mask = np.asarray(Image.open(folder / file)), np.asarray(Image.open(folder / "masks" / file))
        seen = as_pictures(torch.from_numpy(data.images.image(row)[0]), depth=-1).numpy()
        np.testing.assert_allclose(seen * std + mean, picture, atol=0.01)
        for labels in (data.images.mask(row), data.images.reference(row)):
            np.testing.assert_array_equal(as_pictures(torch.tensor(labels), depth=-1).numpy(), mask)
    ceilings = pd.read_parquet(files["ceilings"])
    assert set(ceilings["structure"]) == set(STRUCTURES) and (ceilings["dice_min"] == 1).all()


class Oracle(torch.nn.Module):
    """In place of a decoder and its last layer: what the brightness of each pixel says."""

    def forward(self, levels, *, space):
        return levels[:1]


def reading(run: Run, model: Path) -> Predictor:
    """A network that reads structures off the brightness; that of `blind` takes the first for the second."""
    task = Task(name="segmentation", labels=STRUCTURES, form="exclusive")
    encoder = backbones.build("timm/test_resnet", size=PATCH, mean=(0.0,), std=(1.0,), seed=0)

    def levels(images):
        # 40 to 59 is the background, 120 to 139 the first structure, 200 to 219 the second, of 40 to at most 219
        bright = encoder.normalised(images)[:, 0]
        classes = [bright < 0.3, (bright >= 0.3) & (bright < 0.75), bright >= 0.75]
        if run.source.name == "blind":
            classes[1:] = [torch.zeros_like(classes[1]), classes[1] | classes[2]]
        return [20.0 * torch.stack(classes, dim=1).float()]

    encoder.levels = levels
    network = TaskNetwork(encoder, tasks=TaskSet.of(task), seeds={"": 0})
    network.head.decoder, network.head.last = Oracle(), torch.nn.Identity()
    return Predictor(run=run, file=model, network=network, tasks=network.tasks, size=PATCH, metadata={})


def test_an_oracle_scores_a_dice_of_one_from_the_files_to_the_comparison(whole, tmp_path, monkeypatch):
    _, files = whole
    monkeypatch.setattr(prediction.predictor, "read", reading)
    training = {"training": {"steps": 1, "batch": 4}}
    tables = []
    for name in ("oracle", "blind"):
        run = Run(
            dataset={"name": "lungs", "archive": "lungs", "seen": SEEN, "task": "segmentation", "labels": STRUCTURES},
            source=Source(name=name, backbone="timm/test_resnet", slices="axial", mean=(0.0,), std=(1.0,)),
            recipe={"name": "full", **training, "select": "dice"},
            seed=0,
        )
        place = tmp_path / "lungs" / name / "full" / "seed0"
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(name.encode())
        tables.append(place / "predictions.parquet")
        products = {"predictions": [tables[-1]], "validation": [place / "validation.parquet"]}
        models = {"models": [place / "model.safetensors"], "patch": list(PATCH)}
        predict(runs=[run], cases=files["cases"], images=files["images"], **models, **products)
    rows = with_evidence(PREDICTIONS, evidence(("segmentation",))).read(tables[0])
    assert len(rows) == 8 and (rows["true_positive"] > 0).all()
    for name, exact in {"false_positive": 0, "false_negative": 0, "hausdorff95": 0, "surface_dice": 1}.items():
        assert (rows[name] == exact).all()
    metrics = {"metrics": ("dice", "hausdorff95", "surface_dice"), "fewest_positive": 2, "resamples": 128}
    comparison = Comparison(
        **{"dataset": "lungs", "sources": ("oracle", "blind"), "reference": "blind", "seeds": (0,), **metrics},
        **{"recipes": ("full",), "task": "segmentation"},
    )
    names = ("comparisons", "curves", "values", "replicates", "provenance")
    made = {name: tmp_path / f"{name}.parquet" for name in names}
    compare(comparison=comparison, predictions=tables, labels=files["labels"], **made)
    told = COMPARISONS.read(made["comparisons"])
    told = told[(told["source"] == "oracle") & (told["label"] == "macro")].set_index("metric")
    assert told["value"].to_dict() == {"dice": 1.0, "hausdorff95": 0.0, "surface_dice": 1.0}
    assert told.loc["dice", "reference_value"] < 0.8 and told.loc["hausdorff95", "reference_value"] > 1


@pytest.mark.parametrize("orientation", sorted(TURNS))
def test_a_picture_that_a_tag_turns_stays_on_its_mask(tmp_path, orientation):
    mask = outlined(3)
    # what the tag turns back: a turn and its reverse are the numbers 6 and 8, all others their own reverse
    stored = np.ascontiguousarray(TURNS[{6: 8, 8: 6}.get(orientation, orientation)](pictured(mask)))
    folder = folder_of(tmp_path, [mask])
    save(stored, folder / "p0.png", orientation=orientation)
    options = Options(structures=STRUCTURES)
    [case] = read_cases(folder, options).to_dict("records")
    np.testing.assert_array_equal(read_volume(folder, case, options).voxels[0], pictured(mask))
    if stored.shape != mask.shape:
        # its sides say that it was drawn on the picture as it is seen
        np.testing.assert_array_equal(read_mask(folder, case, options).voxels[0], mask)
    # a mask with the same tag is turned with it
    turned = np.ascontiguousarray(TURNS[{6: 8, 8: 6}.get(orientation, orientation)](mask))
    save(turned, folder / "masks" / "p0.png", orientation=orientation)
    np.testing.assert_array_equal(read_mask(folder, case, options).voxels[0], mask)


@pytest.mark.parametrize(("orientation", "shape"), [(6, SHAPE), (3, (24, 24)), (8, (24, 24))])
def test_a_mask_that_lies_as_its_turned_picture_is_stored_is_refused(tmp_path, orientation, shape):
    mask = outlined(3, shape)
    folder = folder_of(tmp_path, [mask])
    save(pictured(mask), folder / "p0.png", orientation=orientation)
    options = Options(structures=STRUCTURES)
    [case] = read_cases(folder, options).to_dict("records")
    with pytest.raises(UserError, match=r"masks/p0.png: has no tag \(EXIF\) that turns it.*without the tag"):
        read_mask(folder, case, options)


def test_what_does_not_fit_is_rejected_by_its_name_and_reason(tmp_path):
    folder = folder_of(tmp_path / "own", [outlined(seed) for seed in range(12)])
    save(outlined(0)[:-1], folder / "masks" / "p0.png")
    save(np.where(outlined(1) == 2, 7, outlined(1)).astype(np.uint8), folder / "masks" / "p1.png")
    save(np.stack([outlined(2), outlined(2), outlined(9)], axis=2), folder / "masks" / "p2.png")
    save(np.stack([pictured(outlined(5)), *2 * [outlined(5)]], axis=2), folder / "p5.png")
    files = prepared_in(tmp_path, archive_of(folder))
    rejects = REJECTS.read(files["rejects"]).set_index("case")
    assert rejects["kind"].to_dict() == {
        "p0.png": "is on another grid",
        "p1.png": "has values that stand for no structure",
        "p2.png": "is a mask in colour",
        "p5.png": "is in colour, and networks that outline see grey",
    }
    reasons = rejects["reason"]
    assert "masks/p0.png: has 36 x 23 pixels, its picture 36 x 24; resample it" in reasons["p0.png"]
    assert "masks/p1.png: has values that stand for no structure, such as 7; values are 0 and 1, 2" in reasons["p1.png"]
    assert "p5.png: is in colour" in reasons["p5.png"] and "set the option grey: true" in reasons["p5.png"]
    grey = read_volume(folder, {"file": "p5.png"}, Options(structures=STRUCTURES, grey=True)).voxels[0]
    picture = np.asarray(Image.open(folder / "p5.png").convert("L"))
    assert np.abs(grey - picture).max() <= 1


@pytest.mark.parametrize("form", ["black and white", "one", "palette", "bits"])
def test_a_mask_of_one_structure_may_be_black_and_white(tmp_path, form):
    mask = outlined(4, structures=1)
    folder, file = folder_of(tmp_path, [mask]), tmp_path / "masks" / "p0.png"
    made = {"black and white": Image.fromarray(255 * mask), "one": Image.fromarray(mask)}
    if form == "palette":
        made[form] = Image.fromarray(mask, mode="P")
        made[form].putpalette([0, 0, 0, 90, 200, 30])
    made.setdefault("bits", Image.fromarray(255 * mask).convert("1"))
    made[form].save(file)
    options = Options(structures=("lung",))
    [case] = read_cases(folder, options).to_dict("records")
    np.testing.assert_array_equal(read_mask(folder, case, options).voxels[0], mask)


def damaged_masks(mask: np.ndarray, folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that show a mask of one structure (0 and 1) but do not hold its numbers, and why they are refused."""
    made = {}

    def kept(name: str, picture: Image.Image, said: str, **options: Any) -> None:
        made[name] = (folder / name, said)
        picture.save(folder / name, **options)

    white, black_first = Image.fromarray(255 * mask), Image.fromarray(1 - mask, mode="P")
    black_first.putpalette([255, 255, 255, 0, 0, 0])
    kept("white_first.png", black_first, "a palette in whose order black is not the background")
    red_first = Image.fromarray(1 - mask, mode="P")
    red_first.putpalette([200, 30, 30, 2, 0, 1])
    kept("red_first.png", red_first, "a palette in whose order black is not the background")
    kept("all_white.png", white.point(lambda value: 255).quantize(2), "a palette in whose order")
    kept("jpeg.png", Image.fromarray(mask), "is a JPEG, which changes numbers; save it as PNG", format="JPEG")
    kept("jpeg.tif", white, "is a TIFF with compression that changes numbers", compression="jpeg")
    return made


@pytest.mark.parametrize("name", ["white_first.png", "red_first.png", "all_white.png", "jpeg.png", "jpeg.tif"])
def test_a_mask_that_does_not_hold_the_numbers_it_shows_is_refused(tmp_path, name):
    file, said = damaged_masks(outlined(4, structures=1), tmp_path)[name]
    with pytest.raises(UserError, match=said):
        read_labels(file)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_masks_of_16_bits_in_several_channels_are_refused(tmp_path, channels):
    # Pillow keeps the upper byte of each, which is 0 of small numbers
    mask = np.repeat(outlined(4)[..., None], channels, axis=2).astype(">u2")
    if channels in (2, 4):
        mask[..., -1] = 65535
    written_png(tmp_path / "wide.png", mask, bits=16)
    with pytest.raises(UserError, match="is a mask of 16 bits in several channels; save it as grey of one channel"):
        read_labels(tmp_path / "wide.png")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_numbers_of_grey_masks_are_those_of_the_file_whatever_their_bits(tmp_path, bits):
    mask = outlined(4, structures=1 if bits == 1 else 2)
    written_png(tmp_path / "grey.png", mask[..., None], bits=bits)
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), mask)


def written_png(file: Path, values: np.ndarray, *, bits: int) -> None:
    """A PNG of values (height, width, channels), as no program at hand writes all of its forms (ISO/IEC 15948)."""
    height, width, channels = values.shape
    if bits < 8:
        places = np.unpackbits(values.astype(np.uint8), axis=2)[..., 8 - bits :].reshape(height, -1)
        rows = np.packbits(places, axis=1)
    else:
        rows = values.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    sums = [kind + content + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks]
    lengths = [struct.pack(">I", len(content)) for _, content in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(a + b for a, b in zip(lengths, sums, strict=True)))


def test_a_mask_that_a_tag_turns_otherwise_than_its_picture_is_refused(tmp_path):
    mask = outlined(3, (24, 24))
    folder = folder_of(tmp_path, [mask])
    save(mask, folder / "masks" / "p0.png", orientation=3)
    options = Options(structures=STRUCTURES)
    [case] = read_cases(folder, options).to_dict("records")
    with pytest.raises(UserError, match=r"masks/p0.png: has a tag \(EXIF\) that turns it otherwise than its picture"):
        read_mask(folder, case, options)


@pytest.mark.parametrize(
    ("cell", "lengths"),
    [
        *[("0.5", (0.5, 0.5)), ("0.2 x 0.1", (0.2, 0.1)), ("[0.3,0.4]", (0.3, 0.4)), ("0.3, 0.4", (0.3, 0.4))],
        # a decimal comma is no pair
        *[("1,5", None), ("0,143", None), ("1e300", None), ("200", None), ("1 2 3", None), ("0", None), ("", None)],
    ],
)
def test_millimetres_are_read_from_a_cell_or_refused(cell, lengths):
    assert _lengths(cell) == lengths


def test_distances_are_in_pixels_unless_the_table_or_the_header_tells_millimetres(tmp_path):
    masks = [outlined(seed) for seed in range(4)]
    folder = folder_of(tmp_path, masks, pixel_spacing=["0.5", "0.2 x 0.1", "[0.3, 0.4]", ""])
    with pytest.raises(UserError, match=r"column 'pixel_spacing', but distances are in pixels; set millimetres: true"):
        read_cases(folder, Options(structures=STRUCTURES))
    known = Options(structures=STRUCTURES, millimetres=True)
    with pytest.raises(UserError, match=r"line 5, column 'file': 'p3.png' has no pixel spacing"):
        read_cases(folder, known)
    write_radiograph(pictured(masks[3]).astype(np.uint16), folder / "p3.dcm", bits_stored=8)
    header = pydicom.dcmread(folder / "p3.dcm")
    header.PixelSpacing = [0.15, 0.25]
    header.save_as(folder / "p3.dcm")
    table = (folder / "cases.csv").read_text()
    (folder / "cases.csv").write_text(table.replace("p3.png,masks", "p3.dcm,masks"))
    cases = read_cases(folder, known).to_dict("records")
    found = [read_volume(folder, case, known).spacing[1:] for case in cases]
    np.testing.assert_allclose(found, [(0.5, 0.5), (0.2, 0.1), (0.3, 0.4), (0.15, 0.25)])
    np.testing.assert_allclose([read_mask(folder, case, known).spacing[1:] for case in cases], found)
    del header.PixelSpacing
    header.save_as(folder / "p3.dcm")
    with pytest.raises(UserError, match=r"p3.dcm: does not tell how many millimetres"):
        read_volume(folder, cases[3], known)
    header.PixelSpacing = [0.15, 0.25]
    header.save_as(folder / "p3.dcm")
    both = table.replace("p3.png,masks/p3.png,", "p3.dcm,masks/p3.png,")
    lines = both.splitlines()
    place = lines[0].split(",").index("pixel_spacing")
    (folder / "cases.csv").write_text("\n".join([*lines[:4], _with_cell(lines[4], place, "0.7")]) + "\n")
    with pytest.raises(UserError, match=r"p3.dcm: has another pixel spacing in the table than in its header; correct"):
        read_volume(folder, cases[3], known)
    (folder / "cases.csv").write_text(table.replace("0.5", "-1"))
    with pytest.raises(UserError, match=r"line 2, column 'pixel_spacing': '-1' is no distance of pixels in"):
        read_cases(folder, known)
    pixels = Options(structures=STRUCTURES, pixel_spacing="")
    assert read_volume(folder, cases[0], pixels).spacing == (1.0, 1.0, 1.0)


def _with_cell(line: str, place: int, cell: str) -> str:
    """A line of a table without quotes whose cell at a place is another."""
    cells = line.split(",")
    return ",".join([*cells[:place], cell, *cells[place + 1 :]])


def test_the_borders_of_one_slice_are_those_of_a_picture():
    one, other = outlined(1) == 1, np.roll(outlined(1) == 1, 2, axis=0)
    flat = outlines.measure(one, other, spacing=(0.5, 0.25), tolerance=0.5)
    deep = outlines.measure(one[..., None], other[..., None], spacing=(0.5, 0.25, 1.0), tolerance=0.5)
    assert (deep.hausdorff95, deep.surface_dice) == (flat.hausdorff95, flat.surface_dice)
    # two rows of half a millimetre; all pixels of a box on a box moved within it would be nearer
    assert deep.hausdorff95 == pytest.approx(1.0) and deep.true_positive == flat.true_positive
    assert deep.reference_ml == pytest.approx(other.sum() * 0.125 / 1000)
    nothing = outlines.measure(np.zeros_like(one), other, spacing=(0.5, 0.25), tolerance=0.5)
    missed = outlines.measure(np.zeros_like(one)[..., None], other[..., None], spacing=(0.5, 0.25, 1), tolerance=0.5)
    assert missed.hausdorff95 == nothing.hausdorff95 == pytest.approx(np.hypot(12, 9))


def test_a_picture_has_the_hash_that_it_has_in_an_archive_of_pictures():
    picture = pictured(outlined(1, (60, 80)))
    volume = picture.astype(np.float32)[::-1, ::-1].T[..., None]
    apart = int(np.bitwise_count(volume_hash.every(volume)[:LEDGER] ^ every(picture)[:LEDGER]).sum())
    other = int(np.bitwise_count(volume_hash.every(volume)[:LEDGER] ^ every(pictured(outlined(2)))[:LEDGER]).sum())
    assert apart < 10 < other


def study(archive: Archive, **changes) -> config.Config:
    sources = {"random": {"slices": "axial"}, "other": {"slices": "axial"}}
    content = {
        "seeds": [0],
        "backbone": "timm/test_resnet",
        "archives": {"lungs": {"kind": {"name": archive.kind.name, **archive.kind.options}, "folder": archive.folder}},
        "sources": sources,
        "datasets": {"lungs": {"task": "segmentation", "labels": list(STRUCTURES)}},
        "recipes": {"full": {"training": {"steps": 2}, "select": "dice"}},
        "comparison": {"metrics": ["dice", "hausdorff95"]},
    }
    content["archives"]["lungs"]["size"] = 32
    for place, value in changes.items():
        *above, last = place.split("__")
        section = content
        for part in above:
            section = section[part]
        section[last] = value
    return config.load(content)


def test_the_plan_takes_such_a_study_and_says_that_distances_are_in_pixels(whole):
    chosen = study(archive_of(whole[0]))
    found = preflight.examined(chosen)
    assert found.mistakes == [] and f"archives.lungs: {IN_PIXELS}" in found.notes
    sizes = volume_sizes.of(chosen.archives["lungs"], plan=chosen, folder=Path("nowhere"))
    assert set(sizes.prepared) == {(36, 24, 1)} and sizes.cases == 20
    assert cards.card(chosen.archives["lungs"]).unit == "pixels"


def test_tables_say_in_which_unit_distances_are(whole):
    archive = archive_of(whole[0])
    grid = study(archive, datasets__lungs={"task": "segmentation", "labels": list(STRUCTURES), "tolerance": 3}).grid()
    rows = pd.DataFrame(columns=["few"])
    assert formatting.titles(grid)["hausdorff95"] == "Hausdorff distance (95 %, pixels)"
    knees = grid.datasets[0].model_copy(update={"name": "knees", "archive": "knees", "tolerance": 1.0})
    volumes = archive.model_copy(update={"name": "knees", "kind": Choice(name="oai")})
    both = grid.model_copy(
        update={
            "datasets": (*grid.datasets, knees),
            "archives": (*grid.archives, volumes),
            "comparing": grid.comparing.model_copy(update={"metrics": ("surface_dice", "hausdorff95")}),
        }
    )
    assert formatting.title("hausdorff95", both) == "Hausdorff distance (95 %, mm; pixels in lungs)"
    assert "within 3 pixels (lungs), 1 mm (knees) of each other" in footnotes.definitions(rows, grid=both)[0]
    assert prose.extent_of(grid.archive("lungs")) == "patches of 32 × 32 pixels at each image's own spacing"


def test_a_picture_is_shown_in_the_plane_that_it_lies_in():
    flat, deep = np.zeros((5, 4, 1)), np.zeros((5, 4, 3))
    assert overlays.planes(overlays.Overlay(flat, flat, flat, flat, np.ones(3))) == ["axial"]
    assert overlays.planes(overlays.Overlay(deep, deep, deep, deep, np.ones(3))) == list(overlays.PLANES)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("sources__random__slices", "coronal", "sources.random.slices: archives.lungs holds pictures with masks"),
        ("sources__random", {}, "sources.random.slices: archives.lungs holds pictures with masks.*; set axial"),
        ("sources__random", {"backbone": "monai/segresnet"}, "monai/segresnet takes volumes, but archives.lungs holds"),
        ("archives__lungs__spacing", [2, 2, 3], "archives.lungs.spacing: pictures are 1 thick; end it with 1"),
        ("comparison__metrics", ["dice", "volume_error"], "volume_error is of volumes, but datasets.lungs"),
    ],
)
def test_what_pictures_cannot_do_is_told_before_the_first_job(whole, place, value, said):
    with pytest.raises(UserError, match=said):
        study(archive_of(whole[0]), **{place: value})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"structures": []}, "has the column 'mask' of masks; name the values"),
        ({"mask": "outline"}, "the option `structures` names what they outline; set mask: COLUMN"),
        ({"mask": "", "structures": []}, "no option names structures.*kind: own_folder"),
        ({"structures": ["a", "a"]}, "'a' is the name of two structures"),
    ],
)
def test_mistakes_of_options_are_one_line(whole, options, said):
    with pytest.raises(UserError, match=said):
        read_cases(whole[0], Options(**{"structures": STRUCTURES, **options}))


def test_a_mask_that_is_no_png_is_refused_with_its_line(tmp_path):
    folder = folder_of(tmp_path, [outlined(0), outlined(1)])
    table = folder / "cases.csv"
    table.write_text(table.read_text().replace("masks/p1.png", "masks/p1.jpg"))
    with pytest.raises(UserError, match=r"line 3, column 'mask': 'masks/p1.jpg' is no PNG or TIFF file"):
        read_cases(folder, Options(structures=STRUCTURES))


def test_the_twin_is_read_and_nothing_is_wrong_with_it(tmp_path):
    twins.make(tmp_path / "twin", cases=18, seed=2, size=40)
    options = Options(**twins.OPTIONS)
    cases = CATALOGUE.check(read_cases(tmp_path / "twin", options))
    assert cases["patient"].nunique() == 9 and {Path(file).suffix for file in cases["file"]} == {".png", ".tif", ".jpg"}
    for case in cases.to_dict("records"):
        mask, volume = read_mask(tmp_path / "twin", case, options), read_volume(tmp_path / "twin", case, options)
        if mask is not None:
            # the organ is brighter than the tissue around it, as it would not be of a mask that lies otherwise
            inside = volume.voxels[mask.voxels > 0].mean()
            assert inside > volume.voxels[mask.voxels == 0].mean() + 20
    found = integrity.examine("own_pictures_with_masks", tmp_path / "twin", options=options, workers=0)
    page = as_text(integrity._page(found, listed=False))
    assert found.code == 0 and "18 on the disk, 18 listed" in page and "18 of 18 volumes read" in page
