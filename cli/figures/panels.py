"""Equal panels in rows, as many as there are things to show."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def rows_of(count: int, across: int) -> int:
    """How many rows they take."""
    return -(-count // across)


def panels(figure: Figure, count: int, across: int) -> list[Axes]:
    """Axes that share their scales; the lowest of every column has its numbers written."""
    rows = rows_of(count, across)
    grid = figure.subplots(rows, across, squeeze=False, sharex=True, sharey=True).flatten()
    for axis in grid[count:]:
        axis.set_axis_off()
    for axis in grid[max(0, count - across) : count]:
        axis.xaxis.set_tick_params(labelbottom=True)
    return list(grid[:count])
