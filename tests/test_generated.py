"""Generated files are those that their sources give today, and the lock holds what the project asks for."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import generate
from headwater.core.errors import UserError
from headwater.study import config
from headwater.study.json_schema import schema
from headwater.study.recipe import Training

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
]


def locked(lock: str) -> dict[str, list[Version]]:
    """The versions of each package in a lock; several where they differ by platform."""
    versions: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[.*\])?==([^\s;\\]+)", lock, re.MULTILINE):
        versions.setdefault(name.lower().replace("_", "-"), []).append(Version(version))
    return versions


def unmet(lock: str) -> list[str]:
    """What the project asks for and a lock does not hold."""
    versions = locked(lock)
    return [
        str(asked)
        for asked in ASKED
        if not versions.get(asked.name) or not all(version in asked.specifier for version in versions[asked.name])
    ]


CONFIGS = sorted((ROOT / "config").rglob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_config_names_the_schema_for_editors_and_keeps_to_it(file: Path):
    first, _, text = file.read_text().partition("\n")
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named and (file.parent / named[1]).resolve() == ROOT / "workflow" / "schemas" / "config.schema.json"
    jsonschema.validate(yaml.safe_load(text), json.loads((file.parent / named[1]).read_text()))


def test_generated_files_are_fresh():
    generate.generate(check=True)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of its own to generate in."""
    for name in ("requirements.lock", "config/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_generating_gives_what_is_there(copy: Path):
    generate.generate()
    for file in ("envs/headwater.yaml", "workflow/schemas/config.schema.json", "config/README.md"):
        assert (copy / file).read_bytes() == (ROOT / file).read_bytes()
    generate.generate(check=True)


def test_each_stale_file_is_named_and_none_is_touched(copy: Path):
    generate.generate()
    (copy / "envs" / "headwater.yaml").write_text("name: other\n")
    (copy / "workflow" / "schemas" / "config.schema.json").unlink()
    readme = copy / "config" / "README.md"
    readme.write_text(readme.read_text().replace("| `batch` |", "| `batches` |"))
    with pytest.raises(UserError) as refusal:
        generate.generate(check=True)
    for file in ("envs/headwater.yaml", "config.schema.json", "config/README.md"):
        assert file in str(refusal.value)
    assert (copy / "envs" / "headwater.yaml").read_text() == "name: other\n"


def test_text_around_the_table_of_keys_is_kept(tmp_path: Path):
    text = f"before\n{generate.BEGIN}\nold\n{generate.END}\nafter\n"
    made = generate.between_markers(text, "new", file=tmp_path)
    assert made == f"before\n{generate.BEGIN}\nnew\n{generate.END}\nafter\n"
    with pytest.raises(UserError, match=r"README\.md: has no <!-- keys"):
        generate.between_markers("nothing", "new", file=Path("README.md"))


def test_each_key_of_a_config_is_explained():
    table = "\n".join(generate.keys())
    assert "|  |" not in table
    for key in (*config.Config.model_fields, *Training.model_fields):
        assert f"| `{key}` |" in table
    assert "| `batch` | whole number ≥ 1 | `64` | Images per optimiser step over ALL ranks;" in table
    assert "| `kind` | plug-in | NAME |" in table


def test_the_tables_show_every_record_of_a_config():
    shown = {record.__name__ for record in generate.SECTIONS.values()} | {"Choice", "Window", "Intensity"}
    assert shown == set(schema()["$defs"]) | {"Config"}


def test_the_schema_is_json_for_people():
    schema = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "name" not in schema["$defs"]["Source"]["properties"]


def test_the_environment_pins_every_package_once():
    content = yaml.safe_load((ROOT / "envs" / "headwater.yaml").read_text())
    pins = [Requirement(line) for line in content["dependencies"][-1]["pip"]]
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in pins)
    names = [pin.name for pin in pins]
    assert len(set(names)) == len(names)
    assert {"torch", "snakemake", "timm", "wandb", "python-gdcm"} <= set(names)
    assert "pyreadline3" not in names


def test_pins_follow_their_markers():
    lock = (
        "a-b==1.0 \\\n    --hash=sha256:0\n    # via c\n"
        "numpy==2.4 ; python_full_version < '3.12' \\\n    --hash=sha256:0\n"
        "numpy==2.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:0\n"
        "win==1 ; sys_platform == 'win32'\n"
        "cuda==13.1 ; platform_machine == 'x86_64' and sys_platform == 'linux'\n"
    )
    assert generate.pins(lock) == ["a-b==1.0", "numpy==2.4", "cuda==13.1"]


def test_the_lock_meets_every_bound():
    assert unmet(LOCK) == []


@pytest.mark.parametrize(
    ("pattern", "instead", "found"),
    [
        (r"^timm==\S+", "timm==0.9.0", "timm"),
        (r"^snakemake==\S+", "snakemake==10.0.0", "snakemake"),
        (r"^wandb==", "w==", "wandb"),
    ],
)
def test_a_tampered_lock_is_found(pattern: str, instead: str, found: str):
    tampered = re.sub(pattern, instead, LOCK, flags=re.MULTILINE)
    assert [Requirement(line).name for line in unmet(tampered)] == [found]


def test_the_lock_has_a_hash_for_each_pin_and_names_no_host():
    entries = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in LOCK
    assert not re.search(r"^(?:-|--)", LOCK, re.MULTILINE)
