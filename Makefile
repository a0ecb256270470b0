# labkit: two commands matter, `make lab` for learners and `make test` for everybody else. `make help` lists the rest.

SETUP = python=$$(sh setup/find-python) && "$$python" -E -m setup
BIN = .venv/bin
.DEFAULT_GOAL := help
.PHONY: help lab setup docker test test-all test-setup bench lint format lock pictures hooks uninstall

help:            ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' Makefile | expand -t 14

lab: setup       ## set up what is missing, then open the course in JupyterLab (ARGS="--no-browser --port 9000")
	@exec $(BIN)/labkit lab $(ARGS)

setup:           ## set up only: system packages, .venv, the kernel
	@$(SETUP) lessons

docker: setup    ## unpack a Docker for `labkit dockerd`; nothing is installed, no service starts
	@$(SETUP) docker

test: test-setup ## set up what tests need too, then every test, as an ordinary user and as root (ARGS="pure live": those only)
	@exec $(BIN)/python tests/run.py $(ARGS)

test-all:        ## as test, then a set-up from nothing in a fresh Debian 12 (needs root)
	@$(SETUP) all --witness .venv/witness.json
	@exec $(BIN)/python tests/run.py --all $(ARGS)

test-setup:
	@$(SETUP) tests --witness .venv/witness.json

bench: test-setup ## build and take down labs beside a C program, and print the ratios (ARGS="--sizes 10,100")
	@exec $(BIN)/labkit run -- $(BIN)/python benchmarks/build.py $(ARGS)

lint: test-setup ## ruff and mypy
	@exec $(BIN)/python tests/run.py lint

format:          ## let ruff lay out the code
	@$(BIN)/ruff check -q --fix-only . && $(BIN)/ruff format .

lock:            ## newest versions of everything into the lock files
	@sh setup/lock

pictures: test-setup ## draw the README's pictures anew, and take its screenshot if there is a Chromium
	@$(BIN)/labkit run -- $(BIN)/python docs/pictures.py
	@PYTHONPATH=tests $(BIN)/python docs/screenshot.py

hooks:           ## check every commit with ruff and mypy
	@$(BIN)/pre-commit install

uninstall:       ## remove what set-up made; your work in course/ stays (COURSE=yes: that too)
	@$(SETUP) uninstall $(if $(COURSE),--course)
