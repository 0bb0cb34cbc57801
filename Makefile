# One verb per task; `make` lists them. Works with GNU make 3.81 (macOS) and newer.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_VERSION := 26.3# knows dependency groups
# Each of these has the machine to itself; all others run side by side.
SLOW_TESTS := tests/serve tests/browser tests/chaos tests/launcher/test_launcher.py $(addprefix tests/manifests/,test_as_pods.py test_production_as_pods.py)

# The first of these that Ray and torch have packages for, and that can make virtual environments.
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11
FIND_PYTHON := for python in $(PYTHONS); do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || continue; \
	fitting=$$python; \
	$$python -c 'import ensurepip, venv' 2>/dev/null || continue; \
	found=$$python; break; \
	done; \
	if [ -z "$$fitting" ]; then \
	echo 'Python 3.11, 3.12, 3.13 or 3.14 is needed. Debian, Ubuntu: apt-get install python3 python3-venv. macOS: brew install python@3.13. Then run make again.'; exit 1; \
	elif [ -z "$$found" ]; then \
	echo "$$fitting cannot make virtual environments. Debian, Ubuntu: apt-get install python3-venv. Then run make again."; exit 1; \
	fi

INSTALL_FAILED := { \
	echo 'The packages could not be installed; pip says why above. Is this machine online, and can pip reach a package'; \
	echo 'index (PIP_INDEX_URL names a mirror, PIP_PROXY a proxy)? Then run make again: it goes on where it stopped.'; \
	exit 1; }

.DEFAULT_GOAL := help
.PHONY: help run test test-fast lint types format bench capacity manifests images crds test-pods chaos mini vectors eval-model finetune lock clean chromium stores promtool

help: ## list these tasks
	@echo 'make TASK, where TASK is one of:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## start backend and frontend, and say where the page is; Ctrl-C stops both
	@$(BIN)/python -m launcher.run

test: $(VENV)/.dev chromium stores promtool ## all tests: units, real Ray, real Chromium, failures, manifests
	@$(BIN)/python -m manifest_checks.crd || echo 'The tests of the RayServices are skipped.'
	@$(BIN)/python -m pytest -n auto --dist loadfile $(SLOW_TESTS:%=--ignore=%)
	@$(BIN)/python -m pytest $(SLOW_TESTS)

test-fast: $(VENV)/.dev ## the unit tests only
	@$(BIN)/python -m pytest -n auto --dist loadfile --ignore=tests/manifests $(SLOW_TESTS:%=--ignore=%)

lint: $(VENV)/.dev ## ruff: rules and format; import-linter: who may import whom
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev ## mypy, strict
	@$(BIN)/python -m mypy serve_app frontend launcher manifest_checks docs bench capacity training tests

format: $(VENV)/.dev ## let ruff put the code into shape
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

bench: $(VENV)/.bench ## measure engine and service beside their peers, on idle cores: an hour; bench/results/
	@$(BIN)/python -m bench.quality
	@$(BIN)/python -m bench.quote
	@$(BIN)/python -m bench.engine
	@$(BIN)/python -m bench.served
	@$(BIN)/python -m bench.frontend_streams
	@$(BIN)/python -m bench.pages

manifests: crds ## render the Kubernetes manifests and check them
