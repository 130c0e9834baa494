"""Tell which program wrote a folder; of a folder in no known layout say what is there, and whose it looks like.

A layout is known by the name of its file of weights. Nothing is opened here but a small configuration, and nothing is
guessed: what does not fit exactly one layout is refused.
"""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from winnow.errors import UserError, nearest
from winnow.formats import dictionary_learning, saelens, sparsify
from winnow.formats.contents import Format, read_json
from winnow.paths import kind_of

FORMATS = (saelens.FORMAT, dictionary_learning.FORMAT, sparsify.FORMAT)

# Layouts that winnow does not read: whose, and file names that tell, all of which are there.
OTHERS: Sequence[tuple[str, Sequence[str]]] = (
    ("Gemma Scope's", ("params.npz",)),
    ("Gemma Scope 2's", ("params.safetensors",)),
    ("Llama Scope's", ("hyperparams.json",)),
    ("Llama Scope's", ("final.safetensors",)),
    ("a cross-layer transcoder's", ("W_enc_*.safetensors",)),
    ("a temporal autoencoder's", ("latest_ckpt.safetensors",)),
    ("Qwen-Scope's", ("layer*.sae.pt",)),
    ("SAELens' from before it wrote safetensors", ("sae_weights.pt",)),
    ("SAELens' from before it wrote safetensors", ("*.pt", "*_cfg.json")),
    ("a language model's", ("config.json", "model*.safetensors")),
    ("a language model's", ("config.json", "pytorch_model*.bin")),
    ("winnow's activations", ("manifest.json", "shard-*.h5")),
)
CONVERT = "; SAELens reads many layouts, and what its save_model writes opens here"
DEPTH, SEEN, SHOWN = 4, 2000, 5  # folders below one another, folders looked into, names in a message
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(/[\w./-]*)?(@[\w./-]+)?")
HUB_PAGE = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#]+)(?:/(?:tree|blob)/([^/?#]+)/?([^?#]*))?"
)


def format_of(folder: Path) -> Format:
    """Tell which program wrote a dictionary.

    Raises `UserError` for what is no folder, and for a folder that does not hold one known dictionary: it says what is
    there, whose it looks like, and which folders below hold dictionaries.
    """
    if not folder.is_dir():
        raise UserError(_no_folder(folder))
    try:
        found = [known for known in FORMATS if (folder / known.weights).exists()]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); make it readable") from error
    if len(found) > 1:
        names = " and ".join(f"{known.weights} of {known.program}" for known in found)
        raise UserError(f"{folder}: expected one dictionary, found {names}; keep each in a folder of its own")
    return found[0] if found else _by_configuration(folder)


def dictionaries_below(folder: Path) -> Iterator[Path]:
    """Find folders below one that hold a dictionary's weights; no links are followed, and the search is bounded."""
    weights = {known.weights for known in FORMATS}
    level, looked = [folder], 0
    for _ in range(DEPTH):
        below: list[Path] = []
        for parent in level:
            for name in _names(parent):
                path, looked = parent / name, looked + 1
                if looked > SEEN:
                    return
                if path.is_dir() and not path.is_symlink() and not name.startswith("."):
                    below.append(path)
        for path in below:
            if weights.intersection(_names(path)):
                yield path
        level = below


def whose(names: Sequence[str]) -> str:
    """Say whose layout, of those that winnow does not read, files of these names look like; "" for nobody's."""
    for owner, patterns in OTHERS:
        told_by = [next((name for name in names if fnmatch(name, pattern)), "") for pattern in patterns]
        if all(told_by):
            return f"{' and '.join(told_by)}, which {'look' if len(told_by) > 1 else 'looks'} like {owner}"
    return ""


def _by_configuration(folder: Path) -> Format:
    """Tell from the configuration whose weights are missing. Raises `UserError` where there is none that is known."""
    names = _names(folder)
    said = {name: read_json(folder / name) for name in ("cfg.json", "config.json") if name in names}
    if {"d_sae", "architecture", "activation_fn_str"}.intersection(said.get("cfg.json", {})):
        return saelens.FORMAT  # which says that its weights are missing
    if {"num_latents", "expansion_factor"}.intersection(said.get("cfg.json", {})):
        return sparsify.FORMAT
    if "trainer" in said.get("config.json", {}):
        return dictionary_learning.FORMAT
    raise UserError(_nothing_known(folder, names))


def _nothing_known(folder: Path, names: Sequence[str]) -> str:
    programs = "winnow, SAELens, dictionary_learning or sparsify"
    files = [name for name in names if not (folder / name).is_dir()]
    if "dictionaries" in names:
        return f"{folder}: expected a dictionary, found a run; winnow.load_dictionaries opens its dictionaries"
    below = sorted(str(path.relative_to(folder)) for path in dictionaries_below(folder))
    if "checkpoints" in names:
        snapshots = f"; there are dictionaries in {_some(below)}" if below else ""
        return f"{folder}: expected a dictionary, found one whose training is not finished; run make train{snapshots}"
    if below:
        return f"{folder}: expected one dictionary, found those in {_some(below)}; give one of these folders"
    expected = f"{folder}: expected a dictionary of {programs}, found "
    if owner := whose(files):
        return f"{expected}{owner}; winnow does not read that layout{CONVERT if 'scope' in owner.lower() else ''}"
    if not names:
        return f"{expected}an empty folder"
    return f"{expected}{_some(names)}, which is no layout that winnow knows (docs/guide/interop.md)"


def _no_folder(path: Path) -> str:
    """Say what a path is that is no folder, and what may be meant."""
    text = str(path)
    if path.exists():
        known = {name for one in FORMATS for name in (one.weights, one.config)}
        if path.name in known:
            return f"{path}: expected the folder of a dictionary, found a file of one; give {path.parent}"
        return f"{path}: expected the folder of a dictionary, found {kind_of(path) or 'a file'}"
    if HUB_NAME.fullmatch(text) and not Path(text.split("/")[0]).exists():
        return f"{path}: no such folder; if it is a name on the Hugging Face Hub, write hf:{text}"
    close = nearest(path.name, _names(path.parent)) if path.parent.is_dir() else ""
    return f"{path}: no such folder{close or '; give the folder of a dictionary'}"


def hub_address(page: str) -> str | None:
    """Give the address `hf:…` of a page of the Hugging Face Hub; None for anything else."""
    found = HUB_PAGE.match(page)
    if found is None:
        return None
    repository, revision, folder = found.groups()
    folder = (folder or "").strip("/")
    return f"hf:{repository}{f'/{folder}' if folder else ''}{f'@{revision}' if revision and revision != 'main' else ''}"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
