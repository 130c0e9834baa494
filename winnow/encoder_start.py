"""How large an encoder starts: W_enc = gain · W_decᵀ, the decoder having unit rows.

At gain 1 ("transpose") every latent whose direction lies within a right angle of a row adds its projection to the
reconstruction: about n/2 of n random directions do, and they overshoot the row by n / 2d. The first steps then shrink
and silence latents instead of learning from the data; relu never recovers from it (docs/results/experiments.md).

"least_squares" takes the gain at which the first reconstruction errs least: with f = ReLU(W_dec (x − b_dec)) and
y = f W_dec, gain = Σ ⟨x − b_dec, y⟩ / Σ ‖y‖², about 2d/n for random directions. A number is the gain itself.
"""

from jaxtyping import Float
from torch import Tensor

from winnow.config.experiment import LEAST_SQUARES, TRANSPOSE, EncoderStart

LEAST_SQUARES_ROWS = 2048


def encoder_gain(start: EncoderStart, directions: Float[Tensor, "n d"], centred: Float[Tensor, "row d"]) -> float:
    """Return the factor between the decoder's unit directions and the encoder's first ones.

    centred: rows as they are trained on, less b_dec; only "least_squares" looks at them.
    """
    if start == TRANSPOSE:
        return 1.0
    if start != LEAST_SQUARES:
        return float(start)
    x = centred[:LEAST_SQUARES_ROWS].to(directions)
    gain = least_squares(x, (x @ directions.T).relu_() @ directions)
    return float(f"{gain:.3g}")  # the digits that machines agree on, whatever order they add in


def least_squares(x: Float[Tensor, "row d"], y: Float[Tensor, "row d"]) -> float:
    """Compute the factor on `y` that brings it nearest to `x`; 1 where `y` is zero."""
    square = float(y.double().square().sum())
    return float((x.double() * y.double()).sum()) / square if square else 1.0
