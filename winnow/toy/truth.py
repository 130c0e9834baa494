"""The ground truth of toy data as an ordinary dictionary: `runs/NAME/truth/`, beside the learned ones.

    truth = winnow.load_dictionary("runs/toy/truth")
    truth.W_dec                        # the directions, of unit norm; latent j is feature j
    truth.provenance["toy"]            # the settings

Directions are exact; codes cannot be, since features outnumber dimensions. The encoder is a matched filter with a
threshold: f_j = x · w_j − m_j where that exceeds t_j = 3 s_j, with m_j and s_j the mean and standard deviation of what
the other features add to x · w_j if they fire independently. It misses weak activations; false positives are rare.
`winnow.toy.data.ToyRows` has the exact codes.
"""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from winnow.config.toy import ToySettings
from winnow.dictionary import Dictionary, load_dictionary, save_dictionary
from winnow.formats.saelens import CONFIG
from winnow.runtime.lock import claim
from winnow.toy.codes import rates
from winnow.toy.data import ToyData
from winnow.toy.magnitudes import moments, squares

HOOK = "toy"
DEVIATIONS = 3
BLOCK = 4096  # features whose overlaps are in memory at a time


def open_truth(settings: ToySettings, folder: Path) -> Dictionary:
    """Load the truth, writing it first if it is missing; of several processes one writes, the others wait."""
    if not (folder / CONFIG).exists():
        with claim(folder, wait=True):
            if not (folder / CONFIG).exists():
                save_dictionary(
                    truth_dictionary(settings),
                    folder,
                    {"model_name": None, "context_size": 1, "prepend_bos": False, "truth": True},
                    {"truth": True, "toy": settings.of_the_rows()},
                )
    return load_dictionary(folder)


def truth_dictionary(settings: ToySettings) -> Dictionary:
    """Make the dictionary of the true directions, with the encoder described above."""
    directions = ToyData(settings).directions
    mean, square = moments(settings)[0], torch.from_numpy(squares(settings))
    rate = torch.from_numpy(rates(settings))
    bias, spread = torch.zeros_like(rate), torch.zeros_like(rate)
    for start in range(0, len(directions), BLOCK):
        mine = slice(start, start + BLOCK)
        overlaps = directions[mine].double() @ directions.double().T  # (block, feature)
        overlaps.diagonal(start).zero_()
        bias[mine] = overlaps @ (rate * mean)
        spread[mine] = (overlaps.square() @ (rate * square - (rate * mean) ** 2)).sqrt()
    return Dictionary(
        directions.T.contiguous(),
        -bias.float(),
        directions,
        torch.zeros(settings.d_model),
        architecture="jumprelu",
        threshold=(DEVIATIONS * spread).float(),
        hook=HOOK,
    )


def directions_hash(directions: Float[Tensor, "feature d_model"]) -> str:
    """Hash the bits of the directions."""
    return hashlib.sha256(directions.contiguous().numpy().tobytes()).hexdigest()
