"""When a dictionary's features became what they are: its final directions looked up in its snapshots.

The trainer keeps snapshots at rows that double, where it is asked to (train.snapshots); what rises suddenly between
two of them is a phase transition of the training.
"""

from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from analyze.compare.cosines import max_cosines
from winnow.dictionary import Dictionary, load_dictionary

FOUND = 0.9  # cosine from which a final feature counts as there already


def snapshot_folders(dictionary: Dictionary) -> dict[int, Path]:
    """Find a dictionary's finished snapshots by the rows that they had seen, rising."""
    if dictionary.path is None:
        return {}
    numbered = {path: path.name.removeprefix("rows-") for path in Path(dictionary.path, "snapshots").glob("rows-*")}
    found = {int(rows): path for path, rows in numbered.items() if rows.isdigit() and (path / "cfg.json").exists()}
    return dict(sorted(found.items()))


def development(dictionary: Dictionary, alive: Bool[Tensor, " n_latents"]) -> dict[str, list[Any]]:
    """Look the living features up in every snapshot: `rows`, mean max-cosine `similarity`, and share `recovered`."""
    final = dictionary.W_dec.detach()[alive]
    rows, similarity, recovered = [], [], []
    for seen, folder in snapshot_folders(dictionary).items():
        cosines = max_cosines(final, load_dictionary(folder).W_dec.detach())[0].double()
        rows.append(seen)
        similarity.append(float(cosines.mean()) if len(cosines) else None)
        recovered.append(float((cosines >= FOUND).double().mean()) if len(cosines) else None)
    return {"rows": rows, "similarity": similarity, "recovered": recovered}
