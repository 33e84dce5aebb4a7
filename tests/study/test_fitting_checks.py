"""What a dataset's tasks, the networks or the processes cannot be given is refused in the plan."""

import copy

import pytest

from headwater.core.errors import UserError
from headwater.study import config as study_config
from test_every_key import put, whole
from test_keys_of_volumes import changed

R = "recipes.finetune"
NUMBERS = {"datasets.second": {"task": "regression", "labels": ["age"]}, "comparison.metrics": ["auroc", "r_squared"]}
SELECTED = {f"{R}.select": "loss"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({**NUMBERS, **SELECTED, f"{R}.label_smoothing": 0.1},
         "finetune.label_smoothing: there are no labels of findings or classes to smooth (datasets.second: reg"),
        ({**NUMBERS, **SELECTED, f"{R}.loss": "focal"},
         "finetune.loss: there are no findings or classes whose loss it could be (datasets.second: regression)"),
        ({**NUMBERS, **SELECTED, f"{R}.mixup": 0.2}, "finetune.mixup: images are mixed only where all that is asked"),
        ({**NUMBERS, **SELECTED, f"{R}.cutmix": 1}, "finetune.cutmix: images are mixed only where all that is asked"),
        ({f"{R}.mixup": 0.2, f"{R}.training.batch": 30, f"{R}.compute": {"ranks": 2}},
         "finetune.training.batch: must be a multiple of 4, as images are mixed in pairs"),
        ({f"{R}.cutmix": 0.2, f"{R}.training.batch": 4, f"{R}.training.accumulate": 4},
         "finetune.training.batch: must be a multiple of 8, as images are mixed in pairs"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(changes, words):
    with pytest.raises(UserError) as refusal:
        study_config.load(put(whole(), changes))
    assert words in str(refusal.value)
    # without the key it is all right
    set_here = {f"{R}.label_smoothing", f"{R}.loss", f"{R}.mixup", f"{R}.cutmix"}
    study_config.load(put(whole(), {place: value for place, value in changes.items() if place not in set_here}))


@pytest.mark.parametrize("key", ["label_smoothing", "mixup", "cutmix"])
@pytest.mark.parametrize("loss", ["focal", "asymmetric"])
def test_soft_labels_have_the_loss_of_soft_labels(key, loss):
    with pytest.raises(UserError, match=rf"finetune: the {loss} loss is of labels that are 0 or 1; remove {key}"):
        study_config.load(put(whole(), {f"{R}.{key}": 0.1, f"{R}.loss": loss}))


@pytest.mark.parametrize("key", ["gamma_positive", "gamma_negative"])
def test_a_gamma_without_gradient_is_refused(key):
    with pytest.raises(UserError, match=rf"{key} must be 0, or 1 and more"):
        study_config.load(put(whole(), {f"{R}.loss": {"kind": "asymmetric", key: 0.5}}))


@pytest.mark.parametrize("key", ["label_smoothing", "mixup", "cutmix"])
def test_outlines_are_neither_smoothed_nor_mixed(key):
    with pytest.raises(UserError, match=rf"recipes\.full\.{key}: .* \(datasets\.hip: segmentation\)"):
        study_config.load(copy.deepcopy(changed(f"recipes.full.{key}", 0.1)))


@pytest.mark.parametrize("place", ["recipes.full", "sources.ours"])
def test_layers_of_networks_that_do_not_tell_them_apart_are_refused(place):
    content = changed(f"{place}.training", {"steps": 40, "batch": 4, "layer_decay": 0.5})
    content["sources"]["ours"]["method"] = "supervised"
    with pytest.raises(UserError) as refusal:
        study_config.load(content)
    why = f"{place}.training.layer_decay: monai/segresnet does not tell its layers apart; remove it, or choose"
    assert why in str(refusal.value)
    for source in content["sources"].values():
        source["backbone"] = "vit3d/test_patch8"
    study_config.load(content)


def test_blocks_of_networks_that_do_not_tell_them_apart_and_of_probes_are_refused():
    with pytest.raises(
        UserError, match=r"recipes\.full\.trained_blocks: monai/segresnet does not tell its layers apart"
    ):
        study_config.load(changed("recipes.full.trained_blocks", 2))
    with pytest.raises(UserError, match="a linear_probe trains no block; remove trained_blocks, or set kind: finetune"):
        study_config.load(put(whole(), {f"{R}.trained_blocks": 2, f"{R}.kind": "linear_probe"}))


@pytest.mark.parametrize("backbone", ["timm/resnet50", "timm/convnext_tiny"])
def test_networks_without_attention_are_not_adapted(backbone):
    content = put(whole(), {f"{R}.lora": {}, "backbone": backbone})
    with pytest.raises(UserError, match=rf"finetune\.lora: {backbone} has no attention that it adapts; remove it, or"):
        study_config.load(content)
    study_config.load(put(content, {"backbone": "timm/vit_tiny_patch16_224"}))


@pytest.mark.parametrize(("key", "value"), [("trained_blocks", 2), ("kind", "linear_probe")])
def test_lora_alone_says_what_learns(key, value):
    content = put(whole(), {f"{R}.lora": {}, f"{R}.{key}": value, "backbone": "timm/vit_tiny_patch16_224"})
    with pytest.raises(UserError, match=rf"lora says what of the network learns, and so does {key}"):
        study_config.load(content)
