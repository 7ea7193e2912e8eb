// Numbers near zero in the recurrent layers: see near_zero_test.cpp.
#include <cmath>
#include <functional>
#include <limits>
#include <type_traits>

#include "near_zero.h"

namespace nnext::test {
namespace {

class NearZeroRecurrent : public IsaTest {};
NNEXT_EVERY_ISA(NearZeroRecurrent);

// Kernels of the recurrent layers: what they are given that other kernels or the caller made may be
// any number, what an earlier kernel of theirs made is zero or normal.
TEST_P(NearZeroRecurrent, StepsMeetNoSmallNumberAndHandOnNoneThatMakesOne) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kRows = 5;
    constexpr index_t kWidth = 259;
    constexpr index_t kStates = kRows * kWidth;
    const StepShape shape{kRows, kWidth};
    const T root = std::sqrt(std::numeric_limits<T>::min());
    const auto expect_operands = [&](const Array<T>& found) {
      for (const T v : found) EXPECT_TRUE(v == 0 || std::isnan(v) || std::abs(v) >= root) << v;
    };
    const auto expect_normal = [](const Array<T>& found) {
      for (const T v : found) EXPECT_TRUE(same(v, normal(v))) << v;
    };
    for (const double shift : {0.0, -20.0, -60.0, -87.0, 40.0}) {
      for (const bool is_small : {false, true}) {
        const auto numbers = [&](index_t n, std::uint64_t seed) {
          return is_small ? small_numbers<T>(n, seed) : between<T>(n, seed, -3, 3);
        };
        Array<T> before = numbers(kStates, 1);
        const Array<T> dout = numbers(kStates, 2);
        const Array<T> dh = numbers(kStates, 3);
        kernels.cut(before.data(), before.data(), kStates, std::numeric_limits<T>::min());
        expect_normal(before);
        Array<T> h(kStates);
        Array<T> next(kStates);
        Array<T> rest(kStates);
        Array<T> cells(kStates);
        const auto row = [&](auto& array, index_t gates = 1) {
          return Slice<std::remove_pointer_t<decltype(array.data())>>{array.data(), gates * kWidth};
        };
        const auto input = [&](const Array<T>& array, index_t gates = 1) {
          return Slice<const T>{array.data(), gates * kWidth};
        };
        const auto check = [&](const char* what, const std::function<void()>& compute) {
          EXPECT_FALSE(meets_small_numbers(compute)) << what << ' ' << shift << ' ' << is_small;
        };
        const auto sums = [&](index_t gates) {
          return between<T>(gates * kStates, 4, shift - 2, shift + 2);
        };

        h = sums(1);
        check("rnn_step", [&] { kernels.rnn_step(shape, row(h), row(next)); });
        expect_normal(h);
        expect_operands(next);
        Array<T> dsums(kStates);
        check("rnn_step_backward", [&] {
          kernels.rnn_step_backward(shape, input(h), input(dout), input(dh), row(dsums));
        });
        expect_operands(dsums);

        Array<T> gates = sums(4);
        dsums = Array<T>(4 * kStates);
        Array<T> dcells = numbers(kStates, 5);
        check("lstm_step", [&] {
          kernels.lstm_step(shape, row(gates, 4), input(before), row(cells), row(rest), row(h),
                            row(next));
        });
        for (const Array<T>* const found : {&gates, &cells, &rest, &h}) expect_normal(*found);
        expect_operands(next);
        check("lstm_step_backward", [&] {
          kernels.lstm_step_backward(shape, input(gates, 4), input(before), input(rest),
                                     input(dout), input(dh), row(dcells), row(dsums, 4));
        });
        expect_normal(dcells);
        expect_operands(dsums);

        const Array<T> products = numbers(kStates, 6);
        const Slice<T> nothing{nullptr, 0};
        const Slice<const T> none{nullptr, 0};
        for (const bool is_after : {false, true}) {
          gates = sums(3);
          dsums = Array<T>(3 * kStates);
          Array<T> dproducts(kStates);
          Array<T> dstate = dh;
          check("gru_gates", [&] {
            kernels.gru_gates(shape, row(gates, 3), input(before), is_after ? nothing : row(rest));
          });
          if (!is_after) expect_operands(rest);
          const Slice<const T> product = is_after ? input(products) : none;
          check("gru_step", [&] {
            kernels.gru_step(shape, row(gates, 3), input(before), product, row(h), row(next));
          });
          expect_normal(gates);
          expect_normal(h);
          expect_operands(next);
          check("gru_step_backward", [&] {
            kernels.gru_step_backward(shape, input(gates, 3), input(before), product, input(dout),
                                      row(dstate), /*is_last=*/false, row(dsums, 3),
                                      row(dproducts));
          });
          expect_normal(dstate);
          if (is_after) {
            expect_operands(dproducts);
          } else {
            check("gru_reset_backward", [&] {
              kernels.gru_reset_backward(shape, input(gates, 3), input(before), input(products),
                                         row(dstate), row(dsums, 3));
            });
            expect_normal(dstate);
          }
          expect_operands(dsums);
        }
      }
    }
  });
}

}  // namespace
}  // namespace nnext::test
