"""One self-contained HTML page of any reports: nothing is loaded from elsewhere, and everything on it is escaped.

May import: figures, results, audit, embeddings, core.
"""
