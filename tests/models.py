"""Small models with random weights, of each architecture family that the harvester must serve."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

FAMILIES = ("gpt2", "neox", "llama")
ODD = ("opt", "mixtral")  # rows of one matrix at the MLP; experts in its place. And "bert", which is no causal model
SIZES: dict[str, Any] = {  # by the names that most configurations have for them
    **{"vocab_size": 4096, "max_position_embeddings": 64, "hidden_size": 32},
    **{"num_hidden_layers": 3, "num_attention_heads": 4},
}
EMBEDDED = Path(__file__).parents[1] / "data" / "tiny_gpt2"


def random_model(family: str) -> PreTrainedModel:
    """Build a model of three layers, width 32, four heads, 4096 words and a context of 64, always the same."""
    torch.manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(17)
        match family:
            case "gpt2":
                return GPT2LMHeadModel(
                    GPT2Config(vocab_size=4096, n_positions=64, n_embd=32, n_layer=3, n_head=4)
                ).eval()
            case "neox":
                return GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES, intermediate_size=128)).eval()
            case "llama":
                return LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2, intermediate_size=96)).eval()
            case "opt":
                return OPTForCausalLM(OPTConfig(**SIZES, word_embed_proj_dim=32, ffn_dim=96)).eval()
            case "mixtral":
                return MixtralForCausalLM(
                    MixtralConfig(**SIZES, num_key_value_heads=2, intermediate_size=48, num_local_experts=4)
                ).eval()
            case "bert":
                return BertForMaskedLM(BertConfig(**SIZES, intermediate_size=96)).eval()
        raise ValueError(family)


def save_model(family: str, folder: Path) -> Path:
    """Save `random_model(family)` with the embedded model's tokenizer in Hugging Face format."""
    random_model(family).save_pretrained(folder)
    AutoTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
    return folder
