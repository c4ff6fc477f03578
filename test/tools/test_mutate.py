"""The mutations of `make mutate`: what is changed, that it is the same change again, and that weak tests show."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "mutate"
sys.path.append(str(TOOL))

from nearest import NearestTests  # noqa: E402
from sites import Mutation, mutations_of  # noqa: E402

CODE = '''"""Text with 1 < 2."""
LIMIT: int = 3


def clamped(value: float, low: float = 0.0) -> float:
    """Not `and`, not `or`."""
    if value < low and value is not None:
        raise ValueError(f"expected at least {low + 1}")
    print("told", value + 1)
    return min(value, LIMIT) if value else low


def scaled(value: float) -> float:
    return 2 * value
'''
TEST = """from stvla_ros.things.numbers import clamped, scaled


def test_clamped():
    assert clamped(2.0) == 2.0


def test_scaled():
    assert scaled(3.0) == 6.0
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one module and its test."""
    for name, content in (("stvla_ros/things/numbers.py", CODE), ("test/things/test_numbers.py", TEST)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\naddopts = -q -p no:cacheprovider\n")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def mutations(checkout: Path) -> list[Mutation]:
    return mutations_of(checkout, "stvla_ros/things/numbers.py")


def test_each_is_one_change_of_a_line_that_is_still_python(checkout: Path) -> None:
    found = mutations(checkout)
    for mutation in found:
        mutated = mutation.apply(CODE.encode()).decode()
        ast.parse(mutated)
        changed = [n for n, (a, b) in enumerate(zip(CODE.splitlines(), mutated.splitlines()), start=1) if a != b]
        assert changed == [mutation.line]
    assert {mutation.kind for mutation in found} >= {
        "comparison",
        "and/or",
        "condition dropped",
        "constant",
        "branch",
        "call",
        "operator",
        "statement",
    }


def test_texts_messages_and_annotations_are_left_alone(checkout: Path) -> None:
    assert not {mutation.line for mutation in mutations(checkout)} & {1, 6, 9}
    assert {m.new for m in mutations(checkout) if m.line == 8} == {"pass"}


def test_a_mutation_keeps_its_key_when_lines_come_before_it(checkout: Path) -> None:
    before = [mutation.key for mutation in mutations(checkout)]
    assert len(set(before)) == len(before)
    (checkout / "stvla_ros/things/numbers.py").write_text("\n# More.\n" + CODE)
    assert [mutation.key for mutation in mutations(checkout)] == before


def test_the_nearest_tests_import_the_file_or_what_imports_it(checkout: Path) -> None:
    (checkout / "stvla_ros/things/user.py").write_text("from stvla_ros.things import numbers\n")
    for name, imported in (("user", "stvla_ros.things.user"), ("other", "stvla_ros.elsewhere")):
        (checkout / f"test/things/test_{name}.py").write_text(f"import {imported}\n")
    nearest = NearestTests(checkout)
    assert nearest.of("stvla_ros/things/numbers.py") == ["test/things/test_numbers.py", "test/things/test_user.py"]
    assert nearest.of("stvla_ros/things/user.py") == ["test/things/test_user.py"]


SMALL = """def scaled(value):
    return 2 * value


def refused(value):
    if value < 0:
        raise ValueError
"""
WEAK = """from stvla_ros.things.numbers import refused, scaled


def test_scaled():
    assert scaled(3) == 6


def test_refused():
    refused(5)
"""
BETTER = """

def test_what_is_refused():
    import pytest

    refused(0)
    with pytest.raises(ValueError):
        refused(-1)
"""


def run(checkout: Path, *arguments: str) -> str:
    # Without the heavy libraries, which these tests do not need.
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(TOOL)!r}); import runs; runs._HEAVY = ('pytest', 'hypothesis')\n"
    )
    program += f"sys.argv[1:] = {['--root', str(checkout), *arguments, 'stvla_ros/things']!r}\n"
    program += f"runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_what_no_test_sees_survives_and_a_better_test_sees_it(checkout: Path) -> None:
    module, test = checkout / "stvla_ros/things/numbers.py", checkout / "test/things/test_numbers.py"
    module.write_text(SMALL)
    test.write_text(WEAK)
    said = run(checkout)
    results = json.loads((checkout / "out/mutations.json").read_text()).values()
    assert {each["outcome"] for each in results if ":2 " in each["mutation"]} == {"killed"}
    survived = [each["mutation"] for each in results if each["outcome"] == "survived"]
    assert "stvla_ros/things/numbers.py:7 [statement] raise ValueError → pass" in survived
    assert all(f"survived: {each}" in said for each in survived)
    assert f"{len(results)} mutations, {len(results) - len(survived)} seen, {len(survived)} not" in said
    assert module.read_text() == SMALL
    test.write_text(WEAK + BETTER)
    assert "survived" not in run(checkout, "--survivors")
