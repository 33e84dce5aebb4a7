"""Records say what shall be done: frozen, complete on one line, and hashed by what they say."""

import json

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.records import Choice, Record
from headwater.study.archive import Archive
from headwater.study.grid import Run
from headwater.study.recipe import Recipe, Training, Views
from headwater.study.source import Source

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,10}", fullmatch=True)
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
CHOICES = st.builds(Choice, name=NAMES, options=st.dictionaries(NAMES, VALUES, max_size=3))
TRAININGS = st.builds(
    Training,
    steps=st.integers(100, 10**6),
    batch=st.integers(1, 4096),
    lr=st.floats(1e-8, 10),
    warmup_steps=st.integers(0, 99),
    ema=st.none() | st.floats(0.5, 0.9999),
)
RUNS = st.builds(
    Run,
    dataset=st.builds(dict, name=NAMES, archive=NAMES, labels=st.lists(WORDS, max_size=3)),
    source=st.builds(
        Source, name=NAMES, backbone=WORDS, method=CHOICES, corpus=NAMES, training=TRAININGS, seed=st.integers(0, 9)
    ),
    recipe=st.builds(
        Recipe, name=NAMES, kind=st.just("finetune"), training=TRAININGS, views=st.just(Views()), select=st.just("loss")
    ),
    seed=st.integers(0, 2**31),
)


class Small(Record):
    number: int
    share: float = 0.5
    inner: Views = Views()


class Grown(Small):
    added: str = "as before"


@given(RUNS)
def test_a_record_comes_back_from_its_line(run: Run):
    line = run.as_json()
    assert "\n" not in line
    assert Run.from_json(line) == run
    assert Run.from_json(line).digest == run.digest


@given(CHOICES)
def test_a_choice_comes_back_with_its_options(choice: Choice):
    assert Choice.from_json(choice.as_json()) == choice


def test_defaults_are_left_out_however_deep():
    assert Small(number=1, share=0.5, inner=Views(flip=0.0)).as_json() == '{"number":1}'
    assert json.loads(Small(number=1, inner=Views(flip=0.5)).as_json()) == {"number": 1, "inner": {"flip": 0.5}}


def test_the_digest_keeps_when_a_field_with_a_default_is_added():
    assert Grown(number=1, share=0.25).digest == Small(number=1, share=0.25).digest
    assert Grown(number=1, added="anew").digest != Small(number=1).digest


def test_the_digest_of_today_is_that_of_tomorrow():
    # finished jobs are found by it
    assert Source(name="random", backbone="timm/resnet50").digest == "1fe02e17"


@given(st.integers(-100, 100), st.integers(-100, 100))
def test_digests_differ_where_records_do(one: int, other: int):
    assert (Small(number=one).digest == Small(number=other).digest) == (one == other)


def test_keys_are_sorted_so_that_the_order_of_writing_does_not_matter():
    one, other = {"crop": 0.5, "flip": 0.5}, {"flip": 0.5, "crop": 0.5}
    assert Views(**one).as_json() == Views(**other).as_json()


def test_records_are_frozen():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Small(number=1).number = 2


def test_unknown_fields_and_positions_are_refused():
    with pytest.raises(pydantic.ValidationError, match="Extra inputs"):
        Small(number=1, numer_=2)
    with pytest.raises(TypeError):
        Small(1)


def test_defaults_are_checked_too():
    class Wrong(Record):
        number: int = "three"

    with pytest.raises(pydantic.ValidationError, match="valid integer"):
        Wrong()


def test_a_default_is_not_shared():
    first, second = Choice(name="a"), Choice(name="b")
    first.options["n"] = 1
    assert second.options == {}


@pytest.mark.parametrize(
    "written",
    [{"name": "dino", "temperature": 0.1}, {"name": "dino", "options": {"temperature": 0.1}}],
)
def test_options_may_stand_beside_the_name(written: dict):
    assert Choice.model_validate(written) == Choice(name="dino", options={"temperature": 0.1})


def test_a_choice_may_be_a_name_alone():
    assert Choice.model_validate("dino") == Choice(name="dino")
    assert Archive(name="a", kind="vindr").kind == Choice(name="vindr")


@pytest.mark.parametrize("written", [{"temperature": 0.1}, {"name": "dino", "options": {}, "n": 1}, ["dino"], None, 3])
def test_anything_else_is_no_choice(written: object):
    with pytest.raises(pydantic.ValidationError):
        Choice.model_validate(written)
