# The commands for everyone, including CI. `make run` and `make test` do all the set-up on a fresh machine.
# Only the caches of pip and Go are outside this folder: the Python environment is .venv, everything else is
# under .carillon. One exception: for root in a folder that others cannot pass, a copy of Postgres'
# programs is put under /var/lib/carillon (or /var/tmp), where the account that runs them finds it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PY := .venv/bin/python
# Without compiled modules, each of our processes would compile all of its imports again, pytest its tests as well.
unexport PYTHONDONTWRITEBYTECODE
export KILLS ENGINE REGISTRY IMAGE_TAG BASE_IMAGE BUILD_IMAGE DEBIAN_MIRROR
SETUP := $(or $(PYTHON),python3) tools/setup.py

.PHONY: help
help: ## List what make can do
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: setup
setup: ## Create the Python environment and build the local cluster (run and test do this themselves)
	@$(SETUP) all

.PHONY: run
run: ## Start everything, apply examples/, wait until each has run, and show the result
	@$(SETUP) run
	@$(PY) -m carillon_local up

.PHONY: stop
stop: ## Stop what `make run` started; keep its data
	@$(SETUP) python
	@$(PY) -m carillon_local down

.PHONY: clean
clean: ## Stop what `make run` started and delete its data; keep what was built
	@$(SETUP) python
	@$(PY) -m carillon_local clean

.PHONY: status
status: ## Show what is running, and where
	@$(SETUP) python
	@$(PY) -m carillon_local status

.PHONY: logs
logs: ## Show the end of every log, and follow the operator's and the API's
	@$(SETUP) python
	@$(PY) -m carillon_local logs

.PHONY: cluster
cluster: ## Start only the local cluster, with the CRDs installed
	@$(SETUP) cluster
	@$(PY) -m carillon_local cluster

.PHONY: cluster-stop
cluster-stop: ## Stop the local cluster
	@$(SETUP) python
	@$(PY) -m carillon_local cluster-stop

.PHONY: test
test: ## Lint, types and all tests, with coverage (CARILLON_TEST_LANES=4 workers)
	@$(SETUP) all
	@$(MAKE) lint
	@$(PY) tools/coverage_gate.py

.PHONY: unit
unit: ## Run the unit tests: seconds; no cluster, no database, no other process
	@$(SETUP) python
	@$(MAKE) --jobs=2 --output-sync=target unit-1 unit-2

# In two, side by side: pytest-xdist's workers would each import and collect all of them, which takes as long as they do.
UNIT_1 = tests/unit/api
# plugins that no unit test uses; to import them takes longer than a hundred tests
UNIT_WITHOUT = -p no:pytest-kind -p no:hypothesispytest -p no:schemathesis -p no:anyio -p no:xdist -p no:pytest_cov
.PHONY: unit-1 unit-2
unit-1:
	@$(PY) -m pytest $(UNIT_1) -q $(UNIT_WITHOUT)
unit-2:
	@$(PY) -m pytest tests/unit --ignore=$(UNIT_1) -q $(UNIT_WITHOUT)

.PHONY: unit-pythons
unit-pythons: ## Run the unit tests on the oldest and the newest Python available, each in its own environment
	@$(SETUP) python
	@$(PY) tools/unit_pythons.py

.PHONY: truth
truth: ## Prove the calculus of fire times: a million triples (TRIPLES=, SEED=) against a cron daemon, croniter, cronsim
	@$(SETUP) python
	@$(PY) -m truth --triples $(or $(TRIPLES),1000000) $(if $(SEED),--seed $(SEED))

.PHONY: faults
faults: ## Inject faults into a running operator; PLANS=300 SEED=1 LANES=6, FROM=… continues, PLAN=… replays one, SUMMARY=1, NATIVE=1
	@$(SETUP) all
	@$(PY) -m faults --plans $(or $(PLANS),300) --seed $(or $(SEED),1) --lanes $(or $(LANES),6) \
		$(if $(FROM),--from $(FROM)) $(if $(PLAN),--plan '$(PLAN)') $(if $(SUMMARY),--summary) $(if $(NATIVE),--native)

.PHONY: cronjobs
cronjobs: ## Compare the Jobs of 208 CronJobs with those of their converted tasks, in a real API server
	@$(SETUP) cluster
	@$(PY) -m pytest proofs/cronjobs -q -s

.PHONY: timeline
timeline: ## Simulate a year of tasks with failures (SEED=, TASKS=, DAYS=) and account for every slot
	@$(SETUP) python
	@$(PY) -m timeline --tasks $(or $(TASKS),1000) --days $(or $(DAYS),365) $(if $(SEED),--seed $(SEED))

.PHONY: bench-api
bench-api: ## Measure the facade: ROWS=1000000 executions, RATE=100 requests a second for SECONDS=20 each
	@$(SETUP) all
	@$(PY) bench/api.py --rows $(or $(ROWS),1000000) --rate $(or $(RATE),100) --seconds $(or $(SECONDS),20)

.PHONY: bench-events
bench-events: ## Measure what VIEWERS=500 event streams cost the API, SECONDS=60 for each case
	@$(SETUP) all
	@$(PY) -m bench.events --viewers $(or $(VIEWERS),500) --seconds $(or $(SECONDS),60)

.PHONY: schemathesis
schemathesis: ## Send at least CASES=10000 requests of schemathesis to the API
	@$(SETUP) all
	@CARILLON_SCHEMATHESIS_CASES=$(or $(CASES),10000) $(PY) -m pytest tests/e2e/test_schemathesis.py -q -s

.PHONY: hostile-bodies
hostile-bodies: ## Measure what the largest bodies of all shapes cost the API in every operation
	@$(SETUP) python
	@CARILLON_ALL_HOSTILE_BODIES=1 $(PY) -m pytest tests/processes/api/test_hostile_bodies.py -q -s

.PHONY: storm
storm: ## Let RUNNERS=1000 runners claim in one second against a Postgres of CONNECTIONS=40, and measure
	@$(SETUP) python
	@$(PY) bench/storm.py --runners $(or $(RUNNERS),1000) --max-connections $(or $(CONNECTIONS),40)

.PHONY: backlog
backlog: ## Measure launches and the operator's loop with TASKS=10000 tasks and REQUESTS=10000 finished RunRequests
	@$(SETUP) all
	@$(PY) bench/backlog.py --tasks $(or $(TASKS),10000) --requests $(or $(REQUESTS),10000)

.PHONY: lint
lint: ## ruff, mypy --strict, import-linter, gofmt, go vet; Redocly, Spectral; bandit, pip-audit; helm lint, kubeconform, kube-score, checkov
	@$(SETUP) all
	@$(PY) tools/lint.py

.PHONY: format
format: ## Format the code
	@$(SETUP) python
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

.PHONY: manifests
manifests: ## Generate crds/ (and the chart's), api/openapi.json, docs/cli.md, docs/metrics.md, docs/settings.md and the chart's README
	@$(SETUP) python
	@$(PY) -m carillon_core.resources --output crds
	@$(PY) -m carillon_core.resources --output charts/carillon/files/crds
	@$(PY) -m carillon_api.openapi --output api/openapi.json
	@$(PY) -m carillon_cli.reference --output docs/cli.md
	@$(PY) -m metrics_reference --output docs/metrics.md
	@$(PY) -m settings_reference --output docs/settings.md
	@$(PY) -m carillon_chart.reference --output charts/carillon/README.md

.PHONY: permissions
permissions: ## Generate the matrix of permissions (tests/integration/operator/permissions.txt) from a real API server
	@$(SETUP) all
	@CARILLON_WRITE_PERMISSIONS=1 $(PY) -m pytest tests/integration/operator/test_permission_matrix.py -q -p no:pytest-kind

.PHONY: requirements
requirements: ## Compile requirements/*.txt from pyproject.toml
	@$(SETUP) python
	@$(PY) tools/compile_requirements.py

.PHONY: images
images: ## Build both container images (ENGINE=, REGISTRY=, IMAGE_TAG=, BASE_IMAGE=; BASE_IMAGE=local if none can be pulled)
	@$(SETUP) python
	@$(PY) -m carillon_images build

.PHONY: base-image
base-image: ## Build the base for BASE_IMAGE=local from Debian packages (root, debootstrap; DEBIAN_MIRROR=)
	@$(SETUP) python
	@$(PY) -m carillon_images base

.PHONY: sbom
sbom: ## Write a validated SBOM (CycloneDX) of each image to .carillon/sbom
	@$(SETUP) python
	@$(PY) -m carillon_images sbom

.PHONY: kind-up
kind-up: ## Create a kind cluster (KIND_CLUSTER=), build the images and load them; then: make deploy
	@$(SETUP) python
	@$(PY) -m carillon_deploy kind-up

.PHONY: kind-down
kind-down: ## Delete the cluster that kind-up created
	@$(SETUP) python
	@$(PY) -m carillon_deploy kind-down

.PHONY: deploy
deploy: ## Install or upgrade the chart in the cluster of KUBECONFIG (CONTEXT=, NAMESPACE=, VALUES=, REGISTRY=, TIMEOUT=)
	@$(SETUP) python
	@$(PY) -m carillon_deploy deploy

.PHONY: mk-image
mk-image: ## Build the images and load them into minikube (MINIKUBE_PROFILE=)
	@$(SETUP) python
	@$(PY) -m carillon_deploy mk-image

.PHONY: mk-deploy
mk-deploy: ## Install or upgrade the chart in minikube (NAMESPACE=, VALUES=)
	@$(SETUP) python
	@$(PY) -m carillon_deploy mk-deploy

.PHONY: mk-url
mk-url: ## Print the API's address in minikube
	@$(SETUP) python
	@$(PY) -m carillon_deploy mk-url

.PHONY: kueue
kueue: ## Let Kueue hold, admit and take back executions (builds Kueue first, which takes some minutes)
	@$(SETUP) all
	@$(PY) -m pytest proofs/kueue -q

.PHONY: e2e
e2e: ## Install the chart on a real node; kill, upgrade, remove it (Linux, root; KILLS=20; ten minutes the first time)
	@$(or $(PYTHON),python3) tools/debian_packages.py
	@$(SETUP) all
	@REGISTRY= IMAGE_TAG= BASE_IMAGE=$(or $(BASE_IMAGE),local) $(PY) -m carillon_images archives
	@PYTHONPATH=devcluster $(PY) -m carillon_devcluster.realnode build
	@PYTHONPATH=devcluster $(PY) tools/lint_go.py realnode
	@$(PY) -c 'from carillon_chart.programs import HELM, program; program(HELM)'
	@$(PY) -m pytest proofs/realnode -q -o timeout=$$((1800 + 60 * $(or $(KILLS),20)))
