"""A blank figure, and the colours to draw with."""

from matplotlib.figure import Figure

# Okabe and Ito 2008, told apart by people with any kind of colour vision; without the yellow,
# which white paper swallows.
BLACK, BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = COLOURS = (
    *("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
)
GREY = "#767676"
AMOUNTS, SIGNED = "Blues", "PuOr_r"


def sheet(width: float, height: float, title: str) -> Figure:
    """A white figure of a size in inches, under a title."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=12)
    return figure
