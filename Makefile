# Everything runs in .venv, which is made and filled on first use and left alone afterwards.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := ros,replay,train,test,lint
HEAD ?= space_clip
NEEDED_GB := 10
INSTALL := PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --quiet --no-compile

.PHONY: help install demo test lint clean

help:
	@echo "make demo   run the node on the shipped recording; results in demo_output/ (HEAD=space_clip)"
	@echo "make test   run every test"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove the environment and what was made"

$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.10 to 3.13 is needed, this is $$($(PYTHON) --version): set PYTHON=python3.x"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 2; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1000000) }'); [ -d $(VENV) ] || [ "$$free" -ge $(NEEDED_GB) ] || \
	  { echo "The environment needs $(NEEDED_GB) GB on this disk, where $$free are free: make room."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	@echo "Installing PyTorch, ROS 2 and the rest into $(VENV): about 6 GB, a few minutes, this time only."
	$(INSTALL) -e '.[$(EXTRAS)]' || { echo "That failed; downloads break off at times, so once more."; $(INSTALL) -e '.[$(EXTRAS)]'; }
	@# What pip does too, with one core: without it, every start would compile anew where Python may not write.
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/clip-depth demo --head $(HEAD) -o demo_output

# Two files of tests at a time, but for the node's: those are about who is heard when, which a busy machine changes.
# Message fields are checked in all runs but the last: rclpy stores arrays differently.
test: $(STAMP)
	ROS_PYTHON_CHECK_FIELDS=1 $(BIN)/python -m pytest --ignore=test/ros --numprocesses 2 --dist loadfile
	ROS_PYTHON_CHECK_FIELDS=1 $(BIN)/python -m pytest test/ros
	ROS_PYTHON_CHECK_FIELDS=0 $(BIN)/python -m pytest test/ros/test_images.py test/ros/test_point_cloud.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build install log demo_output runs *.egg-info
