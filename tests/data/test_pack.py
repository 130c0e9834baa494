import numpy as np
import pytest

from data.pack import Packer

DOCUMENTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [14, 15]]


def packed(context: int, bos: int | None, portions: list[list[list[int]]]) -> np.ndarray:
    packer = Packer(context, [1], bos)
    return np.concatenate([packer.add(portion) for portion in portions])


def test_documents_are_joined_and_cut():
    stream = [5, 6, 7, 1, 8, 1, 9, 10, 11, 12, 13, 1, 14, 15, 1]
    assert packed(4, None, [DOCUMENTS]).tolist() == [stream[0:4], stream[4:8], stream[8:12]]


def test_every_sequence_starts_with_bos_where_there_is_one():
    stream = [5, 6, 7, 1, 8, 1, 9, 10, 11, 12, 13, 1, 14, 15, 1]
    assert packed(4, 0, [DOCUMENTS]).tolist() == [[0, *stream[i : i + 3]] for i in range(0, 15, 3)]


@pytest.mark.parametrize("bos", [None, 0])
def test_the_result_does_not_depend_on_the_portions(bos: int | None):
    whole = packed(3, bos, [DOCUMENTS])
    assert (packed(3, bos, [[d] for d in DOCUMENTS]) == whole).all()
    assert (packed(3, bos, [DOCUMENTS[:3], [], DOCUMENTS[3:]]) == whole).all()
