"""Make the data of feature pages: one model pass for all dictionaries, then one folder for each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analyze.device import comparing_device
from analyze.evaluation.latents import read_latents
from analyze.evaluation.text import HeldOutText
from analyze.features.choice import other_sizes
from analyze.features.data import Feature, write_feature, write_text
from analyze.features.examples import top_examples
from analyze.features.logits import Readout, promoted
from analyze.features.neighbours import nearest_latents, relatives
from winnow.config.experiment import Experiment
from winnow.dictionary import Dictionary, load_dictionary
from winnow.model.token_texts import token_texts
from winnow.runtime.progress import progress_bar
from winnow.runtime.publish import publish_directory
from winnow.runtime.run import Run
from winnow.tokens import TokenFile

LATENTS_AT_A_TIME = 32_768  # of all dictionaries in one pass; each takes about 8 KiB


def make_data(
    config: Experiment,
    tokens: TokenFile,
    metrics: Mapping[str, Any],
    folder: Path,
    text: str,
    names: Mapping[str, str],
) -> None:
    """Publish the folder `text`, and one folder per dictionary: `names` maps dictionary paths to folder names."""
    run = Run(Path(config.run))
    held_out, device = HeldOutText(config, tokens), comparing_device(config.model.device)
    sequences = held_out.tokens.numpy()
    texts = token_texts(held_out.model.bridge.tokenizer)
    if not (folder / text).is_dir():
        with publish_directory(folder / text) as partial:
            write_text(partial, texts, sequences)
    entries = {entry["path"]: entry for entry in metrics["dictionaries"]}
    alive = {path: found.alive for path, found in read_latents(run.report / "latents.h5").items()}
    readouts: dict[str, Readout] = {}
    for group in _groups([entries[path] for path in names]):
        loaded = {entry["path"]: load_dictionary(run.path / entry["path"]) for entry in group}
        for path, examples in zip(loaded, _examples(held_out, list(loaded.values())), strict=True):
            dictionary = loaded[path]
            if dictionary.hook not in readouts:
                readouts[dictionary.hook] = Readout.of(held_out.model, dictionary.hook, held_out.tokens)
            others = {
                other["path"]: loaded.get(other["path"]) or load_dictionary(run.path / other["path"])
                for other in other_sizes(entries[path], metrics)
            }
            parents, children = relatives(metrics["families"], path)
            feature = Feature(
                examples,
                promoted(readouts[dictionary.hook], dictionary.W_dec, len(texts)),
                readouts[dictionary.hook].words,
                {
                    p: nearest_latents(
                        dictionary.W_dec.detach().to(device),
                        other.W_dec.detach().to(device),
                        alive[p],
                        own_alive=alive[path],
                    )
                    for p, other in others.items()
                },
                parents,
                children,
            )
            with publish_directory(folder / names[path]) as partial:
                write_feature(partial, feature, sequences)


def _groups(entries: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Split the dictionaries into groups, one per pass; a dictionary is never split."""
    groups: list[list[Mapping[str, Any]]] = []
    held = LATENTS_AT_A_TIME  # no open group yet
    for entry in entries:
        if held + entry["n_latents"] > LATENTS_AT_A_TIME:
            groups.append([])
            held = 0
        groups[-1].append(entry)
        held += entry["n_latents"]
    return groups


def _examples(held_out: HeldOutText, dictionaries: list[Dictionary]):
    for dictionary in dictionaries:
        dictionary.to(held_out.model.device)
    with progress_bar("features", len(held_out.tokens), "sequences") as bar:
        found = top_examples(
            held_out.model,
            held_out.tokens,
            held_out.kept,
            dictionaries,
            sequences_per_batch=held_out.config.harvest.sequences_per_batch,
            advance=bar.advance,
            limits=held_out.norm_limits(dictionaries),
        )
    for dictionary in dictionaries:
        dictionary.cpu()
    return found
