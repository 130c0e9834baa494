"""python -m plan --config FILE: what an experiment will take of disk, memory and time; runs nothing."""

from winnow.config.experiment import Experiment
from winnow.runtime.stage import run_stage


def main(config: Experiment) -> None:
    """Print the estimate."""
    from plan.table import print_plan  # it loads torch, which --help and a wrong key need not wait for

    print_plan(config)


if __name__ == "__main__":
    run_stage("plan", main)
