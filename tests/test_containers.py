"""The container files: what they copy is there and is all that the workflow needs, and their Python fits the lock."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import workflow_made

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "envs" / "Dockerfile").read_text()
DEFINITION = (ROOT / "envs" / "headwater.def").read_text()
IGNORED = (ROOT / "envs" / "Dockerfile.dockerignore").read_text().splitlines()
HOME = "/opt/headwater"

CONDA = """#!/bin/sh
case "$1" in
  --version) echo conda 26.1.0 ;;
  config) echo '{"get": {"channel_priority": "strict"}}' ;;
  info) echo '{"platform": "linux-64", "conda_prefix": "/opt/conda"}' ;;
  *) exit 1 ;;
esac
"""
"""What answers in place of conda, which makes no environment here."""


def steps(text: str) -> list[list[str]]:
    """The instructions of a Dockerfile as words, continued lines joined and comments left out."""
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [line.split() for line in lines if line.strip()]


def sections(text: str) -> dict[str, list[str]]:
    """The lines of each section of an Apptainer definition; "" for its head."""
    head, *parts = re.split(r"^%", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    named = {part.split()[0]: part.splitlines()[1:] for part in parts}
    return {name: [line.strip() for line in lines if line.strip()] for name, lines in named.items()} | {
        "": head.split("\n")
    }


def copied_by_docker() -> dict[str, str]:
    """Where each file and folder lies in the image, by its path here."""
    copies = [words[1:] for words in steps(DOCKERFILE) if words[0] == "COPY"]
    return {source: f"{HOME}/{source}" if goal == "./" else f"{HOME}/{goal}" for *of, goal in copies for source in of}


def copied_by_apptainer() -> dict[str, str]:
    return dict(line.split() for line in sections(DEFINITION)["files"])


def base(text: str) -> str:
    """The Python of the base image."""
    return re.search(r"^(?:FROM|From:) python:([\d.]+)-slim$", text, re.MULTILINE)[1]


def tracked(path: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", path], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("copied", [copied_by_docker, copied_by_apptainer])
def test_all_that_is_copied_is_in_the_repository_and_keeps_its_place(copied):
    for source, goal in copied().items():
        assert tracked(source), source
        assert goal == f"{HOME}/{source}"


@pytest.mark.parametrize("copied", [copied_by_docker, copied_by_apptainer])
def test_the_workflow_is_whole(copied):
    there = {file for source in copied() for file in tracked(source)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {"Snakefile", "pyproject.toml", "requirements.lock", "envs/install.py", project["readme"]}
    needed |= {*project["license-files"], "profiles/default/config.v9+.yaml", "config/config.yaml"}
    assert needed <= there
    assert {*tracked("scripts"), *tracked("workflow")} <= there


@pytest.mark.parametrize("text", [DOCKERFILE, DEFINITION])
def test_the_python_is_the_one_of_the_conda_environment_and_fits_the_project(text):
    pins = yaml.safe_load((ROOT / "envs" / "headwater.yaml").read_text())["dependencies"]
    assert f"python={base(text)}" in pins
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert base(text) in SpecifierSet(project["requires-python"])


def test_docker_is_sent_what_the_image_copies_and_no_more():
    first, *lines = [line for line in IGNORED if line and not line.startswith("#")]
    assert first == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied_by_docker().keys()
    assert "profiles/local" in lines


def test_the_image_of_docker_is_not_run_as_root():
    done = steps(DOCKERFILE)
    (user,) = [at for at, words in enumerate(done) if words[0] == "USER"]
    assert done[user] == ["USER", "1000"]
    assert [words[0] for words in done[user + 1 :]] == ["WORKDIR", "CMD"]
    assert any("useradd" in words for words in done[:user])


@pytest.mark.parametrize("installs", [DOCKERFILE, "\n".join(sections(DEFINITION)["post"])])
def test_the_packages_are_those_of_the_lock(installs):
    assert "python envs/install.py" in installs
    assert not re.search(r"pip install|apt-get|conda", installs)


@pytest.mark.slow
def test_snakemake_prints_a_dockerfile_of_the_conda_environment(tmp_path, monkeypatch):
    # all that Snakemake asks conda: its version, its settings and the platform
    conda = tmp_path / "bin" / "conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", f"{conda.parent}:{os.environ['PATH']}")
    done = workflow_made.snakemake(tmp_path, "--containerize", config=workflow_made.small_config())
    printed = steps(done.stdout)
    assert printed[0][0] == "FROM"
    (copy,) = [words for words in printed if words[0] == "COPY"]
    assert (tmp_path / copy[1]).resolve() == ROOT / "envs" / "headwater.yaml"
    assert any(words[:4] == ["RUN", "conda", "env", "create"] for words in printed)
