# Two commands are enough: `make run` and `make test`. Both set up what is missing and are quick when nothing changed.

PYTHON ?= python3
PORT ?= 8000
ENGINE_PORT ?= 8123
DATA ?= ./data
# One more than there are processors: many tests wait for a browser or an engine.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))

VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make

.PHONY: help run test full coverage quick chaos soak lint types tag-tests bench bench-tag bench-identity bench-links bench-use bench-privacy docs picture lock clean size

help: ## Say what there is.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

run: $(STAMPS)/run ## Start everything. PORT, ENGINE_PORT and DATA may be given.
	@exec $(BIN)/tagstitch run --demo --data "$(DATA)" --port $(PORT) --engine-port $(ENGINE_PORT)

test: $(STAMPS)/dev $(STAMPS)/node $(STAMPS)/provider $(STAMPS)/programs ## Everything but the long forms: linters, types, Python, TypeScript, real engine, real browsers.
	@$(MAKE) --no-print-directory lint types
	@$(MAKE) --no-print-directory tag-tests
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=40 -m "not long"

full: $(STAMPS)/dbt test ## `make test`, and what takes long: the image's build stage, dbt, every case in every browser, moves and kills of whole instances, more stories of identity.
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "long and not chaos"

coverage: $(STAMPS)/dev $(STAMPS)/programs ## What of the code the tests run through. ARGS="tests/accept".
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered -m "not long" $(ARGS)

quick: ## The contributor's loop: no browser, no engine, no install, under 90 s.
	@test -x $(BIN)/pytest || { echo "nothing is set up yet: run  make test  once"; exit 1; }
	@$(MAKE) --no-print-directory lint types
	@$(BIN)/pytest -q -n auto --dist loadfile -m "not browser and not engine and not chaos and not slow"

chaos: $(STAMPS)/dev $(STAMPS)/programs ## The long form of the tests that kill and damage; writes docs/reliability.md. ROUNDS, SEED, ARGS="-k proxy".
	@mkdir -p $(STAMPS) && rm -f $(STAMPS)/chaos.jsonl && touch $(STAMPS)/chaos.jsonl
	@TAGSTITCH_CHAOS_ROUNDS=$${ROUNDS:-200} TAGSTITCH_CHAOS_SEED=$${SEED:-4711} TAGSTITCH_TEST_EXAMPLES=1000 \
		TAGSTITCH_CHAOS_REPORT=$(STAMPS)/chaos.jsonl \
		$(BIN)/pytest tests/chaos tests/spool tests/load tests/identity tests/bad_input \
		tests/importing tests/integration/test_copy.py tests/integration/test_import_events.py tests/integration/test_upgrade.py --timeout 7200 $(ARGS); \
		status=$$?; $(BIN)/python -m tests.chaos.report $(STAMPS)/chaos.jsonl && exit $$status

soak: $(STAMPS)/dev ## Most of the load it can bear for MINUTES=30: memory, descriptors and spool stay where they are.
	@mkdir -p $(STAMPS) && rm -f $(STAMPS)/soak.jsonl && touch $(STAMPS)/soak.jsonl
	@TAGSTITCH_SOAK_MINUTES=$${MINUTES:-30} TAGSTITCH_CHAOS_REPORT=$(STAMPS)/soak.jsonl \
		$(BIN)/pytest tests/chaos/test_soak.py -s --timeout 7200; \
		status=$$?; $(BIN)/python -m tests.chaos.report $(STAMPS)/soak.jsonl && exit $$status

lint:
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types:
	@$(BIN)/mypy

tag-tests: $(STAMPS)/node
	@cd tag_js && npm run --silent check && npm run --silent test && npm run --silent size

size: $(STAMPS)/node ## Bytes of the tag, as browsers get them.
	@cd tag_js && npm run --silent size

bench: $(STAMPS)/dev $(STAMPS)/programs ## What one core takes in and brings into ClickHouse. ARGS="--only acks"; ARGS=--help.
	@$(BIN)/python -m bench.ingest $(ARGS)

bench-tag: $(STAMPS)/dev $(STAMPS)/programs $(STAMPS)/peers ## The tag beside its peers. ARGS="--only tags --runs 15"; ARGS=--help.
	@$(BIN)/python -m bench.tag $(ARGS)

bench-identity: $(STAMPS)/dev ## What stitching costs: rebuild, further evidence, reading. ARGS="--only rebuild"; ARGS=--help.
	@$(BIN)/python -m bench.identity $(ARGS)

bench-links: $(STAMPS)/dev ## What tagged links cost: minting, their length, verifying. ARGS="--rows 1000000"; ARGS=--help.
	@$(BIN)/python -m bench.links $(ARGS)

bench-use: $(STAMPS)/dev ## What asking who somebody is costs: profiles, pages, webhooks, copying. ARGS="--scale 0.01 --runs 1"; ARGS=--help.
	@$(BIN)/python -m bench.use $(ARGS)

bench-privacy: $(STAMPS)/dev ## What erasing costs, and whether anything is left. ARGS="--scale 0.1 --runs 1"; ARGS=--help.
	@$(BIN)/python -m bench.privacy $(ARGS)

docs: $(STAMPS)/dev ## Write the generated parts of docs/ anew.
	@$(BIN)/python -m collector.document
	@$(BIN)/python -m collector.store.document
	@$(BIN)/python -m tests.identity.draw_cases

picture: $(STAMPS)/dev $(STAMPS)/programs ## Photograph the live page for the README, the shop for docs/offers.md, and the links page for docs/marketers.md.
	@PYTHONPATH=.:tests:tests/browser $(BIN)/python tests/browser/picture.py
	@PYTHONPATH=.:tests:tests/browser $(BIN)/python tests/browser/picture_links.py

lock: ## Write the lock files anew from pyproject.toml.
	@$(BIN)/uv pip compile pyproject.toml --extra adapters --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -o requirements-dev.lock
	@$(BIN)/uv pip compile --group dbt --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q -o requirements-dbt.lock

clean: ## Remove what the set-up made; the data folder stays.
	@rm -rf $(VENV) .venv-dbt $(STAMPS) tag_js/node_modules bench/peers/node_modules tests/id_tokens/provider/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

# --- set-up: a stamp for each part, older than what it was made from ---

$(BIN)/uv:
	@$(PYTHON) deploy/check_python.py
	@$(PYTHON) -m venv $(VENV)
	@echo "setting up Python in $(VENV) …"
	@$(BIN)/python -m pip install -q --disable-pip-version-check "uv>=0.9"

$(STAMPS)/run: requirements.lock pyproject.toml | $(BIN)/uv
	@mkdir -p $(STAMPS)
	@test -e $(STAMPS)/dev || echo "installing tagstitch …"
	@test -e $(STAMPS)/dev || $(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation-package none -e .
	@touch $@

$(STAMPS)/dev: requirements-dev.lock pyproject.toml | $(BIN)/uv
	@mkdir -p $(STAMPS)
	@echo "installing tagstitch and what its tests need …"
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@ $(STAMPS)/run

$(STAMPS)/dbt: requirements-dbt.lock | $(BIN)/uv
	@mkdir -p $(STAMPS)
	@echo "installing dbt for one test …"
	@$(PYTHON) -m venv .venv-dbt
	@$(BIN)/uv pip install -q --python .venv-dbt/bin/python --require-hashes -r requirements-dbt.lock
	@touch $@

$(STAMPS)/node: tag_js/package.json tag_js/package-lock.json
	@mkdir -p $(STAMPS)
	@command -v npm >/dev/null || { echo "the tests of the tag need node 20 or newer with npm: install them, then try again"; exit 1; }
	@echo "installing the tag's tools …"
	@cd tag_js && npm install --silent --no-save
	@touch $@

$(STAMPS)/provider: tests/id_tokens/provider/package.json tests/id_tokens/provider/package-lock.json
	@mkdir -p $(STAMPS)
	@echo "installing the OpenID provider that tests sign in at …"
	@cd tests/id_tokens/provider && npm install --silent --no-save
	@touch $@

$(STAMPS)/peers: bench/peers/package.json bench/peers/package-lock.json
	@mkdir -p $(STAMPS)
	@echo "installing the tags that ours is measured against …"
	@cd bench/peers && npm install --silent --no-save
	@touch $@

$(STAMPS)/programs: deploy/install-test-programs.sh
	@mkdir -p $(STAMPS)
	@sh deploy/install-test-programs.sh
	@touch $@
