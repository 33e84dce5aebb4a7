"""How a network is trained: the optimiser, the random changes of the images, and the recipe of a fine-tuning."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headwater.core.records import Record
from headwater.study.compute import Processes

OF_VOLUMES = ("flip_axes", "scaling", "low_resolution")
"""Keys of `views` that change volumes only."""

OF_COLOURS = ("saturation", "hue", "grey")
"""Those that change pictures in colour only."""

OF_PICTURES = (*OF_COLOURS, "solarise", "resampling")
"""Those that change pictures only."""

JITTERED = ("brightness", "contrast", "saturation", "hue")
"""Those whose probability is `jitter`."""

OF_A_VIEW = ("blur", "solarise")
"""Those that may have a probability for each view of an image."""

MIXED = ("mixup", "cutmix")
"""Keys of a recipe that mix images."""

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Views(Record):
    """Random changes of the training images: each image gets its own, drawn from (seed, epoch, case)."""

    like: Literal["photographs", "radiographs", "ct"] | None = Field(None, exclude=True)
    """In pre-training, what is usual for such images: `photographs` are changed as in the paper of the method, and
    docs/how-to/views.md has the values of all. Keys beside it go before it."""
    crop: float | None = Field(None, gt=0, le=1)
    """Smallest share of the image area, of volumes of the patch, that a random crop may show; 1 switches cropping off.
    By default off, but in pre-training by methods that compare views the published value, as an option of the
    method."""
    flip: float = Field(0.0, ge=0, le=1)
    """Probability of a left-right flip; of volumes of a flip along each of `flip_axes`."""
    flip_axes: tuple[Literal["x", "y", "z"], ...] = Field(("x",), min_length=1)
    """Axes along which volumes are flipped, each for itself: x left-right, y front-back, z feet-head."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Largest rotation in degrees, either way; of volumes about each of their three axes."""
    scaling: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of the size of what a volume shows, either way; of pictures `crop` changes it."""
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    """How crops, turns and reductions of a picture are interpolated; `bicubic` keeps more of fine detail, and is what
    most methods' published code has. What shrinks is filtered with weights of the same kind where pictures are stored
    larger than they are seen."""
    elastic: Probability = 0.0
    """Probability of an elastic deformation: a smooth random displacement of all places, of a picture or a volume,
    between 7 control points along each side (cubic B-splines, as in TorchIO)."""
    elastic_displacement: float = Field(0.05, gt=0, le=0.1)
    """Largest displacement of a control point along each axis, as a share of that side of the view. The root mean
    square of all displacements is about a quarter of it, of volumes a fifth. Beyond 0.1 images could fold."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of brightness."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of contrast."""
    saturation: float = Field(0.0, ge=0, le=1)
    """Largest relative change of saturation, of pictures in colour."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """Largest turn of the hue, as a share of the colour circle, either way; of pictures in colour."""
    jitter: Probability = 1.0
    """Probability that brightness, contrast, saturation and hue change at all, together; 0.8 in SimCLR and later."""
    grey: float = Field(0.0, ge=0, le=1)
    """Probability of dropping the colours."""
    blur: Probability | Annotated[tuple[Probability, ...], Field(min_length=1)] = 0.0
    """Probability of a Gaussian blur (sigma 0.1 to 2 pixels or voxels). Methods that compare views of an image take a
    list, too: a number for each view, the last for all further ones, such as [1.0, 0.1] in BYOL."""
    solarise: Probability | Annotated[tuple[Probability, ...], Field(min_length=1)] = 0.0
    """Probability that the values of a picture above one half are inverted; also as a list, such as [0.0, 0.2] in
    BYOL."""
    low_resolution: float = Field(0.0, ge=0, le=1)
    """Probability that a volume is shown as if scanned with 0.5 to 1 times its voxels along each axis."""
    noise: float = Field(0.0, ge=0, le=1)
    """Largest standard deviation of added Gaussian noise, in units of the full grey range, of volumes the patch's."""

    @property
    def vary(self) -> bool:
        """Whether anything of an image changes at random, so that two of its views differ."""
        cropped = self.crop is not None and self.crop < 1
        changes = set(Views.model_fields) - {
            "like",
            "crop",
            "flip_axes",
            "jitter",
            "resampling",
            "elastic_displacement",
        }
        return cropped or any(max(held) if isinstance(held := getattr(self, key), tuple) else held for key in changes)

    def of_view(self, number: int) -> "Views":
        """The changes of one view of an image: of a list of probabilities its own, or the last."""
        lists = {key: value for key in OF_A_VIEW if isinstance(value := getattr(self, key), tuple)}
        return self.model_copy(update={key: each[min(number, len(each) - 1)] for key, each in lists.items()})


class Training(Record):
    """How a network is optimised: length in optimiser steps or in epochs, batch counted over all ranks."""

    steps: int | None = Field(None, ge=1)
    """Length in optimiser steps; the same for every source, whatever the size of its corpus."""
    epochs: float | None = Field(None, gt=0)
    """Length in passes through the training images, as usual in papers; either this or steps."""
    batch: int = Field(64, ge=1)
    """Images per optimiser step over ALL ranks; the number of ranks never changes it."""
    reading: Literal["shuffled", "sharded"] = "shuffled"
    """Order in which the images of an epoch are read. `sharded` is for archives larger than memory on disks that are
    slow to seek: runs of 64 images are read from end to end, and those of 64 runs are shuffled among each other. Of
    pictures and slices only."""
    accumulate: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """Parts in which each rank takes its share of a batch, one after the other, where it does not fit into memory at
    once. Losses stay the same but for BatchNorm, whose statistics are those of each part: methods that compare the
    images of a batch take parts with other networks only, such as vision transformers (docs/explanation/methods.md).
    `auto`: the fewest parts that fit `compute.gpu_memory`, or else the memory of the device, measured when the training
    begins, and kept when it is resumed; of networks with BatchNorm only if one part fits."""
    checkpointing: bool = False
    """Gradient checkpointing: the backward pass computes the encoder's blocks, and those of the decoder of `mae` and
    the predictor of `ijepa`, a second time in place of keeping all that happens within them. A step takes less memory
    and about a third more time; its numbers stay the same. For timm's larger families and `vit3d`, and not in
    `spark`."""
    optimiser: Literal["adamw", "adam", "sgd", "lars", "lamb"] = "adamw"
    """The optimiser, as in the published study; lars and lamb are for batches of thousands."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate for this batch; it is not scaled with the batch. The first key to tune."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of sgd and lars; other optimisers ignore it."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Decay rates of the mean and the square of the gradients in adamw, adam and lamb; [0.9, 0.95] in MAE."""
    weight_decay: float = Field(0.05, ge=0)
    """Weight decay, as in the published study; by default 0.05 for adamw and lamb, 1e-6 for lars, and 0 for adam and
    sgd. Biases, scales of norms, positions and class tokens are not decayed."""
    final_weight_decay: float | None = Field(None, ge=0)
    """Weight decay at the end, towards which it moves by a cosine; none keeps it. DINO moves from 0.04 to 0.4, SparK to
    0.2."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from zero; raise it if the loss jumps at the start."""
    final_lr: float = Field(0.0, ge=0)
    """Learning rate at the end of the cosine."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Factor on the learning rate per layer below the head, of timm's networks and vit3d: 0.65 to 0.9 for vision
    transformers and ConvNeXts. Layers are timm's, such as the blocks of a ResNet."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a moving average of the weights, which is then what is validated and kept; none by default."""
    clip: float | None = Field(None, gt=0)
    """Largest gradient norm; none by default, 3 for DINO."""
    clip_by: Literal["network", "tensor"] = "network"
    """Whether `clip` is about the norm of all gradients together, or of each tensor of weights on its own, as in the
    code of DINO and iBOT."""
    drop_path: float = Field(0.0, ge=0, lt=1)
    """Stochastic depth of the encoder (drop path): how often the last of its blocks is left out for an image; earlier
    ones are in proportion. In timm's transformers, ResNets and ConvNeXts; 0.1 in the student of DINO and iBOT, and
    where vision transformers are fine-tuned."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the device has it, else fp32. `tf32` is float32 whose factors GPUs since 2020 round to ten
    bits; it is several times faster on them than `fp32`."""
    validations: int = Field(10, ge=1)
    """Number of validations during a fine-tuning, or of checks of the features during a pre-training."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations without a better score; none by default."""
    save_minutes: float = Field(10.0, ge=0)
    """Minutes between checkpoints, from which a killed job resumes."""

    @property
    def parts(self) -> int:
        """The parts of a batch that are asked for; 1 where they are to be chosen."""
        return 1 if self.accumulate == "auto" else self.accumulate

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set either steps or epochs, not both")
        if self.steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be smaller than steps ({self.steps})")
        return self

    @model_validator(mode="after")
    def _something_to_adapt(self) -> "Training":
        if self.optimiser in ("lars", "lamb") and not self.weight_decay:
            raise ValueError(
                f"{self.optimiser} adapts the rate of parameters with weight decay only; set weight_decay: 1.0e-6,"
                " or use sgd or adamw"
            )
        return self


class Loss(Record):
    """What a fine-tuning makes smaller, of findings and classes; `loss: focal` is short for `loss: {kind: focal}`."""

    kind: Literal["cross_entropy", "focal", "asymmetric"] = "cross_entropy"
    """Cross-entropy; `focal`, in which answers that are right already count less (arXiv 1708.02002); or `asymmetric`,
    in which right negatives count less than right positives, of findings side by side (arXiv 2009.14119)."""
    gamma: float = Field(2.0, ge=1)
    """Focusing of the focal loss: the factor is the probability of the wrong answer to this power."""
    gamma_positive: float = Field(0.0, ge=0)
    """The same of positives in the asymmetric loss, 0 or 1 and more; 0 is cross-entropy (section 2.2)."""
    gamma_negative: float = Field(4.0, ge=0)
    """The same of negatives in the asymmetric loss."""
    clip: float = Field(0.05, ge=0, lt=1)
    """In the asymmetric loss negatives with a lower probability than this count nothing (section 2.3)."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _with_gradient(self) -> "Loss":
        for key in ("gamma_positive", "gamma_negative"):
            if 0 < (gamma := getattr(self, key)) < 1:
                raise ValueError(f"{key} must be 0, or 1 and more: else sure answers have no gradient ({gamma:g})")
        return self


class Lora(Record):
    """Low-rank adaptation: only a product of two narrow matrices is learned of each of some weights (LoRA)."""

    rank: int = Field(8, ge=1)
    """How narrow the matrices are."""
    alpha: float = Field(8.0, gt=0)
    """Their product is multiplied by alpha / rank."""
    mlp: bool = False
    """Whether the two layers of each block's MLP are adapted beside `qkv` and `proj` of its attention."""


class Recipe(Record):
    """How a network is fitted to a dataset; the same for every source."""

    name: str
    kind: Literal["finetune", "linear_probe"] = "finetune"
    """Train the whole network, or only a linear head on fixed features."""
    training: Training
    """Length and optimiser; see the table of `training`."""
    views: Views = Views()
    """Random changes of the training images; see the table of `views`. Flip only where left and right may change."""
    compute: Processes = Field(Processes(), exclude=True)
    """Processes of this fine-tuning, if other than those of the top-level `compute`."""
    class_weights: bool = False
    """Weight positive cases by negatives / positives of the training split, per label."""
    loss: Loss = Loss()
    """The loss of findings and classes; see the table of `loss`. By it the step is chosen that `select: loss` keeps."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is replaced by not knowing: one half for findings side by side, an equal part for each
    of several classes (arXiv 1512.00567, section 7); 0.1 is usual. Validation does without."""
    mixup: float = Field(0.0, ge=0)
    """Mix the images of each pair in a batch, and their labels alike, in a share from Beta(mixup, mixup) (arXiv
    1710.09412); 0.2 and 0.8 are usual, and 0 mixes nothing. A mixed image lacks a label that either image lacks."""
    cutmix: float = Field(0.0, ge=0)
    """Exchange a box between the images of each pair, and labels by its share of the image, which is from Beta(cutmix,
    cutmix) (arXiv 1905.04899); 1 is usual. With mixup, each pair gets either by chance."""
    foreground: float = Field(1 / 3, ge=0, le=1)
    """Share of the patches of volumes that are placed on a voxel of a structure, each structure as often, where
    structures are outlined; a third, as in nnU-Net. The others lie anywhere."""
    deep_supervision: bool = False
    """Whether outlines at lower resolutions are learned beside those at full resolution, as in nnU-Net: each with half
    the weight of the next finer one, and the lowest left out. It is about the loss of training only."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training patients to use, below 1 to study small training sets. For one seed smaller shares are
    nested in larger ones, and keep every label as long as there are patients with it. Recipes that differ in nothing
    else are drawn as learning curves in the report."""
    select: str = "auroc"
    """Criterion that selects the step to keep on the validation split: the lowest `loss`, or the highest score of the
    dataset's task, which for classification is the macro `auroc`, for outlines `dice`, for numbers `r_squared`. `score`
    stands for whichever the dataset's tasks have, of several targets for their mean."""
    trained_blocks: int | None = Field(None, ge=1)
    """Train only so many of the last blocks of the network, and what lies between them and the head; below them weights
    and BatchNorm statistics stay as they came. Blocks are timm's, such as those of ResNets and vision transformers."""
    lora: Lora | None = None
    """Learn a low-rank change of the attention of a vision transformer, and the head; all else stays as it came (arXiv
    2106.09685). See the table of `lora`; `lora: {}` takes its defaults."""
    frozen_steps: int | None = Field(None, ge=1)
    """First optimiser steps in which only the head and the BatchNorm layers are trained; then all is."""
    frozen_epochs: float | None = Field(None, gt=0)
    """The same in passes through the training images; either this or frozen_steps."""
    unfrozen_lr: float | None = Field(None, gt=0)
    """Peak learning rate of the whole network after the frozen steps; none keeps `training.lr`."""
    title: str = Field("", exclude=True)
    """What it is called in tables, sentences and figures; by default its name, which stays the key
    in every `.csv`."""
    short: str = Field("", exclude=True)
    """What it is called on axes, in legends and in headings of columns; by default `title`."""

    @model_validator(mode="after")
    def _of_whole_labels(self) -> "Recipe":
        for key in ("label_smoothing", *MIXED) if self.loss.kind != "cross_entropy" else ():
            if getattr(self, key):
                raise ValueError(f"the {self.loss.kind} loss is of labels that are 0 or 1; remove {key}, or loss")
        return self

    @model_validator(mode="after")
    def _frozen_at_first(self) -> "Recipe":
        lengths = [length for length in (self.frozen_steps, self.frozen_epochs) if length is not None]
        if len(lengths) > 1:
            raise ValueError("set either frozen_steps or frozen_epochs, not both")
        if lengths and self.kind != "finetune":
            raise ValueError("a linear_probe is always frozen; remove frozen_steps and frozen_epochs")
        if self.lora and (self.trained_blocks or self.kind != "finetune"):
            other = "trained_blocks" if self.trained_blocks else f"kind: {self.kind}"
            raise ValueError(f"lora says what of the network learns, and so does {other}; remove one of them")
        if self.trained_blocks and self.kind != "finetune":
            raise ValueError("a linear_probe trains no block; remove trained_blocks, or set kind: finetune")
        if self.unfrozen_lr and not lengths:
            raise ValueError("unfrozen_lr needs frozen_steps or frozen_epochs; set one of them")
        for frozen, whole in (("frozen_steps", "steps"), ("frozen_epochs", "epochs")):
            shorter, length = getattr(self, frozen), getattr(self.training, whole)
            if shorter and length and shorter >= length:
                raise ValueError(f"{frozen} ({shorter:g}) must be smaller than {whole} ({length:g})")
        return self
