// How work is cut: completely, without overlap, and by its size alone.
#define EIGEN_USE_THREADS

#include "evenkeel/core/parallel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "support/shape.hpp"

namespace ek_test {
namespace {

namespace detail = evenkeel::detail;

TEST(Pieces, CoverAllStepsOnce) {
  for (Index steps : {1, 63, 64, 65, 32767, 32768, 32769, 100003, 5000011})
    for (Index size : {1, 3, 64, 100000}) {
      const detail::Pieces pieces(steps, size);
      ASSERT_GE(pieces.count, 1);
      ASSERT_LE(pieces.count, detail::Pieces::kMax);
      for (Index i = 0; i < pieces.count; ++i) {
        EXPECT_LT(pieces.begin(i), pieces.end(i));
        EXPECT_EQ(pieces.begin(i), i == 0 ? 0 : pieces.end(i - 1));
      }
      EXPECT_EQ(pieces.end(pieces.count - 1), steps);
    }
}

TEST(Pieces, LargeWorkIsCut) { EXPECT_GT(detail::Pieces(1000000, 1).count, 1); }

constexpr Index kLarge = 1 << 22;  // elements enough for several threads

/// Two loops, for helpers stay from one to the next.
template <typename Device>
void expect_each_called_once(const Device& device, Index count) {
  std::vector<std::atomic<int>> calls(at(count));
  for (auto& call : calls) call = 0;
  const detail::ParallelFor loops(device, kLarge);
  for (int loop = 1; loop <= 2; ++loop) {
    loops.for_each(count, kLarge, [&](Index i) { ++calls[at(i)]; });
    for (auto& call : calls) EXPECT_EQ(call, loop);
  }
}

TEST(ParallelFor, CallsEachOnce) {
  for (Index count : {0, 1, 2, 17, 1000}) {
    expect_each_called_once(Eigen::DefaultDevice(), count);
    for (int threads : {1, 2, 5}) {
      Eigen::ThreadPool pool(threads);
      for (int repeat = 0; repeat < 50; ++repeat)
        expect_each_called_once(Eigen::ThreadPoolDevice(&pool, threads), count);
    }
  }
}

TEST(ParallelFor, HasThreadsForTheWork) {
  Eigen::ThreadPool pool(3);
  const Eigen::ThreadPoolDevice device(&pool, 3);
  EXPECT_EQ(detail::ParallelFor().threads(), 1);
  EXPECT_EQ(detail::ParallelFor(device, 1000).threads(), 1);
  EXPECT_EQ(detail::ParallelFor(device, kLarge).threads(), 3);
  EXPECT_EQ(detail::ParallelFor(Eigen::DefaultDevice(), kLarge).threads(), 1);
  // std::thread::hardware_concurrency() may be 0.
  EXPECT_EQ(detail::ParallelFor(Eigen::ThreadPoolDevice(&pool, 0), kLarge).threads(), 1);
}

// The caller does all the work then, and those who come late do not touch what is gone.
TEST(ParallelFor, DoesNotWaitForAPoolThatIsBusy) {
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  Eigen::ThreadPool pool(3);
  for (int t = 0; t < 3; ++t) pool.Schedule([ended] { ended.wait(); });
  // More tasks than the queues of Eigen's pool take, so that the caller is given some of them itself.
  for (int repeat = 0; repeat < 1500; ++repeat)
    expect_each_called_once(Eigen::ThreadPoolDevice(&pool, 3), 100);
  end.set_value();
}

TEST(ParallelFor, HasSeveralCallersAtOnce) {
  Eigen::ThreadPool pool(2);
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat)
        expect_each_called_once(Eigen::ThreadPoolDevice(&pool, 2), 20);
    });
  for (std::thread& caller : callers) caller.join();
}

// The blocks, in terms of their first and last items, are the same on every device.
TEST(Blocks, CoverAllItemsAlikeOnEveryDevice) {
  for (Index items : {1, 2, 5, 64, 1000, 100003})
    for (Index size : {1, 7, 1000, 50000}) {
      const detail::Blocks blocks(items, size, 8);
      EXPECT_LE(blocks.count, 8);
      const auto owners_on = [&](const auto& device) {
        std::vector<Index> owner(at(items), -1);
        blocks.for_each(detail::ParallelFor(device, kLarge), false,
                        [&](Index block, Index first, Index last, const detail::ParallelFor&) {
                          for (Index i = first; i < last; ++i) owner[at(i)] = block;
                        });
        return owner;
      };
      const std::vector<Index> owners = owners_on(Eigen::DefaultDevice());
      for (Index owner : owners) ASSERT_GE(owner, 0);
      Eigen::ThreadPool pool(3);
      EXPECT_EQ(owners_on(Eigen::ThreadPoolDevice(&pool, 3)), owners);
    }
}

}  // namespace
}  // namespace ek_test
