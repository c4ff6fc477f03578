"""What is handed in may be anything; the line about it stays one, and of a length that a person reads."""

from stvla_ros.errors import InputError, reason_of


def test_a_message_with_line_ends_is_one_line() -> None:
    assert str(InputError("file a\nb: expected words")) == "file a b: expected words"


def test_of_a_message_of_any_length_both_ends_are_kept() -> None:
    text = str(InputError(f"file {'9' * 100_000}: expected words"))
    assert len(text) < 2100
    assert text.startswith("file 999") and text.endswith("9: expected words")


def test_another_librarys_error_is_one_short_line() -> None:
    assert reason_of(ValueError("bad\n  header\tat 3")) == "bad header at 3"
    assert reason_of(ValueError("9" * 1000)) == "9" * 200
    assert reason_of(KeyboardInterrupt()) == "KeyboardInterrupt"
