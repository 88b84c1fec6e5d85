# Everything a person or a machine does with this source tree. `make` alone lists it.
# Each target installs the Debian packages it misses (setup/packages.txt says which and why).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(HOME)/.cargo/bin:$(PATH)
target := $(or $(CARGO_TARGET_DIR),target)
# What the page is made of; the binary embeds web/dist.
web_sources := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -name '.npm.lock' 2>/dev/null)

.PHONY: help run build deb test check web-test rust-test vm-test fuzz soak bench web audit clean
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: build ## build, and run the demo: test picture and tone, no card needed (ARGS="…" for other arguments)
	exec $(target)/release/capcast run $(or $(ARGS),--demo)

build: packages-run web ## build the release binary
	cargo build --release --locked

deb: packages-deb build ## the Debian package, in packages/ of the target folder; for Debian 12 and 13 when built on 12
	package=$$(packaging/build-deb $(target)/release/capcast $(target)/packages)
	lintian --fail-on error --allow-root "$$package"
	ls -l "$$package"

test: packages-run packages-test check web-test rust-test ## everything but the VM

check: web
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --document-private-items --quiet
	"$$(setup/cargo-deny)" --log-level warn check licenses bans sources

web-test: web
	setup/npm tests/browser
	npm --prefix web run check
	npm --prefix web test

rust-test: web
	setup/python >/dev/null
	setup/python tests/openapi >/dev/null
	setup/clips >/dev/null
	cargo test --locked --no-fail-fast

vm-test: packages-run packages-vm packages-deb web ## real V4L2 and ALSA devices, the package under systemd, the container's root: a kernel with a virtual card, in user mode
	cargo build --locked
	CAPCAST=$(target)/debug/capcast tests/vm/run
	CAPCAST=$(target)/debug/capcast tests/vm/service
	CAPCAST=$(target)/debug/capcast tests/container

web: web/dist/index.html ## the player page
web/dist/index.html: $(web_sources)
	setup/install run
	setup/npm web
	npm --prefix web run build
	touch $@

fuzz: packages-run ## fuzz what strangers' bytes reach, each target for SECONDS=… (60), or only TARGETS="…"
	fuzz/run $(or $(SECONDS),60) $(TARGETS)

soak: packages-run packages-test packages-vm build ## the long forms of the tests: hours, or CAPCAST_SOAK_MINUTES=… of each
	setup/python >/dev/null
	cargo test --locked --release --lib --test it -- soak --include-ignored --nocapture --test-threads=1
	CAPCAST_SOAK_FAULTS=$${CAPCAST_SOAK_FAULTS:-200} CAPCAST_SOAK_CAPTURE=$${CAPCAST_SOAK_CAPTURE:-60} \
	  CAPCAST=$(target)/release/capcast tests/vm/run faults_in_a_row loses_none

bench: packages-run packages-test build ## measure: start, overhead, SFU load, outputs, panel, glass to glass (leave the machine alone meanwhile)
	benches/run
	cargo bench --locked --bench sfu_forward

audit: ## known vulnerabilities of all dependencies, besides licences and sources
	"$$(setup/cargo-deny)" check

packages-%:
	@setup/install $*

clean: ## remove what was built here
	cargo clean
	rm -rf web/dist web/node_modules tests/browser/node_modules
