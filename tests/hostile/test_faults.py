"""Faults under load: a full or read-only disk, too little memory, a jumping clock, flipped bits, planted links.

Each verb says in one line what is wrong and exits, leaves nothing half-written, and works once the cause is gone.
"""

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predictions_made
import prepared_made
from archives_made import make_chestxray14
from headwater.core.errors import UserError, exit_on_user_error
from headwater.core.records import Choice
from headwater.data.perceptual_hash import WORDS
from headwater.stages.compare import compare
from headwater.stages.embed import embed
from headwater.stages.finetune import finetune
from headwater.stages.ledger import ledger
from headwater.stages.predict import predict
from headwater.stages.prepare import prepare
from headwater.stages.pretrain import pretrain
from headwater.stages.reduce import reduce
from headwater.study.archive import Archive
from headwater.study.comparison import Comparison
from headwater.study.grid import Run
from headwater.study.leaks import Leaks, Learned, Overlaps
from headwater.study.source import Source

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")]

TRAINING = {"steps": 4, "batch": 8, "save_minutes": 0}
SOURCE = Source(name="made", backbone="timm/test_resnet", method="simclr", corpus="made", training=TRAINING)
RANDOM = Source(name="random", backbone="timm/test_resnet")
DATASET = {"name": "made", "archive": "made"}
RUN = Run(dataset=DATASET, source=RANDOM, recipe={"name": "full", "training": TRAINING}, seed=0)
OVERLAPS = Overlaps(
    leaks=Leaks(), archives=(Learned(archive="made", splits=("train", "validation", "test"), numbering="made"),)
)
COMPARISON = Comparison(
    dataset="chest", sources=("good", "bad"), recipes=("finetune",), seeds=(0, 1), reference="bad", resamples=1000
)
STUDY = {"chest": {"Mass": 0.4, "Edema": 0.3}}

Products = list[Path]
Verb = Callable[[Path, Path], Products]
"""Writes below the second folder from what lies in the first, and says which files."""


def _prepare(given: Path, out: Path) -> Products:
    archive = Archive(name="nih", kind="chestxray14", folder=str(given / "archive"), size=16, validation=0.3)
    tables = {name: out / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    files = {**tables, "images": out / "images.npy", "hashes": out / "hashes.npy", "split": out / "split.json"}
    prepare(archive=archive, workers=0, **files)
    return list(files.values())


def _ledger(given: Path, out: Path) -> Products:
    files = {"ledger": out / "ledger.parquet", "readable": out / "ledger.csv"}
    ledger(overlaps=OVERLAPS, cases=[given / "cases.parquet"], hashes=[given / "hashes.npy"], **files)
    return list(files.values())


def _reduce(given: Path, out: Path) -> Products:
    corpus = {"cases": given / "cases.parquet", "images": given / "images.npy", "hashes": given / "hashes.npy"}
    files = {"rows": out / "rows.parquet", "manifest": out / "manifest.json"}
    reduce(reduction=Choice(name="every_n", options={"n": 2}), **corpus, **files)
    return list(files.values())


def _embed(given: Path, out: Path) -> Products:
    files = {"features": out / "features.npy", "account": out / "features.json"}
    embed(source=RANDOM, cases=given / "cases.parquet", images=given / "images.npy", **files, device="cpu")
    return list(files.values())


def _pretrain(given: Path, out: Path) -> Products:
    corpus = {"cases": given / "cases.parquet", "images": given / "images.npy", "rows": given / "rows.parquet"}
    private = {"history": out / "history", "progress": out / "progress" / "made.pt"}
    pretrain(source=SOURCE, size=32, encoder=out / "e.safetensors", device="cpu", **corpus, **private)
    return [out / "e.safetensors"]


def _finetune(given: Path, out: Path) -> Products:
    files = {"model": out / "model.safetensors", "fit": out / "fit.json"}
    data = {"cases": given / "cases.parquet", "images": given / "images.npy"}
    finetune(run=RUN, progress=out / "progress" / "run.pt", device="cpu", **data, **files)
    return list(files.values())


def _predict(given: Path, out: Path) -> Products:
    if not (given / "model.safetensors").exists():
        _finetune(given, given)
    files = {"predictions": [out / "predictions.parquet"], "validation": [out / "validation.parquet"]}
    data = {"cases": given / "cases.parquet", "images": given / "images.npy"}
    predict(runs=[RUN], models=[given / "model.safetensors"], device="cpu", **data, **files)
    return [file for several in files.values() for file in several]


def _compare(given: Path, out: Path) -> Products:
    names = ("comparisons", "curves", "values", "replicates", "provenance")
    files = {name: out / f"{name}.parquet" for name in names}
    predictions = sorted((given / "chest").rglob("predictions.parquet"))
    compare(comparison=COMPARISON, predictions=predictions, labels=given / "chest" / "labels.parquet", **files)
    return list(files.values())


VERBS: dict[str, Verb] = {
    "prepare": _prepare,
    "ledger": _ledger,
    "reduce": _reduce,
    "embed": _embed,
    "pretrain": _pretrain,
    "finetune": _finetune,
    "predict": _predict,
    "compare": _compare,
}
SHORT = ("prepare", "finetune", "compare")
"""The verbs that the daily tests try: one that reads pictures, one that trains, one that computes."""

ALL = [verb if verb in SHORT else pytest.param(verb, marks=pytest.mark.soak) for verb in VERBS]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the verbs read, and what each of them writes when nothing is wrong."""
    # the ledger calls archives by the names of their folders
    folder = tmp_path_factory.mktemp("given") / "made"
    made = prepared_made.archive(folder, cases=60)
    assert made.rows.exists()
    np.save(folder / "hashes.npy", np.random.default_rng(0).integers(0, 2**63, (60, WORDS), dtype=np.uint64))
    make_chestxray14(folder / "archive")
    cases = predictions_made.cohort(patients=60, images=2, labels=STUDY["chest"])
    files = predictions_made.written(folder, cases, strengths={"good": 2.0, "bad": 0.5})
    predictions_made.counted(folder / "chest" / "labels.parquet", files)
    return folder


@pytest.fixture(scope="module")
def usual(given: Path) -> Callable[[str], dict[str, bytes]]:
    """The products of a verb when nothing is wrong, by name."""
    kept: dict[str, dict[str, bytes]] = {}

    def products(verb: str) -> dict[str, bytes]:
        if verb not in kept:
            kept[verb] = contents(VERBS[verb](given, given / "usual" / verb))
        return kept[verb]

    return products


def contents(products: Products) -> dict[str, bytes]:
    """The bytes of all products but records in JSON, which hold times."""
    return {file.name: file.read_bytes() for file in products if file.suffix != ".json"}


def one_line(verb: Callable[[], object], capfd: pytest.CaptureFixture[str]) -> str:
    """The one line with which a verb, as its script runs it, ends."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as end, exit_on_user_error("verb"):
        verb()
    assert end.value.code == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("headwater verb: ")]
    assert len(lines) == 1
    return lines[0]


@contextmanager
def disk(folder: Path, *, size: str = "64m") -> Iterator[Path]:
    """A small disk in memory."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "fault", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk to its last page."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def left(folder: Path) -> list[str]:
    """Files that a failed verb left, besides what is private to a training and goes on with it."""
    private = ("filler", "metrics.csv", ".lock", "events.out", "spent.json")
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if not any(part in file.name for part in private)]


@pytest.mark.parametrize("verb", ALL)
def test_a_full_disk(verb: str, given: Path, usual: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    with disk(tmp_path / "disk") as out:
        filler = fill(out)
        assert "No space left on device" in one_line(lambda: VERBS[verb](given, out), capfd)
        assert not left(out)
        filler.unlink()
        assert contents(VERBS[verb](given, out)) == usual(verb)


@pytest.mark.parametrize("verb", ALL)
def test_a_disk_without_permission_to_write(
    verb: str, given: Path, usual: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    with disk(tmp_path / "disk") as out:
        subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        line = one_line(lambda: VERBS[verb](given, out), capfd)
        assert "Read-only file system" in line and "check the permissions" in line
        assert not left(out)
        subprocess.run(["mount", "-o", "remount,rw", out], check=True)
        assert contents(VERBS[verb](given, out)) == usual(verb)


@pytest.mark.parametrize("verb", ["reduce"])
def test_too_little_memory(verb: str, given: Path, usual: Callable, tmp_path: Path):
    # a forked process, because a limit of address space can be lowered only
    child = os.fork()
    if not child:
        code = 1
        try:
            with (tmp_path / "said").open("w") as said:
                os.dup2(said.fileno(), 2)
                sys.stderr = said
                held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (held, held))
                with exit_on_user_error("verb"):
                    VERBS[verb](given, tmp_path / "out")
        except SystemExit as end:
            code = end.code
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 1 and said[0].startswith("headwater verb: not enough memory"), said
    assert not left(tmp_path / "out")
    assert contents(VERBS[verb](given, tmp_path / "out")) == usual(verb)


@pytest.mark.parametrize("verb", ALL)
def test_a_clock_that_jumps(verb: str, given: Path, usual: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chance, now = random.Random(verb), time.time
    for file in given.rglob("*"):
        os.utime(file, (now() + 1e8, now() + 1e8))
    monkeypatch.setattr(time, "time", lambda: now() + chance.uniform(-1e8, 1e8))
    assert contents(VERBS[verb](given, tmp_path)) == usual(verb)


FLIPS = [12, pytest.param(300, marks=pytest.mark.soak)]


@pytest.mark.parametrize("flips", FLIPS)
@pytest.mark.parametrize(("verb", "file"), [("compare", "chest/**/predictions.parquet"), ("reduce", "cases.parquet")])
def test_a_flipped_bit_in_a_table(verb: str, file: str, flips: int, given: Path, usual: Callable, tmp_path: Path):
    damaged = tmp_path / "given"
    subprocess.run(["cp", "-r", "--reflink=auto", given, damaged], check=True)
    victim = next(damaged.glob(file))
    chance, whole = random.Random(flips), victim.read_bytes()
    refused = 0
    for number in range(flips):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        victim.write_bytes(changed)
        out = tmp_path / str(number)
        try:
            assert contents(VERBS[verb](damaged, out)) == usual(verb)
        except UserError as refusal:
            refused += 1
            assert victim.name in str(refusal) and "\n" not in str(refusal)
            assert not left(out)
    assert refused > flips / 2
    victim.write_bytes(whole)
    assert contents(VERBS[verb](damaged, tmp_path / "mended")) == usual(verb)


@pytest.mark.parametrize("flips", [4, pytest.param(60, marks=pytest.mark.soak)])
def test_a_flipped_bit_in_a_checkpoint(flips: int, given: Path, usual: Callable, tmp_path: Path):
    VERBS["finetune"](given, tmp_path)
    saved = tmp_path / "progress" / "run.pt"
    whole, chance = saved.read_bytes(), random.Random(flips)
    for _ in range(flips):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        saved.write_bytes(changed)
        try:
            assert contents(VERBS["finetune"](given, tmp_path)) == usual("finetune")
        except UserError as refusal:
            assert "run.pt" in str(refusal) and "\n" not in str(refusal)
            saved.unlink()
            assert contents(VERBS["finetune"](given, tmp_path)) == usual("finetune")


@pytest.mark.parametrize("verb", ALL)
def test_a_product_that_is_a_link_to_another_file(verb: str, given: Path, usual: Callable, tmp_path: Path):
    victims, out = tmp_path / "victims", tmp_path / "out"
    victims.mkdir(), out.mkdir()
    for file in VERBS[verb](given, tmp_path / "names"):
        (victims / file.name).write_text("of somebody else")
        (out / file.name).symlink_to(victims / file.name)
    made = VERBS[verb](given, out)
    assert contents(made) == usual(verb) and not any(file.is_symlink() for file in made)
    assert {file.read_text() for file in victims.iterdir()} == {"of somebody else"}


def test_curves_that_are_a_link_to_another_file(given: Path, usual: Callable, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("of somebody else")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.csv").symlink_to(victim)
    with pytest.raises(UserError, match=r"metrics\.csv: is a link, .*; remove it"):
        VERBS["finetune"](given, tmp_path / "out")
    assert victim.read_text() == "of somebody else"
    (tmp_path / "out" / "metrics.csv").unlink()
    assert contents(VERBS["finetune"](given, tmp_path / "out")) == usual("finetune")


def many(folder: Path, *, images: int) -> Path:
    """A folder of tiny pictures, all different, two of each patient, with a table."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (images, 16, 16), dtype=np.uint8)
    rows = ["file,patient,Mass"]
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
        rows.append(f"{number}.png,p{number // 2},{number // 2 % 2}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("images", [600, *(pytest.param(many, marks=pytest.mark.soak) for many in (20_000, 200_000))])
def test_many_images(images: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    kind = {"name": "own_folder", "options": {"labels": ["Mass"]}}
    archive = Archive(name="mine", kind=kind, folder=str(many(tmp_path / "archive", images=images)), size=16)
    out = tmp_path / "mine"
    files = {name: out / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    files |= {"images": out / "images.npy", "hashes": out / "hashes.npy", "split": out / "split.json"}
    open_before, held_before = len(list(Path("/proc/self/fd").iterdir())), peak()
    seconds = {}
    since = time.monotonic()
    prepare(archive=archive, workers=0, **files)
    seconds["prepare"] = time.monotonic() - since
    overlaps = OVERLAPS.model_copy(
        update={"archives": (Learned(archive="mine", splits=("train", "test"), numbering="mine"),)}
    )
    since = time.monotonic()
    found = {"ledger": tmp_path / "ledger.parquet", "readable": tmp_path / "ledger.csv"}
    ledger(overlaps=overlaps, cases=[files["cases"]], hashes=[files["hashes"]], **found)
    seconds["ledger"] = time.monotonic() - since
    grown = peak() - held_before
    with capsys.disabled():
        each = ", ".join(f"{verb} {1000 * taken / images:.2f} ms" for verb, taken in seconds.items())
        print(f"\n{images} images: {each} an image, {grown / 2**20:.0f} MiB more")
    # no more than before: what earlier tests left open may have been closed meanwhile
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before
    # an image is a row of Python objects (2 KiB), its hash and sketches as read and as sorted (1.5 KiB), and signs of
    # two sketches in the search's index (1.5 KiB); pixels would be 50 KiB at usual sizes
    assert grown < 300 * 2**20 + 6 * 1024 * images


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
