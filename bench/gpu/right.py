"""Whether kernels, steps and resuming are right."""

import dataclasses
import tempfile
import traceback
from pathlib import Path

import torch

from bench.gpu.common import DEVICE, GPU, KINDS, drawn, learner, note, part, relative

# pyright: reportArgumentType=false, reportIndexIssue=false, reportMissingImports=false, reportUnusedExpression=false


@part
def kernels(quick):
    from train.kernels import dispatch as chosen
    from train.kernels import sparse

    if not GPU or not chosen.available(torch.zeros(1, device=DEVICE)):
        note("kernels", "none are used here")
        return
    for rows, n, k in [(33, 100, 7), (512, 24_576, 32), (64, 98_304, 64), (1, 5, 5), (300, 6144, 512)]:
        for dtype in (torch.float32, torch.bfloat16):
            pre = (drawn(rows, n) - 0.5).to(dtype).to(DEVICE)
            values, latents = chosen.top_k(pre, k)
            wanted = pre.float().relu().topk(k, dim=1).values
            right = torch.equal(values.sort(1).values, wanted.sort(1).values)
            right &= torch.equal(pre.float().relu().gather(1, latents), values) and bool(
                (latents.diff(dim=1) > 0).all()
            )
            note(f"top_k {rows} x {n}, k = {k}, {dtype}", "equal" if right else "differs", right)
    ties = torch.zeros(4, 5000, device=DEVICE)
    ties[0, 3::2], ties[1], ties[2, [7, 4500]], ties[3, 11] = (
        2.0,
        -1.0,
        torch.tensor([5.0, torch.inf], device=DEVICE),
        torch.nan,
    )
    values, latents = chosen.top_k(ties, 3)
    right = latents[0].tolist() == [3, 5, 7] and values[1].tolist() == [0.0] * 3 and int(values[3].isnan().sum()) == 1
    note("top_k of ties, zeros, infinity, NaN", str(values.tolist()), right)
    free = torch.cuda.mem_get_info()[0]
    if free > 2**34:  # more than 2^31 values: places need 64 bits
        pre = torch.zeros(24_576, 98_304, dtype=torch.bfloat16, device=DEVICE)
        pre[-1, -3:] = torch.tensor([1.0, 3.0, 2.0], dtype=torch.bfloat16, device=DEVICE)
        values, latents = chosen.top_k(pre, 3)
        right = latents[-1].tolist() == [98_301, 98_302, 98_303] and values[-1].tolist() == [1.0, 3.0, 2.0]
        note("top_k beyond 2^31 values", str(values[-1].tolist()), right)
        del pre
    for dtype in (torch.float32, torch.bfloat16):
        f = (drawn(300, 2000) - 1.5).relu().to(DEVICE)
        f[4], f[:, 6], f[:, 9] = 0, 0, 1
        active = sparse.where(f > 0, f)
        W, g = drawn(2000, 768, seed=1).to(DEVICE, dtype), drawn(300, 768, seed=2).to(DEVICE, dtype)
        error = relative(sparse.decode(active, W), f.double() @ W.double())
        note(f"decode {dtype}", error, error < 1e-5)
        rows = torch.repeat_interleave(active.offsets.diff())
        error = relative(sparse.gradient_of_values(active, W, g), (g.double() @ W.double().T)[rows, active.latents])
        note(f"gradient of values {dtype}", error, error < 1e-5)
        error = relative(
            sparse.weight_gradient(sparse.by_latent(active, 2000), active.values, g), f.double().T @ g.double()
        )
        note(f"weight gradient {dtype}", error, error < 1e-5)


@part
def steps(quick):
    """One step on the device against the same step in float64 on the CPU; bits twice; no waiting."""
    from train.architectures import StepContext, architecture_of
    from train.stack import Stack

    rows, d, n = (64, 16, 96) if quick else (512, 64, 1024)
    x = drawn(rows, d)
    for kind in KINDS:
        own = {"k": 5} if "k" in KINDS[kind] else {}
        one = learner(kind, d, n, rows, **own)
        architecture = architecture_of(one.objective)
        stacked = {name: value.unsqueeze(0) for name, value in one.parameters.items()}
        double = {name: value.cpu().double().clone() for name, value in stacked.items()}
        dead = (torch.arange(n) % 3 == 0)[None]
        try:
            here = architecture.step(stacked, x.to(DEVICE), StepContext(1.0, dead.to(DEVICE))).summed()
            there = architecture.step(double, x.double(), StepContext(1.0, dead))
            worst = max(relative(here.gradients[name], value) for name, value in there.gradients.items())
            worst = max(worst, relative(here.loss, there.loss))
            note(f"step of {kind}, float32 against float64 on the CPU", worst, worst < 1e-4)
            low = architecture_of(dataclasses.replace(one.objective, compute_dtype="bfloat16"))
            here = low.step(stacked, x.to(DEVICE), StepContext(1.0, dead.to(DEVICE))).summed()
            worst = max(relative(here.gradients[name], there.gradients[name]) for name in ("W_enc", "W_dec", "b_dec"))
            note(
                f"step of {kind}, bfloat16 against float64 on the CPU", worst, worst < 0.25
            )  # a k-th largest may change places
            runs = []
            for _ in range(2):
                stack = Stack([learner(kind, d, n, rows, **own)])
                stack.silent_rows[:, ::3] = 10**9  # dead
                for batch in range(20):
                    y = drawn(rows, d, seed=batch).to(DEVICE)
                    stack.train_on(y, y.square().sum())
                runs.append({name: value.cpu() for name, value in stack.learners[0].state()[0].items()})
            unequal = [name for name in runs[0] if not torch.equal(runs[0][name], runs[1][name])]
            note(f"20 steps of {kind} twice, bits", "equal" if not unequal else f"differ in {unequal}", not unequal)
            if GPU:
                stack = Stack([learner(kind, d, n, rows, **own)])
                y = x.to(DEVICE)
                variance = y.square().sum()
                stack.train_on(y, variance)
                torch.cuda.set_sync_debug_mode("error")
                try:
                    stack.train_on(y, variance)
                    note(f"step of {kind} makes the host wait", "no", True)
                except RuntimeError as error:
                    note(f"step of {kind} makes the host wait", str(error).splitlines()[0][:90], False)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
        except Exception as error:  # the next kind may still work
            note(f"step of {kind}", f"{type(error).__name__}: {str(error)[:120]}", False)
            traceback.print_exc(limit=-3)


@part
def resume(quick):
    """Ten steps, and five, a checkpoint on disk and five more: the same bits, in one stack of three."""
    from train.checkpoint import read_checkpoint, write_checkpoint
    from train.stack import Stack

    rows, d, n = 256, 64, 512
    for kind in ("topk", "batchtopk", "relu"):
        grid = [{"seed": seed, **({"k": 8 + seed} if "k" in KINDS[kind] else {})} for seed in range(3)]
        ends = []
        with tempfile.TemporaryDirectory(dir=".") as folder:
            for stops in (False, True):
                some = [learner(kind, d, n, rows, **own) for own in grid]
                stack = Stack(some)
                for batch in range(10):
                    if stops and batch == 5:
                        for number, one in enumerate(some):
                            write_checkpoint(Path(folder, str(number)), *one.state())
                        some = [learner(kind, d, n, rows, **own) for own in grid]
                        for number, one in enumerate(some):
                            one.load_state(*read_checkpoint(Path(folder, str(number)), 5 * rows))
                        stack = Stack(some)
                    y = drawn(rows, d, seed=batch).to(DEVICE)
                    stack.train_on(y, y.square().sum())
                ends.append([{name: value.cpu().clone() for name, value in one.state()[0].items()} for one in some])
        unequal = {name for a, b in zip(*ends, strict=True) for name in a if not torch.equal(a[name], b[name])}
        note(
            f"{kind}, resumed against uninterrupted, bits",
            "equal" if not unequal else f"differ in {sorted(unequal)}",
            not unequal,
        )
