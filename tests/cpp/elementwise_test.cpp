// Functions of one element and dropout: each kernel alone, then the operations.
#include "nnext/elementwise.h"

#include <array>
#include <memory>

#include "page_end.h"
#include "support.h"

namespace nnext::test {
namespace {

template <class T>
struct Function {
  const char* name;
  void (*Kernels<T>::*kernel)(const T* x, T* y, index_t n);
};
template <class T>
constexpr Function<T> kFunctions[] = {
    {"exp", &Kernels<T>::exp},         {"log", &Kernels<T>::log},
    {"sigmoid", &Kernels<T>::sigmoid}, {"tanh", &Kernels<T>::tanh},
    {"relu", &Kernels<T>::relu},       {"silu", &Kernels<T>::silu},
    {"gelu", &Kernels<T>::gelu},       {"gelu_tanh", &Kernels<T>::gelu_tanh}};

template <class T>
struct Gradient {
  const char* name;
  void (*Kernels<T>::*kernel)(const T* y, const T* dout, T* dx, index_t n);
  T (*formula)(T y, T dout);
};
template <class T>
constexpr Gradient<T> kGradients[] = {
    {"sigmoid", &Kernels<T>::sigmoid_backward,
     [](T y, T dout) { return normal(normal(dout) * ((1 - y) * y)); }},
    {"tanh", &Kernels<T>::tanh_backward,
     [](T y, T dout) { return normal(normal(dout) * std::fma(-y, y, T{1})); }},
    {"relu", &Kernels<T>::relu_backward, [](T y, T dout) { return y <= 0 ? T{0} : normal(dout); }}};

class ElementwiseKernel : public IsaTest {};
NNEXT_EVERY_ISA(ElementwiseKernel);

TEST_P(ElementwiseKernel, EveryElementIsTheSameInAnyPlaceAndCompany) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const Function<T>& function : kFunctions<T>) {
      SCOPED_TRACE(function.name);
      const auto kernel = kernels.*function.kernel;
      for (const index_t n : edge_sizes(kernels.lanes)) {
        Array<T> x(n, /*seed=*/1, &any_number<T>);
        Array<T> one_by_one(n);
        for (index_t i = 0; i < n; ++i) kernel(&x[i], &one_by_one[i], 1);
        Array<T> y(n);
        kernel(x.data(), y.data(), n);
        ASSERT_TRUE(same_bits(one_by_one, y));
        kernel(x.data(), x.data(), n);
        ASSERT_TRUE(same_bits(one_by_one, x)) << "in place";
      }
    }
  });
}

TEST_P(ElementwiseKernel, SameBitsAsPortable) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const Array<T> bits(100003, /*seed=*/1, &any_number<T>);
    Array<T> near(100003, /*seed=*/2, &real_number<T>);
    for (index_t i = 0; i < near.size(); ++i) near[i] *= 12;
    const Array<T> special(997, /*seed=*/3, &special_number<T>);
    for (const Function<T>& function : kFunctions<T>) {
      for (const Array<T>* x : {&bits, &std::as_const(near), &special}) {
        Array<T> expected(x->size());
        (portable_kernels<T>().*function.kernel)(x->data(), expected.data(), x->size());
        Array<T> y(x->size());
        (kernels.*function.kernel)(x->data(), y.data(), x->size());
        ASSERT_TRUE(same_bits(expected, y)) << function.name;
      }
    }
  });
}

TEST_P(ElementwiseKernel, SpecialValuesHaveTheirWrittenAnswers) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T zero = 0;
    const T most = std::numeric_limits<T>::max();
    const T least = std::numeric_limits<T>::denorm_min();
    const T normal = std::numeric_limits<T>::min();
    const struct {
      void (*kernel)(const T*, T*, index_t);
      T x;
      T y;
    } table[] = {
        {kernels.exp, zero, 1},
        {kernels.exp, -zero, 1},
        {kernels.exp, kInf<T>, kInf<T>},
        {kernels.exp, -kInf<T>, 0},
        {kernels.exp, most, kInf<T>},
        {kernels.exp, -most, 0},
        {kernels.exp, least, 1},
        {kernels.exp, kNan<T>, kNan<T>},
        {kernels.log, 1, 0},
        {kernels.log, zero, -kInf<T>},
        {kernels.log, -zero, -kInf<T>},
        {kernels.log, kInf<T>, kInf<T>},
        {kernels.log, -1, kNan<T>},
        {kernels.log, -kInf<T>, kNan<T>},
        {kernels.log, -least, kNan<T>},
        {kernels.log, kNan<T>, kNan<T>},
        {kernels.sigmoid, zero, T{0.5}},
        {kernels.sigmoid, -zero, T{0.5}},
        {kernels.sigmoid, kInf<T>, 1},
        {kernels.sigmoid, -kInf<T>, 0},
        {kernels.sigmoid, most, 1},
        {kernels.sigmoid, -most, 0},
        {kernels.sigmoid, least, T{0.5}},
        {kernels.sigmoid, kNan<T>, kNan<T>},
        {kernels.tanh, zero, zero},
        {kernels.tanh, -zero, -zero},
        {kernels.tanh, kInf<T>, 1},
        {kernels.tanh, -kInf<T>, -1},
        {kernels.tanh, most, 1},
        {kernels.tanh, -most, -1},
        {kernels.tanh, least, 0},
        {kernels.tanh, -least, -zero},
        {kernels.tanh, normal, normal},
        {kernels.tanh, kNan<T>, kNan<T>},
        {kernels.relu, zero, zero},
        {kernels.relu, -zero, zero},
        {kernels.relu, kInf<T>, kInf<T>},
        {kernels.relu, -kInf<T>, 0},
        {kernels.relu, least, 0},
        {kernels.relu, normal, normal},
        {kernels.relu, -least, 0},
        {kernels.relu, most, most},
        {kernels.relu, kNan<T>, kNan<T>},
    };
    for (index_t row = 0; row < std::ssize(table); ++row) {
      T y = canary<T>();
      table[row].kernel(&table[row].x, &y, 1);
      EXPECT_TRUE(same(table[row].y, y)) << "row " << row << ": f(" << table[row].x << ") = " << y;
    }
  });
}

TEST_P(ElementwiseKernel, GradientsAreTheirFormulasBitByBit) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const Gradient<T>& gradient : kGradients<T>) {
      for (const auto draw : {&real_number<T>, &special_number<T>}) {
        for (const index_t n : edge_sizes(kernels.lanes)) {
          const Array<T> y(n, /*seed=*/1, draw);
          Array<T> dout(n, /*seed=*/2, draw);
          Array<T> expected(n);
          for (index_t i = 0; i < n; ++i) expected[i] = gradient.formula(y[i], dout[i]);
          Array<T> dx(n);
          (kernels.*gradient.kernel)(y.data(), dout.data(), dx.data(), n);
          ASSERT_TRUE(same_bits(expected, dx)) << gradient.name;
          (kernels.*gradient.kernel)(y.data(), dout.data(), dout.data(), n);
          ASSERT_TRUE(same_bits(expected, dout)) << gradient.name << " in place";
        }
      }
    }
  });
}

TEST_P(ElementwiseKernel, AddAndScaleAreTheirFormulasBitByBit) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const auto draw : {&real_number<T>, &special_number<T>}) {
      for (const index_t n : edge_sizes(kernels.lanes)) {
        Array<T> sum(n, /*seed=*/1, draw);
        const Array<T> x(n, /*seed=*/2, draw);
        Array<T> expected_sum(n);
        Array<T> expected_scaled(n);
        for (index_t i = 0; i < n; ++i) {
          expected_sum[i] = sum[i] + x[i];
          expected_scaled[i] = normal_product(expected_sum[i], T(0.3));
        }
        kernels.add(sum.data(), x.data(), n);
        ASSERT_TRUE(same_bits(expected_sum, sum));
        kernels.scale(sum.data(), n, T(0.3));
        ASSERT_TRUE(same_bits(expected_scaled, sum));
      }
    }
  });
}

TEST_P(ElementwiseKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 0; n <= 2 * kernels.lanes + 1; ++n) {
      PageEnd<T> x(n, T{1});
      PageEnd<T> dout(n, T{1});
      PageEnd<T> y(n, T{1});
      PageEnd<std::uint8_t> mask(n, 0);
      for (const Function<T>& f : kFunctions<T>) (kernels.*f.kernel)(x.data(), y.data(), n);
      for (const Gradient<T>& g : kGradients<T>) {
        (kernels.*g.kernel)(x.data(), dout.data(), y.data(), n);
      }
      kernels.add(y.data(), x.data(), n);
      kernels.scale(y.data(), n, T{2});
      kernels.dropout(x.data(), y.data(), mask.data(), n, 1, 1, 1u << 31, T{2});
      kernels.dropout_backward(dout.data(), mask.data(), y.data(), n, T{2});
    }
  });
}

template <class T>
class Elementwise : public testing::Test {};
TYPED_TEST_SUITE(Elementwise, Reals, RealNames);

TYPED_TEST(Elementwise, AppliesTheFunctionAskedForOnAnyNumberOfThreads) {
  using T = TypeParam;
  const Kernels<T>& table = kernels<T>();
  const struct {
    Unary f;
    void (*kernel)(const T*, T*, index_t);
  } functions[] = {{Unary::kExp, table.exp},         {Unary::kLog, table.log},
                   {Unary::kSigmoid, table.sigmoid}, {Unary::kTanh, table.tanh},
                   {Unary::kRelu, table.relu},       {Unary::kSilu, table.silu},
                   {Unary::kGelu, table.gelu},       {Unary::kGeluTanh, table.gelu_tanh}};
  for (const index_t n : {0, 1, 1000, 100001}) {
    const Array<T> x(n, /*seed=*/1, &real_number<T>);
    for (const auto& function : functions) {
      Array<T> expected(n);
      function.kernel(x.data(), expected.data(), n);
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> y(n);
        apply(function.f, x.data(), y.data(), n);
        ASSERT_TRUE(same_bits(expected, y)) << threads << " threads";
      }
    }
  }
}

TYPED_TEST(Elementwise, AppliesTheGradientAskedForOnAnyNumberOfThreads) {
  using T = TypeParam;
  constexpr Unary kAsked[] = {Unary::kSigmoid, Unary::kTanh, Unary::kRelu};  // as kGradients
  for (const index_t n : {0, 1, 1000, 200001}) {
    const Array<T> y(n, /*seed=*/1, &real_number<T>);
    const Array<T> dout(n, /*seed=*/2, &real_number<T>);
    for (std::size_t f = 0; f < std::size(kAsked); ++f) {
      Array<T> expected(n);
      for (index_t i = 0; i < n; ++i) expected[i] = kGradients<T>[f].formula(y[i], dout[i]);
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> dx(n);
        apply_backward(kAsked[f], y.data(), dout.data(), dx.data(), n);
        ASSERT_TRUE(same_bits(expected, dx)) << kGradients<T>[f].name << ", " << threads;
      }
    }
  }
}

TYPED_TEST(Elementwise, GradientsAreTheSlopesOfTheFunctions) {
  using T = TypeParam;
  const double h = std::cbrt(kUnit<T>);  // where rounding and curvature weigh the same
  for (const Unary f : {Unary::kSigmoid, Unary::kTanh, Unary::kRelu, Unary::kSilu, Unary::kGelu,
                        Unary::kGeluTanh}) {
    for (const double at : {-3.0, -0.7, 0.2, 1.0, 4.0}) {
      const T x[] = {static_cast<T>(at - h), static_cast<T>(at), static_cast<T>(at + h)};
      T y[3];
      apply(f, x, y, 3);
      const T dout = 2;
      T dx = canary<T>();
      apply_backward(f, remembers_input(f) ? x + 1 : y + 1, &dout, &dx, 1);
      EXPECT_NEAR(dx, 2 * (y[2] - y[0]) / (x[2] - x[0]), 20 * h * h) << at;
    }
  }
}

// --- dropout ---

// n bytes and some more after them, 0 at first.
class Mask {
 public:
  static constexpr index_t kGuard = 70;

  explicit Mask(index_t n)
      : values_(new std::uint8_t[static_cast<std::size_t>(std::max<index_t>(n, 0) + kGuard)]()) {}
  std::uint8_t* data() { return values_.get(); }
  std::uint8_t& operator[](index_t i) { return values_.get()[i]; }

 private:
  std::unique_ptr<std::uint8_t[]> values_;
};

// Philox 4x32-10 as in the paper (Salmon et al. 2011), apart from the kernel's.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

// Word `element` of the stream `seed`.
std::uint32_t stream_word(std::uint64_t seed, std::uint64_t element) {
  const std::uint64_t block = element / 4;
  return philox(
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0},
      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)})[element % 4];
}

// The known answers that Random123 publishes (tests/kat_vectors).
TEST(Philox, ReferenceGivesThePublishedAnswers) {
  using Block = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

class DropoutKernel : public IsaTest {};
NNEXT_EVERY_ISA(DropoutKernel);

// A word is kept for the threshold that equals it and dropped for the next: that pins all 32 bits.
TEST_P(DropoutKernel, DrawsTheWordsOfPhilox) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const std::uint64_t seed : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 32}) {
      for (const std::uint64_t first : {std::uint64_t{0}, (std::uint64_t{1} << 34) - 70}) {
        for (std::uint64_t i = first; i < first + 140; ++i) {
          const std::uint32_t word = stream_word(seed, i);
          const T x = 3;
          T y = canary<T>();
          std::uint8_t mask = 0;
          kernels.dropout(&x, &y, &mask, 1, seed, i, word, T{2});
          ASSERT_TRUE(mask && y == 6) << "element " << i << " of " << seed;
          kernels.dropout(&x, &y, &mask, 1, seed, i, word + 1, T{2});
          ASSERT_TRUE(!mask && y == 0) << "element " << i << " of " << seed;
        }
      }
    }
  });
}

TEST_P(DropoutKernel, AnyLengthAndStartIsASliceOfTheStream) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr std::uint32_t kThreshold = 1u << 31;
    constexpr std::uint64_t kSeed = 12345;
    for (const index_t n : {0, 1, 2, 3, 4, 5, 15, 16, 17, 61, 63, 64, 65, 67, 129, 200}) {
      for (std::uint64_t first = 0; first < 9; ++first) {
        Array<T> x(n, /*seed=*/1, &real_number<T>);
        Array<T> y(n);
        Mask mask(n);
        kernels.dropout(x.data(), y.data(), mask.data(), n, kSeed, first, kThreshold, T{2});
        Array<T> expected(n);
        for (index_t i = 0; i < n; ++i) {
          const bool keep = stream_word(kSeed, first + static_cast<std::uint64_t>(i)) >= kThreshold;
          ASSERT_EQ(mask[i], keep) << i << " from " << first;
          expected[i] = keep ? x[i] * 2 : T{0};
        }
        ASSERT_TRUE(same_bits(expected, y)) << first;
        kernels.dropout(x.data(), x.data(), mask.data(), n, kSeed, first, kThreshold, T{2});
        ASSERT_TRUE(same_bits(expected, x)) << "in place";
      }
    }
  });
}

TEST_P(DropoutKernel, WritesNoMaskPastTheEnd) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t n : {0, 1, 3, 16, 63, 64, 65}) {
      const Array<T> x(n, /*seed=*/1, &real_number<T>);
      Array<T> y(n);
      Mask mask(n);
      kernels.dropout(x.data(), y.data(), mask.data(), n, 1, 0, /*threshold=*/0, T{1});
      EXPECT_EQ(std::count(mask.data(), mask.data() + n + Mask::kGuard, true), n);
      EXPECT_TRUE(same_bits(x, y));
    }
  });
}

TEST_P(DropoutKernel, BackwardPassesWhatTheMaskKept) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t n : edge_sizes(kernels.lanes)) {
      const Array<T> dout(n, /*seed=*/1, &real_number<T>);
      Mask mask(n);
      Array<T> expected(n);
      for (index_t i = 0; i < n; ++i) {
        // Any byte but 0 counts: the memory of booleans may have held something else.
        const bool keep = i % 3 != 0;
        mask[i] = static_cast<std::uint8_t>(keep ? i % 250 + 1 : 0);
        expected[i] = keep ? dout[i] * T(1.25) : T{0};
      }
      Array<T> dx(n);
      kernels.dropout_backward(dout.data(), mask.data(), dx.data(), n, T(1.25));
      ASSERT_TRUE(same_bits(expected, dx));
    }
  });
}

template <class T>
class Dropout : public testing::Test {};
TYPED_TEST_SUITE(Dropout, Reals, RealNames);

TYPED_TEST(Dropout, ThreadsAndSlicesDoNotChangeTheMask) {
  using T = TypeParam;
  constexpr index_t kSize = 100003;
  const Array<T> x(kSize, /*seed=*/1, &real_number<T>);
  Mask whole_mask(kSize);
  Array<T> whole(kSize);
  {
    const ThreadsInUse in_use(1);
    dropout(x.data(), whole.data(), whole_mask.data(), kSize, 0.3, 7, 1000);
  }
  for (const int threads : {2, 3, 8}) {
    const ThreadsInUse in_use(threads);
    Mask mask(kSize);
    Array<T> y(kSize);
    dropout(x.data(), y.data(), mask.data(), kSize, 0.3, 7, 1000);
    EXPECT_TRUE(same_bits(whole, y));
    EXPECT_TRUE(std::equal(mask.data(), mask.data() + kSize, whole_mask.data()));
    Array<T> sliced(kSize);
    for (index_t i = 0; i < kSize; i += 12345) {
      const index_t n = std::min<index_t>(12345, kSize - i);
      dropout(x.data() + i, sliced.data() + i, mask.data() + i, n, 0.3, 7,
              1000 + static_cast<std::uint64_t>(i));
    }
    EXPECT_TRUE(same_bits(whole, sliced));
    Array<T> dx(kSize);
    dropout_backward(x.data(), mask.data(), dx.data(), kSize, 0.3);
    EXPECT_TRUE(same_bits(whole, dx)) << "the same mask and scale applied to dout = x";
  }
}

TYPED_TEST(Dropout, KeepsTheShareAskedForAndTheMean) {
  using T = TypeParam;
  constexpr index_t kSize = 200000;
  Array<T> x(kSize);
  std::fill_n(x.data(), kSize, T{1});
  for (const double ratio : {0.0, 0.1, 0.5, 0.9, 0.999}) {
    Mask mask(kSize);
    Array<T> y(kSize);
    dropout(x.data(), y.data(), mask.data(), kSize, ratio, 99, 0);
    const auto kept = std::count(mask.data(), mask.data() + kSize, 1);
    // five standard deviations of a binomial count
    EXPECT_NEAR(static_cast<double>(kept), kSize * (1 - ratio),
                5 * std::sqrt(kSize * ratio * (1 - ratio)));
    const T scale = static_cast<T>(1 / (1 - ratio));
    for (index_t i = 0; i < kSize; ++i) {
      ASSERT_EQ(y[i], mask[i] != 0 ? scale : T{0});
    }
  }
}

TYPED_TEST(Dropout, SeedsGiveDifferentMasks) {
  using T = TypeParam;
  constexpr index_t kSize = 4096;
  const Array<T> x(kSize, /*seed=*/1, &real_number<T>);
  Array<T> y(kSize);
  Mask one(kSize);
  Mask two(kSize);
  dropout(x.data(), y.data(), one.data(), kSize, 0.5, 1, 0);
  dropout(x.data(), y.data(), two.data(), kSize, 0.5, std::uint64_t{1} << 32 | 1, 0);
  index_t equal = 0;
  for (index_t i = 0; i < kSize; ++i) equal += one[i] == two[i];
  EXPECT_NEAR(static_cast<double>(equal), kSize / 2.0, 5 * std::sqrt(kSize / 4.0));
}

}  // namespace
}  // namespace nnext::test
