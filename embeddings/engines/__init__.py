"""Where extraction runs, one engine per file: this machine, or a cluster."""
