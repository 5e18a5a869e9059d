"""How components are found: what is minimised, for how many of them, and by what steps.

Read on in `train` (one step, top to bottom), `losses`, `objectives` (how few components are asked
for), `sparsity` (how many those are), `state` (what the next step depends on), `gradient`,
`optimiser`.
"""
