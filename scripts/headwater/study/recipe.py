"""How a network is trained: the optimiser, the random changes of the images, and the recipe of a fine-tuning."""

from typing import Literal

from pydantic import Field, model_validator

from headwater.core.records import Record
from headwater.study.compute import Processes


class Views(Record):
    """Random changes of the training images: each image gets its own, drawn from (seed, epoch, case)."""

    crop: float = Field(1.0, gt=0, le=1)
    """Smallest share of the image area that a random crop may show; 1 switches cropping off."""
    flip: float = Field(0.0, ge=0, le=1)
    """Probability of a left-right flip."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of brightness."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of contrast."""
    grey: float = Field(0.0, ge=0, le=1)
    """Probability of dropping the colours."""
    blur: float = Field(0.0, ge=0, le=1)
    """Probability of a Gaussian blur (sigma 0.1 to 2 pixels)."""
    noise: float = Field(0.0, ge=0, le=1)
    """Largest standard deviation of added Gaussian noise, in units of the full grey range."""


class Training(Record):
    """How a network is optimised; lengths are in optimiser steps or in epochs, the batch is counted over all ranks."""

    steps: int | None = Field(None, ge=1)
    """Length in optimiser steps; the same for every source, whatever the size of its corpus."""
    epochs: float | None = Field(None, gt=0)
    """Length in passes through the training images, as papers state it; either this or steps."""
    batch: int = Field(64, ge=1)
    """Images per optimiser step over ALL ranks; the number of ranks never changes it."""
    optimiser: Literal["adamw", "adam", "sgd", "lars", "lamb"] = "adamw"
    """As the published study has it; lars and lamb are for batches of thousands."""
    lr: float = Field(1e-3, gt=0)
    """Highest learning rate, at this batch: scale a paper's rate for another batch by hand. The first key to tune."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of sgd and lars; the others do not read it."""
    weight_decay: float = Field(0.05, ge=0)
    """Pull of the weights towards zero per step, as the published study has it; a config that says nothing gets 0.05
    with adamw and lamb, 1e-6 with lars, and 0 with adam and sgd."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the learning rate goes on after the warm-up."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from zero; raise it if the loss jumps at the start."""
    final_lr: float = Field(0.0, ge=0)
    """Learning rate at the end of the cosine."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Factor on the learning rate per layer below the head (vision transformers: 0.65 to 0.9)."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of the moving average of the weights that is validated and kept; none by default."""
    clip: float | None = Field(None, gt=0)
    """Largest gradient norm; none by default, 3 for DINO."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the device has it, else fp32."""
    validations: int = Field(10, ge=1)
    """How often in a training the validation split is scored, or in a pre-training its features are looked at."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations without a better score; none by default."""
    save_minutes: float = Field(10.0, ge=0)
    """Minutes between two saves of the progress from which a killed job goes on."""

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("say how long: either steps or epochs, and not both")
        if self.steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be smaller than steps ({self.steps})")
        return self

    @model_validator(mode="after")
    def _something_to_adapt(self) -> "Training":
        if self.optimiser in ("lars", "lamb") and not self.weight_decay:
            raise ValueError(
                f"{self.optimiser} adapts the rate of what decays alone; set weight_decay: 1.0e-6, or use sgd or adamw"
            )
        return self


class Recipe(Record):
    """How a network is fitted to a dataset; the same for every source."""

    name: str
    kind: Literal["finetune", "linear_probe"] = "finetune"
    """Train the whole network, or only a linear head on fixed features."""
    training: Training
    """How long and how fast; see the table of `training`."""
    views: Views = Views()
    """Random changes of the training images; see the table of `views`. Flip only where left and right may change."""
    compute: Processes = Field(Processes(), exclude=True)
    """Processes of this fine-tuning, where they are others than those of the top-level `compute`."""
    class_weights: bool = False
    """Weigh positive cases by negatives / positives of the training split, label by label."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training patients that are used; below 1 for the question of few labels. Smaller shares of a seed
    lie within larger ones, and keep every label as long as there are patients for it."""
    select: str = "auroc"
    """What chooses the kept step on the validation split: the lowest `loss`, or the highest score of the dataset's
    task, which for classification is the macro `auroc`."""
    frozen_steps: int | None = Field(None, ge=1)
    """First optimiser steps in which only the head and the BatchNorm layers learn; then all does, at the same rate."""
    frozen_epochs: float | None = Field(None, gt=0)
    """The same in passes through the training images, as papers state it; either this or frozen_steps."""
    unfrozen_lr: float | None = Field(None, gt=0)
    """Highest learning rate of the whole network after that, where it is another one than before; none keeps it."""

    @model_validator(mode="after")
    def _frozen_at_first(self) -> "Recipe":
        held = [length for length in (self.frozen_steps, self.frozen_epochs) if length is not None]
        if len(held) > 1:
            raise ValueError("say how long the encoder is frozen: either frozen_steps or frozen_epochs, and not both")
        if held and self.kind != "finetune":
            raise ValueError("a linear_probe is frozen throughout; leave frozen_steps and frozen_epochs out")
        if self.unfrozen_lr and not held:
            raise ValueError("unfrozen_lr needs frozen_steps or frozen_epochs: it says what comes after")
        for frozen, whole in (("frozen_steps", "steps"), ("frozen_epochs", "epochs")):
            shorter, length = getattr(self, frozen), getattr(self.training, whole)
            if shorter and length and shorter >= length:
                raise ValueError(f"{frozen} ({shorter:g}) must be smaller than {whole} ({length:g})")
        return self
