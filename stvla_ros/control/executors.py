"""The executor of each execution, see ``chunk_execution`` and ``anchored_execution``."""

from stvla_ros.control.anchored_execution import AnchoredExecutor
from stvla_ros.control.caps import Caps
from stvla_ros.control.chunk_execution import ENSEMBLED_CHUNKS, EXECUTIONS, ChunkExecutor
from stvla_ros.control.latency_prediction import LatencyPrediction

Executor = ChunkExecutor | AnchoredExecutor


def make_executor(
    execution: str,
    period: int,
    max_age: int = 0,
    caps: Caps = Caps(),
    latency: LatencyPrediction | None = None,
    chunks: int = ENSEMBLED_CHUNKS,
) -> Executor:
    """
    :param execution: name in ``EXECUTIONS``.
    :param period: control period, ns.
    :param max_age: oldest observation that is acted on, ns; 0 for any.
    :param caps: what one command may move at most, where commands are made of several actions.
    :param latency: of the answers; None where the world waits for them.
    :param chunks: how many of the last chunks have a say, where several have.
    :raises InputError: for an unknown execution, or a number of chunks that is none.
    """
    if execution in EXECUTIONS and EXECUTIONS[execution].anchored:
        return AnchoredExecutor(period, max_age, caps, latency, averages=execution == "anchored_mean", chunks=chunks)
    return ChunkExecutor(execution, period, max_age, chunks)
