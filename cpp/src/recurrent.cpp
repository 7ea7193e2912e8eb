// Recurrent layers: one product for the inputs of all steps, the steps in order, one product for
// each gradient by weights and by the inputs.
#include "nnext/recurrent.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "dispatch.h"
#include "grain.h"
#include "nnext/caches.h"
#include "nnext/matmul.h"
#include "nnext/reduce.h"
#include "nnext/threads.h"
#include "packed_operand.h"

namespace nnext {
namespace {

// An array (N, times, width): rows of the batch, each with its times in order.
template <class T>
struct Sequence {
  T* data;
  index_t times;
  index_t width;

  // Time t of rows of the batch from `row` on, and of those the columns from `col` on.
  Slice<T> at(index_t t, index_t row = 0, index_t col = 0) const {
    return {data + (row * times + t) * width + col, times * width};
  }
  Slice<const T> reading_at(index_t t, index_t row) const {
    const Slice<T> there = at(t, row);
    return {there.data, there.row_stride};
  }
  MatrixView<T> matrix(index_t t, index_t row, index_t rows, index_t col, index_t cols) const {
    const Slice<T> there = at(t, row, col);
    return {there.data, rows, cols, there.row_stride, 1};
  }
  MatrixView<T> matrix(index_t t, index_t row, index_t rows) const {
    return matrix(t, row, rows, 0, width);
  }
};

template <class T>
MatrixView<const T> reading(const MatrixView<T>& m) {
  return {m.data, m.rows, m.cols, m.row_stride, m.col_stride};
}

template <class T>
MatrixView<T> columns(MatrixView<T> m, index_t first, index_t count) {
  m.data += first * m.col_stride;
  m.cols = count;
  return m;
}

template <class T>
MatrixView<T> all_rows(T* data, const RecurrentSizes& sizes, index_t width) {
  return {data, sizes.batch * sizes.steps, width, width, 1};
}

// Whether Wh stays in the second-level cache of a core, which reads it in every step.
template <class T>
bool stays_near(const MatrixView<const T>& wh) {
  return wh.rows * wh.cols * static_cast<index_t>(sizeof(T)) <= caches().l2.size;
}

// Calls body(row, rows) for rows of the batch, which then does all its steps. Each thread takes its
// rows through all of them and reads the whole of Wh every time: while that stays near. A larger Wh
// is shared: one call then, and the threads meet in every product. (An LSTM of 650 units, whose Wh
// has 6.8 MB, was slower on two threads of a Zen 5 than on one with rows for each; with products
// that are shared a Xeon with 2 MB a core takes 0.6 of the time.)
template <class T, class Body>
void over_batch(const RecurrentSizes& sizes, const MatrixView<const T>& wh, const Body& body) {
  constexpr index_t kFewestRows = 4;       // with fewer a register tile has little to do
  constexpr double kFewestTerms = 250000;  // some 5 us of a core, against a fork of 1 us
  if (sizes.batch == 0 || sizes.hidden == 0) return;
  if (!stays_near(wh)) {
    body(index_t{0}, sizes.batch);
    return;
  }
  const double terms = static_cast<double>(wh.rows * wh.cols) * static_cast<double>(sizes.steps);
  const auto rows = static_cast<index_t>(kFewestTerms / std::max(terms, 1.0));
  parallel_ranges(sizes.batch, std::max(kFewestRows, rows), 1,
                  [&](index_t begin, index_t end) { body(begin, end - begin); });
}

// Calls step(row, rows) for the rows of one step, whose elements are gates and states.
template <class Step>
void over_rows(index_t row, index_t rows, index_t elements, const Step& step) {
  parallel_ranges(rows, kHeavyGrain / std::max<index_t>(elements, 1) + 1, 1,
                  [&](index_t begin, index_t end) { step(row + begin, end - begin); });
}

// The least state that is handed on as an operand of products, and the least number in cells.
template <class T>
constexpr T kLeastOperand = static_cast<T>(sizeof(T) == 4 ? 0x1p-63 : 0x1p-511);
template <class T>
constexpr T kLeast = std::numeric_limits<T>::min();

// The state before the first step, zeros below `least`; null: zeros.
template <class T>
void begin_with(const RecurrentSizes& sizes, const T* state, T least, const Sequence<T>& states) {
  if (sizes.hidden == 0 || states.times == 0) return;
  const auto bytes = static_cast<std::size_t>(sizes.hidden) * sizeof(T);
  for (index_t n = 0; n < sizes.batch; ++n) {
    T* const first = states.at(0, n).data;
    if (state == nullptr) {
      std::memset(first, 0, bytes);
    } else {
      kernels<T>().cut(state + n * sizes.hidden, first, sizes.hidden, least);
    }
  }
}

// With fewer steps, or rows of the batch, Wh is read as it lies. LSTM on the Zen 4 of
// packed_operand.h, packed over as it lies: forward 4 rows and 8 steps 0.75 (650 units) and 0.89
// (400), 4 and 35 0.98 and 1.02, 5 and 16 0.91 and 1.09, 20 and 4 0.83, 20 and 8 1.09, 1 row level.
// Back, where Wh is read across: 2 steps of 4 rows 0.89 (650), 4 level, 1 row and 35 steps 1.2 (100
// units) and 1.6 (650).
constexpr index_t kForwardRows = 4;
constexpr index_t kForwardRowsOfAllSteps = 128;
constexpr index_t kBackwardSteps = 4;

// The room of a GRU's candidate, behind that of its two gates.
template <class T>
T* behind_gates(T* packed_wh, index_t hidden) {
  return packed_wh == nullptr ? nullptr : packed_wh + 2 * PackedOperand<T>::size(hidden, hidden);
}

template <class T>
void sums_of_inputs(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                    T* sums) {
  matmul<T>(all_rows(x, sizes, sizes.inputs), weights.wx, all_rows(sums, sizes, weights.wx.cols),
            weights.b);
}

// The gradients by Wx, b and x, from those by the sums.
template <class T>
void input_gradients(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                     const T* dsums, const RecurrentGradients<T>& gradients) {
  const index_t width = weights.wx.cols;
  const MatrixView<const T> d = all_rows(dsums, sizes, width);
  matmul<T>(all_rows(x, sizes, sizes.inputs).transposed(), d, gradients.dwx, nullptr,
            gradients.into);
  if (gradients.db != nullptr) {
    sum_rows<T>(dsums, width, gradients.db, d.rows, width, gradients.into);
  }
  if (gradients.dx != nullptr) {
    matmul<T>(d, weights.wx.transposed(), all_rows(gradients.dx, sizes, sizes.inputs));
  }
}

// Without a step the gradient by the state is 0.
template <class T>
void no_state_gradient(const RecurrentSizes& sizes, T* dh0) {
  if (sizes.steps == 0) std::fill_n(dh0, sizes.batch * sizes.hidden, T{0});
}

}  // namespace

template <class T>
index_t packed_wh_size(const RecurrentSizes& sizes, index_t gates, Way way) {
  const bool is_forward = way == Way::kForward;
  const bool pays = is_forward ? sizes.batch >= kForwardRows &&
                                     sizes.batch * sizes.steps >= kForwardRowsOfAllSteps
                               : sizes.batch > 0 && sizes.steps >= kBackwardSteps;
  const index_t terms = is_forward ? sizes.hidden : gates * sizes.hidden;
  if (!pays || sizes.hidden == 0 || terms > kLongestChain) return 0;
  // By gates, forward as columns and backward as rows: a GRU has those of its candidate apart.
  return gates * PackedOperand<T>::size(sizes.hidden, sizes.hidden);
}

template <class T>
void rnn_forward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                 const T* h0, T* packed_wh, T* h, T* previous, T* last) {
  const index_t steps = sizes.steps;
  const Sequence<T> states{h, steps, sizes.hidden};
  const Sequence<T> before{previous, steps, sizes.hidden};
  const Sequence<T> end{last, 1, sizes.hidden};
  begin_with(sizes, h0, kLeastOperand<T>, steps == 0 ? end : before);
  sums_of_inputs(sizes, x, weights, h);
  const PackedOperand<T> wh(weights.wh, packed_wh, sizes.batch);
  over_batch<T>(sizes, weights.wh, [&](index_t first, index_t count) {
    for (index_t t = 0; t < steps; ++t) {
      wh.multiply(reading(before.matrix(t, first, count)), states.matrix(t, first, count), nullptr,
                  SumInto::kContinue);
      over_rows(first, count, sizes.hidden, [&](index_t row, index_t rows) {
        const Slice<T> next = t + 1 < steps ? before.at(t + 1, row) : end.at(0, row);
        kernels<T>().rnn_step({rows, sizes.hidden}, states.at(t, row), next);
      });
    }
  });
}

template <class T>
void rnn_backward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                  const T* previous, const T* last, const T* dout,
                  const RecurrentScratch<T>& scratch, const RecurrentGradients<T>& gradients) {
  const index_t steps = sizes.steps;
  const index_t hidden = sizes.hidden;
  const Sequence<const T> before{previous, steps, hidden};
  const Sequence<const T> end{last, 1, hidden};
  const Sequence<const T> douts{dout, steps, hidden};
  const Sequence<T> dsums{scratch.dsums, steps, hidden};
  const Sequence<T> dh{gradients.dh0, 1, hidden};
  const PackedOperand<T> across(weights.wh.transposed(), scratch.packed_wh, sizes.batch);
  no_state_gradient(sizes, gradients.dh0);
  over_batch<T>(sizes, weights.wh, [&](index_t first, index_t count) {
    for (index_t t = steps - 1; t >= 0; --t) {
      over_rows(first, count, hidden, [&](index_t row, index_t rows) {
        // A state that `previous` has as zero, by its square, has the same derivative.
        const bool is_last = t + 1 == steps;
        const Slice<const T> state = is_last ? end.at(0, row) : before.at(t + 1, row);
        const Slice<const T> after = is_last ? Slice<const T>{nullptr, 0} : dh.reading_at(0, row);
        kernels<T>().rnn_step_backward({rows, hidden}, state, douts.at(t, row), after,
                                       dsums.at(t, row));
      });
      across.multiply(reading(dsums.matrix(t, first, count)), dh.matrix(0, first, count), nullptr,
                      SumInto::kOverwrite);
    }
  });
  matmul<T>(all_rows(previous, sizes, hidden).transposed(),
            all_rows<const T>(scratch.dsums, sizes, hidden), gradients.dwh, nullptr,
            gradients.into);
  input_gradients<T>(sizes, x, weights, scratch.dsums, gradients);
}

template <class T>
void lstm_forward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                  const T* h0, const T* c0, T* packed_wh, T* h, T* previous, T* gates, T* cells,
                  T* tanh_cells) {
  const index_t steps = sizes.steps;
  const index_t hidden = sizes.hidden;
  const Sequence<T> states{h, steps, hidden};
  const Sequence<T> before{previous, steps, hidden};
  const Sequence<T> sums{gates, steps, 4 * hidden};
  const Sequence<T> cell{cells, steps + 1, hidden};
  const Sequence<T> tanh_cell{tanh_cells, steps, hidden};
  begin_with(sizes, h0, kLeastOperand<T>, before);
  begin_with(sizes, c0, kLeast<T>, cell);
  sums_of_inputs(sizes, x, weights, gates);
  const PackedOperand<T> wh(weights.wh, packed_wh, sizes.batch);
  over_batch<T>(sizes, weights.wh, [&](index_t first, index_t count) {
    for (index_t t = 0; t < steps; ++t) {
      wh.multiply(reading(before.matrix(t, first, count)), sums.matrix(t, first, count), nullptr,
                  SumInto::kContinue);
      over_rows(first, count, 5 * hidden, [&](index_t row, index_t rows) {
        const Slice<T> next = t + 1 < steps ? before.at(t + 1, row) : Slice<T>{nullptr, 0};
        kernels<T>().lstm_step({rows, hidden}, sums.at(t, row), cell.reading_at(t, row),
                               cell.at(t + 1, row), tanh_cell.at(t, row), states.at(t, row), next);
      });
    }
  });
}

template <class T>
void lstm_backward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                   const T* previous, const T* gates, const T* cells, const T* tanh_cells,
                   const T* dout, T* dc, const RecurrentScratch<T>& scratch,
                   const RecurrentGradients<T>& gradients) {
  const index_t steps = sizes.steps;
  const index_t hidden = sizes.hidden;
  const Sequence<const T> gate{gates, steps, 4 * hidden};
  const Sequence<const T> cell{cells, steps + 1, hidden};
  const Sequence<const T> tanh_cell{tanh_cells, steps, hidden};
  const Sequence<const T> douts{dout, steps, hidden};
  const Sequence<T> dsums{scratch.dsums, steps, 4 * hidden};
  const Sequence<T> dh{gradients.dh0, 1, hidden};
  const Sequence<T> dcells{dc, 1, hidden};
  const PackedOperand<T> across(weights.wh.transposed(), scratch.packed_wh, sizes.batch);
  no_state_gradient(sizes, gradients.dh0);
  over_batch<T>(sizes, weights.wh, [&](index_t first, index_t count) {
    for (index_t t = steps - 1; t >= 0; --t) {
      over_rows(first, count, 5 * hidden, [&](index_t row, index_t rows) {
        const Slice<const T> after =
            t + 1 < steps ? dh.reading_at(0, row) : Slice<const T>{nullptr, 0};
        kernels<T>().lstm_step_backward({rows, hidden}, gate.at(t, row), cell.at(t, row),
                                        tanh_cell.at(t, row), douts.at(t, row), after,
                                        dcells.at(0, row), dsums.at(t, row));
      });
      across.multiply(reading(dsums.matrix(t, first, count)), dh.matrix(0, first, count), nullptr,
                      SumInto::kOverwrite);
    }
  });
  matmul<T>(all_rows(previous, sizes, hidden).transposed(),
            all_rows<const T>(scratch.dsums, sizes, 4 * hidden), gradients.dwh, nullptr,
            gradients.into);
  input_gradients<T>(sizes, x, weights, scratch.dsums, gradients);
}

template <class T>
void gru_forward(const RecurrentSizes& sizes, Reset reset, const T* x,
                 const RecurrentWeights<T>& weights, const T* h0, T* packed_wh, T* h, T* previous,
                 T* gates, T* products) {
  const index_t steps = sizes.steps;
  const index_t hidden = sizes.hidden;
  const bool is_after = reset == Reset::kAfterProduct;
  const Sequence<T> states{h, steps, hidden};
  const Sequence<T> before{previous, steps, hidden};
  const Sequence<T> sums{gates, steps, 3 * hidden};
  const Sequence<T> product{products, steps, hidden};
  const PackedOperand<T> of_gates(columns(weights.wh, 0, 2 * hidden), packed_wh, sizes.batch);
  const PackedOperand<T> of_candidate(columns(weights.wh, 2 * hidden, hidden),
                                      behind_gates(packed_wh, hidden), sizes.batch);
  const T* const bias = weights.b == nullptr ? nullptr : weights.b + 3 * hidden;
  begin_with(sizes, h0, kLeastOperand<T>, before);
  sums_of_inputs(sizes, x, weights, gates);
  over_batch<T>(sizes, weights.wh, [&](index_t first, index_t count) {
    for (index_t t = 0; t < steps; ++t) {
      const MatrixView<const T> state = reading(before.matrix(t, first, count));
      const MatrixView<T> product_t = product.matrix(t, first, count);
      of_gates.multiply(state, sums.matrix(t, first, count, 0, 2 * hidden), nullptr,
                        SumInto::kContinue);
      if (is_after) of_candidate.multiply(state, product_t, bias, SumInto::kOverwrite);
      over_rows(first, count, 2 * hidden, [&](index_t row, index_t rows) {
        const Slice<T> reset_state = is_after ? Slice<T>{nullptr, 0} : product.at(t, row);
        kernels<T>().gru_gates({rows, hidden}, sums.at(t, row), before.reading_at(t, row),
                               reset_state);
      });
      if (!is_after) {
        of_candidate.multiply(reading(product_t), sums.matrix(t, first, count, 2 * hidden, hidden),
                              nullptr, SumInto::kContinue);
      }
      over_rows(first, count, hidden, [&](index_t row, index_t rows) {
        const Slice<T> next = t + 1 < steps ? before.at(t + 1, row) : Slice<T>{nullptr, 0};
        const Slice<const T> after =
            is_after ? product.reading_at(t, row) : Slice<const T>{nullptr, 0};
        kernels<T>().gru_step({rows, hidden}, sums.at(t, row), before.reading_at(t, row), after,
                              states.at(t, row), next);
      });
    }
  });
}

template <class T>
void gru_backward(const RecurrentSizes& sizes, Reset reset, const T* x,
                  const RecurrentWeights<T>& weights, const T* previous, const T* gates,
                  const T* products, const T* dout, T* dproducts,
                  const RecurrentScratch<T>& scratch, const RecurrentGradients<T>& gradients) {
  const index_t steps = sizes.steps;
  const index_t hidden = sizes.hidden;
  const bool is_after = reset == Reset::kAfterProduct;
  const Sequence<const T> gate{gates, steps, 3 * hidden};
  const Sequence<const T> before{previous, steps, hidden};
  const Sequence<const T> product{products, steps, hidden};
  const Sequence<const T> douts{dout, steps, hidden};
  const Sequence<T> dsums{scratch.dsums, steps, 3 * hidden};
  const Sequence<T> dproduct{dproducts, steps, hidden};
  const Sequence<T> dh{gradients.dh0, 1, hidden};
  const PackedOperand<T> of_gates(columns(weights.wh, 0, 2 * hidden).transposed(),
                                  scratch.packed_wh, sizes.batch);
  const PackedOperand<T> of_candidate(columns(weights.wh, 2 * hidden, hidden).transposed(),
                                      behind_gates(scratch.packed_wh, hidden), sizes.batch);
  no_state_gradient(sizes, gradients.dh0);
  over_batch<T>(sizes, weights.wh, [&](index_t first, index_t count) {
    const MatrixView<T> dstate = dh.matrix(0, first, count);
    for (index_t t = steps - 1; t >= 0; --t) {
      over_rows(first, count, 4 * hidden, [&](index_t row, index_t rows) {
        const Slice<const T> after = is_after ? product.at(t, row) : Slice<const T>{nullptr, 0};
        kernels<T>().gru_step_backward({rows, hidden}, gate.at(t, row), before.at(t, row), after,
                                       douts.at(t, row), dh.at(0, row), t + 1 == steps,
                                       dsums.at(t, row), dproduct.at(t, row));
      });
      const MatrixView<T> dproduct_t = dproduct.matrix(t, first, count);
      if (is_after) {
        of_candidate.multiply(reading(dproduct_t), dstate, nullptr, SumInto::kContinue);
      } else {
        of_candidate.multiply(reading(dsums.matrix(t, first, count, 2 * hidden, hidden)),
                              dproduct_t, nullptr, SumInto::kOverwrite);
        over_rows(first, count, 2 * hidden, [&](index_t row, index_t rows) {
          kernels<T>().gru_reset_backward({rows, hidden}, gate.at(t, row), before.at(t, row),
                                          dproduct.reading_at(t, row), dh.at(0, row),
                                          dsums.at(t, row));
        });
      }
      of_gates.multiply(reading(dsums.matrix(t, first, count, 0, 2 * hidden)), dstate, nullptr,
                        SumInto::kContinue);
    }
  });
  const MatrixView<const T> states = all_rows(previous, sizes, hidden);
  const MatrixView<const T> d = all_rows<const T>(scratch.dsums, sizes, 3 * hidden);
  const MatrixView<T> by_candidate = columns(gradients.dwh, 2 * hidden, hidden);
  matmul<T>(states.transposed(), columns(d, 0, 2 * hidden), columns(gradients.dwh, 0, 2 * hidden),
            nullptr, gradients.into);
  if (is_after) {
    const MatrixView<const T> by_product = all_rows<const T>(dproducts, sizes, hidden);
    matmul<T>(states.transposed(), by_product, by_candidate, nullptr, gradients.into);
    if (gradients.db != nullptr) {
      sum_rows<T>(dproducts, hidden, gradients.db + 3 * hidden, by_product.rows, hidden,
                  gradients.into);
    }
  } else {
    matmul<T>(all_rows(products, sizes, hidden).transposed(), columns(d, 2 * hidden, hidden),
              by_candidate, nullptr, gradients.into);
  }
  input_gradients<T>(sizes, x, weights, scratch.dsums, gradients);
}

#define NNEXT_INSTANTIATE(T)                                                                       \
  template index_t packed_wh_size<T>(const RecurrentSizes&, index_t, Way);                         \
  template void rnn_forward<T>(const RecurrentSizes&, const T*, const RecurrentWeights<T>&,        \
                               const T*, T*, T*, T*, T*);                                          \
  template void rnn_backward<T>(const RecurrentSizes&, const T*, const RecurrentWeights<T>&,       \
                                const T*, const T*, const T*, const RecurrentScratch<T>&,          \
                                const RecurrentGradients<T>&);                                     \
  template void lstm_forward<T>(const RecurrentSizes&, const T*, const RecurrentWeights<T>&,       \
                                const T*, const T*, T*, T*, T*, T*, T*, T*);                       \
  template void lstm_backward<T>(const RecurrentSizes&, const T*, const RecurrentWeights<T>&,      \
                                 const T*, const T*, const T*, const T*, const T*, T*,             \
                                 const RecurrentScratch<T>&, const RecurrentGradients<T>&);        \
  template void gru_forward<T>(const RecurrentSizes&, Reset, const T*, const RecurrentWeights<T>&, \
                               const T*, T*, T*, T*, T*, T*);                                      \
  template void gru_backward<T>(                                                                   \
      const RecurrentSizes&, Reset, const T*, const RecurrentWeights<T>&, const T*, const T*,      \
      const T*, const T*, T*, const RecurrentScratch<T>&, const RecurrentGradients<T>&)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
