// One step of an optimizer on one parameter: n contiguous elements, updated in place in one pass.
// Every product and sum is rounded on its own, as in the book's NumPy code (ch. 1.3.5,
// common/optimizer.py), whose bits these are but where it says otherwise, and where a number is
// below the smallest normal one: parameters and states are zero then, as are steps and squares.
// Before its step each parameter is multiplied by 1 - decay, which is 1 where nothing decays:
// decoupled weight decay (Loshchilov and Hutter 2019) with decay = rate x weight decay.
#pragma once

#include "nnext/types.h"

namespace nnext {

// p -= lr g
template <class T>
void sgd(T* p, const T* g, index_t n, double lr, double decay);

// v = momentum v - lr g; p += v
template <class T>
void momentum(T* p, const T* g, T* v, index_t n, double lr, double momentum, double decay);

// p += momentum^2 v; p -= (1 + momentum) lr g; v = momentum v - lr g: the gradient is that of the
// point ahead, which p is (Bengio, Boulanger-Lewandowski and Pascanu 2012, eq. 7).
template <class T>
void nesterov(T* p, const T* g, T* v, index_t n, double lr, double momentum, double decay);

// v = momentum v - lr g; p += momentum^2 v; p -= (1 + momentum) lr g: the book's, with the new v.
template <class T>
void book_nesterov(T* p, const T* g, T* v, index_t n, double lr, double momentum, double decay);

// h += g^2; p -= lr g / (sqrt(h) + eps)
template <class T>
void adagrad(T* p, const T* g, T* h, index_t n, double lr, double eps, double decay);

// h = decay_rate h + (1 - decay_rate) g^2; p -= lr g / (sqrt(h) + eps)
template <class T>
void rmsprop(T* p, const T* g, T* h, index_t n, double lr, double decay_rate, double eps,
             double decay);

// m += (1 - beta1) (g - m); v += (1 - beta2) (g^2 - v); p -= step_size
// m / (sqrt(v) v_scale + eps). For a beta below 1/2 the mean is begun at the new
// value, m = g + beta1 (m - g) and the like: the book's form loses a small value after a large one,
// and with beta2 = 0 divides it by eps alone. An eps below sqrt(the smallest normal number /
// (1 - beta2)), 3e-18 in float32 by default, counts as that: v holds no squares of such gradients.
template <class T>
void adam(T* p, const T* g, T* m, T* v, index_t n, double step_size, double beta1, double beta2,
          double eps, double v_scale, double decay);

}  // namespace nnext
