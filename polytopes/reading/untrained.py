"""The untrained twin: a model of the same architecture with random weights, the control for what training changes.

It is no control for scale: the norms of its residuals differ from the model's. Compare ratios, not levels.
"""

import torch

from winnow.model.language_model import LanguageModel, with_sdpa


def untrained_twin(model: LanguageModel, seed: int) -> LanguageModel:
    """Make a model as `from_config` starts it, in the same dtype and on the same device, under the same hooks."""
    from transformers import AutoModelForCausalLM

    parameter = next(model.plain.parameters())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        plain = with_sdpa(
            lambda **options: AutoModelForCausalLM.from_config(model.plain.config, dtype=parameter.dtype, **options)
        )
    return model.with_weights_of(plain.to(parameter.device))
