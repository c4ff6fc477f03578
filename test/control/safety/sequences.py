"""Sequences of events for the safety gate, as hypothesis draws them and ``tools.safety_search.player`` plays them."""

from hypothesis import strategies as st

REASONS = ("estop", "deadman", "joint states", "tracking", "clock")

numbers = st.floats(-0.3, 0.3) | st.floats(-0.03, 0.03) | st.sampled_from([0.0, 1e3, -1e3, 1e300])
# Steadily in one direction, as a policy does: only so is a limit ever reached.
ways = st.tuples(*[st.sampled_from([0.0, 0.02, -0.02, 0.04, -0.04])] * 3)
turns = st.tuples(*[st.sampled_from([0.0, 0.0, 0.2, -0.2])] * 3)
openings = st.sampled_from([0.0, 0.5, 1.0])
reasons = st.sampled_from(REASONS)

commands = st.tuples(st.just("command"), st.tuples(*[numbers] * 3), st.tuples(*[numbers] * 3), st.floats(0.0, 1.0))
drives = st.tuples(st.just("drive"), ways, turns, openings, st.integers(1, 20))
ticks = st.tuples(st.just("ticks"), st.integers(1, 15))
inhibits = st.tuples(st.just("inhibit"), reasons)
releases = st.tuples(st.just("release"), reasons)
# As a driver says it: at each tick, for as long as the reason holds.
holds = st.tuples(st.just("held"), reasons, st.integers(1, 15))
# What happens while a motion is planned.
interludes = st.lists(st.tuples(st.just("ticks"), st.integers(1, 6)) | inhibits | releases | commands, max_size=3).map(
    tuple
)
slow_commands = st.tuples(
    st.just("slowly"), st.tuples(*[numbers] * 3), st.tuples(*[numbers] * 3), openings, st.integers(0, 5), interludes
)


def _one_joint(most: float) -> st.SearchStrategy[tuple[float, ...]]:
    """A change (6,) of one of the joints, or of all."""
    one = st.tuples(st.integers(0, 5), st.floats(-most, most)).map(
        lambda drawn: tuple(drawn[1] * (joint == drawn[0]) for joint in range(6))
    )
    return one | st.tuples(*[st.floats(-most, most)] * 6)


joint_ways = st.tuples(st.just("way"), _one_joint(0.6), interludes)
yields = st.tuples(st.just("yield"), _one_joint(0.3), st.booleans())
restarts = st.tuples(st.just("restart"), _one_joint(0.05))
hands = st.tuples(st.just("hand"), st.booleans())

event = commands | drives | slow_commands | joint_ways | ticks | inhibits | holds | releases | yields | restarts | hands
# Where everything is let go again: else most commands of a sequence find the arm held.
lets_go = st.just(tuple(("release", reason) for reason in REASONS))
events = st.lists(event.map(lambda one: (one,)) | lets_go, max_size=14).map(
    lambda groups: [one for group in groups for one in group]
)
