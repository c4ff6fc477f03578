"""A bench that is a command of its own and takes the arguments of `stvla eval`."""

import sys
from collections.abc import Callable
from typing import NoReturn

import tyro

from stvla_ros.errors import InputError
from stvla_ros.evaluation.plan import EvalArguments, Evaluation, plan_evaluation


def run_command(name: str, run: Callable[[EvalArguments, Evaluation], int]) -> NoReturn:
    """Run it with the arguments of this process, and end the process.

    :param name: name of the command.
    :param run: function that runs the planned evaluation and returns the exit code.
    """
    try:
        arguments = tyro.cli(EvalArguments, prog=name)
        sys.exit(run(arguments, plan_evaluation(arguments)))
    except InputError as error:
        sys.exit(f"{name}: {error}")
