// The pool of threads: every part once, nesting, callers side by side.
#include "nnext/threads.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <thread>

#include "loops.h"
#include "matrix.h"
#include "nnext/matmul.h"
#include "process.h"

namespace nnext::test {
namespace {

TEST(Threads, EveryPartRunsExactlyOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadsInUse in_use(threads);
    for (const int parts : {0, 1, 2, 3, 7, 8, 9, 64, 1000, 65535}) {
      Counts counts(parts);
      parallel_for(parts, [&](int part) { counts.add(part); });
      ASSERT_TRUE(counts.all_are(1)) << parts << " parts on " << threads << " threads";
    }
  }
}

TEST(Threads, ManyShortLoopsInARowRunEveryPartOnce) {
  const ThreadsInUse in_use(3);
  Counts counts(5);
  for (int loop = 0; loop < 20000; ++loop) parallel_for(5, [&](int part) { counts.add(part); });
  EXPECT_TRUE(counts.all_are(20000));
}

TEST(Threads, WritesOfAllPartsAreSeenAfterTheLoop) {
  const ThreadsInUse in_use(8);
  std::vector<int> values(64);
  for (int loop = 1; loop <= 2000; ++loop) {
    parallel_for(64, [&](int part) { values[static_cast<std::size_t>(part)] += part; });
    for (int part = 0; part < 64; ++part) {
      ASSERT_EQ(values[static_cast<std::size_t>(part)], loop * part);
    }
  }
}

TEST(Threads, RangesCoverEveryItemOnceAndKeepTheirPromises) {
  for (const int threads : {1, 2, 3, 8, 1000}) {
    const ThreadsInUse in_use(threads);
    for (const index_t n : {0, 1, 2, 15, 16, 17, 63, 64, 65, 1000, 1001}) {
      for (const index_t grain : {0, 1, 7, 100, 5000}) {
        for (const index_t multiple : {1, 16, 64}) {
          SCOPED_TRACE(testing::Message() << n << " items, grain " << grain << ", multiple "
                                          << multiple << ", " << threads << " threads");
          Counts counts(n);
          std::atomic<int> ranges{0};
          std::atomic<bool> aligned{true};
          parallel_ranges(n, grain, multiple, [&](index_t begin, index_t end) {
            ++ranges;
            if (begin % multiple != 0 || begin >= end) aligned = false;
            for (index_t i = begin; i < end; ++i) counts.add(i);
          });
          ASSERT_TRUE(counts.all_are(1));
          ASSERT_TRUE(aligned);
          ASSERT_LE(ranges, threads);
          ASSERT_TRUE(n >= 2 * grain || ranges <= 1);
        }
      }
    }
  }
}

TEST(Threads, RangesAreNotShorterThanTheGrain) {
  for (const int threads : {2, 3, 8}) {
    const ThreadsInUse in_use(threads);
    for (index_t n = 1; n < 300; ++n) {
      for (const index_t grain : {1, 3, 16, 50}) {
        std::atomic<index_t> shortest{n};
        parallel_ranges(n, grain, /*multiple=*/1, [&](index_t begin, index_t end) {
          index_t least = shortest.load();
          while (end - begin < least && !shortest.compare_exchange_weak(least, end - begin)) {
          }
        });
        ASSERT_GE(shortest, std::min(n, grain)) << n << " items, grain " << grain;
      }
    }
  }
}

TEST(Threads, PartsRunAtTheSameTime) {
  if (available_cpus() < 2) GTEST_SKIP() << "one CPU";
  const ThreadsInUse in_use(2);
  EXPECT_TRUE(parts_run_at_the_same_time());
}

// Shorter than a worker waits awake, and longer: it is there after every pause, and takes no time
// in a long one (which Windows does not tell by this function).
TEST(Threads, WorkersSleepInALongPauseAndWakeAfterIt) {
  if (available_cpus() < 2) GTEST_SKIP() << "one CPU";
  const ThreadsInUse in_use(2);
  for (const int milliseconds : {0, 1, 10, 500}) {
    ASSERT_TRUE(parts_run_at_the_same_time());
    [[maybe_unused]] const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
#if !defined(_WIN32)
    const double burnt = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    EXPECT_TRUE(milliseconds < 500 || burnt < 0.25) << burnt << " s";
#endif
    EXPECT_TRUE(parts_run_at_the_same_time()) << "after " << milliseconds << " ms";
  }
}

#if defined(__linux__)
// A worker behind its waker, on one CPU, while another idles: the kernel may leave it there for
// tens of milliseconds.
TEST(Threads, WorkersLeaveACpuToTheThreadThatWakesThem) {
  if (available_cpus() < 2) GTEST_SKIP() << "one CPU";
  if (std::getenv("NNEXT_TEST_EMULATOR") != nullptr) GTEST_SKIP() << "an emulated kernel";
  const ThreadsInUse in_use(2);
  const std::thread::id caller = std::this_thread::get_id();
  cpu_set_t callers;
  cpu_set_t workers;
  CPU_ZERO(&callers);
  CPU_ZERO(&workers);
  std::atomic<int> begun{0};
  parallel_for(2, [&](int) {
    cpu_set_t& own = std::this_thread::get_id() == caller ? callers : workers;
    sched_getaffinity(0, sizeof own, &own);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (++begun; begun < 2 && std::chrono::steady_clock::now() < deadline;) {
      std::this_thread::yield();
    }
  });
  ASSERT_EQ(begun, 2);
  cpu_set_t both;
  CPU_AND(&both, &callers, &workers);
  EXPECT_TRUE(CPU_EQUAL(&both, &workers));
  EXPECT_EQ(CPU_COUNT(&workers), CPU_COUNT(&callers) - 1);
}
#endif

TEST(Threads, LoopsMayNest) {
  for (const int threads : {1, 2, 8}) {
    const ThreadsInUse in_use(threads);
    Counts counts(7 * 11 * 3);
    parallel_for(7, [&](int i) {
      parallel_for(
          11, [&](int j) { parallel_for(3, [&](int k) { counts.add((i * 11 + j) * 3 + k); }); });
    });
    EXPECT_TRUE(counts.all_are(1));
  }
}

TEST(Threads, CallersSideBySideDoNotDisturbEachOther) {
  const ThreadsInUse in_use(3);
  const Matrix<float> a(64, 100, kRowMajor, /*seed=*/1, &real_number<float>);
  const Matrix<float> b(100, 96, kRowMajor, /*seed=*/2, &real_number<float>);
  const Array<float> expected = ordered_chain(a, b, Array<float>(0));
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 50; ++repeat) {
        Matrix<float> c(64, 96, kPadded);
        matmul<float>(a.view(), b.view(), c.view());
        Counts counts(9);
        parallel_for(9, [&](int part) { counts.add(part); });
        if (!c.holds(expected) || !counts.all_are(1)) ++wrong;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, NumberIsKeptWithinBounds) {
  const ThreadsInUse in_use(num_threads());
  for (const int n : {1, 2, 8, 1024}) {
    set_num_threads(n);
    EXPECT_EQ(num_threads(), n);
  }
  set_num_threads(5000);
  EXPECT_EQ(num_threads(), 1024);
  set_num_threads(0);
  EXPECT_EQ(num_threads(), 1);
}

TEST(Threads, ThereIsAtLeastOneCpuAndNoMoreThanTheMachineHas) {
  EXPECT_GE(available_cpus(), 1);
  EXPECT_LE(available_cpus(), std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
}

TEST(Threads, AnExceptionOfAPartReachesTheCallerAfterAllParts) {
  const ThreadsInUse in_use(2);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> ran{0};
    const auto body = [&](int part) {
      ++ran;
      if (part % 3 == repeat % 3) throw std::runtime_error("part");
    };
    EXPECT_THROW(parallel_for(8, body), std::runtime_error);
    EXPECT_EQ(ran, 8);
    std::atomic<int> after{0};
    parallel_for(8, [&](int) { ++after; });
    EXPECT_EQ(after, 8);
  }
}

// Read when the process starts, so asked of one that starts with it.
TEST(Threads, NumberAtFirstIsTheEnvironmentsElseThatOfTheCpus) {
  const char* const wanted = std::getenv("NNEXT_NUM_THREADS");
  const char* const openmp = std::getenv("OMP_NUM_THREADS");
  const char* const text = wanted != nullptr ? wanted : openmp;
  EXPECT_EQ(num_threads(), text != nullptr ? std::strtol(text, nullptr, 10) : available_cpus());
}

TEST(Threads, EnvironmentSetsTheirNumber) {
  for (const char* variable : {"NNEXT_NUM_THREADS=5", "OMP_NUM_THREADS=3"}) {
    const Outcome outcome = run_this_program(variable, "Threads.NumberAtFirst*");
    if (!outcome.could_run) GTEST_SKIP() << outcome.output;
    EXPECT_EQ(outcome.exit_code, 0) << variable << "\n" << outcome.output;
  }
}

}  // namespace
}  // namespace nnext::test
