"""`stvla eval` on the scripted world, in a process of its own: python run_scripted.py TASKS OUTPUT WORKERS."""

import sys
from pathlib import Path

from scripted_environment import EPISODES, make_scripted

from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.evaluation.evaluate import run_evaluation, write_results
from stvla_ros.evaluation.plan import EvalArguments, Evaluation


def main() -> None:
    tasks, output, workers = sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])
    policies = (parse_policy("expert"), parse_policy("random"))
    evaluation = Evaluation(policies, tuple(tasks), dict.fromkeys(tasks, EPISODES), (0, 1), until_limit=True)
    arguments = EvalArguments(output=output, workers=workers)
    results, failed = run_evaluation(evaluation, arguments, make_scripted)
    write_results(evaluation, results, Path(output))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
