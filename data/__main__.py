"""python -m data --config FILE: text to tokens."""

from data.tokens import make_tokens
from winnow.runtime.stage import run_stage

if __name__ == "__main__":
    run_stage("data", make_tokens)
