# make demo: a photograph through the codec and back. make test: every check.

PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PHOTO := examples/kodim23.png
DEMO := build/demo

.PHONY: demo test lint types docs bench bench-large fuzz guided soak faults matrix broken audit clean

demo: $(READY)
	rm -rf $(DEMO) && mkdir -p $(DEMO)
	$(BIN)/pixelcodec encode $(PHOTO) -o $(DEMO)/photo.pxc
	$(BIN)/pixelcodec decode $(DEMO)/photo.pxc -o $(DEMO)/photo.png
	$(BIN)/pixelcodec verify $(DEMO)/photo.pxc $(PHOTO)
	$(BIN)/pixelcodec compare $(PHOTO) --model photo-m

# In as many processes as there are cores.
test: lint types
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# mypy does not see that setuptools puts cli/ and models/ inside the package: it is given a copy
# of the sources as they are installed.
types: $(READY)
	rm -rf build/types && mkdir -p build/types
	cp -R pixelcodec build/types/
	cp -R cli models build/types/pixelcodec/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml

# The API reference, docs/API.md, of the docstrings. A test compares the two.
docs: $(READY)
	$(BIN)/python docs/make_api.py

# Speed on photographs of Kodak's size, and of the parts of the work. BENCH='--model photo-s' picks
# a model. The tests' own options skip benchmarks. bench/ has scripts, too: profile_wave.py shows
# where decoding spends its time, card.py and small_images.py measure a model and write its card,
# efforts.py measures each effort, compare.py runs other codecs beside this one (docs/COMPARISON.md),
# ablations.py trains the networks of the PixelRNN paper without this and that.
bench: $(READY)
	$(BIN)/pytest bench -o addopts=--import-mode=importlib --benchmark-only -m 'not slow' $(BENCH)

# Speed and memory on 12 megapixels: minutes a model.
bench-large: $(READY)
	$(BIN)/pytest bench -o addopts=--import-mode=importlib -m slow $(BENCH)

# What docs/RELIABILITY.md promises, at length; `make test` does a little of each. Options follow in
# FUZZ, SOAK, FAULTS, MATRIX and BROKEN: make fuzz FUZZ='--minutes 5 --seed 2'.
FUZZ := --count 100000
SOAK := --minutes 60
FAULTS := --count 500
MATRIX :=
BROKEN :=

# Damaged files and files made to harm, each of which must end in an error or the right pixels. What
# fails is kept in build/fuzz.
fuzz: $(READY)
	cd tests && ../$(BIN)/python -m robustness.fuzz $(FUZZ)

# The same by atheris, which looks for files that reach new lines. Options are those of libFuzzer.
GUIDED := -max_total_time=600
guided: $(READY)
	$(BIN)/python -m pip install atheris
	cd tests && ../$(BIN)/python -m robustness.guided ../build/guided $(GUIDED)

# Random images through one process, its threads and another process; nothing grows.
soak: $(READY)
	cd tests && ../$(BIN)/python -m robustness.soak $(SOAK)

# Processes killed at random moments, full disks, closed pipes, damaged models.
faults: $(READY)
	cd tests && ../$(BIN)/python -m robustness.faults $(FAULTS)

# All back ends, and versions of torch and NumPy, against the golden files and the reference decoder.
matrix: $(READY)
	cd tests && ../$(BIN)/python -m robustness.everywhere
	cd tests && ../$(BIN)/python -m robustness.matrix $(MATRIX)

# The program with mistakes, in a copy: tests must notice each. Minutes.
broken: $(READY)
	cd tests && ../$(BIN)/python -m robustness.broken $(BROKEN)

# Known vulnerabilities of the versions pinned. It asks PyPI.
audit: $(READY)
	$(BIN)/python -m pip install pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# torch comes first and alone, at the version pinned: nothing else then has a say in which build.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
