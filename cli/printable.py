"""Text from elsewhere, such as names in a file, that a terminal can be given."""


def printable(text: str) -> str:
    """The text with whatever cannot be printed spelt out: escape sequences, line breaks, ..."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
