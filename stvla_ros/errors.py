"""The one error type for bad input."""


class InputError(ValueError):
    """Something that a user or another process handed in cannot be used.

    The message is one line that names the parameter, file or topic and says what was expected.
    """

    def __init__(self, message: str) -> None:
        # What was handed in may be part of it, with its line ends.
        super().__init__(" ".join(message.splitlines()))
