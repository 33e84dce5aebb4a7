"""Step memory: what a training step takes of a GPU's memory, and the parts in which a batch has to be taken to fit."""

from collections.abc import Iterable

from pydantic import Field

from headwater.core.records import Record

SPARE = 0.1
"""Share of a GPU's memory that is not counted on: gaps between tensors, work space of kernels, and the driver."""


class StepMemory(Record):
    """Bytes that a step of one kind of training takes, by what takes them; measured on a few images."""

    weights: int = Field(ge=0)
    """Of all networks of the learner, those that do not learn by gradients among them, and their buffers."""
    gradients: int = Field(ge=0)
    moments: int = Field(ge=0)
    """Of the optimiser, with the moving average of the weights if there is one."""
    activations: int = Field(ge=0)
    """What passes by in the forward and backward pass and does not depend on the number of images."""
    image: int = Field(ge=0)
    """The same for each image of a part: its views, and what the backward pass needs."""
    larger: tuple[tuple[int, int], ...] = ()
    """The same two at other moments of a step, at which more is in memory if a part has more images."""
    held: int = Field(0, ge=0)
    """For each image of a process' share of the batch, which lies on the device whole."""
    features: int = Field(0, ge=0)
    """For each image of a share in parts: its features and their gradients, where the loss compares those of all."""
    compared: tuple[tuple[int, int], ...] = ()
    """What such a loss takes: bytes, and bytes for each image of a share, at moments at which most is in memory."""

    gathered: int = Field(0, ge=0)
    """Where weights are split among ranks: those that a rank has whole at once, of one block and of all that is in
    none."""

    def split(self, ranks: int) -> "StepMemory":
        """What a step takes on each of so many ranks that split weights, gradients and moments among them."""
        held = {key: -(-getattr(self, key) // ranks) for key in ("weights", "gradients", "moments")}
        # whole weights and their gradients pass by with the activations
        whole = 2 * self.gathered
        larger = tuple((constant + whole, each) for constant, each in self.larger)
        return self.model_copy(update={**held, "activations": self.activations + whole, "larger": larger})

    def needed(self, share: int, *, parts: int = 1, ranks: int = 1) -> int:
        """The most bytes at once for so many images of a process, taken in equal parts.

        Several processes have a second copy of the gradients, which they send to each other (DDP).
        """
        gradients = self.gradients * (2 if ranks > 1 else 1)
        # the optimiser's step takes a copy of what it moves, when the activations are gone
        passing = max(self.passing(-(-share // parts), share=share if parts > 1 else 0), self.gradients)
        return self.weights + gradients + self.moments + self.held * share + passing

    def passing(self, part: int, *, share: int = 0) -> int:
        """The most bytes that pass by at once for so many images of a part; `share` if the batch has several."""
        through = _most([(self.activations, self.image), *self.larger], images=part)
        # a loss of the features of all is computed between the passes of the parts, not with one
        return max(self.features * share + through, _most(self.compared, images=share) if share else 0)

    def parts(self, share: int, *, memory: int, ranks: int = 1, together: int = 1) -> int | None:
        """The fewest equal parts of a process' images with which a step fits in so many bytes; none if it never does.

        A part has as many images as must stay together, at least.
        """
        fitting = (
            parts
            for parts in range(1, share + 1)
            if share % (parts * together) == 0 and self.needed(share, parts=parts, ranks=ranks) <= usable(memory)
        )
        return next(fitting, None)


def _most(moments: Iterable[tuple[int, int]], *, images: int) -> int:
    """The most bytes of these moments, each with bytes and bytes for each image."""
    return max((constant + each * images for constant, each in moments), default=0)


def usable(memory: int) -> int:
    """The bytes of a device that are counted on."""
    return int((1 - SPARE) * memory)
