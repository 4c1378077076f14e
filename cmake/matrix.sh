#!/usr/bin/env bash
# Builds and runs the tests as other compilers and for other machines build them, in build/matrix/NAME.
#
#   bash cmake/matrix.sh [NAME...]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
need() { bash "$root/cmake/run.sh" install "$@"; }

# For another compiler the packages are of no use: they are built by this machine's own.
from_source=(-DEVENKEEL_GOOGLETEST_DIR=/usr/src/googletest -DEVENKEEL_EIGEN_DIR=/usr/include/eigen3)

# tests NAME [CMAKE OPTION...]
tests() {
  local name=$1 directory=$root/build/matrix/$1
  shift
  echo "==> matrix: $name"
  cmake -S "$root" -B "$directory" -G Ninja -DCMAKE_BUILD_TYPE=Release -DEVENKEEL_WERROR=ON \
    -DEVENKEEL_BUILD_BENCHMARKS=OFF -DEVENKEEL_BUILD_EXAMPLES=OFF "$@" >/dev/null
  cmake --build "$directory" --parallel "$jobs"
  ctest --test-dir "$directory" --output-on-failure --no-tests=error --parallel "$jobs"
}

# tests_for NAME SYSTEM PROCESSOR COMPILER EMULATOR [CMAKE OPTION...]
tests_for() {
  local name=$1 system=$2 processor=$3 compiler=$4 emulator=$5
  shift 5
  tests "$name" -DCMAKE_SYSTEM_NAME="$system" -DCMAKE_SYSTEM_PROCESSOR="$processor" \
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_C_COMPILER="${compiler/g++/gcc}" \
    -DCMAKE_CROSSCOMPILING_EMULATOR="$emulator" "${from_source[@]}" "$@"
}

[[ $# -gt 0 ]] || set -- clang16 libcxx aarch64 i686 mingw ${EVENKEEL_EIGEN_DIR:+eigen}
need g++ cmake ninja-build libeigen3-dev libgtest-dev
for name in "$@"; do
  case $name in
    clang16)
      need clang-16
      tests clang16 -DCMAKE_CXX_COMPILER=clang++-16
      ;;
    libcxx)
      need clang-16 libc++-16-dev libc++abi-16-dev
      tests libcxx -DCMAKE_CXX_COMPILER=clang++-16 -DCMAKE_CXX_FLAGS=-stdlib=libc++ "${from_source[@]}"
      ;;
    eigen)
      if [[ -z ${EVENKEEL_EIGEN_DIR:-}${CMAKE_PREFIX_PATH:-} ]]; then
        echo "matrix: eigen takes an unpacked Eigen in EVENKEEL_EIGEN_DIR or an installed one in CMAKE_PREFIX_PATH" >&2
        exit 1
      fi
      tests eigen -DEVENKEEL_EIGEN_DIR="${EVENKEEL_EIGEN_DIR:-}"
      ;;
    aarch64)
      need g++-aarch64-linux-gnu qemu-user
      tests_for aarch64 Linux aarch64 aarch64-linux-gnu-g++ 'qemu-aarch64;-L;/usr/aarch64-linux-gnu'
      ;;
    i686)
      need g++-i686-linux-gnu
      tests_for i686 Linux i686 i686-linux-gnu-g++ \
        '/usr/i686-linux-gnu/lib/ld-linux.so.2;--library-path;/usr/i686-linux-gnu/lib' \
        '-DCMAKE_CXX_FLAGS=-msse2 -mfpmath=sse'
      ;;
    mingw)
      need g++-mingw-w64-x86-64-posix wine64
      export WINEDEBUG=-all
      tests_for mingw Windows x86_64 x86_64-w64-mingw32-g++-posix /usr/lib/wine/wine64 -DCMAKE_EXE_LINKER_FLAGS=-static
      ;;
    *)
      echo "matrix: no '$name'" >&2
      exit 1
      ;;
  esac
done
