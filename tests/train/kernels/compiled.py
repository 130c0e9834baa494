"""Compile every kernel for an H100, in float32 and bfloat16, and name it; needs Triton, and no GPU."""

# pyright: reportMissingImports=false

from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from train.kernels import rows, selection

LISTS = {"offsets": "*i64", "index": "*i64"}


def compiled(kernel: Any, signature: dict[str, str], constants: dict[str, int]) -> str:
    """Build a kernel, and return its name."""
    source = ASTSource(
        fn=kernel, signature=signature | dict.fromkeys(constants, "constexpr"), constexprs=constants, attrs={}
    )
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    assert built.asm["cubin"]
    return kernel.__name__


if __name__ == "__main__":
    for dtype in ("*fp32", "*bf16"):
        n = {"n": "i32", "k": "i32", "lowest": "i32"}
        out = {"values": "*fp32", "latents": "*i64"}
        print(compiled(selection._top_k, {"pre": dtype, **out, **n}, {"BLOCK": selection.MOST}))
        block = {"D": 1024, "AT_ONCE": rows.AT_ONCE}
        out = {"table": dtype, "out": "*fp32", "d": "i32"}
        print(compiled(rows._weighted_sums, LISTS | {"weights": "*fp32"} | out, block))
        print(compiled(rows._products, LISTS | {"rows": "*fp32"} | out, block))
