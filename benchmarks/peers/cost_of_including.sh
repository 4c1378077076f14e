#!/usr/bin/env bash
# What the library costs a compiler: a line for each of g++ and clang++ that is here, of seconds that the header adds,
# seconds that BatchNorm<float> adds, bytes of code it adds, and the compiler's version.
#
#   bash cost_of_including.sh [REPETITIONS]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
repetitions=${1:-5}
eigen=${EIGEN_INCLUDE:-/usr/include/eigen3}
[[ -d $eigen/Eigen ]] || { echo "cost_of_including.sh: no Eigen in $eigen, set EIGEN_INCLUDE" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo '#include <unsupported/Eigen/CXX11/Tensor>' >"$scratch/eigen.cpp"
{ cat "$scratch/eigen.cpp" && echo '#include <evenkeel/batch_norm.hpp>'; } >"$scratch/header.cpp"
cp "$scratch/header.cpp" "$scratch/use.cpp"
cat >>"$scratch/use.cpp" <<'CODE'
using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
void use(evenkeel::BatchNorm<float>& norm, const Tensor& x, const Tensor& dy, Tensor& y, Tensor& dx) {
  norm.forward(x, y);
  norm.backward(x, dy, dx);
  norm.infer(x, y);
}
CODE

# Seconds of processor time to compile $2.cpp by $1.
seconds() {
  local TIMEFORMAT='%U %S'
  { time "$1" -std=c++17 -O2 -I"$root/include" -isystem "$eigen" -c "$scratch/$2.cpp" -o "$scratch/$2.o" >&2; } 2>&1 |
    awk '{ print $1 + $2 }'
}

# The median of each file, of turns that all take one after another.
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  rm -f "$scratch"/*.seconds
  for ((i = 0; i < repetitions; ++i)); do
    for file in eigen header use; do seconds "$compiler" "$file" >>"$scratch/$file.seconds"; done
  done
  median() { sort -n "$scratch/$1.seconds" | sed -n "$(((repetitions + 1) / 2))p"; }
  text() { size -A "$scratch/$1.o" | awk '/^\.text/ { sum += $2 } END { print sum + 0 }'; }
  echo "$(median eigen) $(median header) $(median use) $(text header) $(text use) $("$compiler" --version | head -n 1)" |
    awk '{ printf "%.3f %.3f %d", $2 - $1, $3 - $2, $5 - $4; for (i = 6; i <= NF; ++i) printf " %s", $i; print "" }'
done
