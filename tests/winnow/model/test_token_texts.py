import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.models import EMBEDDED
from winnow.model.token_texts import BYTES, token_texts

TEXT = "def café(x):\n    return '→' \t# 日本"


def test_texts_of_a_byte_level_vocabulary_join_to_the_text():
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    texts = token_texts(tokenizer)
    pieces = [texts[number] for number in tokenizer(TEXT, add_special_tokens=False).input_ids]
    raw = b"".join(_bytes(piece) for piece in pieces)
    assert raw.decode() == TEXT
    assert " return" in pieces or " return" in texts


def _bytes(piece: str) -> bytes:
    """Undo the writing of bytes that are no text."""
    return piece.encode().decode("unicode_escape").encode("latin-1") if piece.startswith("\\x") else piece.encode()


def test_every_byte_has_its_character():
    assert sorted(BYTES.values()) == list(range(256))
    assert BYTES["Ġ"] == 0x20
    assert BYTES["Ċ"] == 0x0A


def test_half_a_character_is_written_as_bytes():
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    arrow = "→".encode()
    names = {byte: character for character, byte in BYTES.items()}
    number = tokenizer.get_vocab()[names[arrow[0]]]
    assert token_texts(tokenizer)[number] == "\\xE2"


@pytest.fixture
def sentencepiece() -> PreTrainedTokenizerFast:
    names = ["<s>", "<0x0A>", "<0xE2>", "▁the", "▁▁", "x", "Ġ"]
    core = Tokenizer(BPE({name: i for i, name in enumerate(names)}, [], byte_fallback=True))
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])  # type: ignore
    core.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")


def test_sentencepiece_writes_spaces_and_bytes_in_its_own_way(sentencepiece: PreTrainedTokenizerFast):
    assert token_texts(sentencepiece) == ["<s>", "\n", "\\xE2", " the", "  ", "x", "Ġ"]
