"""A policy named by where it stands, without a package: `--policy my_module:MyPolicy`."""

from pathlib import Path

import pytest

from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.errors import InputError
from stvla_ros.policy.registry import POLICIES, check_policy, make_policy

MODULE = """
from stvla_ros.policy.base import Answer, Policy


class Own(Policy):
    name = "own"

    def __init__(self, checkpoint: str = "", speed: float = 1.0) -> None:
        self.speed = speed

    def predict(self, observation):
        return Answer(())


NO_POLICY = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working directory, which a console script does not have on its path."""
    (tmp_path / "a_place_of_mine.py").write_text(MODULE)
    (tmp_path / "a_broken_place.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])


def test_a_policy_is_found_where_it_stands() -> None:
    check_policy("a_place_of_mine:Own", {"speed": 2.0})
    assert make_policy("a_place_of_mine:Own", speed=2.0).speed == 2.0
    with pytest.raises(InputError, match="^policy a_place_of_mine:Own: takes no sped; it takes checkpoint, speed"):
        check_policy("a_place_of_mine:Own", {"sped": 2.0})


def test_it_is_evaluated_with_its_parameters_and_a_label_of_its_own() -> None:
    policy = parse_policy("a_place_of_mine:Own?speed=0.5,execution=chunk")
    assert (policy.label, policy.policy, policy.parameters) == ("Own", "a_place_of_mine:Own", {"speed": 0.5})
    assert parse_policy("mine=a_place_of_mine:Own:my/weights").checkpoint == "my/weights"


def test_a_name_before_the_colon_stays_a_name() -> None:
    assert parse_policy("stvla:small").policy == "stvla" and not POLICIES.knows("stvla:small")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("a_place_of_mine:Nobody", "cannot be imported (AttributeError: "),
        ("no_such_place:Own", "cannot be imported (ModuleNotFoundError: No module named 'no_such_place')"),
        ("a_broken_place:Own", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("a_place_of_mine:NO_POLICY", "expected a subclass of Policy with predict, got 3"),
    ],
)
def test_what_cannot_be_used_is_one_line(place: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        check_policy(place, {})
    assert str(refused.value).startswith(f"policy {place}: {said}")


def test_other_things_have_names_only() -> None:
    with pytest.raises(InputError, match="^policy: expected one of expert, random, stvla or a place like my_package"):
        POLICIES.check("Own")
