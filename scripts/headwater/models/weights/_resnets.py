"""ResNets from self-supervised pre-training: entries of several publishers' checkpoints beyond torchvision's ResNet."""

CT_MEAN, CT_STD = (0.1806, 0.1806, 0.1806), (0.1907, 0.1907, 0.1907)
"""Input normalisation of CT slices in the pre-trainings of arXiv 2410.14524 and arXiv 2308.06534."""

CLASSIFIER = {r"^fc\.": "classifier of the old labels; datasets get a fresh head"}
CLUSTERS = {
    r"(^|\.)projection_head\.": "projection that the method compared crops in; features are taken before it",
    r"(^|\.)prototypes\.": "cluster centres of the method; only its loss needs them",
    r"(^|\.)queue": "features of earlier batches; only the loss needs them",
}
CONTRASTS = {
    r"^fc\.": "projection that the method compared crops in; features are taken before it",
    r"(^|\.)encoder_k\.": "the slow copy that the encoder learned from; the encoder itself is taken",
    r"(^|\.)(val_)?queue": "features of earlier batches; only the loss needs them",
}
