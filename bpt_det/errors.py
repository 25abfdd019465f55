"""The one kind of error a tool prints as a line instead of a traceback."""


class InputError(ValueError):
    """Input a user can correct; tools print it as one line."""
