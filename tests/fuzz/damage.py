"""Damage to one file: bytes flipped, zeroed, cut and added, the file gone, values of JSON replaced."""

import json
import random
from pathlib import Path
from typing import Any

WRONG: tuple[Any, ...] = (None, [], {}, "x", "", True, -1, 0, 1, 2.5, 1e308, 10**30, [None], {"x": 1}, "\ud800")
WHOLE = (b"", b"null", b"[]", b'"x"', b"{}", b"{", b"\xff\xfe", b"[" * 5000, b"1e999", b"\x00" * 64, b"9" * 5000)


def damage(path: Path, content: bytes, dice: random.Random) -> str:
    """Write a damaged form of `content` to a file, or delete it; return in words what was done."""
    kinds = ["flip", "flip", "bytes", "zero", "cut", "add", "whole"] + ["gone"] * (dice.random() < 0.3)
    if path.suffix in (".json", ".jsonl"):
        kinds += ["value"] * 8
    kind = dice.choice(kinds)
    at = dice.randrange(len(content) or 1)
    match kind:
        case "gone":
            path.unlink()
            return "gone"
        case "whole":
            new = dice.choice(WHOLE)
            said = f"replaced by {new[:12]!r}"
        case "cut":
            new, said = content[:at], f"cut at {at}"
        case "add":
            new, said = content + bytes(dice.randrange(256) for _ in range(9)), "nine bytes more"
        case "zero":
            size = dice.choice((1, 8, 64))
            new, said = content[:at] + b"\x00" * min(size, len(content) - at) + content[at + size :], f"zeros at {at}"
        case "bytes":
            changed = bytearray(content)
            places = [dice.randrange(len(content) or 1) for _ in range(4)]
            for place in places:
                changed[place : place + 1] = bytes([dice.randrange(256)])
            new, said = bytes(changed), f"bytes at {places}"
        case "value":
            new, said = _with_other_value(content, path.suffix == ".jsonl", dice)
        case _:
            bit = dice.randrange(8)
            changed = bytearray(content)
            changed[at : at + 1] = bytes([content[at] ^ 1 << bit]) if content else b"x"
            new, said = bytes(changed), f"bit {bit} of byte {at}"
    path.write_bytes(new)
    return said


def _with_other_value(content: bytes, lines: bool, dice: random.Random) -> tuple[bytes, str]:
    """Replace or remove one value of JSON, however deep, or move a number a little."""
    every = content.decode().splitlines() if lines else [content.decode()]
    number = dice.randrange(len(every))
    whole = {"": json.loads(every[number])}
    places = list(_places(whole))
    owner, key = dice.choice(places)
    before = owner[key]
    if dice.random() < 0.15 and key != "":
        del owner[key]
        said = f"{key!r} removed"
    else:
        near = [before + 1, before * 2, -before] if type(before) in (int, float) else []
        options = [value for value in (*near, *WRONG) if value != before or type(value) is not type(before)]
        owner[key] = dice.choice(options)
        said = f"{key!r} = {str(owner[key])[:20]!r}"
    every[number] = json.dumps(whole[""], indent=None if lines else 1)
    return "".join(f"{line}\n" for line in every).encode(), said


def _places(owner: Any):
    for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
        yield owner, key
        if isinstance(owner[key], dict | list):
            yield from _places(owner[key])
