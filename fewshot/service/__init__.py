"""A detector over HTTP, and one page for those who have a picture and a question; the only importer of FastAPI.

May import everything but the demo and the command line.
"""
