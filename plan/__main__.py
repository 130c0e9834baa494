"""python -m plan --config FILE: what an experiment will take of disk, memory and time; runs nothing."""

from plan.table import print_plan
from winnow.runtime.stage import run_stage

if __name__ == "__main__":
    run_stage("plan", print_plan)
