#!/usr/bin/env bash
# The policy that comes with the repository, from nothing: docs/how-to/train-a-policy.md. Killed, it goes on where it was.
# 3,270 demonstrations, 928 corrections and 15,000 steps: about 6 hours on two cores with bfloat16 instructions;
# without these its steps take 2.6 times as long (they say how long).
# With --try [FOLDER]: all of its steps with next to no data, in out/try, to see that they work; models/small stays as it
# is.
set -euo pipefail
cd "$(dirname "$0")/.."
out=out try=false
if [ "${1:-}" = --try ]; then out=${2:-out/try} try=true; else echo "make policy: about 6 hours on 2 quiet cores with bfloat16 instructions (without, steps take 2.6 times as long)"; fi
widowx=(stack_cube stack_cube_reversed carrot_on_plate spoon_on_towel eggplant_in_basket)
. tools/training_rounds.sh

# corrections NAME POLICY EPISODES SEED TASK…: the expert's answers in the states that a trained policy gets into.
# A POLICY with ?key=value is executed so. With late="A B" before it, its answers come so many milliseconds late.
corrections() {
  local output=$out/datasets/$1 policy=$out/training/${2%%\?*}/checkpoint episodes seed=$4
  case $2 in *\?*) policy+="?${2#*\?}" ;; esac
  episodes=$(few "$3" 1)
  shift 4
  [ -d "$output" ] || stvla record --tasks "$@" --episodes "$episodes" --seed "$seed" --linger 5 --policy "$policy" \
    --latency ${late:-0 0} --noise.translation 0.003 --noise.push-probability 0.01 --noise.slip-probability 0.002 \
    --output "$output"
  add_datasets "$output"
}

# training NAME CONFIGURATION FROM STEPS SETTING…: with the data so far; goes on from another one unless FROM is empty.
training() {
  local output=$out/training/$1
  [ -d "$output/checkpoint" ] || stvla train --config "config/train/$2.yaml" --output "$output" --set \
    "checkpoint='${3:+$out/training/$3/checkpoint}'" "steps=$(few "$4" 4)" "data.paths=[$(all_paths)]" "data.cache=$out/cache" \
    "${@:5}"
}

demonstrations default 150 0 "${widowx[@]}" panda_pick_cube
training first first "" 1800
corrections corrections1 first 20 1 "${widowx[@]}" panda_pick_cube
earlier=(seed=1 augmentation.shift=12 augmentation.zoom=0.1 optimizer.weight_decay=0.05)
training second small first 2000 "${earlier[@]}"
demonstrations more 110 3 "${widowx[@]}"
corrections corrections2 second 45 2 "${widowx[@]}"
corrections corrections2_panda second 25 2 panda_pick_cube
training third small second 4000 "${earlier[@]}"
# The shipped policy's data up to here are those of an expert whose answers jumped (docs/how-to/train-a-policy.md): of these the last
# round keeps the Panda's.
paths=()
demonstrations turned 140 5 "${widowx[@]}"
corrections corrections3 third 40 6 "${widowx[@]}"
paths+=("$out/datasets/default/panda" "$out/datasets/corrections1/panda" "$out/datasets/corrections2_panda")
training fourth small third 2200
# Chunks of eight actions, and traces beside the depth: all data are today's expert's.
paths=()
all_tasks=(stack_cube carrot_on_plate spoon_on_towel eggplant_in_basket stack_cube_reversed panda_pick_cube)
demonstrations today 80 21 "${widowx[@]}"
demonstrations today_panda 160 22 panda_pick_cube
training fifth chunk8 fourth 1200
late="60 460" corrections late4 "fourth?execution=anchored_mean" 24 24 "${all_tasks[@]}"
demonstrations today_more 64 25 carrot_on_plate spoon_on_towel stack_cube eggplant_in_basket panda_pick_cube
late="0 460" corrections late5 fifth 25 26 "${all_tasks[@]}"
training sixth chunk8 fifth 2700 seed=9
# Other light and other tables, and more of the Panda's task.
paths=()
demonstrations again 30 31 "${widowx[@]}"
demonstrations again_panda 90 32 panda_pick_cube
late="0 460" corrections late6 sixth 8 33 stack_cube carrot_on_plate spoon_on_towel eggplant_in_basket
late="0 460" corrections late6_panda sixth 32 34 panda_pick_cube
training seventh chunk8 sixth 1100 seed=12 optimizer.learning_rate=7.0e-4 augmentation.light=0.6 augmentation.texture=0.4
# Half way between the two: bears other light as the last one does, and another view as the one before it does.
[ -d "$out/training/mean" ] || stvla model average --before "$out/training/sixth/checkpoint" \
  --after "$out/training/seventh/checkpoint" --output "$out/training/mean"

if ! $try; then
  rm -rf models/small
  mkdir -p models
  cp -r out/training/mean models/small
fi
