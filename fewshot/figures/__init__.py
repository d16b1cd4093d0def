"""Figures of results, one kind per file: arrays or report rows in, a matplotlib figure out; nothing is shown."""
