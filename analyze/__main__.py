"""python -m analyze --config configs/demo.toml"""

from analyze.measure import measure_run
from winnow.stage import run_stage

if __name__ == "__main__":
    run_stage("analyze", measure_run)
