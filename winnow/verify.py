"""Hash every shard and dictionary of a run again, and compare with what was noted when they were written.

python -m winnow.verify --config configs/demo.toml
"""

from pathlib import Path

from winnow.config.experiment import Experiment
from winnow.runtime.run import Run
from winnow.runtime.stage import run_stage


def verify(config: Experiment) -> None:
    """Check the whole run. Raises `UserError` naming the first file that is not what it was, and how."""
    # they load torch, which --help and a wrong key need not wait for
    from winnow.dictionary import load_dictionaries, load_dictionary, verify_dictionary
    from winnow.runtime.progress import progress_bar
    from winnow.store import ActivationStore

    run = Run(Path(config.run))
    store = ActivationStore(run.activations)
    with progress_bar("verify", store.bytes, "bytes") as bar:
        for size in store.verify_shards():
            bar.advance(size)
    dictionaries = load_dictionaries(run.path) if run.dictionaries.is_dir() else []
    truth = [load_dictionary(run.truth)] if run.truth.is_dir() else []
    for dictionary in [*dictionaries, *truth]:
        verify_dictionary(dictionary)
    print(f"{run.path}: {store.rows:,} rows of {len(store.hooks)} hooks and {len(dictionaries)} dictionaries are whole")


if __name__ == "__main__":
    run_stage("winnow.verify", verify)
