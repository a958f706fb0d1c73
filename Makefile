# What a newcomer types: `make demo`, `make test`. Each does its own set-up.

# One place for all builds of this machine; set it to keep them apart.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/glovebox/target
CARGO ?= cargo
BIN := $(CARGO_TARGET_DIR)/debug
MUTANTS ?= /tmp/glovebox-mutants

.PHONY: help demo test check vectors bench mutants soak fuzz deps deps-demo build

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: deps-demo build ## three parties, real data, real TPM Evidence, in under a minute once built
	$(BIN)/glovebox demo $(if $(DIR),--dir $(DIR))

test: deps ## all tests, with the stories over real processes
	$(CARGO) test --workspace --no-fail-fast
	$(CARGO) test -p vectors --features comparison --test differential

check: ## format, lints, documentation, layers, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	$(CARGO) run --quiet -p xtask -- tidy
	$(CARGO) run --quiet -p xtask -- licences

vectors: ## every case under GLOVEBOX_VECTORS against the Verifier; KIND=snp chooses
	$(CARGO) run --quiet -p vectors -- $(KIND)

bench: deps build ## the measurements of docs/performance.md; PARTS="tpch seal" chooses
	$(CARGO) build --release -p bench -p broker -p runtime --bins
	$(CARGO_TARGET_DIR)/release/glovebox-bench --demo $(BIN)/glovebox $(PARTS)
	$(CARGO) run --release --quiet -p vectors --features comparison -- bench

mutants: ## mutants of the checks of Evidence that no test notices; FILES='snp|tpm' chooses (docs/security/mutants.md)
	scripts/mutants.py $(MUTANTS) list
	CARGO_TARGET_DIR=$(MUTANTS)/target scripts/mutants.py $(MUTANTS) build
	scripts/mutants.py $(MUTANTS) run '$(FILES)'
	scripts/mutants.py $(MUTANTS) report

soak: deps ## 1,000 kills of the broker under 16 writers, 10,000 mutants of Evidence beside other verifiers, and the like
	GLOVEBOX_KILLS=$(or $(GLOVEBOX_KILLS),1000) $(CARGO) test --release -p broker --test store_kill -- --nocapture
	GLOVEBOX_MUTANTS=$(or $(GLOVEBOX_MUTANTS),10000) $(CARGO) test --release -p vectors --features comparison --test differential -- --nocapture

fuzz: ## every parser under libFuzzer with AddressSanitizer; TARGETS="snp intel" SECONDS=600 JOBS=2 choose
	@scripts/fuzz.sh $(or $(SECONDS),600) $(or $(JOBS),2) $(TARGETS)

deps: ## install what the tests need
	@scripts/deps.sh test

deps-demo:
	@scripts/deps.sh demo

build:
	$(CARGO) build -p cli -p broker -p runtime --bins
