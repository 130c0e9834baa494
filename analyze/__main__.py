"""python -m analyze --config configs/demo.toml [--runs runs/other …]"""

from analyze.runs.compare_runs import compare_runs
from winnow.runtime.stage import run_stage

if __name__ == "__main__":
    run_stage(
        "analyze",
        lambda config: compare_runs(config, vars(config)["runs"]),
        lists={"runs": "compare the dictionaries of these runs too, in a report of their own: RUN/comparison"},
    )
