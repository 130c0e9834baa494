"""A stage's first line names its device; bfloat16 without instructions for it is a line on stderr."""

from pathlib import Path

import pytest
import torch

from winnow.runtime import announce as module
from winnow.runtime.announce import announce, device_kind, lacks_bfloat16

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)
LISTED = "processor\t: 0\nflags\t\t: fpu avx512f {}\nbugs\t\t: spectre_v2\n"


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The description of a CPU that has no instructions for bfloat16."""
    path = tmp_path / "cpuinfo"
    path.write_text(LISTED.format("avx512bw"))
    monkeypatch.setattr(module, "CPU_INFO", path)
    return path


def test_the_first_line_names_the_device(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA H200, number {device.index}")
    announce("harvest", CPU, {"model.dtype": "float32"})
    announce("train", GPU, {})
    assert capsys.readouterr().out == "harvest: computes on cpu\ntrain: computes on NVIDIA H200, number 1\n"
    assert device_kind(torch.device("mps")) == "mps"


def test_bfloat16_that_the_cpu_lacks_is_one_warning(without: Path, capsys: pytest.CaptureFixture[str]):
    announce("train", CPU, {"train.compute_dtype": "bfloat16", "model.dtype": "float32"})
    assert capsys.readouterr().err == (
        "train: train.compute_dtype = bfloat16: this CPU has no instructions for it and will be many times slower than "
        "with float32\n"
    )
    announce("harvest", CPU, {"model.dtype": "float32"})
    announce("harvest", CPU, {"model.dtype": "float16"})
    assert capsys.readouterr().err == ""


def test_bfloat16_is_no_warning_on_a_gpu(without: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    announce("harvest", GPU, {"model.dtype": "bfloat16"})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        (LISTED.format("avx512_bf16"), False),
        (LISTED.format("amx_bf16 amx_tile"), False),
        ("Features\t: fp asimd sve i8mm bf16\n", False),
        ("Features\t: fp asimd\n", True),
        (LISTED.format(""), True),
        ("nothing is listed\n", False),
    ],
)
def test_instructions_are_found_as_linux_lists_them(without: Path, text: str, lacks: bool):
    without.write_text(text)
    assert lacks_bfloat16() == lacks


def test_nothing_is_said_where_nothing_is_known(without: Path):
    without.unlink()
    assert not lacks_bfloat16()
