# `make run` and `make test` are all the set-up there is. They need Python >= 3.11 with venv, and make.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test lint bench clean
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

# One process on an embedded Redis; settings by PUSH_… variables, or options in ARGS. `exec`: Ctrl-C
# reaches twistd once, from the terminal, and `kill` of what make started reaches it directly.
run: $(VENV)/installed
	@exec $(BIN)/twistd -n --pidfile= push $(ARGS)

test: lint
	@sh .ci/system-packages
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck etc/push-ctl.sh .ci/lua .ci/python .ci/run .ci/system-packages
	@sh .ci/lua

bench: $(VENV)/development
	$(BIN)/python -m benchmarks.chat $(ARGS)
	$(BIN)/python -m benchmarks.fanout $(ARGS)
	$(BIN)/python -m benchmarks.http_push $(ARGS)
	$(BIN)/python -m benchmarks.ledger $(ARGS)
	$(BIN)/python -m benchmarks.stalled $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find push tests twisted -name __pycache__ -prune -exec rm -rf {} +
