"""The command line: composes apd, mad and toys, prints, reads argv and picks directories.

One file per command: `train`, `score`, `inspect`, `toy`; `main` is the console script.
"""
