#!/usr/bin/env bash
# A small ST4VLA from nothing, in its two stages: docs/how-to/train-a-policy.md. Killed, it goes on where it was.
# 250 demonstrations of five tasks, 20,000 pictures with questions, and the steps of config/train/st4vla_small.yaml.
# With --try [FOLDER]: all of it with next to no data and a tiny network, in out/try, to see that it works.
set -euo pipefail
cd "$(dirname "$0")/.."
out=out try=false
if [ "${1:-}" = --try ]; then out=${2:-out/try} try=true; fi
. tools/training_rounds.sh

demonstrations st4vla 50 31 stack_cube stack_cube_reversed carrot_on_plate spoon_on_towel eggplant_in_basket \
  --grounding "$(few 4000 3)"
small=()
if $try; then
  small=(size=tiny batch_size=4 'stages=[{steps: 2, objectives: {grounding: 1}}, {steps: 2, objectives: {actions: 1, grounding: 0.1}}]')
fi
output=$out/training/st4vla
[ -d "$output/checkpoint" ] || stvla train --config config/train/st4vla_small.yaml --output "$output" --set \
  "data.paths=[$(all_paths)]" "grounding.paths=[$(all_paths)]" "data.cache=$out/cache" "${small[@]}"
