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
    :param execution: name of the execution, one of ``EXECUTIONS``.
    :param period: control period, ns.
    :param max_age: largest age of an observation that is acted on, ns; 0 for any.
    :param caps: largest motion of one command, for commands that combine several actions.
    :param latency: prediction of the answers' latency; None if the world waits for them.
    :param chunks: number of the last chunks that are averaged, in executions that average.
    :raises InputError: for an unknown execution, or an impossible number of chunks.
    """
    if execution in EXECUTIONS and EXECUTIONS[execution].anchored:
        return AnchoredExecutor(period, max_age, caps, latency, averages=execution == "anchored_mean", chunks=chunks)
    return ChunkExecutor(execution, period, max_age, chunks)
