"""Other rooms find an option of a plug-in by its declared meaning, not by its name."""

from pathlib import Path

import pytest

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.study import config as study_config
from workflow_made import small_config

OPTIONS = [
    (family, name, key, field)
    for family in registry.FAMILIES
    for name in registry.names(family)
    for key, field in registry.options(family, name).model_fields.items()
]


@pytest.mark.parametrize(("family", "name", "key", "field"), OPTIONS, ids=lambda value: str(value)[:20])
def test_a_declared_meaning_is_known(family: str, name: str, key: str, field):
    extra = field.json_schema_extra or {}
    assert set(extra) <= {"means"} and extra.get("means", "queue") in registry.MEANINGS


@pytest.mark.parametrize("meaning", registry.MEANINGS)
def test_each_meaning_is_declared_by_an_option(meaning: str):
    assert any((field.json_schema_extra or {}).get("means") == meaning for *_, field in OPTIONS)


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reductions of which one calls its options otherwise."""
    folder = tmp_path / "reductions"
    folder.mkdir()
    for name in ("__init__", "everything", "plain"):
        (folder / f"{name}.py").write_text("")
    (folder / "declared.py").write_text(
        "class Options(Record):\n"
        '    as_many_as: str = Field(json_schema_extra={"means": "reduction"})\n'
        '    seen_by: str = Field(json_schema_extra={"means": "source"})\n'
        "    like: str = ''\n"
    )
    original = registry.folder
    monkeypatch.setattr(registry, "folder", lambda family: folder if family == "reductions" else original(family))
    registry.options.cache_clear()
    yield folder
    registry.options.cache_clear()


def reduced(**options: str) -> dict:
    config = small_config()
    config["reductions"] = {"plain": "plain", "other": {"name": "declared", **options}}
    config["sources"]["photographs"]["reduction"] = "other"
    return config


def test_a_grid_reads_the_declaration_and_not_the_name(family: Path):
    grid = study_config.load(reduced(as_many_as="plain", seen_by="random", like="nobody")).grid()
    assert (grid.like("other"), grid.looked_at_by("other")) == ("plain", "random")
    assert grid.corpora == [("photographs", "plain"), ("photographs", "other")]
    assert grid.looked_at == [("photographs", "random")]


def test_a_name_that_leads_nowhere_is_told_where_it_stands(family: Path):
    with pytest.raises(UserError) as refused:
        study_config.load(reduced(as_many_as="plane", seen_by="randon"))
    assert "reductions.other.as_many_as: there is no 'plane'; did you mean 'plain'?" in str(refused.value)
    assert "reductions.other.seen_by: there is no 'randon'; did you mean 'random'?" in str(refused.value)
