"""Check: the entry points of other packages."""

from stvla_ros.doctor.findings import Findings, error, ok, warning
from stvla_ros.errors import InputError
from stvla_ros.perception.depth import DEPTH_ESTIMATORS
from stvla_ros.perception.trackers import TRACKERS
from stvla_ros.plugins import Registry, entry_point_text, other_groups
from stvla_ros.policy.families import FAMILIES
from stvla_ros.policy.registry import POLICIES
from stvla_ros.robots.drivers import DRIVERS
from stvla_ros.sim.simulators import SIMULATORS
from stvla_ros.sim.tasks import task_names

REGISTRIES: tuple[Registry, ...] = (FAMILIES, POLICIES, TRACKERS, DEPTH_ESTIMATORS, SIMULATORS, DRIVERS)


def check_entry_points() -> Findings:
    """Import each entry point. Any failure is an error of its own."""
    count = 0
    for registry in REGISTRIES:
        for point in registry.entry_points():
            count += 1
            try:
                registry.check(point.name)
                if registry is SIMULATORS:
                    task_names(point.name)
            except InputError as problem:
                yield error(str(problem), "mend, update or remove the package that the line names")
            else:
                yield ok(f"{registry.kind} {point.name}: {entry_point_text(point)}")
    groups = [registry.group for registry in REGISTRIES]
    for point in other_groups(groups):
        yield warning(f"{entry_point_text(point)}: nothing looks into this group", f"name one of {', '.join(groups)}")
    if not count:
        yield ok("no other package adds anything")
