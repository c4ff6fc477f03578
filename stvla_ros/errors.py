"""The one error type for bad input."""


class InputError(ValueError):
    """Something that a user or another process handed in cannot be used.

    The message is one line that names the parameter, file or topic and says what was expected.
    """
