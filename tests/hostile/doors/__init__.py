"""The doors at which files of other programs come in, one module each, for ``tests/hostile/fuzz.py``.

A module ``NAME.py`` here defines::

    def originals(folder: Path) -> list[Path]:  # sound files made on the spot, small; each is damaged in turn
    def enter(path: Path) -> None:  # reads the damaged file as users' commands do; may raise FewshotError only

``enter`` gets a copy of one original, damaged, under the original's file name in a folder of its own.
"""
