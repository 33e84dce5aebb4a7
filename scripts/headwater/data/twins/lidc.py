"""A twin of LIDC-IDRI: DICOM files named in random order, an XML file beside each CT, and some radiographs."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headwater.data.io.dicom_writing import identifier, write_radiograph, write_slice
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._patients import Sign
from headwater.data.twins._scans import Scan, scans
from headwater.study.archive import Twin

SIGNS: dict[str, Sign] = {}
"""No labels are read of this archive."""

NODULES = {"nodules": Sign(looks="scattered nodules", share=0.5)}
"""Findings that its CT show, without a label."""

STEP, PIXEL = 25.0, 360.0
"""Millimetres from slice to slice, and from the first column to the last."""

RADIOGRAPH_EVERY = 4
"""One patient in so many also has a chest radiograph."""

PADDED_EVERY = 3
"""One scan in so many has padding outside of the round field of view."""

PADDING = -3024


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """An LIDC-IDRI archive of `cases` synthetic slices at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="lidc", twin=twin) as temporary:
        for place, scan in enumerate(scans("lidc", NODULES, cases=cases, seed=seed, first=first_patient, part="trunk")):
            home = temporary / "LIDC-IDRI" / f"LIDC-IDRI-{scan.patient:04d}"
            _write_scan(scan, home, seed=seed, size=size, padded=place % PADDED_EVERY == 0)
            if scan.number == 0 and place % RADIOGRAPH_EVERY == 1:
                _write_chest(home, scan, seed=seed, size=size)


def _place(home: Path, kind: str, key: str) -> tuple[Path, str, str]:
    """(folder of a series, identifier of its examination, its own identifier); the folder is named by both."""
    study, series = identifier("study", f"lidc {kind} {key}"), identifier("series", f"lidc {kind} {key}")
    place = home / study / series
    place.mkdir(parents=True)
    return place, study, series


def _write_scan(scan: Scan, home: Path, *, seed: int, size: int, padded: bool) -> None:
    """One CT as files whose names and numbers are in random order."""
    place, study, series = _place(home, "CT", f"{seed} {scan.patient} {scan.number}")
    values = scan.slices(size)
    if padded:
        values[:, _outside(size)] = PADDING
    person = {"PatientSex": "F" if scan.female else "M", "PatientAge": f"{scan.age:03d}Y"}
    header = {"patient": home.name, "study": study, "series": series, "spacing": (PIXEL / size, PIXEL / size)}
    for number, name in enumerate(_names(len(values), seed=zlib.crc32(series.encode()))):
        position = (-PIXEL / 2, -PIXEL / 2, -300.0 + number * STEP)
        write_slice(values[number], place / f"{name}.dcm", position=position, number=name, **header, **person)
    (place / f"{scan.patient:03d}.xml").write_text("<LidcReadMessage>\n</LidcReadMessage>\n")


def _names(count: int, *, seed: int) -> Iterator[int]:
    """Numbers from 1 on in random order; written without leading zeros, their order as text differs as well."""
    yield from (np.random.default_rng(seed).permutation(count) + 1).tolist()


def _outside(size: int) -> np.ndarray:
    """Whether each pixel is outside of the round field of view."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.hypot(x, y) > 1.02


def _write_chest(home: Path, scan: Scan, *, seed: int, size: int) -> None:
    """The chest radiograph of a patient, which `prepare` must skip."""
    place, _, _ = _place(home, "DX", f"{seed} {scan.patient}")
    values = scan.rng.integers(0, 4096, (size, size), dtype=np.uint16)
    write_radiograph(values, place / f"cxr{scan.patient}.dcm", bits_stored=12)
