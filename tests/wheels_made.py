"""Packages made in code: tiny wheels, one that is only to be had as source, and installed ones packed again."""

import hashlib
import importlib.metadata
import io
import tarfile
import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, *lines: str, files: dict[str, str] | None = None) -> Path:
    """A wheel with one module; `lines` go into its METADATA, `files` (place: text) beside the module."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"version = {version!r}\n",
        f"{about}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""]),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    } | (files or {})
    members[f"{about}/RECORD"] = "".join(f"{member},,\n" for member in [*members, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            place = zipfile.ZipInfo(member)
            place.external_attr = (0o100755 if "/scripts/" in member else 0o100644) << 16
            archive.writestr(place, text)
    return path


def source(folder: Path, name: str, version: str) -> Path:
    """A source distribution with one module and a setup.py, as packages from before pyproject.toml have it."""
    path = folder / f"{name}-{version}.tar.gz"
    members = {
        "setup.py": f"from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules=[{name!r}])\n",
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{name}.py": f"version = {version!r}\n",
    }
    with tarfile.open(path, "w:gz") as archive:
        for member, text in members.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{member}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def packed(folder: Path, name: str) -> Path:
    """A wheel of a pure package that is installed here."""
    distribution = importlib.metadata.distribution(name)
    path = folder / f"{name}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in distribution.files:
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(file.locate(), str(file))
    return path


def entry(path: Path, *, digest: str = "") -> str:
    """The lines of a lock for a distribution file."""
    name, version = path.name.removesuffix(".tar.gz").split("-")[:2]
    return f"{name}=={version} \\\n    --hash=sha256:{digest or hashlib.sha256(path.read_bytes()).hexdigest()}\n"
