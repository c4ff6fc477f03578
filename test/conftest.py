"""Before ROS 2 is loaded: a domain of its own for every test process, so that no other graph is heard."""

import os

import hypothesis

# 0 to 101 are safe on Linux whatever the ephemeral ports; 0 is everybody's default.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Several node processes on few cores: threads of theirs only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
