// Recurrent layers over whole sequences: RNN, LSTM and GRU, all steps forward and all steps back.
// "Deep Learning from Scratch 2", chapters 5 and 6 and appendix C.
//
// Shapes, all contiguous but Wx and Wh, which may have any strides: x (N, T, D), Wx (D, G H),
// Wh (H, G H), b (G H), states (N, H), with G the number of gates: 1, 4 and 3. The sums of a step
// are
//   a = x_t Wx + b + h Wh,
// one chain an element: the terms of x in order, then b, then those of h (nnext/sum.h says what
// becomes of more than kLongestChain of either). So a row of the batch has the same bits whatever
// rows are beside it, and whatever the number of threads and the instruction set are; a sequence
// has the same bits in one call and in several that hand on the state.
//
// What a step makes of its sums is computed element by element, a result below the smallest normal
// number being zero with its sign; so is such a number in the cells that are handed in. A state
// that is handed on, or in, to be multiplied by Wh, a state that is reset, and a gradient by a sum
// are zero too where their squares are not normal, below 1.1e-19 in float32 and 1.5e-154 in
// float64: the product of two such numbers is none that anybody is to compute with. h as it is
// returned has what is normal.
#pragma once

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

struct RecurrentSizes {
  index_t batch;   // N
  index_t steps;   // T
  index_t inputs;  // D
  index_t hidden;  // H
};

// The weights, and the gradients by them, sums over all N T steps in the order of the rows of x,
// which go on from what dwx, dwh and db hold where `into` is kContinue (nnext/sum.h).
template <class T>
struct RecurrentWeights {
  MatrixView<const T> wx;
  MatrixView<const T> wh;
  const T* b;  // or null
};
template <class T>
struct RecurrentGradients {
  MatrixView<T> dwx;
  MatrixView<T> dwh;
  T* db;  // or null
  SumInto into;
  T* dx;   // (N, T, D), or null
  T* dh0;  // (N, H): by the state before the first step
};

// Elements of the room in which a forward or a backward of these sizes packs Wh for the products of
// its steps, which are faster then; 0 where they are not, and the room has to be null. With null Wh
// is read as it lies.
enum class Way { kForward, kBackward };
template <class T>
index_t packed_wh_size(const RecurrentSizes& sizes, index_t gates, Way way);

// Room for what the steps back compute: the gradients by the sums (N, T, G H); and for Wh, packed.
template <class T>
struct RecurrentScratch {
  T* dsums;
  T* packed_wh;
};

// h_t = tanh(a).
//   h0        (N, H), the state before the first step; null: zeros
//   h         (N, T, H), the result
//   previous  (N, T, H): the state before each step
//   last      (N, H): the state after the last; where there is no step h0
template <class T>
void rnn_forward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                 const T* h0, T* packed_wh, T* h, T* previous, T* last);

// dout (N, T, H) is the gradient by h.
template <class T>
void rnn_backward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                  const T* previous, const T* last, const T* dout,
                  const RecurrentScratch<T>& scratch, const RecurrentGradients<T>& gradients);

// f, g, i, o = sigmoid, tanh, sigmoid, sigmoid of the quarters of a; c_t = f c + g i;
// h_t = o tanh(c_t).
//   gates  (N, T, 4 H): f, g, i, o
//   c0     (N, H), the cells before the first step; null: zeros
//   cells  (N, T + 1, H): the cells before each step, and after the last
//   tanh_cells  (N, T, H): tanh(c_t)
template <class T>
void lstm_forward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                  const T* h0, const T* c0, T* packed_wh, T* h, T* previous, T* gates, T* cells,
                  T* tanh_cells);

// dc (N, H) is the gradient by the last cells; it becomes that by the first.
template <class T>
void lstm_backward(const RecurrentSizes& sizes, const T* x, const RecurrentWeights<T>& weights,
                   const T* previous, const T* gates, const T* cells, const T* tanh_cells,
                   const T* dout, T* dc, const RecurrentScratch<T>& scratch,
                   const RecurrentGradients<T>& gradients);

// Where the reset gate of a GRU acts: on the state before its product (Cho et al. 2014, the book),
// or on the product (cuDNN's, PyTorch's and Keras' way). b has 3 H elements, or 4 H with
// kAfterProduct, of which the last are added to the product of the state.
enum class Reset { kBeforeProduct, kAfterProduct };

// z, r = sigmoid of the first two thirds of a; n = tanh(x_t Wx' + b' + (r h) Wh') with the last
// thirds, or tanh(x_t Wx' + b' + r (h Wh' + b'')); h_t = (1 - z) h + z n.
//   gates     (N, T, 3 H): z, r, n
//   products  (N, T, H): r h, or h Wh' + b''
template <class T>
void gru_forward(const RecurrentSizes& sizes, Reset reset, const T* x,
                 const RecurrentWeights<T>& weights, const T* h0, T* packed_wh, T* h, T* previous,
                 T* gates, T* products);

// dproducts (N, T, H) is written: the gradient by (r h) or by the product.
template <class T>
void gru_backward(const RecurrentSizes& sizes, Reset reset, const T* x,
                  const RecurrentWeights<T>& weights, const T* previous, const T* gates,
                  const T* products, const T* dout, T* dproducts,
                  const RecurrentScratch<T>& scratch, const RecurrentGradients<T>& gradients);

}  // namespace nnext
