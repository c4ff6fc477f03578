# Source this: it makes `python`, the ROS 2 environment and the built messages available. tools/setup.sh prepares them.
# Works with a sourced ROS 2 distribution and without one; in both, this checkout's Python comes first.
stvla_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
[ -f "$stvla_root/.venv/bin/activate" ] && . "$stvla_root/.venv/bin/activate"
if [ -z "${ROS_DISTRO:-}" ]; then
  # The wheels' prefix is the virtual environment; colcon's setup files chain onto it.
  export AMENT_PREFIX_PATH="$stvla_root/.venv" CMAKE_PREFIX_PATH="$stvla_root/.venv"
fi
[ -f "$stvla_root/.ws/install/local_setup.bash" ] && . "$stvla_root/.ws/install/local_setup.bash"
export PYTHONPATH="$stvla_root${PYTHONPATH:+:$PYTHONPATH}"
unset stvla_root
