// What an instruction set offers: one table of functions, filled by one file per instruction set.
//
// Nothing here is inline or a template with a body: the files built with wide instructions include
// this header, and a function they emitted could be picked by the linker for a CPU without them.
#pragma once

#include <cstdint>

#include "nnext/cross_entropy.h"
#include "nnext/element_loss.h"
#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

constexpr int kMaxTileVectors = 4;  // widest register tile, in vectors
constexpr int kMaxTileRows = 14;    // tallest register tile
constexpr int kMaxColumnTileRows = 8;
constexpr int kMaxLanes = 16;       // elements of the widest vector
constexpr index_t kRowsAhead = 32;  // how many rows ahead of itself `pack` fetches

// One register tile of a matrix product, C[rows x cols] (+)= A[rows x k] B[k x cols].
//   a    element (i, p) at a[i * a_row_stride + p * a_col_stride]
//   b    row p at b + p * b_row_stride; cols of it are read, rounded up to whole vectors unless
//        the table says loads_parts
//   c    row i at c + i * c_row_stride; cols of it are read (unless overwritten) and written
//   bias cols values added after the last product, or null
//   row_bias  rows values, each added to its row after the last product, or null
// A call computes `count` such tiles, each so many elements further in a, b, c, bias and row_bias
// than the one before as the steps say: loop 1 of the product, inside the kernel.
//   fetches_c  each tile prefetches the c of the next one: for a C that comes from memory
//   next_b     the b of a later call that the first of the widest tiles prefetches, or null: then
//              they prefetch a later row of their own b. Not where b is packed

// Every element is one chain, acc = fma(a[p], b[p], acc) with p rising, as `into` says: from +0 to
// overwrite c, from c to continue it, from +0 and then acc = c + acc to add.
template <class T>
struct Tile {
  index_t k;
  const T* a;
  index_t a_row_stride;
  index_t a_col_stride;
  const T* b;
  index_t b_row_stride;
  T* c;
  index_t c_row_stride;
  index_t cols;  // in the range of (vectors - 1) * lanes + 1 to vectors * lanes
  const T* bias;
  const T* row_bias = nullptr;
  SumInto into;
  index_t count = 1;
  index_t a_step = 0;
  index_t b_step = 0;
  index_t c_step = 0;
  index_t bias_step = 0;
  index_t row_bias_step = 0;
  bool fetches_c = false;
  const T* next_b = nullptr;
};

template <class T>
using TileFunction = void (*)(const Tile<T>& tile);

// Scalars of one optimizer step; see nnext/optimizer.h for what each kind reads.
template <class T>
struct StepScalars {
  T lr;
  T a;
  T b;
  T eps;
  T v_scale;
  T keep;
  bool a_is_beta = false;  // adam: a and b are the betas themselves, not 1 less them
  bool b_is_beta = false;
};

// The rows of one array for a step of a recurrent layer: one row of the batch each, row_stride
// elements apart, contiguous in themselves.
template <class T>
struct Slice {
  T* data;
  index_t row_stride;
};
struct StepShape {
  index_t rows;    // of the batch
  index_t hidden;  // elements of a state
};

// The kernels of one element type. All arrays are contiguous; n counts elements and may be 0.
// An output may be the input itself, but not overlap it otherwise.
template <class T>
struct Kernels {
  int lanes;         // elements of a vector
  bool loads_parts;  // whether tiles read no column of B that they do not compute
  bool has_halves;   // whether columns that fill half a vector at most have half a vector of sums
  int tile_vectors;  // widest tile for many rows, in vectors
  int tile_rows[kMaxTileVectors + 1];                           // tallest tile of each width
  TileFunction<T> tile[kMaxTileVectors + 1][kMaxTileRows + 1];  // [vectors][rows]
  // A few rows of any number of columns for a B whose columns are contiguous: element (p, j) of B
  // at b[p + j * b_row_stride]. Nothing outside is read. The tile's count and steps are not used.
  TileFunction<T> column_tile[kMaxColumnTileRows + 1];  // [rows]

  // out[p * out_stride + j] = b[p * row_stride + j * col_stride], j < cols, p < k; zeros for
  // cols <= j < out_stride. Any out_stride >= cols; nothing else is written.
  void (*pack)(const T* b, index_t row_stride, index_t col_stride, index_t k, int cols, T* out,
               index_t out_stride);

  // to[j * to_stride + i] = from[i * from_stride + j], i < rows, j < cols.
  void (*transpose)(const T* from, index_t from_stride, index_t rows, index_t cols, T* to,
                    index_t to_stride);

  void (*exp)(const T* x, T* y, index_t n);
  void (*log)(const T* x, T* y, index_t n);
  void (*sigmoid)(const T* x, T* y, index_t n);
  void (*tanh)(const T* x, T* y, index_t n);
  void (*relu)(const T* x, T* y, index_t n);
  void (*silu)(const T* x, T* y, index_t n);
  void (*gelu)(const T* x, T* y, index_t n);
  void (*gelu_tanh)(const T* x, T* y, index_t n);
  void (*leaky_relu)(const T* x, T* y, index_t n, T negative_slope);  // normal and positive
  void (*sigmoid_backward)(const T* y, const T* dout, T* dx, index_t n);
  void (*tanh_backward)(const T* y, const T* dout, T* dx, index_t n);
  void (*relu_backward)(const T* y, const T* dout, T* dx, index_t n);
  void (*silu_backward)(const T* x, const T* dout, T* dx, index_t n);
  void (*gelu_backward)(const T* x, const T* dout, T* dx, index_t n);
  void (*gelu_tanh_backward)(const T* x, const T* dout, T* dx, index_t n);
  void (*leaky_relu_backward)(const T* y, const T* dout, T* dx, index_t n, T negative_slope);
  void (*dropout)(const T* x, T* y, std::uint8_t* mask, index_t n, std::uint64_t seed,
                  std::uint64_t first, std::uint32_t threshold, T scale);
  void (*dropout_backward)(const T* dout, const std::uint8_t* mask, T* dx, index_t n, T scale);
  void (*add)(T* sum, const T* x, index_t n);  // sum += x
  void (*scale)(T* x, index_t n, T factor);    // x *= factor

  // Rows of softmax, and with labels the loss of each row (t and loss null: softmax alone).
  void (*softmax)(const T* x, T* y, index_t rows, index_t cols, const std::int64_t* t,
                  double* loss);
  // The first column with the largest score of each row, where NaN counts as -inf. cols >= 1.
  void (*best)(const T* x, std::int64_t* best, index_t rows, index_t cols);
  void (*softmax_backward)(const T* y, const T* dout, T* dx, index_t rows, index_t cols);
  // dx = (y - onehot(t)) * factor
  void (*softmax_loss_backward)(const T* y, const std::int64_t* t, T factor, T* dx, index_t rows,
                                index_t cols);
  // Rows of scores, row_stride apart: loss[r], and in the scores' place what `result` says.
  // factor[r] is the gradient of the whole by loss[r] (not read unless for kGradient). All rows
  // count.
  void (*cross_entropy)(T* scores, index_t row_stride, index_t rows, index_t cols,
                        const RowLabels<T>& labels, const LossTerms<T>& terms, const double* factor,
                        RowResult result, double* loss);
  // The gradient from the probabilities y, for terms that do not need the scores.
  void (*cross_entropy_backward)(const T* y, T* dx, index_t rows, index_t cols,
                                 const RowLabels<T>& labels, const LossTerms<T>& terms,
                                 const double* factor);
  // x = cap tanh(x / cap)
  void (*softcap)(T* x, index_t n, T cap);
  // As in nnext/element_loss.h.
  void (*element_loss)(const ElementLoss<T>& loss, const T* x, const T* t, T* y, index_t rows,
                       index_t cols, double* loss_of_row);
  void (*element_loss_backward)(const ElementLoss<T>& loss, const T* y, const T* t,
                                const double* factor, T* dx, index_t rows, index_t cols);

  // out[i] = dot product of x with row index[i] of the table; sum += factor * x.
  void (*row_dots)(const T* x, const T* table, index_t row_stride, const std::int64_t* index,
                   index_t n, index_t width, T* out);
  void (*add_multiple)(T* sum, const T* x, T factor, index_t n);

  // sum[r] of row r; sums[j] = sum over i of x[i * row_stride + j], one chain from +0, or with
  // `accumulate` from sums[j]; sum of squares.
  void (*row_sums)(const T* x, T* sums, index_t rows, index_t cols);
  void (*column_sums)(const T* x, index_t row_stride, T* sums, index_t rows, index_t cols,
                      bool accumulate);
  double (*sum_of_squares)(const T* x, index_t n, double factor);  // of factor * x

  void (*inverse_root)(const T* x, T* y, index_t n, T eps);  // y = 1 / sqrt(x + eps)
  // As in nnext/normalize.h; all in float64 but what is of type T. cols >= 1.
  void (*layer_norm)(const T* x, const T* gamma, const T* beta, double eps, T* y, double* mean,
                     double* rstd, index_t rows, index_t cols);
  // Adds to dgamma and dbeta, row by row; dx may be null.
  void (*layer_norm_backward)(const T* x, const T* dout, const T* gamma, const double* mean,
                              const double* rstd, T* dx, double* dgamma, double* dbeta,
                              index_t rows, index_t cols);
  // sums[j] += sum of x - origin[j], and squares[j] += that of its square.
  void (*distances)(const T* x, index_t row_stride, const double* origin, double* sums,
                    double* squares, index_t rows, index_t cols);
  // products[j] += sum of dout (x - mean[j]), dbeta[j] += sum of dout.
  void (*batch_norm_sums)(const T* x, const T* dout, index_t row_stride, const double* mean,
                          double* products, double* dbeta, index_t rows, index_t cols);
  // y = (x - mean[j]) scale[j] + shift[j]
  void (*batch_norm)(const T* x, index_t row_stride, const double* mean, const double* scale,
                     const double* shift, T* y, index_t rows, index_t cols);
  // dx = scale[j] (dout - mean_dout[j] - (x - mean[j]) slope[j])
  void (*batch_norm_backward)(const T* x, const T* dout, index_t row_stride, const double* mean,
                              const double* scale, const double* mean_dout, const double* slope,
                              T* dx, index_t rows, index_t cols);

  // A step of the recurrent layers, see kernels/recurrent.h. next, dh (but for gru's) and the
  // arrays that only one kind of reset has may be null.
  void (*cut)(const T* x, T* y, index_t n, T least);
  void (*rnn_step)(const StepShape& shape, Slice<T> h, Slice<T> next);
  void (*rnn_step_backward)(const StepShape& shape, Slice<const T> h, Slice<const T> dout,
                            Slice<const T> dh, Slice<T> dsums);
  void (*lstm_step)(const StepShape& shape, Slice<T> gates, Slice<const T> before, Slice<T> cells,
                    Slice<T> tanh_cells, Slice<T> h, Slice<T> next);
  void (*lstm_step_backward)(const StepShape& shape, Slice<const T> gates, Slice<const T> before,
                             Slice<const T> tanh_cells, Slice<const T> dout, Slice<const T> dh,
                             Slice<T> dcells, Slice<T> dsums);
  void (*gru_gates)(const StepShape& shape, Slice<T> gates, Slice<const T> before, Slice<T> reset);
  void (*gru_step)(const StepShape& shape, Slice<T> gates, Slice<const T> before,
                   Slice<const T> products, Slice<T> h, Slice<T> next);
  void (*gru_step_backward)(const StepShape& shape, Slice<const T> gates, Slice<const T> before,
                            Slice<const T> products, Slice<const T> dout, Slice<T> dh, bool is_last,
                            Slice<T> dsums, Slice<T> dproducts);
  void (*gru_reset_backward)(const StepShape& shape, Slice<const T> gates, Slice<const T> before,
                             Slice<const T> dproducts, Slice<T> dh, Slice<T> dsums);

  void (*sgd)(T* p, const T* g, index_t n, const StepScalars<T>& s);
  void (*momentum)(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s);
  void (*nesterov)(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s);
  void (*book_nesterov)(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s);
  void (*adagrad)(T* p, const T* g, T* h, index_t n, const StepScalars<T>& s);
  void (*rmsprop)(T* p, const T* g, T* h, index_t n, const StepScalars<T>& s);
  void (*adam)(T* p, const T* g, T* m, T* v, index_t n, const StepScalars<T>& s);
};

struct KernelTable {
  const char* name;
  Kernels<float> f32;
  Kernels<double> f64;
};

// The tables; each is defined only where its file is built (NNEXT_HAVE_...).
namespace portable {
extern const KernelTable kTable;
}
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
namespace neon {
extern const KernelTable kTable;
}

}  // namespace nnext
