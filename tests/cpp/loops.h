// What the tests of the pool of threads count and wait for.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "nnext/threads.h"

namespace nnext::test {

// How often each of n things was done.
class Counts {
 public:
  explicit Counts(index_t n) : counts_(static_cast<std::size_t>(n)) {}
  void add(index_t i) { counts_[static_cast<std::size_t>(i)].fetch_add(1); }
  bool all_are(int times) const {
    return std::all_of(counts_.begin(), counts_.end(),
                       [times](const std::atomic<int>& count) { return count.load() == times; });
  }

 private:
  std::vector<std::atomic<int>> counts_;
};

// Two parts that each wait for the other to have begun (half a minute at most): with one thread
// alone the first would wait in vain.
inline bool parts_run_at_the_same_time() {
  std::atomic<int> begun{0};
  std::atomic<bool> met{true};
  parallel_for(2, [&](int) {
    ++begun;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (begun < 2 && met) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() > deadline) met = false;
    }
  });
  return met;
}

}  // namespace nnext::test
