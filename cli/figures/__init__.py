"""The papers' figures of a run, as SVG files (APD, arXiv 2501.14926; SPD, arXiv 2506.20790).

table       every figure by name: when it applies, and what draws it
subject     what is drawn: a run, its detector, the toy it came from, inputs and their active sets
panels      several in one figure
losses, vectors, neurons, scrubbed, features, responses, usage
            one figure each: `missing` says why there is none, `draw` makes it
known       which toys have an output for every input, and who owns the weights between
alone       which inputs exercise one mechanism and no other
sheet       a blank figure and its colours
words       names out of somebody's files, made safe to print
powers      axes over many powers of ten
svg         a figure as the bytes of a file
folder      files in a directory, all of them or none
written     all of it: from a subject to files, and what is said of each

Nothing here is imported before figures are asked for: matplotlib is optional and takes a second.
"""
