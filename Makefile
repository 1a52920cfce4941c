# The front door for daily work; meson.build is the truth. `make help` lists what there is.

BUILD ?= build
CI_WERROR = $(if $(CI),-Dwerror=true)
# Ubuntu and Debian name the tools without a version; PYTHON must be the one that has pytest.
PYTHON ?= /usr/bin/python3
ARGS ?=
FUZZ_SECONDS ?= 10

.DEFAULT_GOAL := help
.PHONY: help build run test unit api images lint check-deploy check-asan check-ubsan check-tsan check-clang fuzz bench \
        cover format clean install

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

$(BUILD)/build.ninja:
	meson setup $(BUILD) $(CI_WERROR)

build: $(BUILD)/build.ninja ## build/barograph and everything else
	ninja -C $(BUILD)

run: $(BUILD)/build.ninja ## start the server on 127.0.0.1:4242 (make run ARGS="--port 4343")
	@ninja -C $(BUILD) barograph
	@sh tools/run.sh $(BUILD)/barograph $(ARGS)

unit: build ## the unit tests and the fuzz targets' smoke runs
	meson test -C $(BUILD) --print-errorlogs

api: build ## the tests against the running server
	$(PYTHON) -m pytest -q tests/api

test: ## all that CI runs
	sh tools/test.sh

images: ## the container images into build/images (BASE=debootstrap: without a registry)
	sh tools/images.sh

check-deploy: build ## images built, run and driven from outside; manifests (root, no registry)
	$(PYTHON) -m pytest -q tests/deploy

lint: build ## format, include ranks, header independence, export prefixes
	sh tools/lint.sh $(BUILD)

check-asan: ## the unit tests under the address sanitizer (and the server's smoke tests)
	sh tools/sanitize.sh address

check-ubsan: ## under the undefined behaviour sanitizer
	sh tools/sanitize.sh undefined

check-tsan: ## under the thread sanitizer
	sh tools/sanitize.sh thread

check-clang: ## build with clang, warnings as errors
	CC=clang meson setup build-clang -Dwerror=true --reconfigure >/dev/null 2>&1 || CC=clang meson setup build-clang -Dwerror=true
	ninja -C build-clang

fuzz: ## every fuzz target for FUZZ_SECONDS each (libFuzzer, clang)
	FUZZ_SECONDS=$(FUZZ_SECONDS) sh tools/fuzz.sh

bench: ## the benchmarks as a table, peers side by side
	BUILD=build-bench sh bench/run.sh

cover: ## line coverage of the unit tests and the smoke tests of the server (gcovr)
	@command -v gcovr >/dev/null || { echo "gcovr is not installed (./dev cover installs it)" >&2; exit 1; }
	meson setup build-cover -Db_coverage=true --reconfigure >/dev/null 2>&1 || meson setup build-cover -Db_coverage=true
	ninja -C build-cover && meson test -C build-cover
	TEST_PROGRAM=$(CURDIR)/build-cover/barograph $(PYTHON) -m pytest -q -m sanitized tests/api
	ninja -C build-cover coverage-text
	@tail -n 2 build-cover/meson-logs/coverage.txt

format: ## clang-format the tree
	clang-format -i $$(git ls-files '*.c' '*.h')

clean: ## remove what was built
	rm -rf build build-*

install: build ## install below DESTDIR
	meson install -C $(BUILD)
