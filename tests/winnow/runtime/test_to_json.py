import json

import numpy as np
import torch

from winnow.runtime.to_json import to_json


def test_everything_becomes_json_and_nothing_stays_infinite():
    value = {
        "nan": float("nan"),
        "array": np.array([1.0, np.inf]),
        "scalar": np.float64(0.1) + 0.2,
        "tensor": torch.tensor([[1, 2]]),
        "tuple": (1, None, True, "x"),
        3: np.int64(4),
    }
    found = to_json(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "nan": None,
        "array": [1.0, None],
        "scalar": 0.3,
        "tensor": [[1, 2]],
        "tuple": [1, None, True, "x"],
        "3": 4,
    }
