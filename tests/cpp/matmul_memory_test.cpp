// The matrix product where there is no memory to pack its operands in: the same bits.
#include <atomic>
#include <cstdlib>
#include <thread>

#include "matrix.h"
#include "nnext/matmul.h"
#include "plans.h"

namespace {

std::atomic<bool> refuses{false};
std::atomic<int> refused{0};

}  // namespace

// In place of the C library's, for this whole program.
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (refuses) {
    ++refused;
    return nullptr;
  }
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, size) == 0 ? memory : nullptr;
}

namespace nnext::test {
namespace {

template <class T>
class MatmulWithoutMemory : public testing::Test {};
TYPED_TEST_SUITE(MatmulWithoutMemory, Reals, RealNames);

struct Shape {
  index_t m, k, n;
};

// The product on threads that have no working memory yet and get none, against the specification.
// Says how often memory was asked for.
template <class T>
int expect_the_rule(const Shape& s, const Layout& la, const Layout& lb, const Layout& lc,
                    SumInto into, int threads) {
  const Matrix<T> a(s.m, s.k, la, /*seed=*/1, &real_number<T>);
  const Matrix<T> b(s.k, s.n, lb, /*seed=*/2, &real_number<T>);
  const Array<T> bias(lc.by_columns ? 0 : s.n, /*seed=*/3, &real_number<T>);
  const Matrix<T> start(s.m, s.n, lc, /*seed=*/4, &real_number<T>);
  const bool reads = into != SumInto::kOverwrite;
  const Array<T> expected = ordered_chain(a, b, bias, reads ? &start : nullptr, into);
  Matrix<T> c(s.m, s.n, lc);
  if (reads) c = start;
  const ThreadsInUse in_use(threads);
  const int before = refused;
  std::thread([&] {
    refuses = true;
    matmul<T>(a.view(), b.view(), c.view(), bias.size() > 0 ? bias.data() : nullptr, into);
    refuses = false;
  }).join();
  EXPECT_TRUE(c.holds(expected)) << s.m << " x " << s.k << " x " << s.n << ", A " << la.name
                                 << ", B " << lb.name << ", C " << lc.name << ", into "
                                 << static_cast<int>(into) << ", threads " << threads;
  return refused - before;
}

TYPED_TEST(MatmulWithoutMemory, PackedProductsAreRight) {
  using T = TypeParam;
  const Wishing wishing({.packs_a = true, .packs_b = true, .mc = 48, .kc = 100, .nc = 64});
  const Layout& apart = kLayouts[4];
  for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
    for (const int threads : {1, 2}) {
      const auto check = [&](const Shape& s, const Layout& la, const Layout& lb, const Layout& lc) {
        const int asked = expect_the_rule<T>(s, la, lb, lc, into, threads);
        EXPECT_TRUE(asked > 0 || threads > 1) << s.m << " x " << s.k << " x " << s.n;
      };
      check({99, 150, 70}, kRowMajor, kTransposed, kRowMajor);
      check({19, 70, 133}, kRowMajor, kTransposed, kPadded);
      check({30, 200, 40}, apart, apart, kTransposed);
      check({100, 130, 100}, kRowMajor, kRowMajor, kPadded);
      check({70, 230, 70}, kTransposed, kRowMajor, kRowMajor);
    }
  }
}

TYPED_TEST(MatmulWithoutMemory, SumsOfSeveralPassesAreRight) {
  using T = TypeParam;
  for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
    for (const int threads : {1, 2}) {
      for (const index_t k : {index_t{4097}, kLongestChain + 1}) {
        expect_the_rule<T>({20, k, 33}, kRowMajor, kTransposed, kPadded, into, threads);
        expect_the_rule<T>({20, k, 33}, kTransposed, kRowMajor, kTransposed, into, threads);
      }
    }
  }
}

TYPED_TEST(MatmulWithoutMemory, RunsAreRight) {
  using T = TypeParam;
  const Wishing wishing({.order = Order::kRuns, .kc = 8, .nc = 200});
  for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
    for (const int threads : {1, 2}) {
      for (const Layout& lc : {kPadded, kTransposed}) {
        expect_the_rule<T>({3, 50, 515}, kRowMajor, kRowMajor, lc, into, threads);
        expect_the_rule<T>({8, 50, 515}, kTransposed, kRowMajor, lc, into, threads);
        expect_the_rule<T>({20, 50, 515}, kRowMajor, kTransposed, lc, into, threads);
      }
    }
  }
}

}  // namespace
}  // namespace nnext::test
