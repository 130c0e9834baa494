"""python -m plan --config FILE: estimate the disk, memory and time that an experiment takes, without running it."""

from winnow.config.experiment import Experiment
from winnow.runtime.stage import run_stage


def main(config: Experiment) -> None:
    """Print the estimate."""
    from plan.table import print_plan  # it imports torch, for which --help and a wrong key need not wait

    print_plan(config)


if __name__ == "__main__":
    run_stage("plan", main, resumes=False)
