"""What a dictionary was on the way: its living directions at every snapshot, and at the end.

    stages = Stages(held_out.sample)
    for rows, folder in stages.of(dictionary).items():
        stages.living(folder)              # [living, d_model]

Living is what fired on more than ten of the sample's rows at that stage. Whose snapshots are asked for often are
encoded once; of the weights nothing is held.
"""

from collections.abc import Callable
from pathlib import Path

from jaxtyping import Bool, Float
from torch import Tensor

from analyze.compare.directions import Features
from analyze.dictionary.snapshots import snapshot_folders
from winnow.dictionary import Dictionary, load_dictionary


class Stages:
    """The stages of dictionaries; `sample` gives the evaluation rows of a hook, by which latents count as living."""

    def __init__(self, sample: Callable[[str], Float[Tensor, "row d_model"]]) -> None:
        self._sample = sample
        self._alive: dict[Path, Bool[Tensor, " n_latents"]] = {}

    def of(self, dictionary: Dictionary) -> dict[int, Path]:
        """Find the folders of a dictionary's stages by the rows that they had seen; {} where it kept no snapshots."""
        snapshots = snapshot_folders(dictionary)
        end = dictionary.provenance.get("rows")
        if not snapshots or end is None:
            return snapshots
        assert dictionary.path is not None
        return {rows: folder for rows, folder in snapshots.items() if rows < end} | {end: dictionary.path}

    def living(self, folder: Path) -> Float[Tensor, "living d_model"]:
        """Read the directions of a stage's living latents."""
        dictionary = load_dictionary(folder)
        if folder not in self._alive:
            self._alive[folder] = Features.on(dictionary, self._sample(dictionary.hook)).alive
        return dictionary.W_dec.detach()[self._alive[folder]]
