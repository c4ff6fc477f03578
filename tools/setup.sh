#!/usr/bin/env bash
# Set up everything that `make sim` and `make test` need; quick when nothing changed.
#   system packages -> virtual environment -> Python packages -> colcon build
# With a ROS 2 distribution sourced (ROS_DISTRO is set), its rclpy, messages and tools are used; otherwise the wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"

# What a step is for, and what the long one took on two cores.
declare -A costs=(
  [venv]="a Python environment of its own, .venv"
  [python]="torch, the simulator, ROS 2: 3.4 GB on the disk, 3 to 5 minutes"
  [build]="messages and nodes, into .ws"
)

# A step runs when the text that it depends on differs from the text of its last success. That is kept in the folder that
# the step makes, so that it is gone when the folder is.
step() { # name, folder, what it depends on, command...
  local name="$1" stamp="$2/stamps/$1" key; key="$(printf '%s' "$3" | sha256sum)"; shift 3
  if [ "$(cat "$stamp" 2>/dev/null)" != "$key" ]; then
    echo "setup: $name${costs[$name]:+ (${costs[$name]})}"
    "$@"
    mkdir -p "${stamp%/*}"
    printf '%s' "$key" > "$stamp"
  fi
}

# Run a command whose output matters only when it fails.
logged() { # log file, command...
  local log="$1"; shift; mkdir -p "${log%/*}"
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "setup: this failed: $* (its output is above and in $log)" >&2
    exit 1
  fi
}

# Likewise for pip, with a line for each large package as its download begins.
downloading() { # log file, command...
  local log="$1"; shift; mkdir -p "${log%/*}"
  if ! "$@" 2>&1 | tee "$log" | sed -u -n \
      -e 's/^ *Downloading \([^ ]*\/\)*\([^ ]*\) (\([0-9]\{2,\}\(\.[0-9]\)\{0,1\} MB\|[0-9.]* GB\)).*/  downloading \2, \3/p' \
      -e 's/^Installing collected packages.*/  unpacking/p'; then
    cat "$log" >&2
    echo "setup: this failed: $* (its output is above and in $log)" >&2
    exit 1
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# --- system packages -------------------------------------------------------------------------------------------------
missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || printf '%s ' "$package"
  done
}

# SAPIEN needs a Vulkan device. Without a GPU driver that is Mesa's lavapipe, from 23.1 on (descriptor indexing).
needs_lavapipe() {
  ls /usr/share/vulkan/icd.d/nvidia_icd*.json /etc/vulkan/icd.d/nvidia_icd*.json >/dev/null 2>&1 && return 1
  local version; version="$(dpkg-query -W -f='${Version}' mesa-vulkan-drivers 2>/dev/null || echo 0)"
  dpkg --compare-versions "$version" lt 23.1
}

install_system_packages() {
  local release="" sources=/etc/apt/sources.list.d/stvla-backports.sources mirror
  if needs_lavapipe; then
    . /etc/os-release
    if [ "${VERSION_CODENAME:-}" = bookworm ]; then
      release=bookworm-backports
      # The machine's own mirror, so that nothing but the suite is new.
      mirror="$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | awk '$2 == "bookworm" {print $1; exit}')"
      printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "${mirror:?no mirror for Debian bookworm is configured in apt}" "$release" | as_root tee "$sources" >/dev/null
    fi
    set -- "$@" mesa-vulkan-drivers
  fi
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y ${release:+-t $release} "$@" >/dev/null
}

system_packages() {
  local wanted=(libvulkan1 libgl1 libegl1 libglib2.0-0 cmake g++ python3-venv)
  if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian or Ubuntu machine; install a C++ compiler, CMake, libGL and a Vulkan driver yourself" >&2
    return 0
  fi
  # Ubuntu 24.04 renamed the package; its new name provides the old one.
  dpkg-query -W libglib2.0-0t64 >/dev/null 2>&1 && wanted=("${wanted[@]/libglib2.0-0/libglib2.0-0t64}")
  command -v cmake >/dev/null && wanted=("${wanted[@]/cmake/}")
  command -v g++ >/dev/null && wanted=("${wanted[@]/g++/}")
  "$python" -c 'import venv, ensurepip' 2>/dev/null && wanted=("${wanted[@]/python3-venv/}")
  local missing; missing="$(missing_packages ${wanted[*]})"
  if [ -z "$missing" ] && ! needs_lavapipe; then return 0; fi
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    echo "setup: system packages are missing and this user cannot install them. Run this once, then repeat:" >&2
    echo "    sudo tools/setup.sh --system-packages" >&2
    exit 1
  fi
  install_system_packages $missing
}

# --- Python ------------------------------------------------------------------------------------------------------------
create_venv() {
  rm -rf .venv
  # With a distribution, its Python packages (rclpy, launch, cv_bridge, …) must be visible.
  "$python" -m venv ${ROS_DISTRO:+--system-site-packages} .venv
}

requirement_sets() {
  local sets="core models sim learning test"
  # A distribution brings rclpy, the messages and the build tools itself.
  [ -n "${ROS_DISTRO:-}" ] || sets="$sets ros"
  printf -- '-r requirements/%s.txt ' $sets
}

install_python_packages() {
  local pip=".venv/bin/pip --disable-pip-version-check install -c requirements/constraints.txt"
  # torch first and alone: what is already there satisfies the looser requirements of the packages that follow.
  downloading .ws/pip.log $pip "$(grep '^torch==' requirements/models.txt)"
  downloading .ws/pip.log $pip $(requirement_sets)
  [ -n "${ROS_DISTRO:-}" ] || .venv/bin/python tools/fix_ros_wheels.py
  logged .ws/pip.log $pip --no-deps --no-build-isolation -e .
}

# --- messages and nodes --------------------------------------------------------------------------------------------------
build_workspace() {
  # CMake keeps absolute paths: in a checkout that was copied or moved it would build into the old place.
  local cache
  for cache in .ws/build/*/CMakeCache.txt; do
    if [ -f "$cache" ] && ! grep -qxF "CMAKE_CACHEFILE_DIR:INTERNAL=$PWD/${cache%/*}" "$cache"; then
      rm -rf .ws/build .ws/install
      break
    fi
  done
  # A workspace inside the checkout; links, because CMake refuses include paths (the virtual environment's) below a source folder.
  mkdir -p .ws/src
  ln -sfn ../.. .ws/src/stvla_ros
  local package
  for package in tf2_msgs control_msgs controller_manager_msgs interbotix_xs_msgs moveit_msgs; do
    rm -f ".ws/src/$package"
    # A distribution has most of them; Interbotix' are there when its workspace is sourced.
    .venv/bin/python -c "import $package" 2>/dev/null || ln -sfn "../../fallback/$package" ".ws/src/$package"
  done
  # Without a number of jobs colcon lets make wait until the machine's load is low, which it may not be for hours.
  MAKEFLAGS="-j$(nproc)" logged .ws/build.log bash -c '. tools/env.sh && cd .ws && colcon build --symlink-install'
}

if [ "${1:-}" = --system-packages ]; then system_packages; exit; fi
system_packages
environment="$("$python" -VV) ${ROS_DISTRO:-none}"
step venv .venv "$environment" create_venv
step python .venv "$(cat requirements/*.txt setup.py) ${ROS_DISTRO:-none}" install_python_packages
step build .ws "$PWD $environment $(cat CMakeLists.txt package.xml msg/* srv/* action/* fallback/*/*/* tools/setup.sh; find stvla_ros scripts launch config -type f -not -path '*__pycache__*' | sort)" build_workspace
