// What the tests of the same bits share; see same_bits_test.cpp.
#pragma once

#include <initializer_list>
#include <sstream>
#include <string>

#include "recorded.h"
#include "support.h"

namespace nnext::test {

// What follows an operation's name: its sizes as Python writes them.
inline std::string text(std::initializer_list<index_t> sizes) {
  std::ostringstream out;
  for (const index_t& size : sizes) out << (&size == sizes.begin() ? " (" : ", ") << size;
  out << ')';
  return out.str();
}

template <class T>
class SameBits : public testing::Test {
 protected:
  static std::string typed(const std::string& name) {
    return name + (sizeof(T) == 4 ? " float32" : " float64");
  }

  // run() is to fill the results with what is recorded under `name`.
  template <class Run, class... Result>
  static void expect_recorded(const std::string& name, const std::string& how, const Run& run,
                              Result&... results) {
    ((results = Result(results.size())), ...);
    run();
    Hash hash;
    (hash.add(results), ...);
    EXPECT_EQ(hash.text(), recorded(typed(name))) << typed(name) << ", " << how;
  }

  // rows(begin, count) is to compute these of n rows of the results.
  template <class Rows, class... Result>
  static void expect_recorded_rows(const std::string& name, index_t n, const Rows& rows,
                                   Result&... results) {
    for (const int threads : {1, 2, 3, 8}) {
      const ThreadsInUse in_use(threads);
      expect_recorded(name, std::to_string(threads) + " threads", [&] { rows(0, n); }, results...);
    }
    const ThreadsInUse in_use(2);
    const index_t cut = n / 3 + 1;
    const auto in_slices = [&] {
      rows(0, 1);
      if (cut > 1) rows(1, cut - 1);
      if (n > cut) rows(cut, n - cut);
    };
    expect_recorded(name, "in slices", in_slices, results...);
  }

  // The same for what has no rows to cut.
  template <class Run, class... Result>
  static void expect_recorded_whole(const std::string& name, const Run& run, Result&... results) {
    expect_recorded_rows(name, 1, [&](index_t, index_t) { run(); }, results...);
  }
};

}  // namespace nnext::test
