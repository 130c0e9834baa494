"""Read many places of a file in one call that does not hold Python's lock.

The threads that read rows take that lock after every read, and so wait for the thread that starts a GPU's work, which
holds it nearly all the time. Here a compiled loop makes the same calls of `pread`.
"""

from typing import no_type_check

import numpy as np
from numba import types

from winnow.runtime.jit import compiled

_pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.intp, types.int64))


def read_many(descriptor: int, out: np.ndarray, places: np.ndarray, sizes: np.ndarray, offsets: np.ndarray) -> int:
    """Read `sizes[i]` bytes from byte `offsets[i]` of a file on, into `out` from byte `places[i]` on.

    Returns how many reads were whole: all of them, or those before the first that the system cut short or refused.
    """
    assert out.flags.c_contiguous, out.strides
    if len(places) and (places.min() < 0 or (places + sizes).max() > out.nbytes):
        raise IndexError(f"bytes {places.min()} to {(places + sizes).max()} of {out.nbytes}")
    return int(_read_many(descriptor, out.ctypes.data, places, sizes, offsets))


@compiled(nogil=True)
@no_type_check
def _read_many(descriptor, address, places, sizes, offsets):
    for i in range(len(places)):
        done = 0
        while done < sizes[i]:
            count = _pread(descriptor, address + places[i] + done, sizes[i] - done, offsets[i] + done)
            if count <= 0:
                return i
            done += count
    return len(places)
