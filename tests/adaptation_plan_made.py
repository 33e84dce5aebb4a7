"""Adaptation plans as nnssl writes them into its checkpoints: of our smallest residual encoder unless changed."""

from typing import Any

KEYS = {
    "key_to_encoder": "encoder.stages",
    "key_to_stem": "encoder.stem",
    "keys_to_in_proj": ["encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0"],
    "key_to_lpe": None,
}
FORM = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 12],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 3,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "n_blocks_per_stage": [1, 1, 2],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
}
ONE_MM = {
    "data_identifier": "nnsslPlans_onemmiso",
    "preprocessor_name": "DefaultPreprocessor",
    "spacing_style": "onemmiso",
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "spacing": [1, 1, 1],
    "patch_size": [160, 160, 160],
}


def plan(
    *,
    architecture: str = "ResidualEncoderUNet",
    form: dict[str, Any] | None = FORM,
    transposed: tuple[int, ...] = (0, 1, 2),
    configuration: dict[str, Any] | None = None,
    **entries: Any,
) -> dict[str, Any]:
    """A plan; `configuration` and `entries` replace parts of the configuration, and of the plan itself."""
    used = {**ONE_MM, **(configuration or {})}
    pretrained = {
        "dataset_name": "Dataset745_OpenMind",
        "plans_name": "nnsslPlans",
        "original_median_spacing_after_transp": [1, 1, 1],
        "transpose_forward": list(transposed),
        "transpose_backward": [transposed.index(axis) for axis in range(3)],
        "configurations": {used["spacing_style"]: used},
    }
    built = {"arch_class_name": architecture, "arch_kwargs": form, "arch_kwargs_requiring_import": None}
    beside = {"pretrain_num_input_channels": 1, "recommended_downstream_patchsize": [160, 160, 160]}
    return {"architecture_plans": built, "pretrain_plan": pretrained, **beside, **KEYS, **entries}
