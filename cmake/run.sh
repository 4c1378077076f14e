#!/usr/bin/env bash
# Installs what is missing, then builds and runs. See `bash cmake/run.sh help`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'cmake/run.sh: %s\n' "$*" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
Usage: bash cmake/run.sh COMMAND [ARGUMENT...]

  demo [ARGUMENT...]   build and run the digit classifier, e.g. demo --steps 10
  residual [ARGUMENT...]
                       build and run the residual network with each norm, e.g.
                       residual --norm batch,group --batch 4
  claims [NAME...] [ARGUMENT...]
                       try what the literature says of normalization, all claims (ten minutes) or
                       these, e.g. claims noisy --data DIR; see claims --help
  test [ARGUMENT...]   build and run the tests; arguments go to ctest, e.g. test -R LayerNorm
  test-all [ARGUMENT...]
                       those of other instruction sets, ways to compile and packaging too,
                       e.g. test-all -L consume
  bench [ARGUMENT...]  build and run the benchmarks, e.g. bench --benchmark_filter=layer_norm
  compare [ARGUMENT...]
                       build and run the comparison with oneDNN, PyTorch and Eigen expressions,
                       e.g. compare --filter layer_norm, or compare --filter models/ for the time
                       of all norms of ResNet-50, GPT-2 and others; writes compare.md, .json and .svg
                       to build/compare
  errors [--output DIR]
                       print the errors of the same libraries on inputs that are hard to
                       normalize; writes errors.md to DIR, build/errors unless it is given
  cost [ARGUMENT...]   measure compile time, code and the instructions of a small call against their
                       budgets, e.g. cost --repetitions 1 --only batch; writes cost.md to
                       build/cost, or DIR with --output DIR
  matrix [NAME...]     run the tests as other compilers and for other machines build them, all or
                       of these: clang16 libcxx aarch64 i686 mingw, and where EVENKEEL_EIGEN_DIR
                       is an unpacked Eigen, eigen, which takes one in CMAKE_PREFIX_PATH too
  docs                 build the pages of cmake/docs and of the public headers with Doxygen, in
                       build/docs; what has no documentation, and any other warning, is an error
  help                 print this

On Debian and Ubuntu the command first installs what it needs and does not find: a C++17
compiler, CMake, Ninja, Eigen, and for the tests GoogleTest, for the benchmarks Google Benchmark,
for compare and errors nlohmann's JSON and, where there are such packages, oneDNN and PyTorch; for
docs Doxygen and MathJax alone.
Everything is built in build/COMMAND of the repository. A second run installs nothing and
builds only what has changed.
TEXT
}

# Whether the CMake package $1 is installed under a usual prefix or one that CMake is told of.
has_cmake_package() {
  local prefixes=(/usr /usr/local /opt/homebrew) more=() prefix found
  IFS=':;' read -r -a more <<<"${CMAKE_PREFIX_PATH:-}"
  for prefix in "${prefixes[@]}" ${more[@]+"${more[@]}"}; do
    found=$(find "$prefix"/{lib,lib64,share} -maxdepth 5 -name "$1Config.cmake" -print -quit 2>/dev/null || true)
    [[ -z $found ]] || return 0
  done
  return 1
}

# Whether what the Debian package $1 is wanted for is here, from whatever source.
has() {
  local compiler=${CXX:-c++}
  case $1 in
    g++) command -v "${compiler%% *}" >/dev/null ;; # CXX may be "ccache g++"
    ninja-build) command -v ninja >/dev/null ;;
    qemu-user) command -v qemu-x86_64 >/dev/null ;;
    llvm) command -v llvm-cov >/dev/null ;;
    libeigen3-dev) has_cmake_package Eigen3 ;;
    libgtest-dev) has_cmake_package GTest ;;
    libbenchmark-dev) has_cmake_package benchmark ;;
    libtorch-dev) has_cmake_package Torch ;;
    doxygen-awesome-css) [[ -d /usr/share/doxygen-awesome-css ]] ;;
    nlohmann-json3-dev) has_cmake_package nlohmann_json ;;
    wine64) [[ -x /usr/lib/wine/wine64 ]] ;;
    lib* | g++-*) dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# Installs those of the Debian packages $@ that are missing.
need() {
  local package missing=() as_root=()
  for package in "$@"; do
    has "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  command -v apt-get >/dev/null ||
    fail "there is no apt-get here: install what Debian calls ${missing[*]}, then run this again"
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || fail "run as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  say "Installing ${missing[*]} (apt-get)"
  "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 update
  "${as_root[@]}" apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}" >/dev/null
}

# Configures build/$1 with only EVENKEEL_$2 on and with the options in cmake_options, and builds the targets $3...
cmake_options=()
build() {
  local directory=$root/build/$1 part=$2 other options=(${cmake_options[@]+"${cmake_options[@]}"})
  shift 2
  for other in BUILD_TESTS BUILD_BENCHMARKS BUILD_EXAMPLES BENCHMARK_PEERS; do
    options+=("-DEVENKEEL_$other=$([[ $other == "$part" ]] && echo ON || echo OFF)")
  done
  say "Configuring $directory"
  cmake -S "$root" -B "$directory" -G Ninja -DCMAKE_BUILD_TYPE=Release "${options[@]}" >/dev/null
  say "Building $* (the first time takes minutes)"
  cmake --build "$directory" --parallel "$jobs" --target "$@"
}

# example PROGRAM DIRECTORY [ARGUMENT...]: builds one of the examples in build/DIRECTORY, and runs it there.
example() {
  local program=$1 directory=$2 arguments=() argument previous=
  shift 2
  need g++ cmake ninja-build libeigen3-dev
  build "$directory" BUILD_EXAMPLES "$program"
  for argument in "$@"; do # the example runs elsewhere, the data directory is meant from here
    [[ ! $previous =~ ^--(data|output)$ || $argument == /* ]] || argument=$PWD/$argument
    arguments+=("$argument")
    previous=$argument
  done
  say "Training in $root/build/$directory, where it writes its charts"
  cd "$root/build/$directory"
  exec "bin/$program" ${arguments[@]+"${arguments[@]}"}
}

# run_tests DEEP [ARGUMENT...]: with the tests that take minutes where DEEP is ON.
run_tests() {
  cmake_options=(-DEVENKEEL_DEEP_TESTS="$1" -DEVENKEEL_COMPILED=ON)
  shift
  need g++ cmake ninja-build libeigen3-dev libgtest-dev
  build test BUILD_TESTS all
  say "Running the tests"
  # Large arrays stay with the process: half of the time would be the faults of their pages.
  export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=1073741824
  exec ctest --test-dir "$root/build/test" --output-on-failure --no-tests=error --parallel "$jobs" "$@"
}

bench() {
  need g++ cmake ninja-build libeigen3-dev libbenchmark-dev
  build bench BUILD_BENCHMARKS evenkeel_benchmarks
  say "Running the benchmarks"
  exec "$root/build/bench/bin/evenkeel_benchmarks" "$@"
}

# Builds the target $2 in build/$1, beside the peers that there are packages of.
build_with_peers() {
  local peer
  need g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev
  for peer in libdnnl-dev libtorch-dev; do
    [[ $peer != libdnnl-dev || -z ${ONEDNN_DIR:-} ]] || continue # another oneDNN than the package's
    (need "$peer") || say "Going on without $peer"
  done
  build "$1" BENCHMARK_PEERS "$2"
}

compare() {
  build_with_peers compare evenkeel_compare
  if [[ " $* " != *" --filter "* && " $* " != *" --only-baseline "* ]]; then
    say "Measuring what including the library costs"
    bash "$root/benchmarks/peers/cost_of_including.sh" >"$root/build/compare/including"
    set -- --including "$root/build/compare/including" "$@"
  fi
  say "Comparing"
  exec "$root/build/compare/bin/evenkeel_compare" --output "$root/build/compare" "$@"
}

errors() {
  build_with_peers errors evenkeel_errors
  say "Computing errors"
  exec "$root/build/errors/bin/evenkeel_errors" --output "$root/build/errors" "$@"
}

cost() {
  need g++ libeigen3-dev
  (need valgrind) || say "Going on without valgrind: instructions are not counted"
  exec bash "$root/cmake/cost.sh" "$@"
}

# The version, which stands in base/config.hpp alone.
version() {
  sed -n 's/^#define EVENKEEL_VERSION_[A-Z]* //p' "$root/include/evenkeel/base/config.hpp" | paste -sd .
}

docs() {
  local html=$root/build/docs/html mathjax=/usr/share/javascript/mathjax theme=/usr/share/doxygen-awesome-css
  local more=() script
  need doxygen codespell
  (need libjs-mathjax) || say "Going on without libjs-mathjax: formulas take a connection to the net"
  (need doxygen-awesome-css) || say "Going on without doxygen-awesome-css: pages have Doxygen's own look"
  cd "$root"
  say "Looking for misspelt words"
  codespell README.md CHANGELOG.md .github cmake/docs include examples benchmarks tests \
    --skip '*.svg,*/corpus,*/crashers' --ignore-words-list crashers
  rm -rf "$html"
  mkdir -p "$html"
  if [[ -d $mathjax ]]; then
    ln -s "$mathjax" "$html/mathjax"
    more+=('MATHJAX_RELPATH = mathjax')
  fi
  if [[ -d $theme ]]; then
    # Doxygen's own header, with the theme's scripts.
    doxygen -w html build/docs/header.html build/docs/footer.html build/docs/doxygen.css
    for script in darkmode-toggle:DarkModeToggle fragment-copy-button:FragmentCopyButton paragraph-link:ParagraphLink; do
      cp "$theme/doxygen-awesome-${script%:*}.js" "$html"
      sed -i "s|</head>|<script src=\"\$relpath^doxygen-awesome-${script%:*}.js\"></script>\n<script>DoxygenAwesome${script#*:}.init()</script>\n&|" build/docs/header.html
    done
    more+=('HTML_HEADER = build/docs/header.html' 'GENERATE_TREEVIEW = YES'
      "HTML_EXTRA_STYLESHEET = $theme/doxygen-awesome.css $theme/doxygen-awesome-sidebar-only.css $theme/doxygen-awesome-sidebar-only-darkmode-toggle.css cmake/docs/pages.css")
  fi
  say "Building the documentation"
  doxygen - < <(cat cmake/docs/Doxyfile && printf '%s\n' "PROJECT_NUMBER = $(version)" ${more[@]+"${more[@]}"})
  say "Open $html/index.html"
}

command=${1:-help}
[[ $# -eq 0 ]] || shift
case $command in
  demo) example digits demo "$@" ;;
  residual) example residual residual "$@" ;;
  claims)
    [[ $# -gt 0 && $1 != --* || " $* " == *" --help "* ]] || set -- all "$@"
    example claims claims "$@"
    ;;
  test) run_tests OFF "$@" ;;
  test-all) run_tests ON "$@" ;;
  bench) bench "$@" ;;
  compare) compare "$@" ;;
  errors) errors "$@" ;;
  cost) cost "$@" ;;
  matrix) exec bash "$root/cmake/matrix.sh" "$@" ;;
  docs) docs "$@" ;;
  install) need "$@" ;; # for .ci/run and matrix.sh
  help | -h | --help) usage ;;
  *)
    usage >&2
    fail "no command '$command'"
    ;;
esac
