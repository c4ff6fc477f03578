"""An adversarial search for sequences of commands that bring a robot behind the safety gate nearest to its limits.

What comes out of the gate is measured by an oracle of its own (:mod:`oracle`): it shares no code with what the gate
checks. The property tests of the gate play their sequences by the same :class:`player.Player` and judge by the same
:mod:`measures`.
"""
