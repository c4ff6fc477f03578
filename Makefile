# Everything starts from here. Each target does its own set-up; that takes no time when nothing changed.
#   make sim  [TASK=stack_cube EPISODES=3 PACING=lockstep FUSED=false POLICY=stvla TRACKER=lucas_kanade DEPTH=sensor
#              VARIANT=C DRAWING='{line_width: 3}' BUFFER=30 ADAPTIVE=true RESIZE=bicubic RVIZ=false RECORD=false
#              CHECKPOINT=… DEVICE=auto DTYPE=auto UNNORM_KEY=… POLICY_PARAMETERS='{…}' TRACES=depth EXECUTION=ensemble
#              TRACKER_PARAMETERS='{…}' DEPTH_PARAMETERS='{checkpoint: …}' PARAMS_FILE=… JOINT_LEVEL=false]
#   make robot-fake  robot.launch.py's graph on fake hardware, a recording in place of the camera; ends by itself
#   make check       style, types, layers, and the tests without ROS nodes and simulators: 3 minutes
#   make check-humble  the part without networks on Python 3.10 and Ubuntu 22.04's versions; needs a Python 3.10 (10 minutes at first)
#   make layers      who imports whom: the layers, their sizes, what does not fit
#   make test        a quarter of an hour on two cores   (make test T=test/perception to choose)
#   make test-long   the files that take longest; as long again
#   make test-all    all of them
#   make test-faults killed and frozen nodes, bad cameras, clocks and joint states, with the arm in motion
#   make test-kernels  the numbers as other processors compute them: older instructions, two threads (an hour; ONLY=… for some)
#   make mutate      how many small changes of the code the nearest tests see   (FILES=stvla_ros/control N=25 SEED=0 SURVIVORS=true)
#   make test-safety   the gate and the latch: 10,000 examples of each property, then a search for sequences of commands that
#                    bring a robot past a limit (an hour or two on 2 cores, and goes on where it was stopped; N=500 for as many
#                    examples, SEARCH=2000 SEED=1 for others)
#   make fuzz        every message callback and file reader with 10,000 inputs (2 hours; N=500 for as many)
#   make soak        half an hour of realtime simulation: memory, drops, latencies
#   make bench       one table of latencies, rates and accuracies
#   make eval-quick  a table of the policy that comes along and of random actions, within 10 minutes on 2 cores
#   make policy      that policy anew: demonstrations, training, corrections, training (hours on 2 cores; docs/how-to/train-a-policy.md)
SHELL := /bin/bash
.DEFAULT_GOAL := help

RUN := set -o pipefail; . tools/env.sh &&
T ?= test
# Two processes, a file's tests in one of them; each has a ROS domain of its own, and the order is that of test/conftest.py.
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Make variable -> option of `stvla sim`; those that are not given keep the command's own defaults.
SIM_OPTIONS = $(foreach name,TASK EPISODES FIRST_EPISODE SEED PACING POLICY TRACKER DEPTH VARIANT DRAWING BUFFER MAX_STEPS OUTPUT \
                TRACKER_PARAMETERS DEPTH_PARAMETERS PARAMS_FILE CHECKPOINT DEVICE DTYPE UNNORM_KEY POLICY_PARAMETERS TRACES EXECUTION \
                ADAPTIVE RESIZE,\
                $(if $($(name)),--$(subst _,-,$(shell echo $(name) | tr A-Z a-z)) '$($(name))')) \
              $(foreach name,FUSED RVIZ RECORD VIDEO JOINT_LEVEL,\
                $(if $($(name)),--$(if $(filter false False 0 no,$($(name))),no-)$(subst _,-,$(shell echo $(name) | tr A-Z a-z))))

.PHONY: help setup sim robot-fake check check-humble layers test test-long test-faults test-safety test-kernels test-all mutate fuzz soak bench eval-quick policy clean
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

setup:
	@tools/setup.sh

sim: setup
	@$(RUN) python -m stvla_ros.cli sim $(SIM_OPTIONS)

# A recording of one simulated episode is the camera.
FAKE_CAMERA := out/fake_camera/latest/bag
robot-fake: setup
	@$(RUN) { [ -d $(FAKE_CAMERA) ] || python -m stvla_ros.cli sim --policy expert --episodes 1 --pacing realtime --record \
	    --no-video --output out/fake_camera; } && python -m stvla_ros.cli robot --use-fake-hardware --home-first \
	    --replay $(FAKE_CAMERA) --instruction "stack the green block on the yellow block"

check: setup
	@$(RUN) ruff check && ruff format --check && mypy && $(PYTEST) -m "not slow and not live" $(T)

check-humble:
	@tools/check_humble.sh

layers: setup
	@$(RUN) python -m tools.layers

test: setup
	@$(RUN) $(PYTEST) -m "not slow$(if $(filter test,$(T)), and not long)" $(T)

test-long: setup
	@$(RUN) $(PYTEST) -m "long and not slow" $(T)

test-all: setup
	@$(RUN) $(PYTEST) $(T)

test-faults: setup
	@$(RUN) python -m pytest -m "" test/faults

# No limit of time for one test, as setup.cfg sets for the others.
test-safety: setup
	@$(RUN) python tools/run_safety.py --examples $(or $(N),10000) --search $(or $(SEARCH),650) --seed $(or $(SEED),0) \
	    --processes $(or $(PROCESSES),2)

# Each setting runs the tests that compare numbers, or those of T; tools/kernels.py lists the settings.
test-kernels: setup
	@$(RUN) python tools/kernels.py $(if $(ONLY),--only '$(ONLY)') $(filter-out test,$(T))

# Keeps its results and goes on where it was stopped; SURVIVORS=true tries those again that no test saw.
mutate: setup
	@$(RUN) python tools/mutate $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED)) $(if $(SURVIVORS),--survivors) $(FILES)

# No limit of time for one test, as setup.cfg sets for the others.
fuzz: setup
	@$(RUN) STVLA_FUZZ_EXAMPLES=$(or $(N),10000) python -m pytest -m "" -o faulthandler_timeout=0 test/fuzz

soak: setup
	@$(RUN) python -m bench soak

bench: setup
	@$(RUN) python -m bench

eval-quick: setup
	@$(RUN) python -m stvla_ros.cli eval --policies stvla random --episodes 8 --output out/eval-quick \
	    --tasks stack_cube carrot_on_plate spoon_on_towel eggplant_in_basket panda_pick_cube --pictures thumbnails

policy: setup
	@$(RUN) tools/train_policy.sh

clean:
	rm -rf .venv .ws out
