#!/usr/bin/env bash
# The policy that comes with the repository, from nothing: docs/learning.md. Killed, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
tasks=(stack_cube stack_cube_reversed carrot_on_plate spoon_on_towel eggplant_in_basket panda_pick_cube)
stvla() { python -m stvla_ros.cli "$@"; }

# The expert's demonstrations, then the expert's answers in the states that a policy trained on them gets into.
[ -d out/datasets/default ] || stvla record --tasks "${tasks[@]}" --episodes 150 --output out/datasets/default
[ -d out/training/first/checkpoint ] || stvla train --config config/train/first.yaml
[ -d out/datasets/corrections ] || stvla record --tasks "${tasks[@]}" --episodes 20 --seed 1 --linger 5 \
  --policy out/training/first/checkpoint --noise.translation 0.003 --noise.push-probability 0.01 \
  --noise.slip-probability 0.002 --output out/datasets/corrections
[ -d out/training/small/checkpoint ] || stvla train --config config/train/small.yaml
rm -rf models/small
mkdir -p models
cp -r out/training/small/checkpoint models/small
