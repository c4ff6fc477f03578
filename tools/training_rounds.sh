# For scripts that record and train in several rounds; they set `out` (folder) and `try` (true: next to no data).
# What is there is not made again. shellcheck shell=bash
paths=()

stvla() { python -m stvla_ros.cli "$@"; }
# few NUMBER LESS: the number, or with --try the smaller one.
few() { if $try; then echo "$2"; else echo "$1"; fi; }
# Of one robot a recording is the data set itself, of several a folder each.
add_datasets() { if [ -d "$1/meta" ]; then paths+=("$1"); else paths+=("$1"/*); fi; }
all_paths() { local IFS=,; echo "${paths[*]}"; }

# demonstrations NAME EPISODES SEED [TASK | --OPTION VALUE]…: the expert's.
demonstrations() {
  local output=$out/datasets/$1 episodes seed=$3
  episodes=$(few "$2" 2)
  shift 3
  [ -d "$output" ] || stvla record --tasks "$@" --episodes "$episodes" --seed "$seed" --output "$output"
  add_datasets "$output"
}
