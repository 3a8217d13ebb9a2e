# make demo   sets everything up and runs the main job on two real portraits
# make test   sets everything up and runs the tests
# make footage SOURCE=hero.mov TARGET=plate.mov MINUTES=15
#             the same on your own footage, with pictures in build/footage
# make check  lint, types, import rules, generated code

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

MINUTES ?= 15
FOOTAGE = build/footage

.PHONY: demo footage test test-fast check fix protos clean

demo: $(READY)
	$(BIN)/dfl demo --output build/demo

footage: $(READY)
	@test -n "$(SOURCE)" -a -n "$(TARGET)" || \
		{ echo "Say which: make footage SOURCE=hero.mov TARGET=plate.mov MINUTES=15"; exit 2; }
	$(BIN)/dfl extract "$(SOURCE)" --faceset $(FOOTAGE)/source
	$(BIN)/dfl extract "$(TARGET)" --faceset $(FOOTAGE)/target
	$(BIN)/dfl train --source $(FOOTAGE)/source --target $(FOOTAGE)/target --model $(FOOTAGE)/model --minutes $(MINUTES)
	$(BIN)/dfl merge "$(TARGET)" --model $(FOOTAGE)/model --faceset $(FOOTAGE)/target \
		--output "$(FOOTAGE)/result/swap.####.exr" --overwrite
	$(BIN)/python -m dflcore.demo review --plate "$(TARGET)" --result "$(FOOTAGE)/result/swap.####.exr" \
		--source $(FOOTAGE)/source --target $(FOOTAGE)/target --output $(FOOTAGE)

test: $(READY)
	$(BIN)/python -m pytest

test-fast: $(READY)
	$(BIN)/python -m pytest -m "not slow and not footage"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check

fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: $(READY)
	$(BIN)/python protos/generate.py

# Only torch 2.13.0 installs a CPU build where there is no GPU, so it goes in first and pip leaves it alone afterwards.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[core,daemon,demo,dev]"
	$(BIN)/python -m dflcore.environment
	@touch $(READY)

clean:
	rm -rf $(VENV) build
