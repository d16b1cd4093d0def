"""Containers told by a file's first bytes, and nothing else of it."""

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"BM": "BMP",
    b"P5": "PPM",
    b"P6": "PPM",
}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})


def container_of(encoded: bytes) -> str:
    """Return the container that a file begins like, named as Pillow names it; empty when none of them.

    >>> container_of(b"GIF89a..."), container_of(b"a text")
    ('GIF', '')
    """
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WEBP"
    if encoded[4:8] == b"ftyp":
        brand = encoded[8:12]
        return "AVIF" if brand in (b"avif", b"avis") else "HEIF" if brand in _HEIF_BRANDS else ""
    return next((name for start, name in _SIGNATURES.items() if encoded.startswith(start)), "")
