"""The one error type for bad input, and how errors are put into one line."""

# Of a long message both ends are kept: what it is about stands at the beginning, what was expected often at the end.
_MOST_OF_AN_END = 1000


def one_line(text: str) -> str:
    """A message as one line that a person reads: what was handed in may be part of it, with its line ends, and of any
    length.
    """
    line = " ".join(text.splitlines())
    return line if len(line) <= 2 * _MOST_OF_AN_END else f"{line[:_MOST_OF_AN_END]} … {line[-_MOST_OF_AN_END:]}"


def reason_of(error: BaseException, longest: int = 200) -> str:
    """What another library's error says, to be put into one of ours: in one line and not too long; its type's name
    where it says nothing.

    :param longest: characters that are kept.
    """
    return " ".join(str(error).split())[:longest] or type(error).__name__


class DeviceLost(RuntimeError):
    """The device that computes is of no more use to this process; a new process may find it well."""


class InputError(ValueError):
    """Something that a user or another process handed in cannot be used.

    The message is one line that names the parameter, file or topic and says what was expected.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
