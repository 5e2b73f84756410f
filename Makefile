# Every habit of this house is one target. `make` alone lists them.
# Law: a target that needs packages depends on an environment target, which does nothing when all is there.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
DEPLOY := .venv-deploy/bin
CDK := .venv-deploy/node_modules/aws-cdk/bin/cdk
# Four at most: many tests start processes of their own.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ "$$n" -gt 4 ] && n=4; echo "$$n")

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

##@ Start
.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: env-run ## The main job on real files, start to end; FILE=/path shares your file or folder, SIZE=64MiB is quicker than 1GiB
	@exec $(BIN)/skyswarm demo --dir ".demo/$$(date +%Y%m%d-%H%M%S)" \
	  $(if $(FILE),--file "$(FILE)") $(if $(SIZE),--size "$(SIZE)")

.PHONY: test
test: lint types imports env-emulators ## Everything that must hold: lint, types, import rules, and all tests but the slow ones
	$(PYTEST) -n $(WORKERS) --dist loadfile -m "not slow and not deploy" $(ARGS)

.PHONY: setup
setup: env-dev ## Only build .venv with all that tests need (the other targets do it by themselves)
	@echo 'Ready. Put the command on your path:  export PATH="$(CURDIR)/$(BIN):$$PATH"'

##@ While working
.PHONY: lint
lint: env-dev ## Style and likely mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: env-dev ## Mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: env-dev ## Types, strictly
	$(BIN)/mypy

.PHONY: imports
imports: env-dev ## Who may import whom
	$(BIN)/lint-imports --no-logo

.PHONY: completion
completion: env-run ## Complete `skyswarm` in the shell you are in; .venv/bin must be on its PATH
	@$(BIN)/skyswarm --install-completion

##@ Longer runs
.PHONY: e2e
e2e: env-dev ## Kills, faults and big files, on real processes (minutes)
	$(PYTEST) -m slow $(ARGS)

.PHONY: test-deploy
test-deploy: env-dev env-deploy ## What would be deployed: bundles and templates, checked offline (needs 1 GB once)
	$(PYTEST) -m deploy $(ARGS)

.PHONY: fuzz
fuzz: env-dev ## Bad input for the parsers, again and again with other seeds (ROUNDS=20)
	@set -e; for round in $$(seq $(or $(ROUNDS),20)); do $(PYTEST) -q tests/fuzz $(ARGS); done

.PHONY: bench
bench: env-bench ## The figures, each against its rival in the same run
	@exec $(BIN)/python -m tests.bench $(ARGS)

##@ Releases
.PHONY: package
package: env-dev ## Build the wheel, install it alone in a clean environment and start it
	rm -rf dist
	$(BIN)/python -m hatchling build -t wheel -d dist
	@set -e; clean=$$(mktemp -d); trap 'rm -rf "$$clean"' EXIT INT TERM; \
	  infra/bootstrap.sh run --into "$$clean/env" --wheel dist/*.whl; \
	  cd "$$clean" && "$$clean/env/bin/skyswarm" version

.PHONY: synth
synth: env-deploy ## What would be deployed to AWS, into infra/aws/cdk.out: checked, offline, no account needed
	@cd infra/aws && PATH="$(CURDIR)/$(DEPLOY):$$PATH" node "$(CURDIR)/$(CDK)" synth --quiet --no-notices $(ARGS)
	@$(DEPLOY)/cfn-lint infra/aws/cdk.out/*.template.json

.PHONY: template
template: env-deploy ## Templates and zips to launch from AWS's console without Node, into dist/aws
	@PATH="$(CURDIR)/$(DEPLOY):$$PATH" $(DEPLOY)/python -m infra.aws.template $(ARGS)

.PHONY: lock
lock: env-dev ## Renew the lock files from pyproject.toml; UPGRADE=1 also takes newer versions
	@set -e; compile() { out=$$1; shift; $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
	    --annotation-style line --no-emit-index-url --python-version 3.11 \
	    $(if $(UPGRADE),--upgrade) --output-file "$$out" "$$@"; }; \
	  compile requirements-bench.lock --group bench --group dev --all-extras pyproject.toml; \
	  compile requirements-dev.lock --constraint requirements-bench.lock --group dev --all-extras pyproject.toml; \
	  compile requirements.lock --constraint requirements-dev.lock pyproject.toml; \
	  compile requirements-emulators.lock --group pyproject.toml:emulators; \
	  compile requirements-deploy.lock --group pyproject.toml:deploy

##@ Tidying
.PHONY: clean
clean: ## Remove what runs and tests leave behind
	rm -rf .demo .bench dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find functions infra shared tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Also remove the environments
	rm -rf .venv .venv-emulators .venv-deploy

.PHONY: env-run env-dev env-bench env-emulators env-deploy
env-run env-dev env-bench env-emulators env-deploy:
	@infra/bootstrap.sh $(@:env-%=%)
