"""The fewest parts of a batch that fit are chosen."""

from hypothesis import given
from hypothesis import strategies as st

from headwater.study.step_memory import StepMemory, usable

BYTES = st.integers(0, 10**6)
STEPS = st.builds(
    StepMemory, weights=BYTES, gradients=BYTES, moments=BYTES, activations=BYTES, image=BYTES, held=st.integers(0, 100)
)


@given(
    step=STEPS,
    share=st.integers(1, 60),
    memory=st.integers(0, 10**8),
    ranks=st.integers(1, 3),
    together=st.integers(1, 2),
)
def test_the_fewest_parts_that_fit(step: StepMemory, share: int, memory: int, ranks: int, together: int):
    chosen = step.parts(share, memory=memory, ranks=ranks, together=together)
    fits = [
        parts
        for parts in range(1, share + 1)
        if share % parts == 0
        and share // parts % together == 0
        and step.needed(share, parts=parts, ranks=ranks) <= 0.9 * memory
    ]
    assert chosen == (min(fits) if fits else None)


def test_ranks_that_split_weights_have_their_shares_and_what_is_whole_at_once():
    step = StepMemory(weights=9, gradients=90, moments=900, activations=1000, image=10, gathered=5, larger=((7, 20),))
    split = step.split(4)
    assert (split.weights, split.gradients, split.moments) == (3, 23, 225)
    # whole weights and their gradients
    assert (split.activations, split.larger, split.image) == (1010, ((17, 20),), 10)
    assert split.needed(2) == 3 + 23 + 225 + 1010 + 20


def test_a_step_is_a_sum():
    step = StepMemory(weights=1, gradients=10, moments=100, activations=1000, image=10_000, held=100_000)
    assert step.needed(4) == 1 + 10 + 100 + 1000 + 40_000 + 400_000
    assert step.needed(4, parts=2) == 1 + 10 + 100 + 1000 + 20_000 + 400_000
    # a moment that is not the fullest one with a few images
    assert step.model_copy(update={"larger": ((0, 10_250),)}).needed(3) == step.needed(3)
    assert step.model_copy(update={"larger": ((0, 10_300),)}).needed(4) == step.needed(4) + 200
    comparing = step.model_copy(update={"features": 1_000, "compared": ((2_000, 6_000), (0, 6_400))})
    assert comparing.needed(4) == step.needed(4)
    # the loss of all in the middle of the passes of the parts, of which either takes more
    assert comparing.needed(4, parts=4) == step.needed(4, parts=4) - 11_000 + 26_000
    assert comparing.needed(4, parts=2) == step.needed(4, parts=2) - 21_000 + 26_000
    small = comparing.model_copy(update={"compared": ((0, 5_000),)})
    assert small.needed(4, parts=2) == step.needed(4, parts=2) + 4_000
    assert step.needed(4, ranks=2) == step.needed(4) + 10
    # without activations it is the optimiser that takes most
    assert StepMemory(weights=1, gradients=10, moments=100, activations=0, image=1).needed(4) == 121
    assert usable(1000) == 900
