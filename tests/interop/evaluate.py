"""Evaluate dictionaries with SAELens as its own `multiple_evals` does, by what cfg.json says and nothing else.

    python -m tests.interop.evaluate DICTIONARY …       # prints a JSON list

Each is then measured by winnow on the tokens that SAELens drew. Model and data set are fetched from wherever
HF_ENDPOINT points to, or found in the working directory.
"""

# pyright: reportMissingImports=false

import json
import sys
import warnings
from typing import Any

import torch
from sae_lens import SAE
from sae_lens.evals import get_eval_everything_config, run_evals
from sae_lens.load_model import load_model
from sae_lens.training.activation_scaler import ActivationScaler
from sae_lens.training.activations_store import ActivationsStore
from sae_lens.util import get_special_token_ids

import winnow
from analyze.evaluation.evaluate import evaluate
from winnow.config.experiment import ModelSettings
from winnow.model.language_model import open_model

SEQUENCES, BATCHES = 16, 4


def by_saelens(folder: str) -> tuple[dict[str, Any], torch.Tensor, Any]:
    """Give the metrics, the tokens [sequence, context] they are of, and the model."""
    sae = SAE.load_from_disk(folder)
    said = sae.cfg.metadata
    model = load_model(said.model_class_name, said.model_name, "cpu", said.model_from_pretrained_kwargs)
    drawn: list[torch.Tensor] = []

    class Store(ActivationsStore):
        def get_batch_tokens(self, *args: Any, **options: Any) -> torch.Tensor:
            drawn.append(super().get_batch_tokens(*args, **options))
            return drawn[-1]

    store = Store.from_sae(model, sae, dataset=said.dataset_path)
    settings = get_eval_everything_config(SEQUENCES, BATCHES, BATCHES)
    metrics, _ = run_evals(sae, store, model, ActivationScaler(), settings)
    return metrics, torch.cat(drawn), model


def by_winnow(folder: str, tokens: torch.Tensor, theirs: Any) -> dict[str, Any]:
    """Measure with the model of that name, on the same tokens but for the special ones, which SAELens leaves out."""
    d = winnow.load_dictionary(folder)
    model = open_model(ModelSettings(name=theirs.cfg.model_name, device="cpu"))
    kept = torch.stack([tokens != token for token in get_special_token_ids(theirs.tokenizer)]).all(0)
    # SAELens draws anew for each of its two parts: the losses are of the first tokens, the others of the second
    first, second = range(SEQUENCES * BATCHES), range(SEQUENCES * BATCHES, len(tokens))
    centres = {d.hook: torch.zeros(d.d_model)}
    loss = evaluate(model, tokens[first], kept[first], [d], centres)[0].loss
    quality = evaluate(model, tokens[second], kept[second], [d], centres)[0].quality
    return {"l0": quality.l0, "explained_variance": 1 - quality.fvu, "mse": quality.mse, **(loss or {})}


def main() -> None:
    """Print what both say of each dictionary named on the command line."""
    warnings.simplefilter("ignore")
    found = []
    for folder in sys.argv[1:]:
        theirs, tokens, model = by_saelens(folder)
        found.append({"saelens": theirs, "winnow": by_winnow(folder, tokens, model), "tokens": tokens.tolist()})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
