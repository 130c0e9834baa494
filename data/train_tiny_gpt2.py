"""Train the embedded model `data/tiny_gpt2/` on python-docs, and write its card.

    python -m data.train_tiny_gpt2 [--steps 4000]

A GPT-2 architecture with its own byte-level BPE tokenizer. Muon trains the hidden matrices, AdamW the
rest; the learning rate warms up, then decays linearly to zero. Losses are in nats per byte of text, which
does not depend on the tokenizer, and always beside a unigram and a bigram model of the same tokens. The
figures of the card are measured on the float16 files in the folder.
"""

import argparse
import math
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from datasets import DatasetDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from data.pack import Packer
from data.python_docs import load_python_docs, versions
from winnow.paths import expand

OUT = Path(__file__).parent / "tiny_gpt2"
END = "<|endoftext|>"
CONTEXT = 256
BATCH = 32
VOCABULARY = 4096


class Score(NamedTuple):
    """Mean negative log likelihood of held-out text."""

    nats_per_token: float
    nats_per_byte: float


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Fit a byte-level BPE of `VOCABULARY` tokens that starts every text with `<|endoftext|>`."""
    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=END, eos_token=END, unk_token=END, model_max_length=CONTEXT
    )


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]


def pack(documents: list[list[int]]) -> Tensor:
    """Pack documents into sequences one token longer than the context: targets are inputs shifted by one."""
    return torch.from_numpy(Packer(CONTEXT + 1, [0], bos=0).add(documents))


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `hidden @ weight.T` without ever keeping all logits in memory.

    With 8192 tokens and a vocabulary of 4096 the logits are 134 MB, and five passes over them took a third
    of the step; chunks that fit the cache avoid this.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        rows = len(hidden)
        weight_low = weight.to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = torch.zeros_like(weight)
        loss = torch.zeros(())
        for start in range(0, rows, 1024):
            chunk = hidden[start : start + 1024]
            wanted = target[start : start + 1024, None]
            logits = (chunk @ weight_low.T).float()  # (chunk, vocabulary)
            normaliser = logits.logsumexp(1, keepdim=True)
            loss += (normaliser - logits.gather(1, wanted)).sum()
            logits.sub_(normaliser).exp_()
            logits.scatter_add_(1, wanted, torch.full(wanted.shape, -1.0))
            error = logits.mul_(1 / rows).to(hidden.dtype)
            hidden_grad[start : start + 1024] = error @ weight_low
            weight_grad += error.T @ chunk
        ctx.save_for_backward(hidden_grad, weight_grad)
        return loss / rows

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_grad, weight_grad = ctx.saved_tensors
        return grad[0] * hidden_grad, grad[0] * weight_grad, None


def train(sequences: Tensor, steps: int, seed: int) -> GPT2LMHeadModel:
    """Fit the model on `sequences` [sequence, context + 1] for `steps` batches of `BATCH`."""
    torch.manual_seed(seed)
    # Compiled eager attention is faster than the CPU's fused kernel for heads of width 32.
    model = GPT2LMHeadModel(_architecture(activation="gelu_pytorch_tanh", attention="eager"))
    body: Any = torch.compile(model.transformer)
    matrices = [p for p in model.transformer.h.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    optimisers = [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.0, momentum=0.95),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    warmup = min(200, max(1, steps // 10))
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            o, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
        )
        for o in optimisers
    ]
    order = _order(len(sequences), seed)
    started = time.monotonic()
    for step in range(steps):
        batch = sequences[[next(order) for _ in range(BATCH)]].long()
        with torch.autocast("cpu", torch.bfloat16):
            hidden = body(batch[:, :-1]).last_hidden_state
        loss = LinearCrossEntropy.apply(
            hidden.flatten(0, 1).to(torch.bfloat16), model.lm_head.weight, batch[:, 1:].flatten()
        )
        assert isinstance(loss, Tensor)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        if step % 50 == 0 or step == steps - 1:
            rate = (step + 1) * BATCH * CONTEXT / (time.monotonic() - started)
            print(f"step {step}/{steps}  loss {loss.item():.3f} nats/token  {rate:,.0f} tokens/s", flush=True)
    model.config.activation_function = "gelu_new"  # GPT-2's name for the same function
    return model


def _architecture(activation: str, attention: str) -> GPT2Config:
    options: dict[str, Any] = {"attn_implementation": attention}
    return GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=128,
        n_layer=4,
        n_head=4,
        activation_function=activation,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        **options,
    )


def _order(count: int, seed: int):
    epoch = 0
    while True:
        yield from np.random.default_rng([seed, epoch]).permutation(count).tolist()
        epoch += 1


@torch.no_grad()
def score_model(model: GPT2LMHeadModel, documents: list[list[int]], n_bytes: int) -> Score:
    """Score the documents, packed as in training; every token after the first window sees half a context or more."""
    stream = torch.tensor([0] + [token for document in documents for token in [*document, 0]])
    stride = CONTEXT // 2
    total = 0.0
    for start in range(0, len(stream) - 1, stride):
        window = stream[max(0, start - stride) : start + stride + 1][None]
        fresh = min(stride, len(stream) - 1 - start)
        logits = model(window[:, :-1]).logits[0, -fresh:].float()
        total += F.cross_entropy(logits, window[0, -fresh:], reduction="sum").item()
    return Score(total / (len(stream) - 1), total / n_bytes)


def score_ngram(train: list[list[int]], held_out: list[list[int]], n_bytes: int, order: int) -> Score:
    """Score a unigram (add-one) or a bigram (Witten-Bell, backing off to that unigram) model."""
    seen, wanted = (np.array([0] + [t for d in part for t in [*d, 0]]) for part in (train, held_out))
    counts = np.bincount(seen, minlength=VOCABULARY)
    probability = (counts + 1) / (len(seen) + VOCABULARY)
    if order == 1:
        likelihood = probability[wanted[1:]]
    else:
        pairs = np.zeros((VOCABULARY, VOCABULARY), dtype=np.int32)
        np.add.at(pairs, (seen[:-1], seen[1:]), 1)
        following = pairs.sum(1)
        distinct = (pairs > 0).sum(1)
        before, after = wanted[:-1], wanted[1:]
        weight = np.maximum(distinct[before], 1)
        likelihood = (pairs[before, after] + weight * probability[after]) / (following[before] + weight)
    total = float(-np.log(likelihood).sum())
    return Score(total / (len(wanted) - 1), total / n_bytes)


def write_card(path: Path, rows: dict[str, Score], per_library: dict[str, Score], facts: dict[str, Any]) -> None:
    table = "\n".join(f"| {name} | {s.nats_per_token:.3f} | {s.nats_per_byte:.3f} |" for name, s in rows.items())
    libraries = "\n".join(
        f"| {name} | {s.nats_per_token:.3f} | {s.nats_per_byte:.3f} |" for name, s in per_library.items()
    )
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    path.write_text(
        f"""---
license: mit
library_name: transformers
language: en
---

# tiny_gpt2

A GPT-2-architecture language model of {facts["parameters"]} parameters, small enough to ship with winnow,
trained on docstrings. It is real, not random: its activations are what the demo harvests. It is good
for nothing else.

| on held-out documents | nats/token | nats/byte |
| --- | --- | --- |
{table}

By library, this model:

| held-out documents of | nats/token | nats/byte |
| --- | --- | --- |
{libraries}

Every figure is of the float16 weights in this folder. Held out by the hash of the text: a document is
never in both splits, but transformers documents hundreds of similar models in similar words, so its
documents are easier than unseen text would be.

{listed}
"""
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000, help="batches of 32 x 256 tokens (default: 4000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=expand, default=OUT)
    arguments = parser.parse_args()
    started = time.monotonic()

    docs: DatasetDict = load_python_docs()
    texts = list(docs["train"]["text"])
    tokenizer = train_tokenizer(texts)
    documents = tokenize(tokenizer, texts)
    sequences = pack(documents)
    print(f"{len(texts):,} documents, {sequences.numel():,} tokens", flush=True)
    model = train(sequences, arguments.steps, arguments.seed)
    minutes = (time.monotonic() - started) / 60

    model.half().save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    shipped = GPT2LMHeadModel.from_pretrained(arguments.out, dtype=torch.float32).eval()

    test = docs["test"]
    held_out = list(test["text"])
    held_documents = tokenize(tokenizer, held_out)
    n_bytes = sum(len(text.encode()) for text in held_out)
    rows = {
        "this model": score_model(shipped, held_documents, n_bytes),
        "bigram, Witten-Bell": score_ngram(documents, held_documents, n_bytes, order=2),
        "unigram": score_ngram(documents, held_documents, n_bytes, order=1),
    }
    per_library = {}
    for library in sorted(set(test["library"])):
        chosen = [i for i, name in enumerate(test["library"]) if name == library]
        per_library[library] = score_model(
            shipped, [held_documents[i] for i in chosen], sum(len(held_out[i].encode()) for i in chosen)
        )
    parameters = sum(p.numel() for p in shipped.parameters())
    tokens_seen = arguments.steps * BATCH * CONTEXT
    facts = {
        "parameters": f"{parameters:,}",
        "architecture": f"GPT-2, 4 layers, d_model 128, 4 heads, context {CONTEXT}, tied embeddings",
        "tokenizer": f"byte-level BPE of {VOCABULARY} tokens; every sequence starts with `{END}`",
        "data": f"python-docs, {len(texts):,} documents, {sequences.numel():,} tokens; "
        + ", ".join(f"{name} {version}" for name, version in versions().items() if name != "format"),
        "held out": f"{len(held_out):,} documents, {n_bytes:,} bytes",
        "training": f"{arguments.steps:,} steps of {BATCH} x {CONTEXT} tokens "
        f"({tokens_seen / sequences.numel():.1f} epochs), {minutes:.0f} minutes on {platform.machine()}, "
        f"{torch.get_num_threads()} threads, bfloat16 products; Muon for hidden matrices, AdamW for the rest",
        "command": f"`python -m data.train_tiny_gpt2 --steps {arguments.steps} --seed {arguments.seed}`",
    }
    write_card(arguments.out / "README.md", rows, per_library, facts)
    print(math.floor(minutes), "minutes;", rows["this model"])


if __name__ == "__main__":
    main()
