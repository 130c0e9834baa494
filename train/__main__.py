"""python -m train --config FILE: activation shards -> dictionaries."""

from train.stage import train
from winnow.stage import run_stage

if __name__ == "__main__":
    run_stage("train", train)
