"""Of each way of making directions it is told which it was, and of nothing else."""

import numpy as np
import pytest
import torch

from analyze.truth.known_truth import looks_like
from winnow.toy.directions import antipodal_directions, sphere_directions
from winnow.toy.learned import learned_directions
from winnow.toy.regime import regime


@pytest.mark.parametrize("features", [48, 96, 256])
def test_the_maker_is_recognised(features: int) -> None:
    d = 32
    made = {
        "sphere": sphere_directions(features, d, np.random.default_rng(1)),
        "antipodal": antipodal_directions(features, d, np.random.default_rng(1), 0.25),
        "learned": learned_directions(sphere_directions(features, d, np.random.default_rng(1))),
    }
    assert {name: looks_like(regime(found), features, d) for name, found in made.items()} == {n: n for n in made}


def test_what_none_of_them_makes_is_called_so() -> None:
    close = sphere_directions(64, 32, np.random.default_rng(1)) + 0.2  # all lean to one side
    assert looks_like(regime(close), 64, 32) is None
    assert looks_like(regime(torch.eye(32)), 32, 32) == "learned"  # nothing is nearer than it must be
    assert looks_like(regime(torch.eye(2)), 2, 2) is None  # a single other one is as often opposite
