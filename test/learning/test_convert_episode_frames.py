import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.bags.frames import RecordedEpisode, compose, keep_frames, resample_frames

MILLISECOND = 1_000_000


def make_action(seed: int) -> EndEffectorAction:
    random = np.random.default_rng(seed)
    return EndEffectorAction(random.normal(size=3), random.normal(size=3), float(random.integers(2)))


def make_episode(times_ms: list[int], answered: list[bool] | None = None, fps: float = 0.0) -> RecordedEpisode:
    times = np.array(times_ms, np.int64) * MILLISECOND
    actions = [make_action(seed) if answered is None or answered[seed] else None for seed in range(len(times))]
    return RecordedEpisode("episode", 10**18 + times, times, actions, "stack", fps)


def pose_after(actions: list[EndEffectorAction]) -> tuple[np.ndarray, np.ndarray]:
    """Where the tool ends up (base frame): the meaning of EndEffectorAction, applied one by one."""
    place, turn = np.zeros(3), np.eye(3)
    for action in actions:
        place = place + action.translation
        turn = Rotation.from_rotvec(action.rotation).as_matrix() @ turn
    return place, turn


episodes = st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=12).filter(
    lambda steps: any(answered for _, answered in steps)
)


@given(steps=episodes, fps=st.floats(0.5, 60.0))
def test_resampling_keeps_the_whole_motion(steps: list[tuple[int, bool]], fps: float) -> None:
    times = np.cumsum([step for step, _ in steps]).tolist()
    episode = make_episode(times, [answered for _, answered in steps])

    chosen = resample_frames(episode, fps)

    place, turn = pose_after([action for action in episode.actions if action is not None])
    new_place, new_turn = pose_after(chosen.actions)
    np.testing.assert_allclose(new_place, place, atol=1e-9)
    np.testing.assert_allclose(new_turn, turn, atol=1e-9)
    assert chosen.actions[-1].gripper == [action for action in episode.actions if action is not None][-1].gripper


@given(steps=episodes, fps=st.floats(0.5, 60.0))
def test_each_tick_has_the_newest_frame_until_then(steps: list[tuple[int, bool]], fps: float) -> None:
    times = np.cumsum([step for step, _ in steps]).tolist()
    episode = make_episode(times, [answered for _, answered in steps])

    chosen = resample_frames(episode, fps)

    first = next(time for time, (_, answered) in zip(episode.times, steps) if answered)
    for tick, stamp in zip(chosen.stamps, chosen.recorded):
        taken = episode.times[np.flatnonzero(episode.stamps == stamp)[0]]
        later = episode.times[episode.times > taken]
        assert taken <= first + tick + 1
        assert not len(later) or later[0] > first + tick
    np.testing.assert_allclose(np.diff(chosen.stamps), 1e9 / fps, atol=1)


@given(steps=episodes, fps=st.floats(0.5, 60.0))
def test_every_frame_is_used_or_counted(steps: list[tuple[int, bool]], fps: float) -> None:
    times = np.cumsum([step for step, _ in steps]).tolist()
    episode = make_episode(times, [answered for _, answered in steps])

    chosen = resample_frames(episode, fps)

    counted = {reason.split(" at ")[0]: count for reason, count in chosen.remarks.items()}
    used = len(set(chosen.recorded.tolist()))
    left = counted.get("frames left out, before the first or after the last command", 0)
    assert used + left + counted.get("frames merged into others", 0) == len(times)
    assert used + counted.get("frames repeated", 0) == len(chosen.recorded)


def test_resampling_at_the_recorded_rate_changes_nothing() -> None:
    episode = make_episode([0, 200, 400, 600])

    chosen = resample_frames(episode, 5.0)

    assert chosen.recorded.tolist() == episode.stamps.tolist()
    assert chosen.actions == list(episode.actions)
    assert not chosen.remarks


def test_a_repeated_frame_holds_with_the_same_opening() -> None:
    episode = make_episode([0, 200, 400])

    chosen = resample_frames(episode, 10.0)

    assert [index for index, action in enumerate(chosen.actions) if not action.translation.any()] == [1, 3]
    assert chosen.actions[1].gripper == episode.actions[0].gripper
    assert chosen.remarks == {"frames repeated at 10 Hz": 2}


def test_turns_are_put_together_in_the_base_frame() -> None:
    quarter = np.pi / 2
    about_x = EndEffectorAction(np.zeros(3), np.array([quarter, 0, 0]), 1.0)
    about_z = EndEffectorAction(np.zeros(3), np.array([0, 0, quarter]), 0.0)

    both = compose([about_x, about_z], 1.0)

    # What pointed along y points up after the first turn, and stays there in the second one.
    np.testing.assert_allclose(Rotation.from_rotvec(both.rotation).apply([0, 1, 0]), [0, 0, 1], atol=1e-12)
    assert both.gripper == 0.0


def test_kept_frames_have_their_own_stamps_and_actions() -> None:
    episode = make_episode([0, 99, 201, 300], answered=[True, True, True, False])

    chosen = keep_frames(episode, 0.1)

    assert chosen.recorded.tolist() == episode.stamps[:3].tolist()
    assert chosen.stamps.tolist() == [0, 99 * MILLISECOND, 201 * MILLISECOND]
    assert chosen.actions == list(episode.actions)[:3]
    assert chosen.fps == 10.0
    assert chosen.remarks == {"frames left out, no command answers them": 1}


@pytest.mark.parametrize("jitter_ms, even", [(9, True), (11, False)])
def test_the_tolerance_is_a_share_of_the_interval(jitter_ms: int, even: bool) -> None:
    episode = make_episode([0, 100, 200 + jitter_ms, 300, 400])

    if even:
        assert keep_frames(episode, 0.1).fps == 10.0
    else:
        with pytest.raises(InputError, match="2 of 4 intervals differ, such as 111.0 ms"):
            keep_frames(episode, 0.1)


@pytest.mark.parametrize("times, rate", [([0, 33, 67, 100], 30.0), ([0, 134, 268], 7.463)])
def test_the_rate_is_a_whole_number_where_the_stamps_mean_one(times: list[int], rate: float) -> None:
    assert keep_frames(make_episode(times), 0.1).fps == rate


def test_the_control_rate_wins_over_the_stamps() -> None:
    assert keep_frames(make_episode([0, 200, 400], fps=5.0), 0.1).fps == 5.0


@pytest.mark.parametrize("choose", [lambda e: keep_frames(e, 0.1), lambda e: resample_frames(e, 5.0)])
def test_an_episode_without_commands_is_refused(choose) -> None:
    with pytest.raises(InputError, match="episode: expected .*frames with a command"):
        choose(make_episode([0, 200], answered=[False, False]))
