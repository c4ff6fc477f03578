"""The one error type for bad input, and how errors are put into one line."""

# Both ends of a long message are kept: the subject stands at the beginning, the expectation often at the end.
_MOST_OF_AN_END = 1000


def one_line(text: str) -> str:
    """A message as one line for a person. The message may quote input, with line ends and of any length."""
    line = " ".join(text.splitlines())
    return line if len(line) <= 2 * _MOST_OF_AN_END else f"{line[:_MOST_OF_AN_END]} … {line[-_MOST_OF_AN_END:]}"


def reason_of(error: BaseException, longest: int = 200) -> str:
    """The reason in another library's error, for use in one of our messages: one line and not too long. If the error
    has no text, the name of its type.

    :param longest: number of characters that are kept.
    """
    return " ".join(str(error).split())[:longest] or type(error).__name__


class DeviceLost(RuntimeError):
    """This process can no longer compute on the device; a new process may be able to."""


class InputError(ValueError):
    """Something that a user or another process supplied cannot be used.

    The message is one line that names the parameter, file or topic and says what was expected.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class NothingLearnt(InputError):
    """A training goes on in vain, and why. Where several are compared, this is a result."""
