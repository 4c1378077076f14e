// Every kernel alone, of every register width: nothing is read or written beside any of its arrays, which end or
// begin at a page without access, and where they lie does not show in the bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <evenkeel/kernels/columns.hpp>
#include <evenkeel/kernels/row_gradients.hpp>
#include <evenkeel/kernels/rows.hpp>
#include <evenkeel/kernels/runs.hpp>
#include <evenkeel/kernels/sets.hpp>
#include <evenkeel/kernels/whole_rows.hpp>
#include <string>
#include <vector>

#include "support/data.hpp"
#include "support/guarded.hpp"
#include "support/register_widths.hpp"

namespace ek_test {
namespace {

namespace ek = evenkeel;
namespace kernels = ek::kernels;
namespace simd = ek::simd;

/// A kernel's arrays of T, numbered in the order in which they are made.
template <typename T>
class Arrays {
 public:
  /// Array `i`, of `size` random values; whatever the kernel makes of them is compared.
  T* lay(std::size_t i, Index size, Place place, Beside beside) {
    while (i >= arrays_.size()) arrays_.emplace_back(kMost);
    if (i >= random_.size()) random_.resize(i + 1);
    std::vector<T>& values = random_[i];
    if (static_cast<Index>(values.size()) < size)
      values = random_values<T>(kMost, 2, 0.5, static_cast<unsigned>(i));
    return arrays_[i].lay(std::vector<T>(values.begin(), values.begin() + size), place, beside);
  }
  std::vector<T> values(std::size_t i) { return arrays_[i].values(); }
  bool beside_intact(std::size_t i) const { return arrays_[i].beside_intact(); }

 private:
  static constexpr Index kMost = 1280;
  std::deque<GuardedArray<T>> arrays_;
  std::vector<std::vector<T>> random_;
};

/// What a kernel is made of: each call lays another array.
template <typename Storage>
class Arguments {
 public:
  using Compute = ek::ComputeOf<Storage>;
  using Statistic = ek::StatisticOf<Storage>;

  /// Values of a tensor.
  Storage* tensor(Index size) { return next(tensors_, tensor_count_, size); }
  /// Values as they are computed with, or kept.
  Compute* compute(Index size) { return next(computes_, compute_count_, size); }
  Statistic* statistic(Index size) { return next(statistics_, statistic_count_, size); }
  /// Where `sets` sets of `length` elements begin.
  const Index* offsets(Index sets, Index length) {
    offsets_.clear();
    for (Index k = 0; k < sets; ++k) offsets_.push_back(k * length);
    return offset_array_.lay(offsets_, place_, Beside::nan);
  }
  bool* flag() { return &flag_; }
  Index* count() { return &count_; }

  void begin(Place place, Beside beside) {
    place_ = place;
    beside_ = beside;
    tensor_count_ = compute_count_ = statistic_count_ = 0;
  }
  /// Everything that lies in the arrays.
  struct Contents {
    std::vector<std::vector<Storage>> tensors;
    std::vector<std::vector<Compute>> computes;
    std::vector<std::vector<Statistic>> statistics;
  };
  Contents contents() {
    return {values(tensors_, tensor_count_), values(computes_, compute_count_),
            values(statistics_, statistic_count_)};
  }
  bool beside_intact() const {
    return intact(tensors_, tensor_count_) && intact(computes_, compute_count_) &&
           intact(statistics_, statistic_count_) && offset_array_.beside_intact();
  }

 private:
  template <typename T>
  T* next(Arrays<T>& arrays, std::size_t& count, Index size) {
    return arrays.lay(count++, size, place_, beside_);
  }
  template <typename T>
  static std::vector<std::vector<T>> values(Arrays<T>& arrays, std::size_t count) {
    std::vector<std::vector<T>> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(arrays.values(i));
    return all;
  }
  template <typename T>
  static bool intact(const Arrays<T>& arrays, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      if (!arrays.beside_intact(i)) return false;
    return true;
  }

  Arrays<Storage> tensors_;
  Arrays<Compute> computes_;
  Arrays<Statistic> statistics_;
  std::size_t tensor_count_ = 0, compute_count_ = 0, statistic_count_ = 0;
  std::vector<Index> offsets_;
  GuardedArray<Index> offset_array_{1024};
  Place place_ = Place::begin();
  Beside beside_ = Beside::zero;
  bool flag_ = false;
  Index count_ = 0;
};

template <typename T>
bool same_bytes(const std::vector<std::vector<T>>& a, const std::vector<std::vector<T>>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(),
      [](const std::vector<T>& p, const std::vector<T>& q) { return ek_test::same_bytes(p, q); });
}

constexpr Index kLongest = 70;  // four vectors of the widest registers, and some

/// Runs make(arguments, n) for n = 1, 2, ...: at a cache line with zeros beside, and then at the pages with NaN
/// beside.
template <typename Storage, typename Make>
void expect_same_at_pages(const char* name, const Make& make) {
  using Compute = ek::ComputeOf<Storage>;
  const WhatWasRunning what_was_running;
  Arguments<Storage> arguments;
  for_each_width<Compute>([&](int bytes, Index) {
    for (Index n = 1; n <= kLongest; ++n) {
      const auto text = [&](const char* where) {
        return std::string(name) + " of " + std::to_string(n) + ", " + std::to_string(bytes) +
               " bytes a register, " + std::to_string(sizeof(Storage)) + " an element, " + where;
      };
      const auto run = [&](Place place, Beside beside) {
        arguments.begin(place, beside);
        return run_with<Compute>(bytes, make(arguments, n));
      };
      WhatWasRunning::now() = text("at a cache line");
      if (!run(Place::begin().at(0), Beside::zero)) return;
      const typename Arguments<Storage>::Contents expected = arguments.contents();
      for (const Place place : {Place::begin(), Place::end(), Place::end().at(sizeof(Compute))}) {
        WhatWasRunning::now() = text(place.offset > 0                   ? "at an odd offset"
                                     : place.side == Place::Side::begin ? "after a page"
                                                                        : "before a page");
        run(place, Beside::nan);
        const typename Arguments<Storage>::Contents got = arguments.contents();
        ASSERT_TRUE(same_bytes(got.tensors, expected.tensors)) << WhatWasRunning::now();
        ASSERT_TRUE(same_bytes(got.computes, expected.computes)) << WhatWasRunning::now();
        ASSERT_TRUE(same_bytes(got.statistics, expected.statistics)) << WhatWasRunning::now();
        ASSERT_TRUE(arguments.beside_intact()) << WhatWasRunning::now();
      }
    }
  });
}

/// Parts of a vector, to and from memory that ends or begins where they do.
template <typename T>
struct Parts {
  const T* in;
  Index n;
  T* out;
  T* out_before;

  template <int Bytes>
  EVENKEEL_INLINE void operator()() const {
    using V = simd::VecOf<T, Bytes>;
    const Index part = n < V::kLanes ? n : V::kLanes;
    const V v = V::load(in, n, T(7));
    v.store(out, n);
    v.store_before(out_before + part, part);
  }
};

/// The kernels are aggregates, so their arrays are laid in the order of their members.
template <typename Storage>
struct Kernels {
  using Compute = ek::ComputeOf<Storage>;
  using Statistic = ek::StatisticOf<Storage>;
  using Arguments = ek_test::Arguments<Storage>;

  static constexpr Index kSets[] = {1, 2, 3, 5, 8, 9, 17};

  static void expect_same_of_statistics() {
    const Statistic count(100), epsilon(1e-5);
    expect_same("FinishSums", [&](Arguments& a, Index n) {
      return kernels::FinishSums<Compute, Statistic>{
          n,
          a.compute(n),
          a.statistic(n),
          a.statistic(n),
          count,
          epsilon,
          {a.statistic(n), a.statistic(n), a.statistic(n), a.statistic(n)}};
    });
    expect_same("NormalizeCoefficients", [&](Arguments& a, Index n) {
      return kernels::NormalizeCoefficients<Compute, Statistic>{
          n,       a.statistic(n), a.statistic(n), a.statistic(n), a.compute(n), a.compute(n), a.compute(n),
          a.flag()};
    });
    expect_same("GradientCoefficients", [&](Arguments& a, Index n) {
      return kernels::GradientCoefficients<Compute, Statistic>{
          n,       a.statistic(n), a.statistic(n), a.statistic(n), a.statistic(n), a.statistic(n),
          count,   a.compute(n),   a.compute(n),   a.compute(n),   a.compute(n),   a.statistic(n),
          a.flag()};
    });
    expect_same("StreamCopy", [&](Arguments& a, Index n) {
      return kernels::StreamCopy<Storage>{a.tensor(n), a.tensor(n), n};
    });
    expect_same("SumBlocks", [&](Arguments& a, Index n) {
      return kernels::SumBlocks<Compute, Statistic>{n, 3, 2 * n, a.statistic(5 * n), a.compute(n)};
    });
  }

  static void expect_same_of_runs() {
    for (const Index sets : kSets) {
      expect_same("RunPivots", [&](Arguments& a, Index n) {
        return kernels::RunPivots<Storage>{a.tensor(sets * n), n, sets, a.offsets(sets, n), a.compute(sets)};
      });
      expect_same("RunSums of deviations", [&](Arguments& a, Index n) {
        return kernels::RunSums<kernels::Deviations, Storage>{
            a.tensor(sets * n), nullptr,           {1, 0, 1, 0, n},  0, n, sets, a.offsets(sets, n),
            a.compute(sets),    a.statistic(sets), a.statistic(sets)};
      });
      expect_same("RunSums of gradients", [&](Arguments& a, Index n) {
        return kernels::RunSums<kernels::Gradients, Storage>{
            a.tensor(sets * n), a.tensor(sets * n), {1, 0, 1, 0, n},  0, n, sets, a.offsets(sets, n),
            a.compute(sets),    a.statistic(sets),  a.statistic(sets)};
      });
      expect_same("CentredSums", [&](Arguments& a, Index n) {
        return kernels::CentredSums<Storage>{
            a.tensor(sets * n), {1, 0, 1, 0, n},  0, n, sets, a.offsets(sets, n), true, a.compute(sets),
            a.statistic(sets),  a.statistic(sets)};
      });
      for (const bool stream : {false, true}) {
        expect_same("RunApply of cells that follow each other", [&](Arguments& a, Index n) {
          return kernels::RunApply<kernels::Normalize, Storage, true>{
              a.tensor(sets * n),
              nullptr,
              a.tensor(sets * n),
              stream,
              64,
              {1, 0, 1, 0, n},
              0,
              n,
              sets,
              a.offsets(sets, n),
              {a.compute(sets), a.compute(sets), a.compute(sets), nullptr}};
        });
        expect_same("RunApply of gradients", [&](Arguments& a, Index n) {
          return kernels::RunApply<kernels::InputGradient, Storage, false>{
              a.tensor(sets * n),
              a.tensor(sets * n),
              a.tensor(sets * n),
              stream,
              64,
              {1, 0, 1, 0, n},
              0,
              n,
              sets,
              a.offsets(sets, n),
              {a.compute(sets), a.compute(sets), a.compute(sets), a.compute(sets)}};
        });
      }
    }
  }

  static void expect_same_of_rows() {
    for (const Index rows : kSets) {
      for (const bool stream : {false, true}) {
        expect_same("RowApply", [&](Arguments& a, Index n) {
          return kernels::RowApply<kernels::Normalize, Storage>{
              a.tensor(rows * n),
              nullptr,
              a.tensor(rows * n),
              stream,
              64,
              0,
              n,
              rows,
              0,
              n,
              {a.compute(rows), a.compute(rows), a.compute(rows), nullptr},
              a.compute(n),
              a.compute(n)};
        });
        expect_same("RowApply of gradients", [&](Arguments& a, Index n) {
          return kernels::RowApply<kernels::InputGradient, Storage>{
              a.tensor(rows * n),
              a.tensor(rows * n),
              a.tensor(rows * n),
              stream,
              64,
              0,
              n,
              rows,
              0,
              n,
              {a.compute(rows), a.compute(rows), a.compute(rows), a.compute(rows)},
              a.compute(n),
              nullptr};
        });
        expect_same("NormalizeRows", [&](Arguments& a, Index n) {
          return kernels::NormalizeRows<Storage>{
              a.tensor(rows * n),
              a.tensor(rows * n),
              stream,
              n,
              rows,
              0,
              n,
              a.compute(n),
              a.compute(n),
              Statistic(1e-5),
              {a.statistic(rows), a.statistic(rows), a.statistic(rows), a.statistic(rows)},
              a.count()};
        });
      }
      expect_same("RowGradients", [&](Arguments& a, Index n) {
        return kernels::RowGradients<Storage>{a.tensor(rows * n),
                                              a.tensor(rows * n),
                                              a.compute(n),
                                              0,
                                              n,
                                              rows,
                                              0,
                                              n,
                                              a.compute(rows),
                                              a.compute(rows),
                                              a.compute(rows),
                                              a.statistic(rows),
                                              a.statistic(rows),
                                              a.statistic(n),
                                              a.statistic(n),
                                              64};
      });
    }
  }

  static void expect_same_of_columns() {
    for (const Index rows : kSets) {
      const auto lines = [&](Index n) { return kernels::Lines{1, 0, rows, n, 1}; };
      expect_same("ColumnPivots", [&](Arguments& a, Index n) {
        const Index some = std::min<Index>(rows, kernels::ColumnPivots<Storage>::kMaxRows);
        return kernels::ColumnPivots<Storage>{a.tensor(rows * n), lines(n), some,
                                              rows / some,        n,        a.compute(n)};
      });
      expect_same("ColumnSpread", [&](Arguments& a, Index n) {
        return kernels::ColumnSpread<Compute>{a.compute(rows * n), rows, n};
      });
      expect_same("ColumnSums of deviations", [&](Arguments& a, Index n) {
        return kernels::ColumnSums<kernels::Deviations, Storage>{
            a.tensor(rows * n), nullptr,        nullptr,       lines(n), 0, rows, n,
            a.compute(n),       a.statistic(n), a.statistic(n)};
      });
      expect_same("ColumnSums of weighted gradients", [&](Arguments& a, Index n) {
        return kernels::ColumnSums<kernels::WeightedGradients, Storage>{
            a.tensor(rows * n), a.tensor(rows * n), a.compute(rows), lines(n), 0, rows, n,
            a.compute(n),       a.statistic(n),     a.statistic(n)};
      });
      expect_same("ColumnTotals", [&](Arguments& a, Index n) {
        return kernels::ColumnTotals<Statistic>{a.statistic(rows * n), rows, n, a.statistic(n)};
      });
      expect_same("ColumnParamSums", [&](Arguments& a, Index n) {
        return kernels::ColumnParamSums<Storage>{
            a.tensor(rows * n), a.tensor(rows * n), lines(n),         0, rows, n, a.compute(n), a.compute(n),
            a.compute(n),       a.statistic(rows),  a.statistic(rows)};
      });
      for (const bool stream : {false, true}) {
        expect_same("ColumnApply", [&](Arguments& a, Index n) {
          return kernels::ColumnApply<kernels::Normalize, Storage, false>{
              a.tensor(rows * n),
              nullptr,
              a.tensor(rows * n),
              stream,
              64,
              lines(n),
              0,
              rows,
              n,
              {a.compute(n), a.compute(n), a.compute(n), nullptr},
              nullptr,
              nullptr};
        });
        expect_same("ColumnApply of gradients", [&](Arguments& a, Index n) {
          return kernels::ColumnApply<kernels::InputGradient, Storage, true>{
              a.tensor(rows * n),
              a.tensor(rows * n),
              a.tensor(rows * n),
              stream,
              64,
              lines(n),
              0,
              rows,
              n,
              {a.compute(n), a.compute(n), a.compute(n), a.compute(n)},
              a.compute(rows),
              nullptr};
        });
      }
    }
  }

  static void expect_same_of_one_vector() {
    expect_same("Parts", [&](Arguments& a, Index n) {
      return Parts<Storage>{a.tensor(n), n, a.tensor(n), a.tensor(n)};
    });
  }

 private:
  template <typename Make>
  static void expect_same(const char* name, const Make& make) {
    expect_same_at_pages<Storage>(name, make);
  }
};

TEST(KernelsOfFloat, OneVector) { Kernels<float>::expect_same_of_one_vector(); }
TEST(KernelsOfFloat, Statistics) { Kernels<float>::expect_same_of_statistics(); }
TEST(KernelsOfFloat, Runs) { Kernels<float>::expect_same_of_runs(); }
TEST(KernelsOfFloat, Rows) { Kernels<float>::expect_same_of_rows(); }
TEST(KernelsOfFloat, Columns) { Kernels<float>::expect_same_of_columns(); }
TEST(KernelsOfDouble, OneVector) { Kernels<double>::expect_same_of_one_vector(); }
TEST(KernelsOfDouble, Statistics) { Kernels<double>::expect_same_of_statistics(); }
TEST(KernelsOfDouble, Runs) { Kernels<double>::expect_same_of_runs(); }
TEST(KernelsOfDouble, Rows) { Kernels<double>::expect_same_of_rows(); }
TEST(KernelsOfDouble, Columns) { Kernels<double>::expect_same_of_columns(); }

}  // namespace
}  // namespace ek_test
