# One verb per task; `make` lists them. Works with GNU make 3.81 (macOS) and newer.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_VERSION := 26.3# knows dependency groups
# Each of these has the machine to itself; all others run side by side, with a thread each: BLAS would wait for others' threads. The first two share services, which end with them.
SERVED_TESTS := tests/serve $(addprefix tests/browser/,test_real_chat.py test_lost_backend.py)
LONE_TESTS := tests/chaos tests/launcher/test_launcher.py $(addprefix tests/manifests/,test_as_pods.py test_production_as_pods.py)
SLOW_TESTS := $(SERVED_TESTS) $(LONE_TESTS)

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
.PHONY: help run test test-fast lint types format bench bench-gpu capacity manifests images crds test-pods chaos screenshots mini vectors ranker eval-model finetune release-check lock clean chromium stores promtool arm

help: ## list these tasks
	@echo 'make TASK, where TASK is one of:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run ## start backend and frontend, and say where the page is; Ctrl-C stops both
	@$(BIN)/python -m launcher.run

test: $(VENV)/.dev chromium stores promtool arm ## all tests: units, real Ray, real Chromium, failures, manifests
	@$(BIN)/python -m manifest_checks.crd || echo 'The tests of the RayServices are skipped.'
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(SLOW_TESTS:%=--ignore=%)
	@$(BIN)/python -m pytest $(SERVED_TESTS)
	@$(BIN)/python -m pytest $(LONE_TESTS)

test-fast: $(VENV)/.dev ## the unit tests only
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --ignore=tests/manifests $(SLOW_TESTS:%=--ignore=%)

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
	@$(BIN)/python -m bench.speculation
	@$(BIN)/python -m bench.engine
	@$(BIN)/python -m bench.memory
	@$(BIN)/python -m bench.served
	@$(BIN)/python -m bench.frontend_streams
	@$(BIN)/python -m bench.pages

bench-gpu: $(VENV)/.bench ## measure the engine beside transformers on this machine's GPU, minutes; bench/results/gpu.json
	@$(BIN)/python -m bench.gpu

capacity: $(VENV)/.dev ## how many replicas a load needs, by simulation; writes docs/scaling.md's tables and plots
	@$(BIN)/python -m capacity

manifests: crds ## render the Kubernetes manifests and check them
	@$(BIN)/python -m manifest_checks

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images: ## build the container images with Docker or Podman; MODEL=hub-id puts the weights in
	@builder=$$(command -v docker || command -v podman) || { echo 'Docker or Podman is needed to build images.'; exit 1; }; \
	$$builder build -f docker/backend.Dockerfile --build-arg MODEL="$(MODEL)" --build-arg TORCH_INDEX="$(TORCH_INDEX)" \
	-t godel-backend:$(VERSION) . && $$builder build -f docker/frontend.Dockerfile -t godel-frontend:$(VERSION) .

crds: $(VENV)/.dev ## bring KubeRay's CRD, which the RayServices are checked against, into .crds/
	@$(BIN)/python -m manifest_checks.crd

test-pods: $(VENV)/.dev stores ## the tests of what the pods run, with the memory they held; PODS_MODEL=base for a model of GODEL's size
	@$(BIN)/python -m pytest -rs --log-cli-level=INFO tests/manifests/test_*as_pods.py

chaos: $(VENV)/.dev ## break a backend under load, again and again: MINUTES=30; writes docs/reliability.md's table
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),30)

screenshots: $(VENV)/.dev chromium ## take the pictures of the page in docs/pictures again
	@$(BIN)/python -m docs.screenshots

mini: $(VENV)/.training ## make models/mini again: fetch, ask, and teach; half an hour on two cores
	@$(BIN)/python -m training.sources && $(BIN)/torchrun --nproc-per-node 2 -m training.train

vectors: $(VENV)/.run ## distil models/vectors again
	@$(BIN)/python -m training.vectors

ranker: $(VENV)/.training ## teach models/ranker again, which finds the sentence that answers: half an hour on two cores
	@$(BIN)/python -m training.ranking

eval-model: $(VENV)/.training ## how well a model answers hand-written questions: MODEL=folder, models/mini by default
	@$(BIN)/python -m training.evaluate $(or $(MODEL),models/mini)

finetune: $(VENV)/.training ## train MODEL further on the dialogues in DATA, into the folder OUT: docs/fine-tuning.md
	@$(BIN)/python -m training.finetune --data "$(DATA)" --model "$(MODEL)" $(if $(OUT),--out "$(OUT)") $(FLAGS)

release-check: ## all that is checked before a version is tagged, on a clean clone: an hour
	@.ci/release

lock: ## write constraints.txt anew, from a fresh environment
	@set -e; $(FIND_PYTHON); fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$$found -m venv "$$fresh/venv"; pip="$$fresh/venv/bin/python -m pip"; \
	$$pip install --quiet pip==$(PIP_VERSION) && $$pip install --group dev --group bench --group training || $(INSTALL_FAILED); \
	{ echo '# Made by `make lock`: the versions of all that the dependency groups of pyproject.toml bring along.'; \
	  $$pip freeze --all | sed 's/^\(torch==[^+]*\)+.*/\1/' | grep -v -e ' @ ' -e '^pip==' -e '^nvidia-' -e '^cuda-' -e '^triton=='; \
	} > constraints.txt

clean: ## remove .venv, logs and caches; conversations in data/ stay
	rm -rf $(VENV) .run .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than pyproject.toml or constraints.txt when one of them has changed: then pip looks again. Only the
# first, long installation tells how far it is.
$(VENV)/.run $(VENV)/.dev $(VENV)/.bench $(VENV)/.training: $(VENV)/.%: $(VENV)/.pip pyproject.toml constraints.txt
	@echo 'Installing packages (the first time this takes minutes, and up to 6 GB of disk).'
	@$(PIP) install $(if $(wildcard $(VENV)/.run $(VENV)/.dev $(VENV)/.bench $(VENV)/.training),--quiet) --group $* -c constraints.txt || $(INSTALL_FAILED)
	@touch $@

$(VENV)/.pip: $(BIN)/python
	@$(PIP) --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip  # an interrupted `python -m venv` leaves none
	@$(PIP) install --quiet pip==$(PIP_VERSION) || $(INSTALL_FAILED)
	@touch $@

# Also made again where its Python is gone, after an upgrade of the system.
$(BIN)/python:
	@$(FIND_PYTHON); $$found -m venv --clear $(VENV)

# The browser tests drive the system's Chromium.
chromium:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium </dev/null; then exit 0; fi; \
	echo 'The browser tests need Chromium, as `chromium` on the PATH. Debian: sudo apt-get install chromium.'; exit 1

# Prometheus and its own tool, for the tests of metrics and alert rules, which are skipped without them. Out of Debian's
# package, which is not installed, as it would start a server.
promtool: $(VENV)/.dev
	@has() { command -v $$1 >/dev/null || [ -x $(BIN)/$$1 ]; }; if has promtool && has prometheus; then exit 0; fi; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	fetch='apt-get download -qq prometheus && dpkg-deb --extract prometheus_*.deb .'; \
	if command -v apt-get >/dev/null && (cd "$$folder" && { eval "$$fetch" || { apt-get update -qq && eval "$$fetch"; }; }) >/dev/null 2>&1 && \
	cp "$$folder/usr/bin/promtool" "$$folder/usr/bin/prometheus" $(BIN)/; then exit 0; fi; \
	echo 'Without Prometheus (macOS: brew install prometheus) the tests of metrics and alert rules are skipped.'

# A compiler for ARM and what runs its programs here, for the tests of the engine's kernels.
arm:
	@if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user </dev/null; then exit 0; fi; \
	echo 'Without gcc-aarch64-linux-gnu and qemu-user the tests of the kernels for ARM are skipped.'

# The pods of the overlay `production`, and half of the frontend's tests of its store, run these two. apt starts what it
# installs; nothing here uses that.
stores:
	@missing=; command -v redis-server >/dev/null || missing=redis-server; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null; then \
	for service in $$missing; do service $$service stop >/dev/null 2>&1 || true; done; \
	else echo "Not installed: $$missing. The tests that run it are skipped."; fi
