"""``python -m fewshot``: the same as the command ``fewshot``."""

from fewshot.cli import main

main()
