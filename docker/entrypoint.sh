#!/bin/bash
# `stvla` as in a checkout, and `ros2`.
set -e
. "/opt/ros/$ROS_DISTRO/setup.bash"
. /ws/venv/bin/activate
. /ws/install/setup.bash
stvla() { python3 -m stvla_ros.cli "$@"; }
if [ "$1" = stvla ]; then
  shift
  stvla "$@"
else
  exec "$@"
fi
