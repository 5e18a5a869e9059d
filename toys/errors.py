"""What goes wrong with a toy."""


class ToyError(Exception):
    """An unknown name, a toy whose parts disagree, or a directory that does not hold one."""
