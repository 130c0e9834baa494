"""Compile every kernel for an H100, in float32 and bfloat16, and name it; needs Triton, and no GPU."""

# pyright: reportMissingImports=false

import inspect
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from train.kernels import batch_selection, dense, reconstruction, rows, selection, update

INTEGERS = {"index", "offsets", "latents", "chosen", "places"}  # int64
HALF = {"pre", "table", "W_dec", "f", "gradient", "lowered"}  # in the compute dtype
BITS = {"maxima", "bits", "histogram", "kth", "left", "count", "counts", "sums"}  # int32
NUMBERS = {"n", "k", "d", "lowest", "groups", "lists", "halvings", "rows", "size", "shift", "top", "begin", "batch"}
FLOATS = {"width", "factor", "new1", "old2", "new2", "epsilon", "rate", "correction"}
LISTS = {"D": 1024, "AT_ONCE": rows.AT_ONCE}
STRIPS = {"ROWS": dense.ROWS, "COLUMNS": dense.COLUMNS, "AT_ONCE": dense.AT_ONCE}
COUNTED = {"BINS": batch_selection.BINS, "AT_ONCE": batch_selection.AT_ONCE}
KERNELS: list[tuple[Any, dict[str, Any], dict[str, str]]] = [  # and the types of arguments that differ from the above
    (selection._group_maxima, {"SIZE": 32, "AT_ONCE": selection.GROUPS_AT_ONCE}, {}),
    (selection._choose, {"G": 1024, "K": 32, "SIZE": 32}, {"chosen": "*i32"}),
    (batch_selection._members, {"SIZE": batch_selection.SIZE, "AT_ONCE": 128}, {"count": "i32"}),
    (batch_selection._count, COUNTED, {}),
    (batch_selection._count_block, {"AT_ONCE": batch_selection.AT_ONCE}, {}),
    (batch_selection._list_block, {"AT_ONCE": batch_selection.AT_ONCE}, {}),
    (batch_selection._next_digit, {"BINS": batch_selection.BINS}, {}),
    (rows._weighted_sums, LISTS | {"PIECE": 0}, {}),
    (rows._sums_of_pieces, LISTS | {"PIECE": rows.PIECE}, {}),
    (rows._products, LISTS, {"rows": "*fp32"}),
    (update._descend, LISTS | {"PIECE": rows.PIECE, "UNIT": True, "MORE": True}, {}),
    (reconstruction._reconstruct, LISTS, {"gradient": "*fp32"}),
    (dense._passed, STRIPS | {"JUMPS": False}, {}),
    (dense._passed, STRIPS | {"JUMPS": True}, {}),
    (dense._through, STRIPS | {"JUMPS": False}, {}),
    (dense._through, STRIPS | {"JUMPS": True}, {}),
]


def type_of(name: str, dtype: str, own: dict[str, str]) -> str:
    if name in own:
        return own[name]
    if name in NUMBERS or name in FLOATS:
        return "i32" if name in NUMBERS else "fp32"
    return dtype if name in HALF else "*i64" if name in INTEGERS else "*i32" if name in BITS else "*fp32"


def compiled(kernel: Any, constants: dict[str, Any], own: dict[str, str], dtype: str) -> str:
    """Build a kernel, and return its name."""
    names = [name for name in inspect.signature(kernel.fn).parameters if name not in constants]
    signature = {name: type_of(name, dtype, own) for name in names} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs={})
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert built.asm["cubin"]
    return kernel.__name__


if __name__ == "__main__":
    for dtype in ("*fp32", "*bf16"):
        for kernel, constants, own in KERNELS:
            print(compiled(kernel, constants, own, dtype))
