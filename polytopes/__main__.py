"""python -m polytopes --config FILE: model and tokens -> what the model's polytopes look like."""

from polytopes.stage import polytopes
from winnow.config.experiment import Experiment
from winnow.runtime.stage import run_stage


def main(config: Experiment) -> None:
    """Do what the command line asks for."""
    polytopes(config, if_configured=vars(config)["if_configured"])


if __name__ == "__main__":
    run_stage("polytopes", main, {"if_configured": "do nothing where the configuration has no table [polytopes]"})
