"""Sequences that share n-grams with the held-out ones are left out, and others take their place."""

from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest

from data import write_tokens
from data.drop_shared import divide
from data.tokens import make_tokens
from tests.experiments import load, write_config
from winnow.config.experiment import TextSettings
from winnow.errors import UserError
from winnow.ngrams import Ngrams
from winnow.tokens import open_tokens

N = 8
CONTEXT, SEQUENCES, HELD_OUT = 16, 40, 4
DROP = ("--text.drop_shared_ngrams", str(N))


@pytest.fixture
def config(tmp_path: Path, gpt2: Path) -> Path:
    """Token ids, no token twice, but for passages of the held-out text in sequences 3, 5 and 6, and behind it in 41."""
    path = write_config(tmp_path, gpt2, text={"source": f"files:{tmp_path}/ids.parquet", "column": "input_ids"})
    write_ids(tmp_path, 60)
    return path


def ids_of(sequences: int) -> np.ndarray:
    ids = np.arange(1000, 1000 + sequences * CONTEXT)
    held_out = ids[(SEQUENCES - HELD_OUT) * CONTEXT : SEQUENCES * CONTEXT].copy()
    ids[3 * CONTEXT + 4 : 3 * CONTEXT + 4 + N] = held_out[20 : 20 + N]  # within one sequence
    ids[6 * CONTEXT - 3 : 6 * CONTEXT - 3 + N] = held_out[40 : 40 + N]  # across the border of two
    ids[10 * CONTEXT : 10 * CONTEXT + N - 1] = held_out[: N - 1]  # one token too short
    if sequences > SEQUENCES:
        ids[41 * CONTEXT : 41 * CONTEXT + N] = held_out[:N]
    return ids


def write_ids(folder: Path, sequences: int) -> None:
    pandas.DataFrame({"input_ids": np.array_split(ids_of(sequences), 50)}).to_parquet(folder / "ids.parquet")


def tokens_of(config: Path, run: Path, *arguments: str) -> np.ndarray:
    make_tokens(load(config, "--run", str(run), "--text.prepend_bos", "false", *arguments))
    file = open_tokens(run / "tokens.h5")
    return file.read(0, file.sequences)


def test_they_are_left_out_and_replaced_and_the_held_out_ones_are_the_same(config: Path, tmp_path: Path) -> None:
    whole = ids_of(60).reshape(-1, CONTEXT)
    plain, dropped = tokens_of(config, tmp_path / "a"), tokens_of(config, tmp_path / "b", *DROP)
    assert np.array_equal(plain, whole[:SEQUENCES])
    harvested = [i for i in range(36) if i not in (3, 5, 6)] + [40, 42, 43]
    assert np.array_equal(dropped, whole[[*harvested, *range(36, 40)]])
    held_out = plain[-HELD_OUT:].ravel()
    assert len(Ngrams(held_out, N).find(plain[:-HELD_OUT].ravel()).starts) == 2
    assert len(Ngrams(held_out, N).find(dropped[:-HELD_OUT].ravel()).starts) == 0
    assert open_tokens(tmp_path / "b" / "tokens.h5").dropped_sequences == 4
    assert open_tokens(tmp_path / "a" / "tokens.h5").dropped_sequences is None


def test_with_bos_the_same_text_is_left_out(config: Path, tmp_path: Path) -> None:
    make_tokens(load(config, "--text.prepend_bos", "true", *DROP))
    file = open_tokens(tmp_path / "run" / "tokens.h5")
    read = file.read(0, file.sequences)
    assert (read[:, 0] == file.bos).all()
    held_out = Ngrams(read[-HELD_OUT:, 1:].ravel(), N)
    assert len(held_out.find(read[:-HELD_OUT, 1:].ravel()).starts) == 0


def test_it_says_so_and_has_nothing_to_do_the_second_time(config: Path, tmp_path: Path, capsys) -> None:
    tokens_of(config, tmp_path / "a", *DROP)
    assert capsys.readouterr().out.endswith("tokens.h5: 40 sequences of 16 tokens; 4 left out\n")
    tokens_of(config, tmp_path / "a", *DROP)
    assert capsys.readouterr().out.endswith("; 4 left out; nothing to do\n")


def test_where_the_text_ends_fewer_are_left_and_it_says_so(config: Path, tmp_path: Path, capsys) -> None:
    write_ids(tmp_path, 42)
    dropped = tokens_of(config, tmp_path / "a", *DROP)
    assert len(dropped) == 38  # 33 and the one behind the held-out ones that shares nothing
    said = capsys.readouterr().err
    assert f"ended after {38 * CONTEXT} tokens, but text.tokens = 640" in said


def test_a_text_that_shares_everything_is_refused(config: Path, tmp_path: Path) -> None:
    pandas.DataFrame({"input_ids": [[1, 2, 3, 4]] * 200}).to_parquet(tmp_path / "ids.parquet")
    with pytest.raises(UserError, match=r"drop_shared_ngrams = 8: every sequence of files.* choose a larger number"):
        tokens_of(config, tmp_path / "a", *DROP)


def test_the_tokens_are_the_same_bytes_however_often_reading_stops(config: Path, tmp_path: Path, monkeypatch) -> None:
    tokens_of(config, tmp_path / "a", *DROP)
    expected = (tmp_path / "a" / "tokens.h5").read_bytes()
    monkeypatch.setattr(write_tokens, "TOKENS_PER_PART", 40)
    monkeypatch.setattr(write_tokens, "DOCUMENTS_PER_BATCH", 1)
    write_part, left = write_tokens._write_part, iter(())

    def dying(*arguments):
        next(left)  # StopIteration ends the process in the middle of a part
        write_part(*arguments)

    monkeypatch.setattr(write_tokens, "_write_part", dying)
    stops = 0
    while not (tmp_path / "b" / "tokens.h5").exists():
        left = iter("four")
        try:
            tokens_of(config, tmp_path / "b", *DROP)
        except StopIteration:
            stops += 1
    assert stops >= 2
    assert (tmp_path / "b" / "tokens.h5").read_bytes() == expected


def test_off_is_what_was_before_and_on_is_another_run(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "a"
    tokens_of(config, run)
    with h5py.File(run / "tokens.h5") as file:
        assert "drop" not in str(file.attrs["settings"])
        assert "dropped_sequences" not in file.attrs
    tokens_of(config, run, "--text.held_out_sequences", "3")  # no token depends on it
    with pytest.raises(UserError, match=r"made with text\.drop_shared_ngrams = 0, now text\.drop_shared_ngrams = 8"):
        tokens_of(config, run, *DROP)
    other = tmp_path / "b"
    tokens_of(config, other, *DROP)
    with pytest.raises(UserError, match=r"made with text\.drop_shared_ngrams = 8, now text\.drop_shared_ngrams = 0"):
        tokens_of(config, other)
    with pytest.raises(UserError, match=r"made with text\.held_out_sequences = 4, now text\.held_out_sequences = 3"):
        tokens_of(config, other, *DROP, "--text.held_out_sequences", "3")


def test_so_few_tokens_that_any_texts_share_them_are_refused(config: Path) -> None:
    with pytest.raises(UserError, match=r"drop_shared_ngrams = 3: any two texts share so few tokens in a row"):
        load(config, "--text.drop_shared_ngrams", "3")


def test_a_sequence_is_not_chosen_before_what_follows_it_is_known(tmp_path: Path) -> None:
    ids = ids_of(60).reshape(-1, CONTEXT).astype(np.int32)
    ids[40, -4:], ids[41, :4] = ids[36, :4], ids[36, 4:8]
    text = TextSettings(context=CONTEXT, tokens=640, held_out_sequences=HELD_OUT, drop_shared_ngrams=N)
    for count in (41, 42, 60):
        np.save(tmp_path / "part.npy", ids[:count])
        division = divide([tmp_path / "part.npy"], text, -1, ended=False)
        assert not division.harvested[40]
