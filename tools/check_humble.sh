#!/usr/bin/env bash
# The part that needs no networks, on what Ubuntu 22.04 (ROS 2 Humble) has: Python 3.10, numpy 1.21, scipy 1.8, OpenCV 4.5.
# rclpy, messages and Fast DDS are the wheels', which are Jazzy's: there are none of Humble. Needs a Python 3.10
# (PYTHON310=…; from apt, pyenv or uv).
#   tools/check_humble.sh [paths of tests]     an environment in .ws-humble, its messages, then the tests
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON310:-$(command -v python3.10 || ls -d ~/.pyenv/versions/3.10.*/bin/python 2>/dev/null | tail -1 || true)}"
if ! "${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then
  echo "check-humble: expected a Python 3.10 (PYTHON310=…), found ${python:-none}" >&2
  exit 2
fi
place="$PWD/.ws-humble"
venv="$place/venv"

make_environment() {
  rm -rf "$venv"
  "$python" -m venv "$venv"
  # colcon would build the packages in it. Not in the folder above: it would then find nothing there at all.
  touch "$venv/COLCON_IGNORE"
  local pip="$venv/bin/pip --disable-pip-version-check install -q"
  # As apt's packages there.
  $pip numpy==1.21.5 scipy==1.8.0 opencv-python-headless==4.5.5.64
  printf 'numpy==1.21.5\n' > "$place/apt.txt"
  grep -E '^(ros-|.*_msgs|catkin|colcon|empy|lark)' requirements/constraints.txt >> "$place/apt.txt"
  # What docs/how-to/humble.md installs beside apt's packages must leave them as they are.
  $pip -c "$place/apt.txt" -r requirements/distribution.txt -r requirements/ros.txt
  # ros-humble-pinocchio and ros-humble-coal. The wheels ask for numpy 2, and run with 1.21.
  $pip --no-deps $(grep -E '^(pin|coal)==' requirements/core.txt) libpinocchio==4.1.0 libcoal==3.0.3 eigenpy==3.13.0 cmeel cmeel-boost==1.90.0 \
      cmeel-urdfdom==6.0.0 cmeel-console-bridge==1.0.2.3 cmeel-tinyxml2==11.0.0 cmeel-assimp==6.0.5 cmeel-zlib==1.3.2 \
      cmeel-octomap==1.10.0 cmeel-qhull==8.0.2.1
  $pip -c "$place/apt.txt" pytest pytest-xdist hypothesis psutil pyyaml
  "$venv/bin/python" tools/fix_ros_wheels.py
}

build_messages() {
  mkdir -p "$place/src"
  ln -sfn ../.. "$place/src/stvla_ros"
  local package
  for package in tf2_msgs control_msgs controller_manager_msgs interbotix_xs_msgs moveit_msgs; do
    ln -sfn "../../fallback/$package" "$place/src/$package"
  done
  (cd "$place" && MAKEFLAGS="-j$(nproc)" colcon build --symlink-install > build.log 2>&1) || { tail -30 "$place/build.log" >&2; exit 1; }
}

mkdir -p "$place"
key="$(cat requirements/*.txt tools/check_humble.sh | sha256sum)"
if [ "$(cat "$place/made" 2>/dev/null)" != "$key" ]; then
  make_environment
  printf '%s' "$key" > "$place/made"
fi
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH PYTHONPATH ROS_DISTRO
export PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
key="$(cat CMakeLists.txt package.xml msg/* srv/* action/* fallback/*/*/* | sha256sum)"
if [ "$(cat "$place/built" 2>/dev/null)" != "$key" ]; then
  build_messages
  printf '%s' "$key" > "$place/built"
fi
set +u
. "$place/install/local_setup.bash"
set -u
export PYTHONPATH="$PWD:$PYTHONPATH"
if [ $# = 0 ]; then
  set -- test/control test/perception test/recordings test/robots test/nodes -n 2 --dist loadfile -m "not slow and not live" \
      --ignore test/nodes/test_camera_distrust.py --ignore test/nodes/test_goals_and_driver.py \
      --ignore test/nodes/test_run_identity.py --ignore test/nodes/test_orphaned_goals.py \
      --ignore test/nodes/test_preemption.py --ignore test/nodes/test_questions.py \
      --ignore test/nodes/test_vla_server_in_process.py --ignore test/nodes/test_vla_server_ssm_vla.py \
      --ignore test/nodes/test_vla_server_st4vla.py
fi
exec python -m pytest "$@"
