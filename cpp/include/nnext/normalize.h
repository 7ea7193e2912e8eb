// Normalization of rows (layer norm: Ba et al. 2016) and of columns (batch norm: Ioffe and Szegedy
// 2015) of a contiguous matrix, N rows of D, and their gradients. Outputs never overlap inputs.
//
// Whatever T is, all is computed in float64 and rounded once. Mean and variance come of the sums of
// d = x - x_0, x_0 the first element, and of d^2: mean = x_0 + sum(d) / n, variance = (sum(d^2) -
// sum(d)^2 / n) / n; for float64 and for more than kLongestChain elements a second time with the
// mean in the place of x_0 (Chan, Golub and LeVeque 1983). So n equal elements have exactly their
// value as mean, and the variance 0. A number below the smallest normal one of T counts as zero
// with its sign, given or computed; a NaN or an infinite element makes all that depends on its row
// (layer norm) or column (batch norm) NaN.
#pragma once

#include "nnext/types.h"

namespace nnext {

// y = (x - mean) rstd gamma + beta, mean and rstd = 1 / sqrt(variance + eps) those of the row,
// whose sums run over 16 lanes joined in a fixed tree. eps is normal and positive. gamma and beta
// have `cols` elements, mean and rstd, which are written, `rows`.
template <class T>
void layer_norm(const T* x, const T* gamma, const T* beta, double eps, T* y, double* mean,
                double* rstd, index_t rows, index_t cols);

// With z = (x - mean) rstd and h = dout gamma: dx = rstd (h - mean(h) - z mean(h z)), where the
// means are those of the row; dgamma = sum of dout z and dbeta = sum of dout over the rows. Each of
// these is the sum of its parts in order: all 16 rows, or 32, ..., so many that there are 64 parts
// at most. dx may be null. Throws std::bad_alloc before anything is written.
template <class T>
void layer_norm_backward(const T* x, const T* gamma, const T* dout, const double* mean,
                         const double* rstd, T* dx, T* dgamma, T* dbeta, index_t rows,
                         index_t cols);

// Mean and variance of each column; sums run in the order of the rows, as nnext/sum.h says.
// rows >= 1.
template <class T>
void column_moments(const T* x, double* mean, double* variance, index_t rows, index_t cols);

// y = (x - mean) (rstd gamma) + beta, with rstd = 1 / sqrt(variance + eps), one of each for a
// column: those of the batch or any others. Throws std::bad_alloc before anything is written.
template <class T>
void batch_norm(const T* x, const T* gamma, const T* beta, const double* mean,
                const double* variance, double eps, T* y, index_t rows, index_t cols);

// Whether mean and variance are those of the batch, through which the gradient goes too.
enum class Moments { kOfBatch, kGiven };

// With z = (x - mean) rstd: dgamma = sum of dout z and dbeta = sum of dout over the rows, as in
// nnext/sum.h; dx = gamma rstd (dout - dbeta / N - z dgamma / N) where the moments are those of the
// batch, else gamma rstd dout. dx may be null. Throws std::bad_alloc before anything is written.
template <class T>
void batch_norm_backward(const T* x, const T* gamma, const T* dout, const double* mean,
                         const double* variance, double eps, Moments moments, T* dx, T* dgamma,
                         T* dbeta, index_t rows, index_t cols);

// running = momentum running + (1 - momentum) of the batch, for means and variances, in float64;
// the variance of the batch is multiplied by rows / (rows - 1), which makes it unbiased. That of
// one row says nothing: the running one stays what it is then.
template <class T>
void update_running(const double* mean, const double* variance, index_t rows, double momentum,
                    T* running_mean, T* running_variance, index_t cols);

}  // namespace nnext
