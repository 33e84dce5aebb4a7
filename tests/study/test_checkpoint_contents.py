"""Files of weights made to harm, and plans as nnssl never writes them: each is one line, or costs nothing."""

import pickle
import zipfile
from pathlib import Path

import pytest

from adaptation_plan_made import FORM, plan
from headwater.core.errors import UserError
from headwater.study import adaptation_plan, checkpoint_contents

NAMES = ("encoder.stem.convs.0.conv.weight", "encoder.stages.0.blocks.0.conv1.conv.weight")
TENSORS = {"network_weights": dict.fromkeys(NAMES)}
GOOD = {**TENSORS, "nnssl_adaptation_plan": plan()}
ORDERED = b"ccollections\nOrderedDict\n"


def saved(folder: Path, program: bytes, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file as torch.save writes it, with this pickle as its contents."""
    with zipfile.ZipFile(folder / "checkpoint_final.pth", "w", compression) as archive:
        archive.writestr("checkpoint_final/data.pkl", program)
    return folder / "checkpoint_final.pth"


def with_entry(program: bytes) -> bytes:
    """The contents of a good file, and one more entry that these operations make."""
    return pickle.dumps(GOOD, protocol=2)[:-1] + b"X\x01\0\0\0x" + program + b"s."


PAIRS = b"](" + b"X\x01\0\0\0aK\x01\x86" * 100 + b"eq\xfe"


@pytest.mark.parametrize(
    "program",
    [
        # a number under which a value is remembered, for which pickle reserves memory
        with_entry(b"Nr\xff\xff\xff\xff"),
        # tuples of the same tuple twice, whose hash takes 2^100 steps, as a name
        with_entry(b"})" + b"q\xfeh\xfe\x86" * 100 + b"Ns"),
        # a name that is compared with its equal again and again
        with_entry(b"}" + b"".join([b"X" + (10**5).to_bytes(4, "little") + b"a" * 10**5 + b"Ns"] * 2)),
        # a name of a tensor in so many tuples that text of it cannot be made
        pickle.dumps(GOOD, protocol=2)[:-1] + b"X\x0f\0\0\0network_weights" + b"}(" + b")" + b"\x85" * 5000 + b"N"
        + b"".join(b"X" + len(name).to_bytes(4, "little") + name.encode() + b"N" for name in NAMES) + b"us.",
    ],
)  # fmt: skip
def test_contents_made_to_take_memory_or_time_take_neither(tmp_path, program):
    assert adaptation_plan.read(saved(tmp_path, program)).architecture == "ResidualEncoderUNet"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            with_entry(PAIRS + b"(" + (ORDERED + b"h\xfe\x85R") * 100 + b"t\x86"),
            "copy dictionaries, which torch",
        ),
        (with_entry(b"(" + b"N" * 1000 + b"t"), "take more than 1,000 operations"),
        (with_entry(b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6), "data.pkl has 1,0.* bytes besides"),
    ],
)
def test_contents_that_torch_never_writes_are_refused(tmp_path, monkeypatch, program, said):
    monkeypatch.setattr(checkpoint_contents, "MOST", 1000)
    monkeypatch.setattr(checkpoint_contents, "LARGEST", 10**6)
    with pytest.raises(UserError, match=rf"^{tmp_path}/checkpoint_final.pth: .*{said}.*; ask its publisher"):
        adaptation_plan.read(saved(tmp_path, program))


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_contents_that_torch_cannot_unpack_are_refused_whether_damaged_or_not(tmp_path, compression):
    file = saved(tmp_path, pickle.dumps(GOOD, protocol=2), compression=compression)
    whole = file.read_bytes()
    for content in (whole, whole[:80] + b"\xff" * 40 + whole[120:]):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"checkpoint_final.pth: .*data.pkl is compressed in a way that torch does"):
            adaptation_plan.read(file)


def configuration(**entries):
    return {"configuration": {"spacing_style": "median", **entries}}


def moved(axes):
    return {"pretrain_plan": {**plan()["pretrain_plan"], "transpose_backward": axes}}


@pytest.mark.parametrize(
    ("of_plan", "place"),
    [
        ({"recommended_downstream_patchsize": [float("inf")] * 3}, "recommended_downstream_patchsize.0"),
        ({"recommended_downstream_patchsize": (2, 0, -1)}, "recommended_downstream_patchsize.1"),
        ({"recommended_downstream_patchsize": ["160"] * 3}, "recommended_downstream_patchsize.0"),
        ({"recommended_downstream_patchsize": [160] * 10**4}, "recommended_downstream_patchsize"),
        (configuration(spacing=[1, 1, 10**400]), "pretrain_plan.configurations.median.spacing.2"),
        (configuration(spacing=[1, 1, float("nan")]), "pretrain_plan.configurations.median.spacing.2"),
        (configuration(spacing=[1, float("inf"), 1]), "pretrain_plan.configurations.median.spacing.1"),
        (configuration(spacing=[0, 1, 1]), "pretrain_plan.configurations.median.spacing.0"),
        (configuration(spacing=[1, 1, -1]), "pretrain_plan.configurations.median.spacing.2"),
        (configuration(spacing=3), "pretrain_plan.configurations.median.spacing"),
        (configuration(normalization_schemes=[5]), "pretrain_plan.configurations.median.normalization_schemes.0"),
        (configuration(normalization_schemes="Z"), "pretrain_plan.configurations.median.normalization_schemes"),
        (moved([0, 1, 5]), "pretrain_plan.transpose_backward"),
        (moved([0, 1]), "pretrain_plan.transpose_backward"),
        (moved([0, 0, 0]), "pretrain_plan.transpose_backward"),
        (moved([0, -1, 1]), "pretrain_plan.transpose_backward"),
        (moved([]), "pretrain_plan.transpose_backward"),
        ({"pretrain_plan": {"configurations": {}}}, "pretrain_plan.configurations"),
        ({"pretrain_plan": {"configurations": {"median": 5}}}, "pretrain_plan.configurations.median"),
        ({"pretrain_num_input_channels": "many"}, "pretrain_num_input_channels"),
        ({"pretrain_num_input_channels": [1]}, "pretrain_num_input_channels"),
        ({"pretrain_num_input_channels": 0}, "pretrain_num_input_channels"),
        ({"pretrain_num_input_channels": True}, "pretrain_num_input_channels"),
        ({"pretrain_num_input_channels": 1.5}, "pretrain_num_input_channels"),
        ({"key_to_encoder": 3}, "key_to_encoder"),
        ({"key_to_encoder": ""}, "key_to_encoder"),
        ({"key_to_stem": "a\nb"}, "key_to_stem"),
        ({"architecture": "R" * 10**5}, "architecture_plans.arch_class_name"),
        ({"form": [1]}, "architecture_plans.arch_kwargs"),
        ({"form": {**FORM, "strides": {"1": 2}}}, "architecture_plans.arch_kwargs.strides"),
        ({"form": {**FORM, "kernel_sizes": [[["3"]]]}}, "architecture_plans.arch_kwargs.kernel_sizes"),
        ({"form": {**FORM, "features_per_stage": [1] * 10**4}}, "architecture_plans.arch_kwargs.features_per_stage"),
    ],
)
def test_a_plan_as_nnssl_never_writes_it_is_one_line(tmp_path, of_plan, place):
    refuse(saved(tmp_path, pickle.dumps({**TENSORS, "nnssl_adaptation_plan": plan(**of_plan)}, protocol=2)), place)


@pytest.mark.parametrize(
    "key", ["architecture", "form", "key_to_encoder", "pretrain_plan", "pretrain_num_input_channels"]
)
def test_lists_within_lists_are_one_line_however_deep(tmp_path, key):
    deep = b")" + b"\x85" * 5000
    whole = pickle.dumps({**TENSORS, "nnssl_adaptation_plan": plan(**{key: 12345})}, protocol=2)
    places = {"architecture": "architecture_plans.arch_class_name", "form": "architecture_plans.arch_kwargs"}
    refuse(saved(tmp_path, whole.replace(b"M90", deep)), places.get(key, key))


@pytest.mark.parametrize("value", [5, "text", [1]])
def test_a_plan_that_is_none_is_one_line(tmp_path, value):
    refuse(
        saved(tmp_path, pickle.dumps({**TENSORS, "nnssl_adaptation_plan": value}, protocol=2)), "nnssl_adaptation_plan"
    )


def refuse(file: Path, place: str) -> None:
    """Hold that reading a file ends in a short line with the file, the place and a remedy."""
    with pytest.raises(UserError) as refusal:
        adaptation_plan.read(file)
    said = str(refusal.value)
    assert said.startswith(f"{file}: its nnssl_adaptation_plan is not as nnssl writes it ({place}")
    assert said.endswith("); ask its publisher for a complete one, or save network_weights alone")
    assert len(said) < len(str(file)) + 500 and "\n" not in said
