"""Modules as graphs, by `torch.export`, and where modules come from.

Read on in `trace` (the whole way round), `export` (what `torch.export` is asked), `adapted` (any
module as one of a single input and one vector per input), `rewrite` (calls in the forms that sites
know), `checks`; `factory` and `pt2` load modules.
"""
