"""python -m harvest --config FILE: tokens to activation shards."""

from harvest.stage import harvest
from winnow.stage import run_stage

if __name__ == "__main__":
    run_stage(
        "harvest",
        lambda config: harvest(config, repair=vars(config)["repair"]),
        {"repair": "hash every shard first, and make those again that are damaged"},
    )
