#!/usr/bin/env bash
# The policy that comes with the repository, from nothing: docs/learning.md. Killed, it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
widowx=(stack_cube stack_cube_reversed carrot_on_plate spoon_on_towel eggplant_in_basket)
paths=()
# Of one robot they are the folder itself, of several a folder each.
add_datasets() { if [ -d "$1/meta" ]; then paths+=("$1"); else paths+=("$1"/*); fi; }
stvla() { python -m stvla_ros.cli "$@"; }

# demonstrations NAME EPISODES SEED TASK…: the expert's.
demonstrations() {
  local output=out/datasets/$1 episodes=$2 seed=$3
  shift 3
  [ -d "$output" ] || stvla record --tasks "$@" --episodes "$episodes" --seed "$seed" --output "$output"
  add_datasets "$output"
}

# corrections NAME POLICY EPISODES SEED TASK…: the expert's answers in the states that a trained policy gets into.
corrections() {
  local output=out/datasets/$1 policy=out/training/$2/checkpoint episodes=$3 seed=$4
  shift 4
  [ -d "$output" ] || stvla record --tasks "$@" --episodes "$episodes" --seed "$seed" --linger 5 --policy "$policy" \
    --noise.translation 0.003 --noise.push-probability 0.01 --noise.slip-probability 0.002 --output "$output"
  add_datasets "$output"
}

# training NAME FROM STEPS: goes on from another one with all data so far.
training() {
  local all
  all=$(IFS=,; echo "${paths[*]}")
  [ -d "out/training/$1/checkpoint" ] || stvla train --config config/train/small.yaml --output "out/training/$1" \
    --set "checkpoint=out/training/$2/checkpoint" "steps=$3" "data.paths=[$all]"
}

demonstrations default 150 0 "${widowx[@]}" panda_pick_cube
[ -d out/training/first/checkpoint ] || stvla train --config config/train/first.yaml
corrections corrections1 first 20 1 "${widowx[@]}" panda_pick_cube
training second first 2000
demonstrations more 110 3 "${widowx[@]}"
corrections corrections2 second 45 2 "${widowx[@]}"
corrections corrections2_panda second 25 2 panda_pick_cube
training third second 4200

rm -rf models/small
mkdir -p models
cp -r out/training/third/checkpoint models/small
