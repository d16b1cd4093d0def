"""Damage to files, drawn from a seed: flipped bits, cuts, holes, repeats, foreign bytes and forged numbers."""

import random
import struct

INTERESTING = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
TOKENS = (
    b"\0",
    b"NaN",
    b"null",
    b"-1",
    b"1e999",
    b"[" * 1000,
    b'{"a":' * 1000,
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"../",
    b"true",
)


def flip_bit(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` with one bit flipped."""
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Return the beginning of ``content``."""
    return content[: rng.randrange(len(content))]


def hole(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` with a stretch of zeros."""
    start, length = rng.randrange(len(content)), rng.choice((1, 8, 64, 512, 8192))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def without(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` with a stretch taken out."""
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 2, 8, 64, 512)) :]


def repeated(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` with a stretch doubled."""
    start, length = rng.randrange(len(content)), rng.choice((1, 8, 64, 512))
    return content[: start + length] + content[start:]


def forged_number(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` with an integer of 1, 2, 4 or 8 bytes replaced by one that breaks sizes and counts."""
    code, size = rng.choice((("B", 1), ("H", 2), ("I", 4), ("Q", 8)))
    value = rng.choice(INTERESTING) & ((1 << 8 * size) - 1)
    start = rng.randrange(max(1, len(content) - size))
    return content[:start] + struct.pack(rng.choice("<>") + code, value) + content[start + size :]


def foreign_token(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` with text inserted that parsers stumble over."""
    start = rng.randrange(len(content))
    return content[:start] + rng.choice(TOKENS) + content[start + rng.choice((0, 0, 1, 4)) :]


KINDS = (flip_bit, flip_bit, cut, hole, without, repeated, forged_number, foreign_token)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return ``content`` damaged one to four times."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if content:
            content = rng.choice(KINDS)(content, rng)
    return content
