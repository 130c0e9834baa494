"""python -m harvest.hooks is now python -m winnow.model.hooks."""

import sys

if __name__ == "__main__":
    sys.exit("python -m harvest.hooks has moved: python -m winnow.model.hooks --config FILE lists every hook")
