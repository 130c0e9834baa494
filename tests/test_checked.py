"""While tests run, a call with a wrong type or a wrong shape fails, whichever of the two checks it goes through."""

import pytest
import torch

from analyze.compare.cosines import max_cosines
from analyze.ladders import ladder_of
from train.settings import DictionarySettings
from winnow.positions import most_per_sequence


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(Exception, match="violates type hint"):
        max_cosines(torch.ones(3), torch.ones(3, 4))
    with pytest.raises(Exception, match="violates type hint"):
        max_cosines(torch.ones(3, 5), torch.ones(3, 4))  # each is a matrix, but their axes do not agree


def test_an_axis_of_one_call_means_nothing_in_another() -> None:
    for count in (2, 3):
        assert [len(side) for side in max_cosines(torch.ones(count, 5), torch.ones(4, 5))] == [count, 4]


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(Exception, match="violates type hint"):
        ladder_of("no dictionary")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="violates type hint"):
        most_per_sequence("no policy", 3)  # type: ignore[arg-type]


def test_a_wrong_field_is_refused() -> None:
    with pytest.raises(Exception, match="violates type hint"):
        DictionarySettings(architecture="topk", n_latents="many")  # type: ignore[arg-type]
