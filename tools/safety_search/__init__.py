"""An adversarial search for sequences of commands that bring a robot behind the safety gate nearest to its limits.

An independent oracle measures the gate's output (:mod:`oracle`): it shares no code with the gate's checks. The gate's
property tests play their sequences with the same :class:`player.Player`, and judge by the same :mod:`measures`.
"""
