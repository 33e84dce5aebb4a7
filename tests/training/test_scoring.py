"""Each row is scored once, in its place, and the network comes back as it was."""

import numpy as np
import pytest
import torch

import rounding
from headwater.core.errors import UserError
from headwater.training import scoring
from headwater.training.views.pictures import as_float
from training_made import ALONE, Small, pictures


@rounding.in_float64()
def test_rows_are_scored_in_their_order_whatever_the_batch():
    images, _ = pictures()
    network = Small().network
    rows = np.array([9, 2, 2, 30, 0, 17, 5])
    with torch.no_grad():
        expected = network.eval()(as_float(torch.from_numpy(images[rows])))
    for batch in (1, 3, 7, 100):
        scored = scoring.score(network, images=images, rows=rows, batch=batch, world=ALONE)
        torch.testing.assert_close(scored, expected, **rounding.NEAR)


def test_the_network_comes_back_as_it_was():
    images, _ = pictures()
    network = Small(dropout=0.5).network
    network[1].eval()
    modes = [module.training for module in network.modules()]
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    first, second = (scoring.score(network, images=images, rows=np.arange(5), batch=2, world=ALONE) for _ in range(2))
    assert torch.equal(first, second)
    assert (first.dtype, first.device.type, first.requires_grad) == (torch.float32, "cpu", False)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_no_rows_are_refused():
    with pytest.raises(UserError, match="no image to score"):
        scoring.score(Small().network, images=pictures()[0], rows=np.arange(0), batch=2, world=ALONE)
