"""Find when a dictionary's features formed, by comparing its final directions with its snapshots.

With train.snapshots set, the trainer keeps snapshots at doubling numbers of rows; a sudden rise between two of them
is a phase transition of the training.

    stages = Stages(held_out.sample)
    for rows, folder in stages.of(dictionary).items():
        stages.living(folder)                     # [living, d_model]: directions of the latents alive at that stage
    together = agreement(stages, small, large)    # MMCS at the row counts at which both have snapshots
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from analyze.compare.cosines import max_cosines
from analyze.compare.decoder_null import decoder_null
from analyze.compare.directions import Features
from winnow.dictionary import Dictionary, load_dictionary

FOUND = 0.9  # least cosine of a final feature that counts as found in a snapshot


def snapshot_folders(dictionary: Dictionary) -> dict[int, Path]:
    """Find a dictionary's finished snapshots, {rows seen: folder}, in rising order."""
    if dictionary.path is None:
        return {}
    numbered = {path: path.name.removeprefix("rows-") for path in Path(dictionary.path, "snapshots").glob("rows-*")}
    found = {int(rows): path for path, rows in numbered.items() if rows.isdigit() and (path / "cfg.json").exists()}
    return dict(sorted(found.items()))


def development(
    dictionary: Dictionary, alive: Bool[Tensor, " n_latents"], device: torch.device | str = "cpu"
) -> dict[str, list[Any]]:
    """Look up the alive features in every snapshot: `rows`, mean max-cosine `similarity`, and share `recovered`.

    device: where the cosines are computed.
    """
    final = dictionary.W_dec.detach()[alive].to(device)
    rows, similarity, recovered = [], [], []
    for seen, folder in snapshot_folders(dictionary).items():
        cosines = max_cosines(final, load_dictionary(folder, device).W_dec.detach())[0].double()
        rows.append(seen)
        similarity.append(float(cosines.mean()) if len(cosines) else None)
        recovered.append(float((cosines >= FOUND).double().mean()) if len(cosines) else None)
    return {"rows": rows, "similarity": similarity, "recovered": recovered}


class Stages:
    """The stages of dictionaries in training: every snapshot, and the end.

    `sample` returns the evaluation rows of a hook: a latent is alive if it fires on more than ten of them. Alive masks
    are cached; weights are not.
    """

    def __init__(
        self, sample: Callable[[str], Float[Tensor, "row d_model"]], device: torch.device | str = "cpu"
    ) -> None:
        self._sample = sample
        self._device = device  # on which stages are compared
        self._alive: dict[Path, Bool[Tensor, " n_latents"]] = {}

    def of(self, dictionary: Dictionary) -> dict[int, Path]:
        """Find the folders of a dictionary's stages, {rows seen: folder}; {} if it has no snapshots."""
        snapshots = snapshot_folders(dictionary)
        end = dictionary.provenance.get("rows")
        if not snapshots or end is None:
            return snapshots
        assert dictionary.path is not None
        return {rows: folder for rows, folder in snapshots.items() if rows < end} | {end: dictionary.path}

    def living(self, folder: Path) -> Float[Tensor, "living d_model"]:
        """Read the directions of a stage's alive latents."""
        dictionary = load_dictionary(folder, self._device)
        if folder not in self._alive:
            self._alive[folder] = Features.on(dictionary, self._sample(dictionary.hook)).alive
        return dictionary.W_dec.detach()[self._alive[folder]]


@torch.no_grad()
def agreement_by_rows(stages: Stages, small: Dictionary, large: Dictionary) -> dict[str, list[Any]] | None:
    """Compare the alive features of two dictionaries at equal rows seen; None if they share no snapshot rows.

    `mmcs_corrected` goes from `small` to `large`, `back` the other way.
    """
    own, other = stages.of(small), stages.of(large)
    rows = [seen for seen in own if seen in other]
    if len(rows) < 2:
        return None
    scores = [_both_ways(stages.living(own[seen]), stages.living(other[seen])) for seen in rows]
    return {"rows": rows, "mmcs_corrected": [a_to_b for a_to_b, _ in scores], "back": [b_to_a for _, b_to_a in scores]}


def _both_ways(a: Tensor, b: Tensor) -> tuple[float | None, float | None]:
    if not len(a) or not len(b):
        return None, None
    a_to_b, b_to_a = (cosines.double().mean().item() for cosines in max_cosines(a, b))
    return decoder_null(a, b).corrected(a_to_b), decoder_null(b, a).corrected(b_to_a)
