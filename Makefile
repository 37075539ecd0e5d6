# `make demo` and `make test` do everything on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three processes on two cores: many tests wait for what they started.
PYTEST := $(BIN)/python -m pytest -q -n 3 --dist loadgroup
# Else each of the processes that tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo docs test sample test-all test-rest lint bench test-oldest fuzz clean

demo: $(VENV)/.demo  ## the product-analytics job on a small catalogue; writes demo-report/
	$(BIN)/python examples/product_analytics.py

test:  ## style, types, tests and doctests; of what could go on for ever, a sample
	$(MAKE) -j 2 sample lint

sample: $(VENV)/.test
	$(PYTEST) -m "not long"

test-all: lint  ## every test, every kill, the long fuzz
	DASKIMG_TEST_ALL=1 $(PYTEST)

test-rest: $(VENV)/.test  ## what `make test` leaves out
	DASKIMG_TEST_ALL=rest $(PYTEST) -m "long or sampled"

lint: $(VENV)/.test  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs  ## the documentation, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.test  ## speed, as ratios to the bare loop
	$(BIN)/python -m benchmarks

test-oldest:  ## columns, the lazy layer, readers and writers, stages on the oldest of all that is needed
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --no-compile -c .ci/constraints.txt \
		-c .ci/oldest.txt -e '.[test-oldest]'
	.venv-oldest/bin/python -m pytest -q -n 2 --dist loadgroup tests/column tests/kernels \
		tests/accessor tests/lazy tests/io tests/stage tests/batch

fuzz: $(VENV)/.test  ## damaged files for a quarter of an hour or so
	DASKIMG_FUZZ=200000 DASKIMG_FUZZ_SHARDS=10000 $(BIN)/python -m pytest -q -n 2 \
		tests/safety/test_fuzz_files.py tests/safety/test_fuzz_shards.py

clean:
	rm -rf $(VENV) .venv-oldest site demo-* .mypy_cache .ruff_cache .pytest_cache

# An extra of pyproject.toml, installed: `demo` is small, `test` holds all that the tests use.
$(VENV)/.%: pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c .ci/constraints.txt -e '.[$*]'
	touch $@
