"""The registry of policies: parameters that are passed on, and those that are refused."""

from collections.abc import Callable, Iterator

import pytest

from stvla_ros.errors import InputError
from stvla_ros.policy.registry import check_policy, given_parameters, make_policy

NETWORK = """
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.base import Answer, Policy


class Network(Policy):
    name = "network"

    def __init__(self, checkpoint, unnorm_key="", fallback_unnorm_key=""):
        self.made_with = (checkpoint, unnorm_key, fallback_unnorm_key)

    def predict(self, observation):
        return Answer((EndEffectorAction.hold(1.0),))
"""


@pytest.fixture(autouse=True)
def network(installed: Callable) -> Iterator[None]:
    with installed({"network": NETWORK}, {"policies": {"network": "network:Network"}}):
        yield


def test_what_was_given_is_passed_on_and_fallbacks_where_they_are_taken() -> None:
    made = make_policy("network", {"fallback_unnorm_key": "robot", "no_such": 1}, checkpoint="here", unnorm_key="mine")
    assert made.made_with == ("here", "mine", "robot")
    assert make_policy("expert", {"fallback_unnorm_key": "robot"}).name == "expert"


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "nobody",
            {},
            (
                "policy: expected one of expert, random, stvla, network or a place like my_package.my_module:MyPolicy, "
                "got 'nobody'"
            ),
        ),
        ("expert", {"checkpoint": "x"}, "policy expert: takes no checkpoint; it takes no parameters"),
        (
            "network",
            {"checkpoint": "x", "device": "cpu"},
            "policy network: takes no device; it takes checkpoint, fallback_unnorm_key, unnorm_key",
        ),
        ("network", {}, "policy network: needs a checkpoint"),
    ],
)
def test_what_a_policy_does_not_take_or_lacks_is_told_before_it_is_made(
    name: str, parameters: dict, message: str
) -> None:
    for attempt in (lambda: make_policy(name, **parameters), lambda: check_policy(name, parameters)):
        with pytest.raises(InputError) as raised:
            attempt()
        assert str(raised.value) == message


def test_defaults_are_not_given() -> None:
    assert given_parameters("own", "{}") == {}
    assert given_parameters("own", "{seed: 3}", "dir", "cuda:1", "bfloat16", "key") == {
        "seed": 3,
        "checkpoint": "dir",
        "device": "cuda:1",
        "dtype": "bfloat16",
        "unnorm_key": "key",
    }


@pytest.mark.parametrize(
    ("own", "texts", "message"),
    [
        ("[1]", {}, "own: expected a YAML mapping"),
        ("{checkpoint: x}", {}, "own: checkpoint has an argument of its own"),
        ("{}", {"device": "gpu"}, "device: expected auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("{}", {"device": "cuda:"}, "device: expected auto, cpu, cuda or cuda:N, got 'cuda:'"),
        ("{}", {"dtype": "int8"}, "dtype: expected one of auto, float32, float16, bfloat16, got 'int8'"),
    ],
)
def test_a_bad_parameter_is_one_line_that_names_it(own: str, texts: dict, message: str) -> None:
    with pytest.raises(InputError) as raised:
        given_parameters("own", own, **texts)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
