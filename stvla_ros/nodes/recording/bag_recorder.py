"""Node ``bag_recorder``: writes the graph's topics into a rosbag2 bag (MCAP), as serialized messages."""

import threading
import time
from collections import deque
from typing import NamedTuple

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from stvla_ros.atomic_files import why_not_written
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.any_topic import is_hidden, load_type, matching_qos, only_type
from stvla_ros.nodes.kit.base import StvlaNode, run
from stvla_ros.recordings.bag import INSTRUCTION, ROLES
from stvla_ros.recordings.bag_writer import BagWriter
from stvla_ros.safe_files import check_instruction

DISCOVERY_PERIOD_S = 0.2
# A second of a usual camera: what may arrive while the executor is busy with another topic.
SUBSCRIPTION_DEPTH = 30
_MEGABYTE = 1_000_000
# Topics of the root that are those of all namespaces.
_EVERYBODYS = ("/tf", "/tf_static", "/clock", "/diagnostics", "/rosout", "/estop")
# Topics of a graph that may have names outside its namespace.
_REMAPPED = (*ROLES, "joint_states", "robot_description")
# What a killed recorder loses at most.
FLUSH_PERIOD_S = 1.0


class _Topic(NamedTuple):
    name: str
    type_name: str
    qos: QoSProfile


class _Received(NamedTuple):
    topic: _Topic
    time_ns: int
    arrived: float
    cdr: bytes


class BagRecorderNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("bag_recorder")
        self._output = self.parameter("output", "", "folder of the new bag")
        topics = self.parameter(
            "topics", [""], "topics to record; empty: all that are not hidden; in a namespace, its own and everybody's"
        )
        self._wanted = {self.resolve_topic_name(topic) for topic in topics if topic}
        excluded = self.parameter("exclude_topics", [""], "topics that are never recorded, even if topics lists them")
        self._excluded = {self.resolve_topic_name(topic) for topic in excluded if topic}
        self._instruction = self.parameter("instruction", "", "the run's instruction, for the bag; empty: none")
        self._queue_mb = self.parameter("queue_mb", 256, "megabytes that may wait for the disk", low=1, high=100_000)
        self.exit_code: int | None = None
        self._recorded: set[str] = set()
        self._refused: set[str] = set()
        self._thread: _WriterThread | None = None

    def configure(self) -> None:
        if not self._output:
            raise InputError("parameter output: expected a folder for the new bag, got nothing")
        # As this node is remapped, so is the graph.
        run = {role: self.resolve_topic_name(role) for role in ROLES}
        if self._instruction.strip():
            run[INSTRUCTION] = check_instruction(self._instruction, "parameter instruction")
        self._thread = _WriterThread(self, BagWriter(self._output, run), self._queue_mb * _MEGABYTE)
        self.every(DISCOVERY_PERIOD_S, lambda: self._discover() if self.is_active else None)

    def activate(self) -> None:
        self.on_stop_inputs(self._recorded.clear)
        self._discover()

    def cleanup(self) -> None:
        if self._thread:
            print(self._thread.close(), flush=True)
            self._thread = None

    def fail(self, message: str) -> None:
        """End the process, since nothing more can be recorded."""
        self.reject("bag", message)
        self.exit_code = 1

    def extra_diagnostics(self) -> dict[str, object]:
        missing = sorted(self._wanted - self._excluded - self._recorded - self._refused)
        return {"topics": len(self._recorded), "waiting for": ", ".join(missing) or "nothing"}

    # --- topics ---------------------------------------------------------------------------------------------------

    def _discover(self) -> None:
        """Subscribe to topics that have a publisher by now."""
        for name, types in self.get_topic_names_and_types():
            if name in self._recorded or name in self._refused:
                continue
            if name in self._excluded or not (name in self._wanted if self._wanted else self._is_ours(name)):
                continue
            publishers = self.get_publishers_info_by_topic(name)
            if publishers:
                try:
                    self._record(_Topic(name, only_type(name, types), matching_qos(publishers, SUBSCRIPTION_DEPTH)))
                    self._recorded.add(name)
                except InputError as error:
                    self._refused.add(name)
                    self.reject("topic", str(error))

    def _is_ours(self, name: str) -> bool:
        """Whether a topic is recorded that nobody named: in a namespace those of other robots are not."""
        if is_hidden(name):
            return False
        own = self.get_namespace().rstrip("/")
        # As this node is remapped, so is the graph: its camera may stand outside.
        return name.startswith(f"{own}/") or name in _EVERYBODYS or name in map(self.resolve_topic_name, _REMAPPED)

    def _record(self, topic: _Topic) -> None:
        message_type = load_type(topic.name, topic.type_name)
        self._thread.add_topic(topic)

        def received(cdr: bytes) -> None:
            self.stage.received()
            self._thread.submit(_Received(topic, self.now_ns(), time.monotonic(), cdr))

        subscription = self.create_subscription(message_type, topic.name, received, topic.qos, raw=True)
        self.on_stop_inputs(lambda: self.destroy_subscription(subscription))


class _WriterThread:
    """Owns the bag. A full queue drops its oldest message; closing writes the waiting ones."""

    def __init__(self, node: BagRecorderNode, bag: BagWriter, queue_bytes: int) -> None:
        self._node = node
        self._bag = bag
        self._bag_lock = threading.Lock()
        self._queue: deque[_Received] = deque()
        self._queue_bytes = queue_bytes
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._flush_at = 0.0
        self._thread = threading.Thread(target=self._run, name="bag_writer", daemon=True)
        self._thread.start()

    def add_topic(self, topic: _Topic) -> None:
        """:raises InputError: when the type's definition cannot be found."""
        with self._bag_lock:
            if topic.name not in self._bag.topics:  # it is there already when the node was deactivated in between
                self._bag.add_topic(
                    topic.name,
                    topic.type_name,
                    reliable=topic.qos.reliability == ReliabilityPolicy.RELIABLE,
                    latched=topic.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL,
                )

    def submit(self, message: _Received) -> None:
        dropped = 0
        with self._changed:
            self._queue.append(message)
            self._waiting_bytes += len(message.cdr)
            while self._waiting_bytes > self._queue_bytes and len(self._queue) > 1:
                self._waiting_bytes -= len(self._queue.popleft().cdr)
                dropped += 1
            self._changed.notify()
        self._node.stage.dropped("disk too slow", dropped)

    def close(self) -> str:
        """Write the waiting messages, then the index. :return: one line about the bag's content."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        with self._bag_lock:
            try:
                self._bag.close()
            except OSError as error:
                why = why_not_written(error, self._bag.folder)
                return f"bag {self._bag.folder}: incomplete, its index cannot be written ({why})"
        return f"bag {self._bag.folder}: {self._bag.messages} messages of {len(self._bag.topics)} topics recorded"

    def _run(self) -> None:
        # With simulated time, latched messages arrive before the clock starts: they belong to its first moment. A bag
        # that starts at zero would be played for decades.
        early: list[_Received] = []
        try:
            while message := self._next():
                if message.time_ns == 0:
                    early.append(message)
                    continue
                while early:
                    self._write(early.pop(0), message.time_ns)
                self._write(message, message.time_ns)
            for message in early:
                self._write(message, 0)
        except OSError as error:
            why = why_not_written(error, self._bag.folder)
            self._node.fail(f"bag {self._bag.folder}: cannot be written ({why}); what was written before is kept")

    def _next(self) -> _Received | None:
        """The oldest waiting message; None when closing and all are written."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            message = self._queue.popleft()
            self._waiting_bytes -= len(message.cdr)
            return message

    def _write(self, message: _Received, time_ns: int) -> None:
        started = time.monotonic()
        with self._bag_lock:
            self._bag.write(message.topic.name, time_ns, message.cdr)
            if started > self._flush_at:
                self._flush_at = started + FLUSH_PERIOD_S
                self._bag.flush()
        self._node.stage.published(started - message.arrived, time.monotonic() - started)


def main() -> None:
    run(BagRecorderNode)


if __name__ == "__main__":
    main()
