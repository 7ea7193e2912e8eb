#!/bin/sh
# Makes sure of one thing that a make target cannot go on without, or says plainly what is missing.
# What Debian's packages can supply is installed, where apt-get may be run without asking, and said to be
# beforehand; with NNEXT_NO_APT set to anything, nothing is installed.
# usage: scripts/need.sh python PYTHON | compiler | clang | googletest | emulators | windows | browser
set -eu

say() { printf 'nnext: %s\n' "$*" >&2; }

apt_install() {
    [ -z "${NNEXT_NO_APT:-}" ] || return 1
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif sudo -n true 2>/dev/null; then
        sudo='sudo -n'
    else
        return 1
    fi
    say "installing Debian packages with ${sudo:+sudo }apt-get: $* (to refuse: make ... NNEXT_NO_APT=1)"
    get="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"
    install="$get install -y --no-install-recommends"
    { $install "$@" || { $get update && $install "$@"; }; } </dev/null >/dev/null 2>&1
}

# need_packages HAVE PACKAGES WHAT IS MISSING: whether HAVE holds, if need be once the packages are installed
need_packages() {
    have=$1
    packages=$2
    shift 2
    $have && return
    # shellcheck disable=SC2086 # a list of words
    if apt_install $packages && $have; then return; fi
    say "$*, and apt-get could not or may not install it. On Debian and Ubuntu: apt-get install $packages"
    return 1
}

# need_linux WHAT ARE DONE HOW
need_linux() {
    [ "$(uname -sm)" = 'Linux x86_64' ] && return
    say "$* on Linux on x86-64 alone, and this is $(uname -sm)"
    exit 1
}

# python_is EXPRESSION: whether it is true in $python
python_is() { "$python" -c "import sys; sys.exit(not ($1))" 2>/dev/null; }

need_python() {
    python=$1
    if ! command -v "$python" >/dev/null; then
        say "there is no $python. Install Python 3.11 or newer, or name one: make ... PYTHON=python3.12"
        exit 1
    fi
    if ! python_is 'sys.version_info >= (3, 11)'; then
        say "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1)." \
            "Name another: make ... PYTHON=python3.12"
        exit 1
    fi
    venv='all(map(__import__("importlib.util").util.find_spec, ("venv", "ensurepip")))'
    header='__import__("os").path.exists(__import__("sysconfig").get_path("include") + "/Python.h")'
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    for part in venv dev; do
        if [ $part = venv ]; then check=$venv; else check=$header; fi
        python_is "$check" && continue
        # the packages belong to the distribution's own interpreter
        if python_is 'sys.base_prefix == "/usr"' && apt_install "$version-$part" \
            && python_is "$check"; then
            continue
        fi
        [ $part = venv ] && what='its venv module' || what='its C headers (Python.h)'
        say "$python lacks $what. On Debian and Ubuntu: apt-get install $version-$part"
        exit 1
    done
}

need_compiler() {
    for compiler in "${CXX:-c++}" g++ clang++; do
        # CXX may carry arguments: "ccache g++"
        command -v "${compiler%% *}" >/dev/null && return
    done
    say 'there is no C++ compiler. Install g++ 12 or clang++ 14, or newer (Debian: apt-get install g++)'
    exit 1
}

# have_clang: with its library that counts, and the tools that read the counts
have_clang() {
    flags='-fprofile-instr-generate -fcoverage-mapping'
    # shellcheck disable=SC2086 # a list of words
    echo 'int main() {}' | clang++ -x c++ $flags - -o /dev/null 2>/dev/null || return 1
    for tool in llvm-profdata llvm-cov; do
        command -v "$(clang++ -print-prog-name=$tool)" >/dev/null || return 1
    done
}

need_clang() {
    need_packages have_clang 'clang libclang-rt-dev llvm' \
        'clang++ with its profiling library, llvm-profdata or llvm-cov is missing'
}

need_googletest() {
    for prefix in /usr /usr/local /opt/homebrew; do
        [ -e $prefix/include/gtest/gtest.h ] && return
    done
    apt_install libgtest-dev || say 'no GoogleTest here and apt-get may not be used: CMake will fetch it'
}

have_emulators() {
    [ -e /usr/src/googletest/CMakeLists.txt ] || return 1 # the AArch64 tests bring their own
    for program in qemu-x86_64 qemu-aarch64 aarch64-linux-gnu-g++; do
        command -v $program >/dev/null || return 1
    done
}

need_emulators() {
    need_linux 'CPUs are emulated'
    need_packages have_emulators 'qemu-user g++-aarch64-linux-gnu libgtest-dev' \
        "the emulator, the AArch64 compiler or GoogleTest's source is missing"
}

have_windows() {
    [ -e /usr/src/googletest/CMakeLists.txt ] || return 1 # as for AArch64
    command -v wine >/dev/null
}

need_windows() {
    need_linux 'programs of Windows are run by Wine'
    need_packages have_windows 'wine wine64 libgtest-dev' "Wine or GoogleTest's source is missing"
}

have_browser() {
    for program in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v $program >/dev/null && return
    done
    return 1
}

# The pages are built without it; docs/look.py then says what was not done. The font is for the Korean ones.
need_browser() {
    need_packages have_browser 'chromium fonts-nanum' 'there is no browser to look at the pages with' || :
}

need=$1
shift
"need_$need" "$@"
