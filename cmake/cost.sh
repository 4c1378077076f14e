#!/usr/bin/env bash
# Measures what the library costs its callers: compile time, code, and the instructions of a small call.
#
#   bash cmake/cost.sh [--output DIR] [--repetitions N] [--compilers "g++ clang++"] [--only REGEX]
#
# A unit's seconds and code are those beyond a unit that includes only Eigen's Tensor header: medians of N interleaved
# repetitions, 5 unless given. REGEX selects units: header batch_infer batch layer three extern calls.
# Prints a table and writes it to DIR/cost.md (build/cost unless given). A budget that is not met is no error.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
eigen=${EIGEN_INCLUDE:-/usr/include/eigen3}
output=$root/build/cost repetitions=5 compilers='g++ clang++' only=.
while [[ $# -gt 0 ]]; do
  case $1 in
    --output) output=$2 ;;
    --repetitions) repetitions=$2 ;;
    --compilers) compilers=$2 ;;
    --only) only=$2 ;;
    *) echo "cost.sh: unknown option '$1'" >&2 && exit 1 ;;
  esac
  shift 2
done
[[ -f $eigen/unsupported/Eigen/CXX11/Tensor ]] || { echo "cost.sh: no Eigen in $eigen, set EIGEN_INCLUDE" >&2 && exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# name | what | most seconds | most kB of code
units=(
  'header|#include <evenkeel/evenkeel.hpp>|0.4|0'
  'batch_infer|BatchNorm<float>, infer alone|1.5|30'
  'batch|BatchNorm<float>, all calls|2.5|70'
  'layer|LayerNorm<float>, all calls|5|120'
  'three|BatchNorm, LayerNorm, GroupNorm, float, all calls|7|180'
  'extern|the same, kernels compiled elsewhere|1.2|20'
)
# argument of the program | what | most instructions
calls=(
  'bn_infer_8|bn.infer, 8 values, MatrixXf (8, 1)|600'
  'bn_infer_16|bn.infer, 16 values, MatrixXf (16, 1)|600'
  'bn_infer_64|bn.infer, 64 values, MatrixXf (64, 1)|600'
  'bn_infer_row|bn.infer, 64 values, row-major Tensor (1, 64)|600'
  'ln_infer_row|ln.infer, one row of 64|900'
  'ln_forward_row|ln.forward, one row of 64|900'
)

# Writes the program text of the unit $1.
source_of() {
  echo '#include <unsupported/Eigen/CXX11/Tensor>'
  [[ $1 != eigen ]] || return 0
  echo '#include <evenkeel/evenkeel.hpp>'
  cat <<'CODE'
using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
#define ALL_CALLS(Norm)                                                                      \
  void use(evenkeel::Norm<float>& norm, const Tensor& x, const Tensor& dy, Tensor& y, Tensor& dx) { \
    norm.forward(x, y);                                                                      \
    norm.backward(x, dy, dx);                                                                \
    norm.infer(x, y);                                                                        \
  }
CODE
  case $1 in
    batch_infer) echo 'void use(const evenkeel::BatchNorm<float>& bn, const Tensor& x, Tensor& y) { bn.infer(x, y); }' ;;
    batch) echo 'ALL_CALLS(BatchNorm)' ;;
    layer) echo 'ALL_CALLS(LayerNorm)' ;;
    three | extern) printf 'ALL_CALLS(%s)\n' BatchNorm LayerNorm GroupNorm ;;
  esac
}

cat >"$scratch/calls.cpp" <<'CODE'
#include <evenkeel/evenkeel.hpp>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>

using Row = Eigen::Tensor<float, 2, Eigen::RowMajor>;

template <typename Call>
__attribute__((noinline)) void count(const Call& call) {
  for (int i = 0; i < 1000; ++i) call();
}

template <typename Call>
int warm_up_and_count(const Call& call) {
  for (int i = 0; i < 10; ++i) call();
  count(call);
  return 0;
}

int infer_column(Eigen::Index channels) {
  evenkeel::BatchNormOptions options;
  options.axis = 0;
  const evenkeel::BatchNorm<float> bn(channels, options);
  const Eigen::MatrixXf x = Eigen::MatrixXf::Random(channels, 1);
  Eigen::MatrixXf y(channels, 1);
  return warm_up_and_count([&] { bn.infer(x, y); });
}

int main(int, char** arguments) {
  const std::string name = arguments[1];
  if (name == "bn_infer_8") return infer_column(8);
  if (name == "bn_infer_16") return infer_column(16);
  if (name == "bn_infer_64") return infer_column(64);
  Row x(1, 64), y(1, 64);
  x.setRandom();
  const evenkeel::BatchNorm<float> bn(64);
  evenkeel::LayerNorm<float> ln(64);
  if (name == "bn_infer_row") return warm_up_and_count([&] { bn.infer(x, y); });
  if (name == "ln_infer_row") return warm_up_and_count([&] { ln.infer(x, y); });
  if (name == "ln_forward_row") return warm_up_and_count([&] { ln.forward(x, y); });
  return 1;
}
CODE

# measure COMMAND...: prints user seconds, system seconds and peak kB of memory, 0 where nothing tells it.
measure() {
  if [[ -x /usr/bin/time ]]; then
    /usr/bin/time -f '%U %S %M' -o "$scratch/time" "$@"
    tail -n 1 "$scratch/time"
  else
    local TIMEFORMAT='%U %S 0'
    { time "$@" 2>&3; } 3>&2 2>&1
  fi
}

# compile COMPILER UNIT: compiles the unit once, adds its seconds to UNIT.seconds and its memory to UNIT.memory.
compile() {
  local flags=(-O2 -std=c++17 "-I$root/include" -isystem "$eigen")
  [[ $2 != extern ]] || flags+=(-DEVENKEEL_EXTERN_KERNELS)
  source_of "$2" >"$scratch/$2.cpp"
  measure "$1" "${flags[@]}" -c "$scratch/$2.cpp" -o "$scratch/$2.o" |
    awk -v to="$scratch/$2" '{ print $1 + $2 >>(to ".seconds"); print $3 / 1000 >>(to ".memory") }'
}
median() { sort -n "$scratch/$1" | sed -n "$(((repetitions + 1) / 2))p"; }
text_of() { size -A "$scratch/$1.o" | awk '/^\.text/ { bytes += $2 } END { print bytes / 1000 }'; }
beyond() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a - b }'; }

# row COMPILER WHAT MEASURED BUDGET: a budget of - is none, an empty MEASURED is not measured.
row() {
  local verdict=
  if [[ $4 != - ]]; then
    if [[ -z $3 ]]; then
      verdict='not measured'
    else
      verdict=$(awk -v a="$3" -v b="$4" 'BEGIN { print a <= b ? "met" : "not met" }')
    fi
  fi
  printf '| %-7s | %-62s | %8s | %6s | %-12s |\n' "$1" "$2" "$3" "$4" "$verdict" | tee -a "$scratch/table"
}

selected() { [[ $1 =~ $only ]]; }

cost_of_compiling() {
  local compiler=$1 chosen=() unit name what seconds code
  for unit in "${units[@]}"; do
    if selected "${unit%%|*}"; then chosen+=("$unit"); fi
  done
  [[ ${#chosen[@]} -gt 0 ]] || return 0
  compile "$compiler" eigen # warms up the caches
  rm -f "$scratch"/*.seconds "$scratch"/*.memory
  for ((i = 0; i < repetitions; ++i)); do
    compile "$compiler" eigen
    for unit in "${chosen[@]}"; do compile "$compiler" "${unit%%|*}"; done
  done
  for unit in "${chosen[@]}"; do
    IFS='|' read -r name what seconds code <<<"$unit"
    row "$compiler" "$what: seconds" "$(beyond "$(median "$name.seconds")" "$(median eigen.seconds)")" "$seconds"
    row "$compiler" "$what: kB of code" "$(beyond "$(text_of "$name")" "$(text_of eigen)")" "$code"
    [[ ! -x /usr/bin/time ]] ||
      row "$compiler" "$what: MB of memory" "$(beyond "$(median "$name.memory")" "$(median eigen.memory)")" -
  done
}

# Valgrind emulates AVX2, so AVX2 is the largest instruction set that is measured.
cost_of_calls() {
  local compiler=$1 call name what most counted
  selected calls || return 0
  "$compiler" -O2 -std=c++17 "-I$root/include" -isystem "$eigen" "$scratch/calls.cpp" -o "$scratch/calls" -pthread
  for call in "${calls[@]}"; do
    IFS='|' read -r name what most <<<"$call"
    counted=
    if command -v valgrind >/dev/null; then
      counted=$(env -u EVENKEEL_MAX_ISA valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --toggle-collect='void count<*' "$scratch/calls" "$name" 2>&1 | awk '/Collected/ { print $NF / 1000 }')
    fi
    row "$compiler" "$what: instructions" "$counted" "$most"
  done
}

{
  printf '| %-7s | %-62s | %8s | %6s | %-12s |\n' compiler what measured budget ''
  printf '|---|---|--:|--:|---|\n'
} | tee "$scratch/table"
versions=()
for compiler in $compilers; do
  command -v "$compiler" >/dev/null || continue
  versions+=("$("$compiler" --version | head -n 1)")
  cost_of_compiling "$compiler"
  cost_of_calls "$compiler"
done

with() { grep -c "| $1 *|\$" "$scratch/table" || true; }
budgets=$(($(with met) + $(with 'not met') + $(with 'not measured')))
summary="$(with met) of $budgets budgets met"
[[ $(with 'not measured') == 0 ]] || summary+=", $(with 'not measured') not measured"
echo "$summary"

mkdir -p "$output"
{
  printf '# What Evenkeel costs its callers\n\n%s. Written by `bash cmake/run.sh cost`.\n\n' "$summary"
  printf 'Compiled with -O2 -std=c++17. Seconds (user and system), code and memory are those beyond a unit that includes\n'
  printf "only Eigen's Tensor header; medians of %d interleaved repetitions. Instructions are those of one call after\n" "$repetitions"
  printf 'ten others, counted by Valgrind, which emulates AVX2.\n\n'
  cat "$scratch/table"
  printf '\n%s\n' "$(IFS=';' && echo "${versions[*]}" | sed 's/;/; /g')"
} >"$output/cost.md"
echo "Written to $output/cost.md"
