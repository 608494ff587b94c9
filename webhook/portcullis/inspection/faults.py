"""Why a package database cannot be read."""


class DatabaseFault(Exception):
    """The text goes on after the name of the file: "ends in the middle of a header"."""
