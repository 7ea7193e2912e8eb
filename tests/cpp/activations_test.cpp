// LeakyReLU, SiLU and GELU: each kernel alone, then the operations. What they have in common with
// other functions is in elementwise_test.cpp, how exact they are in accuracy_test.cpp.
#include "nnext/elementwise.h"
#include "page_end.h"
#include "support.h"

namespace nnext::test {
namespace {

// Gradients that take the input.
template <class T>
struct Slope {
  const char* name;
  void (*Kernels<T>::*kernel)(const T* x, const T* dout, T* dx, index_t n);
};
template <class T>
constexpr Slope<T> kSlopes[] = {{"silu", &Kernels<T>::silu_backward},
                                {"gelu", &Kernels<T>::gelu_backward},
                                {"gelu_tanh", &Kernels<T>::gelu_tanh_backward}};

class ActivationKernel : public IsaTest {};
NNEXT_EVERY_ISA(ActivationKernel);

TEST_P(ActivationKernel, SpecialValuesHaveTheirWrittenAnswers) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T zero = 0;
    const T most = std::numeric_limits<T>::max();
    const T least = std::numeric_limits<T>::denorm_min();
    const T normal = std::numeric_limits<T>::min();
    const std::pair<T, T> answers[] = {
        {zero, zero},     {-zero, -zero},   {kInf<T>, kInf<T>},   {-kInf<T>, -zero},
        {most, most},     {-most, -zero},   {least, zero},        {-least, -zero},
        {normal, zero},   {-normal, -zero}, {2 * normal, normal}, {-2 * normal, -normal},
        {T{100}, T{100}}, {T{-800}, -zero}, {kNan<T>, kNan<T>}};
    for (const auto& [name, kernel] :
         {std::pair{"silu", kernels.silu}, std::pair{"gelu", kernels.gelu},
          std::pair{"gelu_tanh", kernels.gelu_tanh}}) {
      for (const auto& [x, expected] : answers) {
        T y = canary<T>();
        kernel(&x, &y, 1);
        EXPECT_TRUE(same(expected, y)) << name << "(" << x << ") = " << y;
      }
    }
  });
}

TEST_P(ActivationKernel, SlopesAreTheSameInAnyPlaceAndCompanyAndAsPortable) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const auto far = [](Random& random) { return static_cast<T>(random.real(-40, 40)); };
    for (const Slope<T>& slope : kSlopes<T>) {
      SCOPED_TRACE(slope.name);
      const auto kernel = kernels.*slope.kernel;
      for (const auto draw : {+far, &any_number<T>, &real_number<T>, &special_number<T>}) {
        std::vector<index_t> sizes = edge_sizes(kernels.lanes);
        sizes.push_back(10007);
        for (const index_t n : sizes) {
          Array<T> x(n, /*seed=*/1, draw);
          Array<T> dout(n, /*seed=*/2, &real_number<T>);
          Array<T> one_by_one(n);
          for (index_t i = 0; i < n; ++i) kernel(&x[i], &dout[i], &one_by_one[i], 1);
          Array<T> dx(n);
          (portable_kernels<T>().*slope.kernel)(x.data(), dout.data(), dx.data(), n);
          ASSERT_TRUE(same_bits(one_by_one, dx)) << "portable";
          kernel(x.data(), dout.data(), dx.data(), n);
          ASSERT_TRUE(same_bits(one_by_one, dx));
          kernel(x.data(), dout.data(), dout.data(), n);
          ASSERT_TRUE(same_bits(one_by_one, dout)) << "in place";
        }
      }
    }
  });
}

TEST_P(ActivationKernel, SlopesOfSpecialValuesHaveTheirWrittenAnswers) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T zero = 0;
    const T most = std::numeric_limits<T>::max();
    const T least = std::numeric_limits<T>::denorm_min();
    const T normal = std::numeric_limits<T>::min();
    const std::pair<T, T> answers[] = {{zero, T{0.5}},    {-zero, T{0.5}},  {least, T{0.5}},
                                       {-least, T{0.5}},  {normal, T{0.5}}, {kInf<T>, 1},
                                       {-kInf<T>, -zero}, {most, 1},        {-most, -zero},
                                       {T{100}, 1},       {T{-800}, -zero}, {kNan<T>, kNan<T>}};
    for (const Slope<T>& slope : kSlopes<T>) {
      for (const auto& [x, expected] : answers) {
        const T dout = 1;
        T dx = canary<T>();
        (kernels.*slope.kernel)(&x, &dout, &dx, 1);
        EXPECT_TRUE(same(expected, dx)) << slope.name << "'(" << x << ") = " << dx;
      }
    }
  });
}

TEST_P(ActivationKernel, LeakyReluIsItsFormulaBitByBit) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const T slope : {T(0.01), T{1}, T(3.7), T(1e-30), std::numeric_limits<T>::min()}) {
      const auto formula = [&](T of, T x) {
        return of <= 0 ? normal_product(x, slope) : normal(x);
      };
      for (const auto draw : {&real_number<T>, &special_number<T>}) {
        for (const index_t n : edge_sizes(kernels.lanes)) {
          Array<T> x(n, /*seed=*/1, draw);
          Array<T> dout(n, /*seed=*/2, draw);
          Array<T> expected(n);
          Array<T> expected_dx(n);
          for (index_t i = 0; i < n; ++i) {
            expected[i] = formula(normal(x[i]), x[i]);
            expected_dx[i] = formula(x[i], dout[i]);
          }
          Array<T> y(n);
          kernels.leaky_relu(x.data(), y.data(), n, slope);
          ASSERT_TRUE(same_bits(expected, y)) << slope;
          Array<T> dx(n);
          kernels.leaky_relu_backward(x.data(), dout.data(), dx.data(), n, slope);
          ASSERT_TRUE(same_bits(expected_dx, dx)) << slope;
          kernels.leaky_relu_backward(x.data(), dout.data(), dout.data(), n, slope);
          ASSERT_TRUE(same_bits(expected_dx, dout)) << "in place";
          kernels.leaky_relu(x.data(), x.data(), n, slope);
          ASSERT_TRUE(same_bits(expected, x)) << "in place";
        }
      }
    }
  });
}

TEST_P(ActivationKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 0; n <= 2 * kernels.lanes + 1; ++n) {
      PageEnd<T> x(n, T{1});
      PageEnd<T> dout(n, T{1});
      PageEnd<T> y(n, T{1});
      for (const Slope<T>& s : kSlopes<T>) {
        (kernels.*s.kernel)(x.data(), dout.data(), y.data(), n);
      }
      kernels.leaky_relu(x.data(), y.data(), n, T(0.01));
      kernels.leaky_relu_backward(x.data(), dout.data(), y.data(), n, T(0.01));
    }
  });
}

template <class T>
class Activation : public testing::Test {};
TYPED_TEST_SUITE(Activation, Reals, RealNames);

TYPED_TEST(Activation, TakesTheGradientOfTheInputAskedForOnAnyNumberOfThreads) {
  using T = TypeParam;
  constexpr Unary kAsked[] = {Unary::kSilu, Unary::kGelu, Unary::kGeluTanh};  // as kSlopes
  for (const index_t n : {0, 1, 1000, 100001}) {
    const Array<T> x(n, /*seed=*/1, &real_number<T>);
    const Array<T> dout(n, /*seed=*/2, &real_number<T>);
    for (std::size_t f = 0; f < std::size(kAsked); ++f) {
      Array<T> expected(n);
      (kernels<T>().*kSlopes<T>[f].kernel)(x.data(), dout.data(), expected.data(), n);
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> dx(n);
        apply_backward(kAsked[f], x.data(), dout.data(), dx.data(), n);
        ASSERT_TRUE(same_bits(expected, dx)) << kSlopes<T>[f].name << ", " << threads;
      }
    }
  }
}

TYPED_TEST(Activation, LeakyReluIsTheSameOnAnyNumberOfThreadsAndReluWithoutASlope) {
  using T = TypeParam;
  for (const T slope : {T{0}, std::numeric_limits<T>::denorm_min(), T(0.01)}) {
    for (const index_t n : {0, 1, 1000, 200001}) {
      Array<T> x(n, /*seed=*/1, &real_number<T>);
      if (n > 0) x[0] = -kInf<T>;
      const Array<T> dout(n, /*seed=*/2, &real_number<T>);
      Array<T> y(n);
      Array<T> dx(n);
      if (slope == T(0.01)) {
        kernels<T>().leaky_relu(x.data(), y.data(), n, slope);
        kernels<T>().leaky_relu_backward(y.data(), dout.data(), dx.data(), n, slope);
      } else {
        kernels<T>().relu(x.data(), y.data(), n);
        kernels<T>().relu_backward(y.data(), dout.data(), dx.data(), n);
      }
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> z(n);
        leaky_relu(x.data(), z.data(), n, slope);
        ASSERT_TRUE(same_bits(y, z)) << slope;
        leaky_relu_backward(y.data(), dout.data(), z.data(), n, slope);
        ASSERT_TRUE(same_bits(dx, z)) << slope;
      }
    }
  }
}

}  // namespace
}  // namespace nnext::test
