"""How long the pieces of a step take."""

import torch

from bench.gpu.common import DEVICE, GPU, learner, note, part, seconds, wait

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false
# ruff: noqa: B023, F821 - a lambda is called before the loop goes on, and before `del`


@part
def pieces(quick):
    """The parts of a topk step's time, and the cost of a latent that fires in every row."""
    from train.kernels import sparse
    from train.kernels.ranking import top_k
    from train.kernels.sparse import Active

    rows, d, n, k = (256, 64, 512, 8) if quick else (16_384, 768, 24_576, 32)
    for dtype in (torch.bfloat16, torch.float32) if GPU else (torch.float32,):
        pre = torch.randn(rows, n, device=DEVICE).to(dtype)
        x = torch.randn(rows, d, device=DEVICE).to(dtype)
        W = torch.randn(n, d, device=DEVICE).to(dtype)
        tag = f"{rows} x {n}, {str(dtype)[6:]}: ms of"
        note(f"{tag} top_k here", seconds(lambda: top_k(pre, k)) * 1e3)
        note(f"{tag} torch.topk", seconds(lambda: pre.topk(k, dim=1, sorted=False), 3, 1) * 1e3)
        note(f"{tag} one pass over it (amax)", seconds(lambda: pre.amax(1)) * 1e3)
        if pre.numel() < 2**31:
            note(
                f"{tag} largest of the whole batch",
                seconds(lambda: sparse.active_largest(pre[None], [k * rows]), 3, 1) * 1e3,
            )
        even = torch.randint(n, (rows, k), device=DEVICE).sort(1).values
        weights = 1 / (torch.arange(n, device=DEVICE) + 1.0)
        skewed = (
            torch.multinomial(weights.expand(min(rows, 4096), n), k).repeat(-(-rows // 4096), 1)[:rows].sort(1).values
        )
        for name, latents in (("even", even), ("skewed as 1/rank", skewed)):
            offsets = torch.arange(0, rows * k + 1, k, device=DEVICE)
            active = Active(offsets, latents.flatten(), torch.rand(rows * k, device=DEVICE))
            groups = sparse.by_latent(active, n)
            note(f"{tag} decode, {name}", seconds(lambda a=active: sparse.decode(a, W)) * 1e3)
            note(
                f"{tag} gradient of values, {name}", seconds(lambda a=active: sparse.gradient_of_values(a, W, x)) * 1e3
            )
            note(f"{tag} by latent, {name}", seconds(lambda a=active: sparse.by_latent(a, n)) * 1e3)
            note(
                f"{tag} weight gradient, {name}",
                seconds(lambda a=active, g=groups: sparse.weight_gradient(g, a.values, x)) * 1e3,
            )
            note(f"{tag} sum by latent, {name}", seconds(lambda a=active: sparse.sum_by_latent(a, a.values, n)) * 1e3)
        del pre
    if GPU:
        from torch.profiler import ProfilerActivity, profile

        from train.stack import Stack

        stack, y = Stack([learner("topk", d, n, rows, "bfloat16", rate=1e-9)]), torch.randn(rows, d, device=DEVICE)
        for _ in range(3):
            stack.train_on(y, y.square().sum())
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            for _ in range(3):
                stack.train_on(y, y.square().sum())
            wait()
        print(seen.key_averages().table(sort_by="cuda_time_total", row_limit=22, max_name_column_width=60))
