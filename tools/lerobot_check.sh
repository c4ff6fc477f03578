#!/usr/bin/env bash
# Proves with the package lerobot itself that it loads the data sets that we write. Its environment is made on first use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${STVLA_LEROBOT_VENV:-.venv-lerobot}"
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c "import lerobot" 2> /dev/null; then
  "${PYTHON:-python3.11}" -m venv "$venv"
  "$venv/bin/pip" install --no-cache-dir -r requirements/lerobot.txt
fi
set +u
. tools/env.sh
set -u
STVLA_LEROBOT_PYTHON="$(realpath -s "$venv")/bin/python" exec python -m pytest -q -rP -p no:cacheprovider test/learning/test_lerobot_package.py "$@"
