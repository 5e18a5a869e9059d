"""Names out of somebody's files, as matplotlib and XML can take them."""

LONGEST = 32


def words(name: str) -> str:
    """A name that is drawn as it reads: no mathematics between dollars, no control characters.

    Of a long one the end is kept, which in a dotted path says most.
    """
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    if len(shown) > LONGEST:
        shown = "\N{HORIZONTAL ELLIPSIS}" + shown[1 - LONGEST :]
    return shown.replace("$", r"\$")
