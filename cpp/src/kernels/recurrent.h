// One step of the recurrent layers, element by element, for some rows of the batch: what makes
// states of sums, and what goes back. Formulas: nnext/recurrent.h.
//
// What is an operand of products afterwards, with weights and with each other, has a normal square
// or is zero: states that are handed on, and the gradients by sums. Shut gates make such numbers of
// 1e-20 all the time, whose products with each other are below the smallest normal number. An LSTM
// whose biases are -20 took 12 times as long to go back through as an ordinary one, gradients of
// 1e-36 took 52 times, a GRU's biases of -87 15 times forward (Xeon with AMX, AVX-512).
#pragma once

#include "kernels/math.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// sigmoid and its slope by its value, tanh and its slope likewise; both slopes are 0 or normal.
template <class T>
NNEXT_INLINE Vec<T> sigmoid_slope(Vec<T> y) {
  return (broadcast<T>(T{1}) - y) * y;
}
template <class T>
NNEXT_INLINE Vec<T> tanh_slope(Vec<T> y) {
  return fma(-y, y, broadcast<T>(T{1}));
}

// a weighted by one probability and b by another.
template <class T>
NNEXT_INLINE Vec<T> weighted_sum(Vec<T> a, Vec<T> a_weight, Vec<T> b, Vec<T> b_weight) {
  return flushed<T>(product_with_probability<T>(a, a_weight) +
                    product_with_probability<T>(b, b_weight));
}

// Calls at(row, i, count) for the vectors of all rows.
template <class T, class At>
NNEXT_INLINE void for_each_vector_of_rows(const StepShape& shape, const At& at) {
  for (index_t row = 0; row < shape.rows; ++row) {
    for_each_vector<T>(shape.hidden,
                       [&](index_t i, index_t count) NNEXT_LAMBDA { at(row, i, count); });
  }
}
template <class T>
NNEXT_INLINE Vec<T> load_at(Slice<const T> x, index_t row, index_t i, index_t count) {
  return load_some<T>(x.data + row * x.row_stride + i, count);
}
template <class T>
NNEXT_INLINE void store_at(Slice<T> x, index_t row, index_t i, index_t count, Vec<T> v) {
  store_some<T>(x.data + row * x.row_stride + i, v, count);
}
template <class T>
NNEXT_INLINE void store_operand(Slice<T> x, index_t row, index_t i, index_t count, Vec<T> v) {
  store_at<T>(x, row, i, count, with_normal_square<T>(v));
}
template <class T>
NNEXT_INLINE Slice<const T> reading(Slice<T> x) {
  return {x.data, x.row_stride};
}
// The gradient by a state: that by the output, and where there is one that by the step after.
template <class T>
NNEXT_INLINE Vec<T> joined_gradient(Slice<const T> dout, Slice<const T> dh, index_t row, index_t i,
                                    index_t count) {
  const Vec<T> d = flushed<T>(load_at<T>(dout, row, i, count));
  if (dh.data == nullptr) return d;
  return d + flushed<T>(load_at<T>(dh, row, i, count));
}
// The state of a step goes to the output and, unless it is the last one, to the step after.
template <class T>
NNEXT_INLINE void store_state(Slice<T> h, Slice<T> next, index_t row, index_t i, index_t count,
                              Vec<T> v) {
  store_at<T>(h, row, i, count, v);
  if (next.data != nullptr) store_at<T>(next, row, i, count, with_normal_square<T>(v));
}

// y = x, but zeros with their signs where the magnitude is below a normal number.
template <class T>
void cut_array(const T* x, T* y, index_t n, T least) {
  const IntVec<T> bound = bits(broadcast<T>(least));
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    store_some<T>(y + i, at_least<T>(load_some<T>(x + i, count), bound), count);
  });
}

template <class T>
void rnn_step(const StepShape& shape, Slice<T> h, Slice<T> next) {
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    store_state<T>(h, next, row, i, count, tanh<T>(load_at<T>(reading(h), row, i, count)));
  });
}
template <class T>
void rnn_step_backward(const StepShape& shape, Slice<const T> h, Slice<const T> dout,
                       Slice<const T> dh, Slice<T> dsums) {
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> d = joined_gradient<T>(dout, dh, row, i, count);
    const Vec<T> slope = tanh_slope<T>(load_at<T>(h, row, i, count));
    store_operand<T>(dsums, row, i, count, product<T>(d, slope));
  });
}

template <class T>
void lstm_step(const StepShape& shape, Slice<T> gates, Slice<const T> before, Slice<T> cells,
               Slice<T> tanh_cells, Slice<T> h, Slice<T> next) {
  const index_t width = shape.hidden;
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const auto sum = [&](index_t gate) NNEXT_LAMBDA {
      return load_at<T>(reading(gates), row, gate * width + i, count);
    };
    const Vec<T> forget = sigmoid<T>(sum(0));
    const Vec<T> candidate = tanh<T>(sum(1));
    const Vec<T> input = sigmoid<T>(sum(2));
    const Vec<T> output = sigmoid<T>(sum(3));
    const Vec<T> cell =
        weighted_sum<T>(load_at<T>(before, row, i, count), forget, candidate, input);
    const Vec<T> tanh_cell = tanh<T>(cell);
    store_at<T>(gates, row, i, count, forget);
    store_at<T>(gates, row, width + i, count, candidate);
    store_at<T>(gates, row, 2 * width + i, count, input);
    store_at<T>(gates, row, 3 * width + i, count, output);
    store_at<T>(cells, row, i, count, cell);
    store_at<T>(tanh_cells, row, i, count, tanh_cell);
    store_state<T>(h, next, row, i, count, product_with_probability<T>(tanh_cell, output));
  });
}
// dcells holds the gradient by the cells that goes on from the step after, then from this one.
template <class T>
void lstm_step_backward(const StepShape& shape, Slice<const T> gates, Slice<const T> before,
                        Slice<const T> tanh_cells, Slice<const T> dout, Slice<const T> dh,
                        Slice<T> dcells, Slice<T> dsums) {
  const index_t width = shape.hidden;
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> forget = load_at<T>(gates, row, i, count);
    const Vec<T> candidate = load_at<T>(gates, row, width + i, count);
    const Vec<T> input = load_at<T>(gates, row, 2 * width + i, count);
    const Vec<T> output = load_at<T>(gates, row, 3 * width + i, count);
    const Vec<T> tanh_cell = load_at<T>(tanh_cells, row, i, count);
    const Vec<T> d = joined_gradient<T>(dout, dh, row, i, count);
    const Vec<T> through_tanh =
        product<T>(product_with_probability<T>(d, output), tanh_slope<T>(tanh_cell));
    const Vec<T> dcell =
        flushed<T>(flushed<T>(load_at<T>(reading(dcells), row, i, count)) + through_tanh);
    const auto store = [&](index_t gate, Vec<T> by_gate, Vec<T> slope) NNEXT_LAMBDA {
      store_operand<T>(dsums, row, gate * width + i, count, product<T>(by_gate, slope));
    };
    store(0, product<T>(dcell, load_at<T>(before, row, i, count)), sigmoid_slope<T>(forget));
    store(1, product_with_probability<T>(dcell, input), tanh_slope<T>(candidate));
    store(2, product<T>(dcell, candidate), sigmoid_slope<T>(input));
    store(3, product<T>(d, tanh_cell), sigmoid_slope<T>(output));
    store_at<T>(dcells, row, i, count, product_with_probability<T>(dcell, forget));
  });
}

// z and r, and where the reset acts before the product r h.
template <class T>
void gru_gates(const StepShape& shape, Slice<T> gates, Slice<const T> before, Slice<T> reset) {
  const index_t width = shape.hidden;
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> r = sigmoid<T>(load_at<T>(reading(gates), row, width + i, count));
    store_at<T>(gates, row, i, count, sigmoid<T>(load_at<T>(reading(gates), row, i, count)));
    store_at<T>(gates, row, width + i, count, r);
    if (reset.data != nullptr) {
      const Vec<T> state = load_at<T>(before, row, i, count);
      store_operand<T>(reset, row, i, count, product_with_probability<T>(state, r));
    }
  });
}
// The state; where the reset acts after the product, it comes in here.
template <class T>
void gru_step(const StepShape& shape, Slice<T> gates, Slice<const T> before,
              Slice<const T> products, Slice<T> h, Slice<T> next) {
  const index_t width = shape.hidden;
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> z = load_at<T>(reading(gates), row, i, count);
    Vec<T> sum = load_at<T>(reading(gates), row, 2 * width + i, count);
    if (products.data != nullptr) {
      const Vec<T> r = load_at<T>(reading(gates), row, width + i, count);
      sum = flushed<T>(sum) + product_with_probability<T>(load_at<T>(products, row, i, count), r);
    }
    const Vec<T> candidate = tanh<T>(sum);
    store_at<T>(gates, row, 2 * width + i, count, candidate);
    const Vec<T> state =
        weighted_sum<T>(load_at<T>(before, row, i, count), broadcast<T>(T{1}) - z, candidate, z);
    store_state<T>(h, next, row, i, count, state);
  });
}
// The gradients by the sums of z and n, and the part of the gradient by the state before that does
// not pass through sums. Where the reset acts after the product also by r and by the product.
template <class T>
void gru_step_backward(const StepShape& shape, Slice<const T> gates, Slice<const T> before,
                       Slice<const T> products, Slice<const T> dout, Slice<T> dh, bool is_last,
                       Slice<T> dsums, Slice<T> dproducts) {
  const index_t width = shape.hidden;
  const Slice<const T> dh_after = is_last ? Slice<const T>{nullptr, 0} : reading(dh);
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> z = load_at<T>(gates, row, i, count);
    const Vec<T> candidate = load_at<T>(gates, row, 2 * width + i, count);
    const Vec<T> state = load_at<T>(before, row, i, count);
    const Vec<T> d = joined_gradient<T>(dout, dh_after, row, i, count);
    const Vec<T> by_z = product<T>(d, flushed<T>(candidate - state));
    const Vec<T> by_sum = product<T>(product_with_probability<T>(d, z), tanh_slope<T>(candidate));
    store_operand<T>(dsums, row, i, count, product<T>(by_z, sigmoid_slope<T>(z)));
    store_operand<T>(dsums, row, 2 * width + i, count, by_sum);
    store_at<T>(dh, row, i, count, product_with_probability<T>(d, broadcast<T>(T{1}) - z));
    if (products.data != nullptr) {
      const Vec<T> r = load_at<T>(gates, row, width + i, count);
      const Vec<T> by_r = product<T>(by_sum, flushed<T>(load_at<T>(products, row, i, count)));
      store_operand<T>(dsums, row, width + i, count, product<T>(by_r, sigmoid_slope<T>(r)));
      store_operand<T>(dproducts, row, i, count, product_with_probability<T>(by_sum, r));
    }
  });
}
// Where the reset acts before the product: dproducts is the gradient by r h.
template <class T>
void gru_reset_backward(const StepShape& shape, Slice<const T> gates, Slice<const T> before,
                        Slice<const T> dproducts, Slice<T> dh, Slice<T> dsums) {
  const index_t width = shape.hidden;
  for_each_vector_of_rows<T>(shape, [&](index_t row, index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> r = load_at<T>(gates, row, width + i, count);
    const Vec<T> d = load_at<T>(dproducts, row, i, count);
    const Vec<T> by_r = product<T>(d, load_at<T>(before, row, i, count));
    store_operand<T>(dsums, row, width + i, count, product<T>(by_r, sigmoid_slope<T>(r)));
    const Vec<T> direct = load_at<T>(reading(dh), row, i, count);
    store_at<T>(dh, row, i, count, flushed<T>(direct + product_with_probability<T>(d, r)));
  });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
