# Every target does its own set-up. `make demo` and `make test` are all that a newcomer needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONSTRAINED := PIP_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
SHARED ?= ../shared
# pyproject.toml says so, too.
OLDEST := 5.20.0

.DEFAULT_GOAL := help
.PHONY: help setup demo test oldest lint types imports protos protos-check protos-node charts locks image-test bench accelerator peers load soak scrapes fuzz wheels conformance examples study records console papers ci clean

help:  ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(STAMP)  ## Create .venv with everything pinned

$(STAMP): constraints.txt pyproject.toml clients/python/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(CONSTRAINED) $(BIN)/python -m pip install --quiet pip
	@# torch first: no resolver may pick another build of it
	$(CONSTRAINED) $(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(CONSTRAINED) $(BIN)/python -m pip install --quiet --group dev --editable clients/python --editable ".[onnx,images,otel,console]"
	touch $@

demo: setup  ## Serve the embedded model, explain four sentences, show flags, evidence and metrics
	$(BIN)/rollcall demo --out out/demo

console: setup  ## Serve the console beside a demonstration server with a few records
	$(BIN)/rollcall console --demo

test: setup  ## Run every test
	$(BIN)/python -m pytest
	cd clients/python && ../../$(BIN)/python -m pytest -p no:asyncio

oldest: setup  ## Try every family on the oldest transformers that is supported (two minutes; downloads it)
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	@# everything else, torch included, is what .venv has
	cd .venv-oldest/lib/python3.*/site-packages && ls -d ../../../../$(VENV)/lib/python3.*/site-packages | xargs realpath > rest.pth
	.venv-oldest/bin/python -m pip install --quiet --no-deps "transformers==$(OLDEST)"
	PYTHONPATH=service:clients/python/src:. .venv-oldest/bin/python -m pytest -W ignore::DeprecationWarning $(addprefix tests/unit/backends/,test_other_encoders.py test_decoders.py test_image_families.py test_self_test.py)

lint: setup  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd clients/python && ../../$(BIN)/ruff check . && ../../$(BIN)/ruff format --check .

types: setup  ## Check types, tests included
	$(BIN)/mypy
	cd clients/python && ../../$(BIN)/mypy

imports: setup  ## Check the direction of imports
	$(BIN)/lint-imports

protos: setup  ## Generate the stubs
	$(BIN)/python protos/generate.py

protos-node: setup  ## Generate the types of the Node client (needs npm)
	cd clients/node && npm ci --silent && PYTHON=../../$(BIN)/python sh generate.sh

protos-check: setup  ## Check that the committed stubs are what protos/ says, and lint protos/
	$(BIN)/python protos/generate.py --check
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code

charts: setup  ## Generate the dashboards and the table of the chart's values
	$(BIN)/python -m helm.generate

image-test: setup  ## Run the image IMAGE (rollcall:cpu) as the chart would, and use it from outside (podman, runc)
	$(BIN)/python -m tests.contract.container $(or $(IMAGE),rollcall:cpu)

locks: setup  ## Write the image's requirements anew, by version and hash
	$(CONSTRAINED) $(BIN)/python -m pip install --quiet --group locks
	$(BIN)/python image/lock.py

bench: setup  ## Measure explanations against their rows on the stock model, and how their cost grows (half an hour)
	$(BIN)/python -m tests.bench.cost

accelerator: setup  ## Measure explanations on a GPU, DEVICE (cuda:0): latency, throughput, share of its limit (minutes)
	$(BIN)/python -m tests.bench.accelerator --device $(or $(DEVICE),cuda:0)

peers: setup  ## Compare with Captum, ferret, shap, nnsight and MLServer on identical work (an hour, after a cut --resume)
	$(BIN)/python -m tests.bench.peers --resume

load: setup  ## Offer a real server half to twice of what it can do (some twenty minutes)
	$(BIN)/python -m tests.bench.load

records: setup  ## Measure how fast answers are recorded, and what that adds to them (three minutes)
	$(BIN)/python -m tests.bench.records

soak: setup  ## Load a real server for ten minutes, and watch its memory, threads and file descriptors
	$(BIN)/python -m tests.bench.soak --seconds 600

scrapes: setup  ## Measure what scrapes cost those who ask (ten minutes)
	$(BIN)/python -m tests.bench.scrapes

fuzz: setup  ## Send 100,000 hostile requests to a real server: what comes back may blame the caller alone (ten to twenty minutes)
	$(BIN)/python -m tests.fuzz --count 100000

wheels: setup  ## Build the wheels of service and client, and try them in empty environments
	$(BIN)/python -m tests.contract.wheels

conformance: setup  ## Try clients that others made (tritonclient, kserve, @grpc/grpc-js: downloads them), and the examples in Go and Java
	CONFORMANCE=1 $(BIN)/python -m pytest tests/conformance

examples: setup  ## Build the examples in Go and Java with Debian's packages, run them, and try buf curl
	CONFORMANCE=1 $(BIN)/python -m pytest tests/conformance/test_examples.py

study: setup  ## Hold the flag against models whose truth is known: the quick tier, and fail where it is worse than before
	$(BIN)/rollcall study flag --quick --check --out out/study-flag

papers: setup  ## Redo the papers in reduced form, and fail where a clear claim does not hold (some 6 minutes on 2 cores; needs SHARED/data)
	rm -rf out/papers-work # what an earlier check found is no check of today's code
	if test -d $(SHARED)/data; then nice $(BIN)/rollcall study all --quick --check --jobs 2 --data $(SHARED)/data --out out/papers --work out/papers-work; \
	else echo "papers: LEFT OUT, there is no $(SHARED)/data" >&2; fi

ci: lint types imports protos-check test conformance study papers demo  ## What .ci/run calls

clean:  ## Remove what was made
	rm -rf $(VENV) out dist build
