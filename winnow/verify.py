"""Hash every shard and dictionary of a run, and compare with the hashes noted when they were written.

python -m winnow.verify --config configs/demo.toml
"""

from pathlib import Path

from winnow.config.experiment import Experiment
from winnow.runtime.run import Run
from winnow.runtime.stage import run_stage


def verify(config: Experiment) -> None:
    """Check the whole run. Raises `UserError` naming the first damaged file, and what is wrong with it."""
    # they load torch, which --help and a wrong key need not wait for
    from winnow.dictionary import load_dictionaries, load_dictionary, verify_dictionary
    from winnow.runtime.progress import progress_bar
    from winnow.store import ActivationStore

    run = Run(Path(config.run))
    store = ActivationStore(run.activations)
    with progress_bar("verify", store.bytes, "bytes") as bar:
        for size in store.verify_shards():
            bar.advance(size)
    dictionaries = load_dictionaries(run.path, controls=True) if run.dictionaries.is_dir() else []
    truth = [load_dictionary(run.truth)] if run.truth.is_dir() else []
    unchecked = [one for one in [*dictionaries, *truth] if not verify_dictionary(one)]
    whole = len(dictionaries) - sum(one in unchecked for one in dictionaries)
    print(f"{run.path}: {store.rows:,} rows of {len(store.hooks)} hooks and {whole} dictionaries are whole")
    for one in unchecked:
        print(f"{one.path}: made before hashes were kept; not checked")


if __name__ == "__main__":
    run_stage("winnow.verify", verify)
