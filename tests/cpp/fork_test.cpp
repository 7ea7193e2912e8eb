// The pool of threads in forked children. Not on Windows, where no process forks.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "loops.h"
#include "matrix.h"
#include "nnext/matmul.h"

namespace nnext::test {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool kThreadSanitizer = false;
#endif

// Runs body() in a forked child and returns whether it came back true within a minute.
template <class Body>
testing::AssertionResult succeeds_in_a_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // ends a child that hangs
    _exit(body() ? 0 : 1);
  }
  if (child < 0) return testing::AssertionFailure() << "fork failed";
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    return testing::AssertionFailure() << "the child died of signal " << WTERMSIG(status);
  }
  if (WEXITSTATUS(status) != 0) return testing::AssertionFailure() << "the child's result is wrong";
  return testing::AssertionSuccess();
}

class Fork : public testing::Test {
 protected:
  void SetUp() override {
    if (kThreadSanitizer) GTEST_SKIP() << "it does not follow threads of a forked child";
  }

  bool product_is_right() const {
    Matrix<double> c(80, 90, kPadded);
    matmul<double>(a_.view(), b_.view(), c.view());
    Counts counts(100);
    parallel_for(100, [&](int part) { counts.add(part); });
    return c.holds(expected_) && counts.all_are(1);
  }

 private:
  Matrix<double> a_{80, 100, kRowMajor, /*seed=*/1, &real_number<double>};
  Matrix<double> b_{100, 90, kRowMajor, /*seed=*/2, &real_number<double>};
  Array<double> expected_ = ordered_chain(a_, b_, Array<double>(0));
};

TEST_F(Fork, ChildOfAnIdlePoolComputes) {
  const ThreadsInUse in_use(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    ASSERT_TRUE(product_is_right());
    ASSERT_TRUE(succeeds_in_a_child([&] { return product_is_right(); }));
  }
}

TEST_F(Fork, ChildOfAPoolInTheMiddleOfALoopComputes) {
  const ThreadsInUse in_use(3);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    std::atomic<int> sum{0};
    while (!stop) parallel_for(50, [&](int part) { sum += part; });
  });
  for (int repeat = 0; repeat < 20; ++repeat) {
    EXPECT_TRUE(succeeds_in_a_child([&] { return product_is_right(); }));
  }
  stop = true;
  busy.join();
  EXPECT_TRUE(product_is_right()) << "and the parent still does";
}

TEST_F(Fork, ChildStartsThreadsOfItsOwn) {
  if (available_cpus() < 2) GTEST_SKIP() << "one CPU";
  const ThreadsInUse in_use(2);
  ASSERT_TRUE(parts_run_at_the_same_time());
  EXPECT_TRUE(succeeds_in_a_child([] { return parts_run_at_the_same_time(); }));
}

TEST_F(Fork, GrandchildComputes) {
  const ThreadsInUse in_use(3);
  ASSERT_TRUE(product_is_right());
  EXPECT_TRUE(succeeds_in_a_child([&] {
    return product_is_right() && bool(succeeds_in_a_child([&] { return product_is_right(); }));
  }));
}

TEST_F(Fork, HelperNoticesAChildThatFails) {
  EXPECT_FALSE(succeeds_in_a_child([] { return false; }));
  EXPECT_FALSE(succeeds_in_a_child([]() -> bool { std::abort(); }));
}

}  // namespace
}  // namespace nnext::test
