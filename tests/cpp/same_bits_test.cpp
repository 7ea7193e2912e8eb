// The same bits everywhere: every operation against the hashes recorded in tests/same_bits.txt, for
// any number of threads, whole or in slices of the batch, in any memory layout. The instruction set
// is that of the process: dispatch_test.cpp runs these tests again under each of the others.
#include "same_bits.h"

#include <functional>
#include <initializer_list>
#include <memory>
#include <tuple>
#include <utility>

#include "nnext/element_loss.h"
#include "nnext/elementwise.h"
#include "nnext/embedding.h"
#include "nnext/embedding_dot.h"
#include "nnext/optimizer.h"
#include "nnext/reduce.h"
#include "nnext/softmax.h"

namespace nnext::test {
namespace {

TYPED_TEST_SUITE(SameBits, Reals, RealNames);

// --- element by element ---

constexpr index_t kMany = 70000;  // above two grains of every operation

// Numbers from -scale to scale, then those that are easily forgotten.
template <class T>
Array<T> drawn_and_special(T scale, bool positive) {
  using Limits = std::numeric_limits<T>;
  const T specials[] = {0, 1, Limits::denorm_min(), Limits::min(), Limits::max(), kInf<T>};
  Array<T> x = drawn_array<T>(kMany, /*seed=*/1, scale);
  index_t i = 0;
  for (const T special : specials) {
    x[i++] = special;
    x[i++] = -special;
  }
  if (positive) std::for_each(x.data(), x.data() + x.size(), [](T& e) { e = std::abs(e); });
  return x;
}

TYPED_TEST(SameBits, Functions) {
  using T = TypeParam;
  struct Function {
    const char* name;
    Unary function;
    T scale;
    bool positive;
  };
  for (const Function& f :
       {Function{"exp", Unary::kExp, 100, false}, Function{"log", Unary::kLog, 100, true},
        Function{"sigmoid", Unary::kSigmoid, 20, false}, Function{"tanh", Unary::kTanh, 10, false},
        Function{"relu", Unary::kRelu, 1, false}, Function{"silu", Unary::kSilu, 100, false},
        Function{"gelu", Unary::kGelu, 15, false},
        Function{"gelu_tanh", Unary::kGeluTanh, 12, false}}) {
    const Array<T> x = drawn_and_special<T>(f.scale, f.positive);
    Array<T> y(kMany);
    this->expect_recorded_rows(
        f.name, kMany,
        [&](index_t begin, index_t count) {
          apply<T>(f.function, x.data() + begin, y.data() + begin, count);
        },
        y);
  }
}

TYPED_TEST(SameBits, FunctionsBackward) {
  using T = TypeParam;
  const Array<T> y = drawn_array<T>(kMany, /*seed=*/1);
  const Array<T> dout = drawn_array<T>(kMany, /*seed=*/2);
  Array<T> dx(kMany);
  const std::pair<const char*, Unary> functions[] = {
      {"sigmoid", Unary::kSigmoid}, {"tanh", Unary::kTanh}, {"relu", Unary::kRelu}};
  for (const auto& [name, function] : functions) {
    this->expect_recorded_rows(
        std::string(name) + " backward", kMany,
        [&, f = function](index_t begin, index_t count) {
          apply_backward<T>(f, y.data() + begin, dout.data() + begin, dx.data() + begin, count);
        },
        dx);
  }
}

TYPED_TEST(SameBits, FunctionsBackwardFromTheirInput) {
  using T = TypeParam;
  const Array<T> dout = drawn_array<T>(kMany, /*seed=*/2);
  Array<T> dx(kMany);
  const std::tuple<const char*, Unary, T> functions[] = {
      {"silu", Unary::kSilu, 100}, {"gelu", Unary::kGelu, 15}, {"gelu_tanh", Unary::kGeluTanh, 12}};
  for (const auto& [name, function, scale] : functions) {
    const Array<T> x = drawn_array<T>(kMany, /*seed=*/1, scale);
    this->expect_recorded_rows(
        std::string(name) + " backward", kMany,
        [&, f = function](index_t begin, index_t count) {
          apply_backward<T>(f, x.data() + begin, dout.data() + begin, dx.data() + begin, count);
        },
        dx);
  }
}

TYPED_TEST(SameBits, LeakyRelu) {
  using T = TypeParam;
  const T slope = static_cast<T>(0.01);
  const Array<T> x = drawn_and_special<T>(1, /*positive=*/false);
  const Array<T> dout = drawn_array<T>(kMany, /*seed=*/2);
  Array<T> y(kMany);
  Array<T> dx(kMany);
  this->expect_recorded_rows(
      "leaky_relu and backward", kMany,
      [&](index_t begin, index_t count) {
        leaky_relu<T>(x.data() + begin, y.data() + begin, count, slope);
        leaky_relu_backward<T>(y.data() + begin, dout.data() + begin, dx.data() + begin, count,
                               slope);
      },
      y, dx);
}

TYPED_TEST(SameBits, Dropout) {
  using T = TypeParam;
  constexpr double kRatio = 0.3;
  constexpr std::uint64_t kSeed = 12345;
  constexpr std::uint64_t kFirst = 7;
  const Array<T> x = drawn_array<T>(kMany, /*seed=*/1);
  const std::unique_ptr<std::uint8_t[]> mask(new std::uint8_t[kMany]);
  Array<T> y(kMany);
  Array<T> dx(kMany);
  this->expect_recorded_rows(
      "dropout", kMany,
      [&](index_t begin, index_t count) {
        dropout<T>(x.data() + begin, y.data() + begin, mask.get() + begin, count, kRatio, kSeed,
                   kFirst + static_cast<std::uint64_t>(begin));
        dropout_backward<T>(x.data() + begin, mask.get() + begin, dx.data() + begin, count, kRatio);
      },
      y, dx);
}

// --- softmax and losses ---

std::vector<std::int64_t> drawn_indices(index_t n, index_t below) {
  std::vector<std::int64_t> t;
  t.reserve(static_cast<std::size_t>(n));
  for (index_t i = 0; i < n; ++i) t.push_back(i * 7919 % below);
  return t;
}

TYPED_TEST(SameBits, SoftmaxAndItsLoss) {
  using T = TypeParam;
  for (const auto& [n, c] : {std::pair{200, 3}, {300, 10}, {70, 1000}, {3, 20011}}) {
    const index_t rows = n;
    const index_t cols = c;
    const std::string shape = text({rows, cols});
    const std::vector<std::int64_t> t = drawn_indices(rows, cols);
    Array<T> x = drawn_array<T>(rows * cols, /*seed=*/1, /*scale=*/30);
    x[1] = -kInf<T>;
    x[cols + t[1]] = T{1e30f};
    const Array<T> dout = drawn_array<T>(rows * cols, /*seed=*/2);
    const std::vector<double> factors(static_cast<std::size_t>(rows),
                                      0.7 / static_cast<double>(rows));
    Array<double> losses(rows);
    Array<T> y(rows * cols);
    Array<T> dx(rows * cols);
    Array<double> loss(2);
    this->expect_recorded_rows(
        "softmax and backward" + shape, rows,
        [&](index_t begin, index_t count) {
          const index_t at = begin * cols;
          softmax<T>(x.data() + at, y.data() + at, count, cols);
          softmax_backward<T>(y.data() + at, dout.data() + at, dx.data() + at, count, cols);
        },
        y, dx);
    this->expect_recorded_rows(
        "softmax_loss y and backward" + shape, rows,
        [&](index_t begin, index_t count) {
          const index_t at = begin * cols;
          const RowLabels<T> labels{t.data() + begin};
          softmax_loss<T>(x.data() + at, y.data() + at, count, cols, labels, {}, losses.data());
          softmax_loss_backward<T>(nullptr, y.data() + at, dx.data() + at, count, cols, labels, {},
                                   factors.data());
        },
        y, dx);
    this->expect_recorded_whole(
        "losses" + shape,
        [&] {
          softmax_loss<T>(x.data(), y.data(), rows, cols, {t.data()}, {}, losses.data());
          loss[0] = 0;
          for (const double row : losses) loss[0] += row;
          loss[0] /= static_cast<double>(rows);
          loss[1] = cross_entropy_error<T>(y.data(), {t.data()}, rows, cols);
        },
        loss);
  }
}

TYPED_TEST(SameBits, LossesOfSingleScores) {
  using T = TypeParam;
  constexpr const char* kNames[] = {"squared", "absolute", "huber", "poisson", "binary"};
  for (const auto& [rows, cols] : {std::pair<index_t, index_t>{kMany, 1}, {300, 37}}) {
    const index_t n = rows * cols;
    const Array<T> x = drawn_array<T>(n, /*seed=*/1, /*scale=*/30);
    const Array<T> t = drawn_array<T>(n, /*seed=*/2, T{0.5f}, T{0.5f});
    const Array<T> weight = drawn_array<T>(cols, /*seed=*/3, T{1}, T{2});
    Array<double> factor(rows);
    for (index_t r = 0; r < rows; ++r) factor[r] = 0.7 / static_cast<double>(rows);
    Array<T> y(n);
    Array<T> dx(n);
    Array<double> loss(rows);
    Array<double> total(1);
    for (int kind = 0; kind <= 4; ++kind) {
      const ElementLoss<T> of{static_cast<LossKind>(kind), T{3},
                              kind == 4 ? weight.data() : nullptr,
                              kind == 4 ? 1 : static_cast<double>(cols)};
      this->expect_recorded_rows(
          std::string(kNames[kind]) + " loss and backward" + text({rows, cols}), rows,
          [&, c = cols](index_t begin, index_t count) {
            const index_t at = begin * c;
            element_loss<T>(of, x.data() + at, t.data() + at, y.data() + at, count, c,
                            loss.data() + begin);
            element_loss_backward<T>(of, y.data() + at, t.data() + at, factor.data() + begin,
                                     dx.data() + at, count, c);
            total[0] = 0;
            for (const double row : loss) total[0] += row;
          },
          y, dx, total);
    }
  }
}

// --- rows of a table, sums ---

TYPED_TEST(SameBits, Embedding) {
  using T = TypeParam;
  constexpr index_t kRows = 50;
  constexpr index_t kWidth = 40;
  constexpr index_t kIndices = 3000;
  const Array<T> w = drawn_array<T>(kRows * kWidth, /*seed=*/1);
  const Array<T> dout = drawn_array<T>(kIndices * kWidth, /*seed=*/2);
  const std::vector<std::int64_t> index = drawn_indices(kIndices, kRows);
  Array<T> y(kIndices * kWidth);
  Array<T> dw(kRows * kWidth);
  this->expect_recorded_rows(
      "embedding", kIndices,
      [&](index_t begin, index_t count) {
        embedding<T>(w.data(), kWidth, index.data() + begin, count, kWidth,
                     y.data() + begin * kWidth);
      },
      y);
  this->expect_recorded_whole(
      "embedding backward",
      [&] {
        embedding_backward<T>(dout.data(), index.data(), kIndices, kWidth, dw.data(), kRows,
                              kWidth);
      },
      dw);
}

TYPED_TEST(SameBits, EmbeddingDot) {
  using T = TypeParam;
  constexpr index_t kRows = 60;
  constexpr index_t kWidth = 70;
  constexpr index_t kN = 200;
  constexpr index_t kCount = 6;
  const Array<T> w = drawn_array<T>(kRows * kWidth, /*seed=*/1);
  const Array<T> h = drawn_array<T>(kN * kWidth, /*seed=*/2);
  const Array<T> dscores = drawn_array<T>(kN * kCount, /*seed=*/3);
  const std::vector<std::int64_t> index = drawn_indices(kN * kCount, kRows);
  Array<T> scores(kN * kCount);
  this->expect_recorded_rows(
      "embedding dot", kN,
      [&](index_t begin, index_t count) {
        embedding_dot<T>(h.data() + begin * kWidth, w.data(), kWidth, index.data() + begin * kCount,
                         count, kCount, kWidth, scores.data() + begin * kCount);
      },
      scores);
  Array<T> dh(kN * kWidth);
  Array<T> dw(kRows * kWidth);
  this->expect_recorded_whole(
      "embedding dot backward",
      [&] {
        embedding_dot_backward<T>(dscores.data(), h.data(), w.data(), kWidth, index.data(), kN,
                                  kCount, kWidth, dh.data(), dw.data(), kRows, kWidth);
      },
      dh, dw);
}

TYPED_TEST(SameBits, Sums) {
  using T = TypeParam;
  constexpr index_t kShape[] = {40, 50, 60};
  const Array<T> x = drawn_array<T>(40 * 50 * 60, /*seed=*/1);
  index_t outer = 1;
  index_t inner = x.size();
  for (int axis = 0; axis < 3; ++axis) {
    inner /= kShape[axis];
    Array<T> sums(outer * inner);
    this->expect_recorded_whole(
        "sum over axis " + std::to_string(axis),
        [&, o = outer, i = inner] { sum_axis<T>(x.data(), sums.data(), o, kShape[axis], i); },
        sums);
    outer *= kShape[axis];
  }
  Array<T> sum(1);
  this->expect_recorded_whole(
      "sum", [&] { sum_axis<T>(x.data(), sum.data(), 1, x.size(), 1); }, sum);
  Array<double> norm(1);
  this->expect_recorded_whole(
      "norm", [&] { norm[0] = std::sqrt(sum_of_squares<T>(x.data(), x.size())); }, norm);
}

// --- optimizers ---

TYPED_TEST(SameBits, OptimizerSteps) {
  using T = TypeParam;
  using Step = std::function<void(T * p, const T* g, T* m, T* v, index_t n)>;
  const std::pair<const char*, Step> optimizers[] = {
      {"sgd", [](T* p, const T* g, T*, T*, index_t n) { sgd<T>(p, g, n, 0.03, 0); }},
      {"momentum",
       [](T* p, const T* g, T* m, T*, index_t n) { momentum<T>(p, g, m, n, 0.03, 0.85, 0); }},
      {"nesterov",
       [](T* p, const T* g, T* m, T*, index_t n) { nesterov<T>(p, g, m, n, 0.03, 0.85, 0); }},
      {"adagrad",
       [](T* p, const T* g, T* m, T*, index_t n) { adagrad<T>(p, g, m, n, 0.03, 1e-7, 0); }},
      {"rmsprop",
       [](T* p, const T* g, T* m, T*, index_t n) { rmsprop<T>(p, g, m, n, 0.03, 0.97, 1e-7, 0); }},
      {"adam", [](T* p, const T* g, T* m, T* v, index_t n) {
         adam<T>(p, g, m, v, n, 0.03, 0.8, 0.95, 1e-8, 1.3, 0.02);
       }}};
  const Array<T> start = drawn_array<T>(kMany, /*seed=*/1);
  const Array<T> g = drawn_array<T>(kMany, /*seed=*/2);
  Array<T> p(kMany);
  Array<T> m(kMany);
  Array<T> v(kMany);
  for (const auto& [name, step] : optimizers) {
    this->expect_recorded_rows(
        name, kMany,
        [&, &take = step](index_t begin, index_t count) {
          std::copy_n(start.data() + begin, count, p.data() + begin);
          for (Array<T>* state : {&m, &v}) {
            std::fill_n(state->data() + begin, count, T{0});
          }
          for (int repeat = 0; repeat < 3; ++repeat) {
            take(p.data() + begin, g.data() + begin, m.data() + begin, v.data() + begin, count);
          }
        },
        p);
  }
}

// --- the hash ---

TEST(SameBitsHash, NoticesAChangedMovedOrMissingElement) {
  const auto hash_of = [](std::initializer_list<float> numbers) {
    Hash hash;
    for (const float x : numbers) hash.add(x);
    return hash.text();
  };
  const std::string right = hash_of({1, 2, 0});
  EXPECT_EQ(hash_of({1, 2, 0}), right);
  EXPECT_NE(hash_of({1, 2, -0.0f}), right);
  EXPECT_NE(hash_of({2, 1, 0}), right);
  EXPECT_NE(hash_of({1, 2}), right);
  EXPECT_NE(recorded("something else"), right);
  EXPECT_EQ(right, recorded("the hash of 1, 2, 0"));
}

}  // namespace
}  // namespace nnext::test
