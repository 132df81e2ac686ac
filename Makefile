# `make run` and `make test` are all the set-up there is. They need Python >= 3.11 with venv, and make.

VENV := .venv
BIN := $(VENV)/bin
JOBS := 8
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run demo test quick lint web-tools docs changelog bench clean
.DEFAULT_GOAL := run

# The stamps are made anew when what is to be installed changes. The second --quiet hides setuptools'
# warning that compat may end one day; twistd does not find the plugins of the other modes.
$(VENV)/created: .ci/python
	rm -rf $(VENV)
	"$$(sh .ci/python)" -m venv $(VENV)
	$(PIP) install --upgrade "pip>=24" "setuptools>=77"
	touch $@

$(VENV)/installed: $(VENV)/created setup.py
	@echo "Installing push into $(VENV) (the first time takes a minute)"
	$(PIP) --quiet install -e . --config-settings editable_mode=compat
	touch $@

$(VENV)/development: $(VENV)/installed
	$(PIP) --quiet install -e ".[dev]" --config-settings editable_mode=compat
	touch $@

# Every process of tests would compile all of them: after a change one does it before, while lint runs. What
# it finds wrong, the tests say again.
$(VENV)/compiled: $(VENV)/development $(shell find tests -name '*.py')
	@$(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 || true
	@touch $@

# One process on an embedded Redis; settings by PUSH_… variables, or options in ARGS. `exec`: Ctrl-C
# reaches twistd once, from the terminal, and `kill` of what make started reaches it directly.
run: $(VENV)/installed
	@exec $(BIN)/twistd -n --pidfile= push $(ARGS)

# Two connectors, the API and a Redis, and one page that shows what they do; nothing is kept. Options of
# the launcher in ARGS: make demo ARGS="--port 9000".
demo: $(VENV)/installed
	@exec $(BIN)/python -m push.demo $(ARGS)

# Everything: lint, then every test. ARGS go to pytest, so one part of the tests is
#     make test ARGS=tests/redis           a folder
#     make test ARGS="-k expiry"           what has this in its name
#     .venv/bin/python -m pytest tests/redis/connection/test_url.py -x    in one process, without lint
# JOBS is how many processes share the tests out; they wait more than they compute. See tests/lanes.py.
# Hundreds of processes are started: each would compile everything anew where bytecode is not kept.
test quick: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/development
	@sh .ci/system-packages
	@$(MAKE) --no-print-directory -j 3 lint $(VENV)/compiled web-tools
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# What needs no daemon in a process of its own: while you write.
# Little of it waits, and each process collects all tests for itself: with fewer of them it ends sooner.
quick: JOBS := 6
quick: $(VENV)/compiled
	$(BIN)/python -m pytest -n $(JOBS) --quick $(ARGS)

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck etc/push-ctl.sh .ci/lua .ci/python .ci/run .ci/system-packages .ci/web-tools benchmarks/peers.sh
	@sh .ci/lua

web-tools: $(VENV)/development
	@sh .ci/web-tools

# HTML in build/docs, all of it from scratch (-E): a page that did not change would hide its warnings. A warning
# is an error: a link that leads nowhere, a page that nothing links to.
docs: $(VENV)/development
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

# What changelog.d would add to CHANGELOG.md. (A release: `towncrier build --version X`.)
changelog: $(VENV)/development
	$(BIN)/towncrier build --draft --version "$$($(BIN)/python -c 'import push; print(push.__version__)')"

# Beside mosquitto and nats-server where they are found (sh benchmarks/peers.sh unpacks them). Options in ARGS:
# make bench ARGS="--only broadcast,http --rounds 7".
bench: $(VENV)/development
	@$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find push tests twisted -name __pycache__ -prune -exec rm -rf {} +
