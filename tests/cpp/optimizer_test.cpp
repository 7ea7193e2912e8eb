// One step of every optimizer: each kernel alone, then the operations, against the book's formulas.
#include "nnext/optimizer.h"

#include "page_end.h"
#include "support.h"

namespace nnext::test {
namespace {

// Numbers off the defaults, so that none of them can be forgotten unseen.
constexpr double kLr = 0.03;
constexpr double kMomentum = 0.85;
constexpr double kDecayRate = 0.97;
constexpr double kEps = 1e-3;
constexpr double kBeta1 = 0.8;
constexpr double kBeta2 = 0.95;
constexpr double kSmallBeta1 = 0.49;
constexpr double kSmallBeta2 = 0.2;
constexpr double kVScale = 1.3;
constexpr double kDecay = 0.02;

template <class T>
T times(T x, T y) {
  return normal_product(x, y);
}

// The arrays of a step; an optimizer uses p, g and as many states as it has.
template <class T>
struct Arrays {
  T* p;
  const T* g;
  T* m;
  T* v;
};

template <class T>
struct Optimizer {
  const char* name;
  int states;
  // One element; every product and sum rounded to T. With T = double the exact formula, nearly.
  void (*formula)(T& p, T g, T& m, T& v);
  void (*kernel)(const Kernels<T>& kernels, const Arrays<T>& arrays, index_t n);
  void (*operation)(const Arrays<T>& arrays, index_t n);
};

template <class T>
constexpr StepScalars<T> kNesterov = {.lr = T(kLr),
                                      .a = T(kMomentum),
                                      .b = T(kMomentum * kMomentum),
                                      .eps = T((1 + kMomentum) * kLr),
                                      .v_scale = 0,
                                      .keep = T(1 - kDecay)};

template <class T>
constexpr Optimizer<T> kOptimizers[] = {
    {"sgd", 0, [](T& p, T g, T&, T&) { p = normal(p * T(1 - kDecay) - times(T(kLr), g)); },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.sgd(x.p, x.g, n,
                   {.lr = T(kLr), .a = 0, .b = 0, .eps = 0, .v_scale = 0, .keep = T(1 - kDecay)});
     },
     [](const Arrays<T>& x, index_t n) { sgd(x.p, x.g, n, kLr, kDecay); }},
    {"momentum", 1,
     [](T& p, T g, T& m, T&) {
       m = normal(T(kMomentum) * m - times(T(kLr), g));
       p = normal(p * T(1 - kDecay) + m);
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.momentum(x.p, x.g, x.m, n,
                        {.lr = T(kLr),
                         .a = T(kMomentum),
                         .b = 0,
                         .eps = 0,
                         .v_scale = 0,
                         .keep = T(1 - kDecay)});
     },
     [](const Arrays<T>& x, index_t n) { momentum(x.p, x.g, x.m, n, kLr, kMomentum, kDecay); }},
    {"nesterov", 1,
     [](T& p, T g, T& m, T&) {
       p = p * T(1 - kDecay) + T(kMomentum * kMomentum) * m;
       p = normal(p - times(T((1 + kMomentum) * kLr), g));
       m = normal(T(kMomentum) * m - times(T(kLr), g));
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.nesterov(x.p, x.g, x.m, n, kNesterov<T>);
     },
     [](const Arrays<T>& x, index_t n) { nesterov(x.p, x.g, x.m, n, kLr, kMomentum, kDecay); }},
    {"book_nesterov", 1,
     [](T& p, T g, T& m, T&) {
       m = normal(T(kMomentum) * m - times(T(kLr), g));
       p = p * T(1 - kDecay) + T(kMomentum * kMomentum) * m;
       p = normal(p - times(T((1 + kMomentum) * kLr), g));
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.book_nesterov(x.p, x.g, x.m, n, kNesterov<T>);
     },
     [](const Arrays<T>& x, index_t n) {
       book_nesterov(x.p, x.g, x.m, n, kLr, kMomentum, kDecay);
     }},
    {"adagrad", 1,
     [](T& p, T g, T& m, T&) {
       m += times(g, g);
       p = normal(p * T(1 - kDecay) - T(kLr) * normal(g) / (std::sqrt(m) + T(kEps)));
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.adagrad(
           x.p, x.g, x.m, n,
           {.lr = T(kLr), .a = 0, .b = 0, .eps = T(kEps), .v_scale = 0, .keep = T(1 - kDecay)});
     },
     [](const Arrays<T>& x, index_t n) { adagrad(x.p, x.g, x.m, n, kLr, kEps, kDecay); }},
    {"rmsprop", 1,
     [](T& p, T g, T& m, T&) {
       m = normal(m * T(kDecayRate) + times(T(1 - kDecayRate) * g, g));
       p = normal(p * T(1 - kDecay) - T(kLr) * normal(g) / (std::sqrt(m) + T(kEps)));
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.rmsprop(x.p, x.g, x.m, n,
                       {.lr = T(kLr),
                        .a = T(kDecayRate),
                        .b = T(1 - kDecayRate),
                        .eps = T(kEps),
                        .v_scale = 0,
                        .keep = T(1 - kDecay)});
     },
     [](const Arrays<T>& x, index_t n) {
       rmsprop(x.p, x.g, x.m, n, kLr, kDecayRate, kEps, kDecay);
     }},
    {"adam", 2,
     [](T& p, T g, T& m, T& v) {
       m = normal(m + T(1 - kBeta1) * (g - m));
       v += times(T(1 - kBeta2), times(g, g) - v);
       p *= T(1 - kDecay);
       p = normal(p - T(kLr) * m / (std::sqrt(v) * T(kVScale) + T(kEps)));
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.adam(x.p, x.g, x.m, x.v, n,
                    {.lr = T(kLr),
                     .a = T(1 - kBeta1),
                     .b = T(1 - kBeta2),
                     .eps = T(kEps),
                     .v_scale = T(kVScale),
                     .keep = T(1 - kDecay)});
     },
     [](const Arrays<T>& x, index_t n) {
       adam(x.p, x.g, x.m, x.v, n, kLr, kBeta1, kBeta2, kEps, kVScale, kDecay);
     }},
    {"adam of small betas", 2,
     [](T& p, T g, T& m, T& v) {
       m = normal(g + T(kSmallBeta1) * (m - g));
       v = times(g, g) + times(T(kSmallBeta2), v - times(g, g));
       p *= T(1 - kDecay);
       p = normal(p - T(kLr) * m / (std::sqrt(v) * T(kVScale) + T(kEps)));
     },
     [](const Kernels<T>& kernels, const Arrays<T>& x, index_t n) {
       kernels.adam(x.p, x.g, x.m, x.v, n,
                    {.lr = T(kLr),
                     .a = T(kSmallBeta1),
                     .b = T(kSmallBeta2),
                     .eps = T(kEps),
                     .v_scale = T(kVScale),
                     .keep = T(1 - kDecay),
                     .a_is_beta = true,
                     .b_is_beta = true});
     },
     [](const Arrays<T>& x, index_t n) {
       adam(x.p, x.g, x.m, x.v, n, kLr, kSmallBeta1, kSmallBeta2, kEps, kVScale, kDecay);
     }},
};

// A parameter with its gradient and states. Those an optimizer has not stay canaries.
template <class T>
struct Parameter {
  Parameter(const Optimizer<T>& optimizer, index_t n, T (*draw)(Random&))
      : p(n, /*seed=*/1, draw), g(n, /*seed=*/2, draw), m(n), v(n) {
    if (optimizer.states > 0) m = Array<T>(n, /*seed=*/3, &positive_number<T>);
    if (optimizer.states > 1) v = Array<T>(n, /*seed=*/4, &positive_number<T>);
  }
  Arrays<T> arrays() { return {p.data(), g.data(), m.data(), v.data()}; }
  void apply(const Optimizer<T>& optimizer) {
    for (index_t i = 0; i < p.size(); ++i) optimizer.formula(p[i], g[i], m[i], v[i]);
  }

  Array<T> p;
  Array<T> g;
  Array<T> m;
  Array<T> v;
};

template <class T>
testing::AssertionResult same_parameter(const Parameter<T>& expected, const Parameter<T>& actual) {
  for (const auto array :
       {&Parameter<T>::p, &Parameter<T>::g, &Parameter<T>::m, &Parameter<T>::v}) {
    const testing::AssertionResult result = same_bits(expected.*array, actual.*array);
    if (!result) return result;
  }
  return testing::AssertionSuccess();
}

class OptimizerKernel : public IsaTest {};
NNEXT_EVERY_ISA(OptimizerKernel);

TEST_P(OptimizerKernel, StepIsThePlainFormulaBitByBit) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const Optimizer<T>& optimizer : kOptimizers<T>) {
      SCOPED_TRACE(optimizer.name);
      for (const auto draw : {&real_number<T>, &special_number<T>}) {
        for (const index_t n : edge_sizes(kernels.lanes)) {
          Parameter<T> expected(optimizer, n, draw);
          Parameter<T> actual = expected;
          for (int step = 0; step < 3; ++step) {
            expected.apply(optimizer);
            optimizer.kernel(kernels, actual.arrays(), n);
            ASSERT_TRUE(same_parameter(expected, actual)) << n << " elements, step " << step;
          }
        }
      }
    }
  });
}

TEST_P(OptimizerKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 0; n <= 2 * kernels.lanes + 1; ++n) {
      PageEnd<T> p(n, T{1});
      PageEnd<T> g(n, T{1});
      PageEnd<T> m(n, T{1});
      PageEnd<T> v(n, T{1});
      for (const Optimizer<T>& optimizer : kOptimizers<T>) {
        optimizer.kernel(kernels, {p.data(), g.data(), m.data(), v.data()}, n);
      }
    }
  });
}

template <class T>
class OptimizerStep : public testing::Test {};
TYPED_TEST_SUITE(OptimizerStep, Reals, RealNames);

TYPED_TEST(OptimizerStep, IsThePlainFormulaBitByBitOnAnyNumberOfThreads) {
  using T = TypeParam;
  for (const Optimizer<T>& optimizer : kOptimizers<T>) {
    for (const index_t n : {0, 1, 50, 100003}) {
      const Parameter<T> start(optimizer, n, &real_number<T>);
      Parameter<T> expected = start;
      expected.apply(optimizer);
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Parameter<T> actual = start;
        optimizer.operation(actual.arrays(), n);
        ASSERT_TRUE(same_parameter(expected, actual)) << optimizer.name << ", " << threads;
      }
    }
  }
}

TYPED_TEST(OptimizerStep, IsCloseToTheFormulaInFloat64) {
  using T = TypeParam;
  constexpr index_t kSize = 1000;
  for (std::size_t kind = 0; kind < std::size(kOptimizers<T>); ++kind) {
    SCOPED_TRACE(kOptimizers<T>[kind].name);
    Parameter<T> actual(kOptimizers<T>[kind], kSize, &real_number<T>);
    Array<double> p(kSize);
    Array<double> m(kSize);
    Array<double> v(kSize);
    for (index_t i = 0; i < kSize; ++i) {
      p[i] = actual.p[i];
      m[i] = actual.m[i];
      v[i] = actual.v[i];
    }
    for (int step = 0; step < 3; ++step) {
      kOptimizers<T>[kind].operation(actual.arrays(), kSize);
      for (index_t i = 0; i < kSize; ++i) {
        kOptimizers<double>[kind].formula(p[i], static_cast<double>(actual.g[i]), m[i], v[i]);
      }
    }
    // Numbers and steps are at most about 1; three steps of at most 8 roundings each.
    EXPECT_TRUE(within(
        actual.p, [&](index_t i) { return static_cast<long double>(p[i]); },
        [](index_t) { return 3 * 8 * 2 * static_cast<long double>(kUnit<T>); }));
  }
}

// Of one element after another: nothing of the large one is left when a beta is 0.
TYPED_TEST(OptimizerStep, AdamWithoutMemoryDividesByTheGradientsOwnSize) {
  using T = TypeParam;
  T p = 0;
  T m = 0;
  T v = 0;
  for (const T g : {T(1), T(1e-5), T(-3e4), T(2e-5)}) {
    p = 0;
    adam(&p, &g, &m, &v, 1, /*step_size=*/1.0, /*beta1=*/0.0, /*beta2=*/0.0, /*eps=*/1e-12, 1.0,
         0.0);
    EXPECT_EQ(m, g);
    EXPECT_EQ(v, g * g);
    EXPECT_NEAR(static_cast<double>(p), g > 0 ? -1 : 1, 1e-6);
  }
}

}  // namespace
}  // namespace nnext::test
