"""The rounds of fuzz.py: makes small files of every kind, spoils them, reads them, and says what came of it."""

import io
import json
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dicom_made import hounsfield, pack, write_enhanced, write_slice
from nifti_made import write_mgh, write_nifti
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from headwater.core import guarded_process
from headwater.core.errors import UserError
from headwater.data.io.codestreams import JPEG_2000
from headwater.data.io.dicom import read_form, read_radiograph, read_tags
from headwater.data.io.frames import read_frames
from headwater.data.io.nifti import read_nifti
from headwater.data.io.series import sort_files
from headwater.data.io.stacking import read_volume

EDGES = (b"\0", b"\x01", b"\x7f", b"\x80", b"\xff")
"""Bytes that lengths and counts break at."""


SIZES = (b"\x10\0", b"\x11\0", b"\0\x01", b"\x02\0", b"\x01\x01")
"""Elements of group 0028: rows, columns, bits allocated, samples per pixel, bits stored."""


def make_seeds(folder: Path) -> list[Path]:
    """Small files of every kind that is read, whole."""
    at = {"position": (1, 2, 3)}
    stack = np.stack([hounsfield(number) for number in range(3)])
    plain = write_slice(folder / "plain.dcm", hounsfield(0), **at)
    seeds = [
        plain,
        write_enhanced(folder / "enhanced.dcm", stack, heights=[0, 1, 2], slopes=[1, 2, 3]),
        write_nifti(folder / "one.nii", hounsfield(0)[None].astype("i2")),
        write_nifti(folder / "two.nii", stack.astype("f4"), version=2, order=">", quaternion=(0, 0, 0.5)),
        write_nifti(folder / "packed.nii.gz", stack.astype("i2")),
        write_mgh(folder / "x.mgh", stack[..., None].astype("f4"), affine=np.eye(4)),
    ]
    for name, syntax in (("rle", RLELossless), ("deflated", DeflatedExplicitVRLittleEndian)):
        dataset = dcmread(plain)
        if syntax == RLELossless:
            dataset.compress(syntax)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(folder / f"{name}.dcm")
        seeds.append(folder / f"{name}.dcm")
    return seeds + _compressed(folder, at)


def _compressed(folder: Path, at: dict) -> list[Path]:
    """Files in JPEG, JPEG 2000 and, where there is an encoder, JPEG-LS and lossless JPEG."""
    made = []
    for name, kind, syntax, pixels in (
        ("jpeg", "JPEG", JPEGBaseline8Bit, (hounsfield(0) // 8).astype(np.uint8)),
        ("j2k", "JPEG2000", JPEG2000Lossless, hounsfield(0)),
        ("boxed", "JPEG2000", JPEG2000Lossless, hounsfield(0)),
        ("jls", "JPEG", JPEGLSLossless, (hounsfield(0) // 8).astype(np.uint8)),
        ("retired", "JPEG", "1.2.840.10008.1.2.4.55", (hounsfield(0) // 8).astype(np.uint8)),
    ):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        content = stream.getvalue()
        # DICOM asks for JPEG 2000 without the boxes of a .jp2 file, which do occur
        content = content[content.find(JPEG_2000) :] if name == "j2k" else content
        path = write_slice(folder / f"{name}.dcm", pixels, **at)
        made.append(pack(path, syntax=syntax, streams=[content]))
    return made


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """The bytes of a file with some of them changed, most of them where headers are."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not spoilt:
            break
        # half of the changes fall into the first kilobyte, where the sizes are
        place = chance.randrange(min(len(spoilt), chance.choice((1024, len(spoilt)))))
        match chance.randrange(7):
            case 0:
                spoilt[place] = chance.randrange(256)
            case 1:
                spoilt[place] ^= 1 << chance.randrange(8)
            case 2:
                spoilt[place : place + 1] = chance.choice(EDGES)
            case 3:
                width = chance.choice((2, 4, 8))
                spoilt[place : place + width] = chance.choice(EDGES) * width
            case 4:
                del spoilt[place : place + chance.randrange(1, 64)]
            case 5:
                spoilt[place:place] = spoilt[place : place + chance.randrange(1, 64)]
            case 6:
                del spoilt[place:]
    return bytes(spoilt)


def resized(content: bytes, chance: random.Random) -> bytes:
    """A DICOM file whose rows, columns, frames or bits are others; any other file as it is."""
    place = content.find(b"\x28\0" + chance.choice(SIZES) + b"US")
    if place < 0:
        return content
    value = chance.choice((0, 1, 7, 12, 255, 4096, 65535, chance.randrange(65536)))
    return content[: place + 8] + struct.pack("<H", value) + content[place + 10 :]


def make_neighbours(folder: Path) -> list[Path]:
    """Whole slices beside the one that the seeds hold."""
    places = {"above": (1, 2, 5), "far": (1, 2, 9)}
    return [write_slice(folder / name, hounsfield(1), position=place) for name, place in places.items()]


def read_all(path: Path, *, beside: list[Path]) -> tuple[Counter, float, float]:
    """How often readers read and refused a file; the most seconds of one by the processor and by the clock."""
    readers = [lambda: read_nifti(path, number=0, fill=0.0)]
    if path.suffix == ".dcm":
        readers = [lambda: read_frames(path), lambda: read_radiograph(path), lambda: read_tags(path)]
        readers += [lambda: read_form(path), lambda: _read_series([path, *beside])]
    told, most, longest = Counter(), 0.0, 0.0
    for read in readers:
        began, used = time.perf_counter(), time.process_time()
        try:
            read()
            told["read"] += 1
        except UserError as refusal:
            assert str(path.parent) in str(refusal), refusal
            assert "\n" not in str(refusal)
            told["refused"] += 1
        most = max(most, time.process_time() - used)
        longest = max(longest, time.perf_counter() - began)
    return told, most, longest


def _read_series(files: list[Path]) -> None:
    for series in sort_files(files).series:
        read_volume(series, gaps="resample", tilt="resample")


def held() -> int:
    """Bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(rounds: int, *, seed: int, say: Callable[[int, str], None] | None = None) -> dict:
    """What came of so many rounds, in this process; `say` is told of each before it begins."""
    told, faults, first, most = Counter(), [], 0, 0
    slowest = longest = (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        seeds = make_seeds(Path(folder))
        beside = make_neighbours(Path(folder))
        contents = {path: path.read_bytes() for path in seeds}
        for number in range(rounds):
            chance = random.Random(f"{seed}/{number}")
            path = chance.choice(seeds)
            content = contents[path]
            if chance.random() < 0.2:
                content = resized(content, chance)
            target = path.with_name(f"spoilt{''.join(path.suffixes)}")
            target.write_bytes(spoiled(content, chance))
            if say is not None:
                say(number, path.name)
            try:
                said, seconds, clock = read_all(target, beside=beside)
                told += said
                slowest = max(slowest, (seconds, f"round {number}, {path.name}"))
                longest = max(longest, (clock, f"round {number}, {path.name}"))
            # whatever is no refusal is what is looked for
            except Exception as error:
                faults.append(f"round {number}, {path.name}: {type(error).__name__}: {error}")
            if number == min(rounds // 10, 500):
                first = held()
            most = max(most, held())
    return {
        "rounds": rounds,
        "read": told["read"],
        "refused": told["refused"],
        "faults": faults,
        "slowest_seconds": round(slowest[0], 2),
        "slowest": slowest[1],
        "longest_by_the_clock": f"{longest[0]:.2f} s, {longest[1]}",
        "decoders_lost": guarded_process.of_this_process().ended,
        "held_early_mb": first >> 20,
        "held_late_mb": held() >> 20,
        "held_most_mb": most >> 20,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "decoders_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
    }


if __name__ == "__main__":
    asked_rounds, asked_seed = map(int, sys.argv[1:])
    print(json.dumps(run(asked_rounds, seed=asked_seed, say=lambda *told: print(*told, flush=True))), flush=True)
