"""Convert every token of a vocabulary to text, byte by byte if need be.

A token of a byte-level vocabulary is a string of bytes and may end inside a character. Bytes that are not valid UTF-8
are written as `\\xE2`, so different tokens have different texts.
"""

import re
from typing import Any

from winnow.errors import UserError

BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_texts(tokenizer: Any) -> list[str]:
    """Return the text of every token by its number; spaces and line ends are unchanged.

    `tokenizer` is a transformers tokenizer. Its vocabulary may be byte-level (GPT-2, Llama 3), sentencepiece with `▁`
    for a space and `<0x0A>` for a byte (Llama 2, Gemma), or WordPiece, whose tokens are left as they are.
    """
    vocabulary = tokenizer.get_vocab()
    if not vocabulary:
        raise UserError(f"{tokenizer}: the tokenizer has no vocabulary")
    names = [""] * (max(vocabulary.values()) + 1)
    for name, number in vocabulary.items():
        names[number] = name
    plain = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)  # left as they are
    by_bytes = _is_byte_level(tokenizer)
    texts = []
    for number, name in enumerate(names):
        if number in plain:
            texts.append(name)
        elif by_bytes:
            texts.append(_from_byte_characters(name))
        elif match := BYTE.fullmatch(name):
            texts.append(_decode(bytes([int(match[1], 16)])))
        else:
            texts.append(name.replace("▁", " "))
    return texts


def _is_byte_level(tokenizer: Any) -> bool:
    """Tell whether tokens are written in GPT-2's 256 byte characters, where Ġ stands for the space."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return "ByteLevel" in f"{backend.decoder!r} {backend.pre_tokenizer!r}"
    return hasattr(tokenizer, "byte_decoder")


def _byte_characters() -> dict[str, int]:
    """Build GPT-2's map from characters to bytes: printable bytes are themselves, the i-th other is chr(256 + i)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


BYTES = _byte_characters()


def _from_byte_characters(name: str) -> str:
    if all(character in BYTES for character in name):
        return _decode(bytes(BYTES[character] for character in name))
    return name


def _decode(data: bytes) -> str:
    """Decode UTF-8; write invalid bytes as `\\xE2`."""
    return "".join(
        f"\\x{ord(character) - 0xDC00:02X}" if 0xDC80 <= ord(character) <= 0xDCFF else character
        for character in data.decode("utf-8", "surrogateescape")
    )
