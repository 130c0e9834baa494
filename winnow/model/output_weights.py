"""Find the weight matrix that writes a hook's activations, or that made the last addition to them.

    blocks.L.hook_mlp_out, blocks.L.hook_resid_post    W_out of layer L's MLP
    blocks.L.hook_resid_pre                            W_out of layer L − 1's MLP
    blocks.L.hook_attn_out, blocks.L.hook_resid_mid    W_O of layer L's attention, its heads joined
    blocks.L.mlp.hook_pre                              W_in of layer L's MLP

A layer writes into the span of its output matrix W, mostly along W's leading left singular vectors.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from winnow.config.experiment import ModelSettings
from winnow.errors import UserError

SERVED = (
    "hook_mlp_out",
    "hook_resid_post",
    "hook_resid_pre (not in layer 0)",
    "hook_attn_out",
    "hook_resid_mid",
    "mlp.hook_pre",
)


def output_weights(
    settings: ModelSettings, made_by: Mapping[str, Any], activations: Path, hook: str
) -> Float[Tensor, "width input"]:
    """Open the model, and return the matrix W of y = W h + b, where y is the output at `hook`; float32 on the CPU.

    made_by: `model` of the manifest of `activations`. Raises `UserError` for a hook without such a matrix, and for
    another model.
    """
    found = re.fullmatch(r"blocks\.(\d+)\.(hook_\w+|mlp\.hook_pre)", hook)
    layer, point = (int(found[1]), found[2]) if found else (0, "")
    place = {
        "hook_mlp_out": (layer, "mlp", "W_out"),
        "hook_resid_post": (layer, "mlp", "W_out"),
        "hook_resid_pre": (layer - 1, "mlp", "W_out"),
        "hook_attn_out": (layer, "attn", "W_O"),
        "hook_resid_mid": (layer, "attn", "W_O"),
        "mlp.hook_pre": (layer, "mlp", "W_in"),
    }.get(point)
    if place is None or place[0] < 0:
        raise UserError(
            f"initialisation = singular: no weight matrix writes {hook}; it works at {', '.join(SERVED)}; "
            "choose another initialisation here"
        )
    from winnow.model.language_model import open_model  # takes seconds; only this initialisation needs it

    model = open_model(settings, begun_with=made_by)
    model.refuse_other_weights(activations, made_by)
    number, part, name = place
    W = getattr(getattr(model.bridge.blocks[number], part), name)  # [input, width], or [head, d_head, width]
    return W.detach().flatten(0, -2).T.float().cpu()
