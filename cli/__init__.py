"""The command line: composes apd, mad and toys, prints, reads argv and picks directories.

One file per command; `main` is the console script and their table.
"""
