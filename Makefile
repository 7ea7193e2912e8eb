# What can be done with this tree: `make help`. Each target sets up what it needs, builds again only
# what changed, and says plainly what is missing. Other settings, each handed on as it is:
#   PYTHON=python3.12   the interpreter (run `make clean` when changing it)
#   ARGS=...            arguments for the program of the target: the demo, pytest, benchmarks/run.py, docs/build.py
#   PYTHONS="3.11 3.13" NUMPYS=oldest COMPILERS=  of test-matrix; see scripts/test_matrix.py
#   TORCH=  JAX=        bench without PyTorch, without JAX (downloads of some 200 and 100 MB)
#   NNEXT_NO_APT=1      install nothing from Debian; otherwise scripts/need.sh says what, then does
PYTHON ?= python3
TORCH ?= torch==2.13.0
JAX ?= jax==0.10.2
ARGS ?=

SHELL := /bin/sh
.SUFFIXES:
.PHONY: help demo test cpp-build cpp-test py-test test-portable test-windows test-matrix sanitize check-python coverage check-wheel \
  same-bits bench docs lint lint-python lint-cpp lint-project format clean
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

DISTRIBUTION := $(shell sed -n '/^name = /{s/.*"\(.*\)"/\1/p;q;}' pyproject.toml)

# What a wheel is made of. Folders are in it too, so that a deleted file counts as a change.
SOURCES := $(shell find CMakeLists.txt cmake pyproject.toml README.md LICENSE cpp python \
                        ! -name '*.pyc' ! -name __pycache__ 2>/dev/null)

# $(call pip,ENVIRONMENT,WHAT): installs it there. -P, here and below: build/ is no Python package.
define pip
@echo 'nnext: installing $(2) into $(1)'
@$(1)/bin/python -P -m pip install --quiet $(2) || { echo \
'nnext: pip failed, see above. If it found no packages: can this machine reach the Python package index?' >&2; exit 1; }
endef

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' Makefile | expand -t 15

# One environment per purpose, so that none can lend the package what it should have brought along.
ENVIRONMENTS := .venv .venv-test .venv-dev .venv-bench .venv-docs
$(ENVIRONMENTS:%=%/.made): %/.made:
	@scripts/need.sh python "$(PYTHON)"
	@scripts/need.sh compiler
	@echo 'nnext: making the environment $*'
	@"$(PYTHON)" -m venv --clear $*
	@touch $@

# --- the demo -------------------------------------------------------------------------------------
demo: .venv/.installed ## train on handwritten digits, show what was learnt, write demo_output/
	.venv/bin/python -P -m nnext demo --out demo_output $(ARGS)

.venv/.installed: .venv/.made $(SOURCES)
	@echo 'nnext: building the C++ core takes some minutes the first time'
	$(call pip,.venv,".[demo]")
	@touch $@

# --- the tests ------------------------------------------------------------------------------------
CTEST = .venv-test/bin/ctest --test-dir build/dev --output-on-failure
PYTEST = .venv-test/bin/python -P -m pytest $(ARGS)

test: cpp-build .venv-test/.installed ## build everything, then run every test: ctest, then pytest
	@status=0; $(CTEST) || status=1; $(PYTEST) || status=1; exit $$status

cpp-test: cpp-build ## the C++ tests alone
	$(CTEST)

py-test: .venv-test/.installed ## the Python tests alone, against the installed wheel
	$(PYTEST)

.venv-test/.tools: .venv-test/.made
	$(call pip,.venv-test,build cmake ninja pybind11 scikit-build-core)
	@touch $@

# $(call cpp-build,PRESET,SETTINGS): builds a preset, the C++ tests with it, in build/PRESET.
define cpp-build
	@scripts/need.sh googletest
	.venv-test/bin/cmake --preset $(1) $(2) -DCMAKE_MAKE_PROGRAM="$(CURDIR)/.venv-test/bin/ninja"
	.venv-test/bin/cmake --build build/$(1)
endef

cpp-build: .venv-test/.tools
	$(call cpp-build,dev)

# The wheel is built from the sdist, in an environment that has what pyproject.toml asks for and no more.
dist/.built: .venv-test/.tools $(SOURCES)
	rm -rf dist
	.venv-test/bin/python -P -m build -Ccmake.define.NNEXT_WERROR=ON
	@touch $@

.venv-test/.installed: dist/.built
	@.venv-test/bin/python -P -m pip uninstall --quiet --yes $(DISTRIBUTION) 2>/dev/null
	$(call pip,.venv-test,"$$(ls dist/*.whl)[test]")
	@touch $@

# --- other Pythons, NumPys and compilers ----------------------------------------------------------
test-matrix: .venv-test/.tools ## the tests on every Python that is here, oldest and newest NumPy; the core by GCC and Clang
	@scripts/need.sh googletest
	@.venv-test/bin/python -P scripts/test_matrix.py $(ARGS)

# --- the C++ tests elsewhere ----------------------------------------------------------------------
# $(call cpp-run,PRESET,FILTER): the tests that the filter selects.
cpp-run = build/$(1)/tests/cpp/nnext_tests$(3) --gtest_brief=1 --gtest_filter='$(2)'
# $(call emulated,EMULATOR,ISA): stands before them; ISA is the best that the emulated CPU has.
emulated = NNEXT_TEST_EMULATOR='$(1)' NNEXT_TEST_ISA=$(2) $(1)

# Left out: forks, since QEMU's user mode breaks when a process with threads forks; what the same bits
# imply, accuracy and functions that never fall; and on x86-64, where every fma is one of software in
# an emulator, large products and long sums.
test-portable: cpp-build ## the C++ tests on an emulated x86-64 CPU without AVX, and as AArch64
	@scripts/need.sh emulators
	$(call cpp-build,cross)
	$(call emulated,qemu-x86_64 -cpu Nehalem,portable) \
	  $(call cpp-run,dev,-Fork.*:Accuracy*:Monotone*:Matmul*:LongSums*:*.Large*)
	$(call emulated,qemu-aarch64 -L /usr/aarch64-linux-gnu,neon) \
	  $(call cpp-run,cross,-Fork.*:Accuracy*:Monotone*)

# Zig is a Clang that brings the headers and libraries of Windows (MinGW's) along. Left out are accuracy, whose references
# are of the C library, and operations on the portable set, whose fma is one of software. What this cannot show is
# clang-cl and the libraries of Microsoft, by which wheels are made.
ZIG = $(CURDIR)/.venv-test/bin/python-zig
.venv-test/.zig: .venv-test/.tools
	$(call pip,.venv-test,ziglang)
	@touch $@

test-windows: .venv-test/.zig ## the C++ tests as programs of Windows, run by Wine on every instruction set that is here
	@scripts/need.sh windows
	$(call cpp-build,windows,-DCMAKE_AR=/usr/bin/ar -DCMAKE_RANLIB=/usr/bin/ranlib \
	  "-DCMAKE_C_COMPILER=$(ZIG);cc;-target;x86_64-windows-gnu" "-DCMAKE_CXX_COMPILER=$(ZIG);c++;-target;x86_64-windows-gnu")
	WINEPREFIX="$(CURDIR)/build/wine" WINEDEBUG=-all wine \
	  $(call cpp-run,windows,-Accuracy*:*.EveryOperationPassesItsTests/portable,.exe)

# The thread sanitizer gets what runs on several threads, on one instruction set: threads share work the same on each.
# Nothing is suppressed.
sanitize: check-python ## the C++ tests under the sanitizers, and check-python
	$(SANITIZERS) $(call cpp-run,asan,*)
	$(call cpp-build,tsan)
	TSAN_OPTIONS=halt_on_error=1 $(call cpp-run,tsan,-Accuracy*:*.EveryOperationPassesItsTests/*)

# Python is built without the sanitizers, so what they need is loaded before it (libstdc++ too, else
# they miss exceptions), and what it never frees is no leak of ours. The module stands beside the
# package in a folder that is found before the installed wheel.
SANITIZERS = ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
PYTHON_SANITIZERS = ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)"
SITE := build/asan/site
check-python: .venv-test/.installed ## the Python tests under the sanitizers, Python's lock asserted at every reference (GCC)
	$(call cpp-build,asan,-DNNEXT_BUILD_PYTHON=ON -DNNEXT_CHECK_GIL=ON \
	  -DPython_EXECUTABLE="$(CURDIR)/.venv-test/bin/python" \
	  -Dpybind11_DIR="$$(.venv-test/bin/python -P -m pybind11 --cmakedir)")
	rm -rf $(SITE) && mkdir $(SITE) && cp -R python/nnext $(SITE) && rm -f $(SITE)/nnext/*.so
	cp build/asan/_nnext*.so $(SITE)/nnext
	$(PYTHON_SANITIZERS) PYTHONPATH="$(CURDIR)/$(SITE)" $(PYTEST) \
	  -m 'not memory_limit and not many_processes and not whole_programs'

# A build of its own, by Clang, which counts how often every line and branch of the sources ran. The C++ tests run
# themselves again with each other instruction set. Left out: what says how accurate, what the same bits imply, and
# whole programs, which take many times as long while everything is counted.
# Every process adds its counts to one of two files for each program.
COVERAGE := build/coverage
COVERED := 95# percent, of each of the four figures
COUNTED := LLVM_PROFILE_FILE="$(CURDIR)/$(COVERAGE)/counts/%2m.profraw"
LLVM = "$$(clang++ -print-prog-name=$(1))"
LLVM_SHOW = $(call LLVM,llvm-cov) show $(COVERAGE)/tests/cpp/nnext_tests --object $(COVERAGE)/site/nnext/_nnext*.so \
  --instr-profile $(COVERAGE)/counts/all.profdata --show-branches=count --show-instantiations=false
coverage: .venv-dev/.installed ## lines and branches that the tests run, in Python and C++, in build/coverage/; at least 95 %
	@scripts/need.sh googletest
	@scripts/need.sh clang
	$(DEV)/cmake --preset coverage -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(DEV)/ninja" \
	  -DPython_EXECUTABLE="$(CURDIR)/$(DEV)/python" -Dpybind11_DIR="$$($(DEV)/python -P -m pybind11 --cmakedir)"
	$(DEV)/cmake --build $(COVERAGE)
	rm -rf $(COVERAGE)/counts $(COVERAGE)/.coverage* $(COVERAGE)/site
	mkdir $(COVERAGE)/counts $(COVERAGE)/site && cp -R python/nnext $(COVERAGE)/site
	rm -f $(COVERAGE)/site/nnext/*.so && cp $(COVERAGE)/_nnext*.so $(COVERAGE)/site/nnext
	$(COUNTED) $(call cpp-run,coverage,-Accuracy*:Monotone*:LongSums*.Products*)
	$(COUNTED) PYTHONPATH="$(CURDIR)/$(COVERAGE)/site" $(DEV)/python -P -m coverage run -m pytest \
	  -m 'not memory_limit and not many_processes and not whole_programs' $(ARGS)
	$(DEV)/python -P -m coverage combine --quiet
	$(DEV)/python -P -m coverage html --quiet --directory $(COVERAGE)/python
	$(DEV)/python -P -m coverage json --quiet -o $(COVERAGE)/python.json
	$(DEV)/python -P -m coverage report >$(COVERAGE)/python.txt
	$(call LLVM,llvm-profdata) merge -sparse $(COVERAGE)/counts/*.profraw -o $(COVERAGE)/counts/all.profdata
	$(LLVM_SHOW) --format=html --output-dir=$(COVERAGE)/cpp cpp
	@echo 'nnext: what is left is listed in $(COVERAGE)/python.txt and $(COVERAGE)/cpp.txt'
	$(LLVM_SHOW) cpp >$(COVERAGE)/cpp.lines
	@$(DEV)/python -P scripts/coverage_figures.py $(COVERAGE)/cpp.txt $(COVERAGE)/python.json $(COVERED) \
	  <$(COVERAGE)/cpp.lines

# --- what is published ----------------------------------------------------------------------------
# The second build is of the sdist too, in another folder and, where the system lets it, without a network: it gets
# no more than the build requirements, which are installed.
AGAIN := build/wheel
ALONE = $$(unshare --map-root-user --net true 2>/dev/null && echo unshare --map-root-user --net)
check-wheel: dist/.built ## that the wheel holds what it should and no more, is small, and is built the same bytes twice
	rm -rf $(AGAIN) && mkdir -p $(AGAIN) && tar -xzf dist/*.tar.gz -C $(AGAIN) && mv $(AGAIN)/nnext* $(AGAIN)/elsewhere
	cd $(AGAIN)/elsewhere && PATH="$(CURDIR)/.venv-test/bin:$$PATH" $(ALONE) \
	  "$(CURDIR)/.venv-test/bin/python" -P -m build --wheel --no-isolation -Ccmake.define.NNEXT_WERROR=ON >build.log \
	  || { cat build.log; exit 1; }
	.venv-test/bin/python -P scripts/check_wheel.py dist/*.whl dist/*.tar.gz $(AGAIN)/elsewhere/dist/*.whl

same-bits: .venv-test/.installed ## write tests/same_bits.txt anew, unless instruction sets disagree
	.venv-test/bin/python -P tests/python/same_bits.py --write

# --- the benchmarks -------------------------------------------------------------------------------
# PyTorch's build for CPUs: its version sorts after that of PyPI's own, which brings gigabytes for GPUs.
TORCH_INDEX := --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu

bench: .venv-bench/.installed ## time nnext side by side with its peers, write bench_output/
	.venv-bench/bin/python -P benchmarks/run.py --out bench_output $(ARGS)

# $(call peer,WHAT,OPTIONS): installs a peer that the benchmarks can do without; nothing if WHAT is empty.
define peer
@test -z "$(1)" || echo 'nnext: installing $(1) into .venv-bench'
@test -z "$(1)" || .venv-bench/bin/python -P -m pip install -qq $(2) "$(1)" || \
  echo 'nnext: no $(1) here, going on without it' >&2
endef

.venv-bench/.peers: .venv-bench/.made
	$(call pip,.venv-bench,numpy scikit-learn matplotlib threadpoolctl)
	$(call peer,$(TORCH),$(TORCH_INDEX))
	$(call peer,$(JAX))
	@touch $@

.venv-bench/.installed: .venv-bench/.peers $(SOURCES)
	$(call pip,.venv-bench,.)
	@touch $@

# --- the pages ------------------------------------------------------------------------------------
docs: .venv-docs/.installed ## run the code of the pages, build build/docs/html, look at it in a browser; ARGS=--links
	@scripts/need.sh browser
	.venv-docs/bin/python -P docs/build.py $(ARGS)

.venv-docs/.installed: .venv-docs/.made dist/.built
	@.venv-docs/bin/python -P -m pip uninstall --quiet --yes $(DISTRIBUTION) 2>/dev/null
	$(call pip,.venv-docs,"$$(ls dist/*.whl)[docs]")
	@touch $@

# --- the sources ----------------------------------------------------------------------------------
DEV := .venv-dev/bin
CPP_FILES = find cpp tests/cpp -name '*.h' -o -name '*.cpp'
CMAKE_FILES := CMakeLists.txt cmake tests/cpp
# Tests have no annotations and hand over wrong arguments on purpose: the rest is checked, outside of their functions.
TESTS_IN_MYPY := --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --no-check-untyped-defs \
  --no-warn-unused-ignores --disable-error-code=arg-type --disable-error-code=call-overload --disable-error-code=operator \
  --disable-error-code=return-value
SCHEMA = $(DEV)/check-jsonschema --quiet --builtin-schema

lint: lint-python lint-project lint-cpp ## every linter, as below

lint-python: .venv-dev/.installed ## ruff, codespell, mypy, the stubs, who imports whom
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/codespell
	$(DEV)/python -P -m mypy
	$(DEV)/python -P -m mypy $(TESTS_IN_MYPY) tests/python
	$(DEV)/python -P -m mypy.stubtest nnext._nnext --allowlist scripts/stubtest.allow
	@mkdir -p build
	PYTHONPATH=python $(DEV)/lint-imports --cache-dir build/lint-imports >build/lint-imports.log \
	  || { cat build/lint-imports.log; exit 1; }

lint-project: .venv-dev/.installed ## shell, CMake, pyproject.toml, workflows, citation, Scientific Python's guide
	$(DEV)/shellcheck .ci/run scripts/*.sh
	$(DEV)/gersemi --check $(CMAKE_FILES)
	$(DEV)/validate-pyproject pyproject.toml
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.citation-file-format CITATION.cff
	$(DEV)/zizmor --offline --quiet --persona pedantic .github
	$(DEV)/repo-review --show err .

lint-cpp: .venv-dev/.installed ## clang-format, clang-tidy
	$(CPP_FILES) | xargs $(DEV)/clang-format --dry-run -Werror
	@scripts/need.sh googletest
	$(DEV)/cmake --preset dev -B build/lint -DNNEXT_BUILD_PYTHON=ON --log-level=WARNING \
	  -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(DEV)/ninja" -DPython_EXECUTABLE="$(CURDIR)/$(DEV)/python" \
	  -Dpybind11_DIR="$$($(DEV)/python -P -m pybind11 --cmakedir)"
	$(DEV)/python $(DEV)/run-clang-tidy.py -quiet -p build/lint -clang-tidy-binary $(DEV)/clang-tidy \
	  -config-file .clang-tidy '/cpp/[^/]'

format: .venv-dev/.installed ## put every file into the agreed format
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .
	$(CPP_FILES) | xargs $(DEV)/clang-format -i
	$(DEV)/gersemi --in-place $(CMAKE_FILES)

.venv-dev/.installed: .venv-dev/.made dist/.built
	@$(DEV)/python -P -m pip uninstall --quiet --yes $(DISTRIBUTION) 2>/dev/null
	$(call pip,.venv-dev,"$$(ls dist/*.whl)[dev]")
	@touch $@

clean: ## remove everything that was built, environments too
	rm -rf build dist demo_output bench_output $(ENVIRONMENTS)
