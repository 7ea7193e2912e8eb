// Optimizer steps: scalars rounded once to the parameter's type, ranges cut among threads.
#include "nnext/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {
namespace {

template <class T>
T rounded(double x) {
  return static_cast<T>(x);
}

template <class T>
StepScalars<T> nesterov_scalars(double lr, double momentum, double decay) {
  return {.lr = rounded<T>(lr),
          .a = rounded<T>(momentum),
          .b = rounded<T>(momentum * momentum),
          .eps = rounded<T>((1 + momentum) * lr),
          .v_scale = 0,
          .keep = rounded<T>(1 - decay)};
}

// Below this a beta is the lesser weight of the running mean; see running_mean.
constexpr double kEvenBeta = 0.5;

template <class Step>
void run(index_t n, const Step& step) {
  parallel_ranges(n, kLightGrain, kLineElements,
                  [&](index_t begin, index_t end) { step(begin, end - begin); });
}

}  // namespace

template <class T>
void sgd(T* p, const T* g, index_t n, double lr, double decay) {
  const StepScalars<T> s{
      .lr = rounded<T>(lr), .a = 0, .b = 0, .eps = 0, .v_scale = 0, .keep = rounded<T>(1 - decay)};
  run(n, [&](index_t i, index_t count) { kernels<T>().sgd(p + i, g + i, count, s); });
}

template <class T>
void momentum(T* p, const T* g, T* v, index_t n, double lr, double momentum, double decay) {
  const StepScalars<T> s{.lr = rounded<T>(lr),
                         .a = rounded<T>(momentum),
                         .b = 0,
                         .eps = 0,
                         .v_scale = 0,
                         .keep = rounded<T>(1 - decay)};
  run(n, [&](index_t i, index_t count) { kernels<T>().momentum(p + i, g + i, v + i, count, s); });
}

template <class T>
void nesterov(T* p, const T* g, T* v, index_t n, double lr, double momentum, double decay) {
  const StepScalars<T> s = nesterov_scalars<T>(lr, momentum, decay);
  run(n, [&](index_t i, index_t count) { kernels<T>().nesterov(p + i, g + i, v + i, count, s); });
}

template <class T>
void book_nesterov(T* p, const T* g, T* v, index_t n, double lr, double momentum, double decay) {
  const StepScalars<T> s = nesterov_scalars<T>(lr, momentum, decay);
  run(n,
      [&](index_t i, index_t count) { kernels<T>().book_nesterov(p + i, g + i, v + i, count, s); });
}

template <class T>
void adagrad(T* p, const T* g, T* h, index_t n, double lr, double eps, double decay) {
  const StepScalars<T> s{.lr = rounded<T>(lr),
                         .a = 0,
                         .b = 0,
                         .eps = rounded<T>(eps),
                         .v_scale = 0,
                         .keep = rounded<T>(1 - decay)};
  run(n, [&](index_t i, index_t count) { kernels<T>().adagrad(p + i, g + i, h + i, count, s); });
}

template <class T>
void rmsprop(T* p, const T* g, T* h, index_t n, double lr, double decay_rate, double eps,
             double decay) {
  const StepScalars<T> s{.lr = rounded<T>(lr),
                         .a = rounded<T>(decay_rate),
                         .b = rounded<T>(1 - decay_rate),
                         .eps = rounded<T>(eps),
                         .v_scale = 0,
                         .keep = rounded<T>(1 - decay)};
  run(n, [&](index_t i, index_t count) { kernels<T>().rmsprop(p + i, g + i, h + i, count, s); });
}

template <class T>
void adam(T* p, const T* g, T* m, T* v, index_t n, double step_size, double beta1, double beta2,
          double eps, double v_scale, double decay) {
  // A square below the smallest normal number counts as 0 in v. What m holds of such gradients must
  // not be divided by an eps smaller than they are: steps stay at most as long as the rate.
  const double least = std::sqrt(std::numeric_limits<T>::min() / (1 - beta2));
  const StepScalars<T> s{.lr = rounded<T>(step_size),
                         .a = rounded<T>(beta1 < kEvenBeta ? beta1 : 1 - beta1),
                         .b = rounded<T>(beta2 < kEvenBeta ? beta2 : 1 - beta2),
                         .eps = rounded<T>(std::max(eps, least)),
                         .v_scale = rounded<T>(v_scale),
                         .keep = rounded<T>(1 - decay),
                         .a_is_beta = beta1 < kEvenBeta,
                         .b_is_beta = beta2 < kEvenBeta};
  run(n,
      [&](index_t i, index_t count) { kernels<T>().adam(p + i, g + i, m + i, v + i, count, s); });
}

#define NNEXT_INSTANTIATE(T)                                                                   \
  template void sgd<T>(T*, const T*, index_t, double, double);                                 \
  template void momentum<T>(T*, const T*, T*, index_t, double, double, double);                \
  template void nesterov<T>(T*, const T*, T*, index_t, double, double, double);                \
  template void book_nesterov<T>(T*, const T*, T*, index_t, double, double, double);           \
  template void adagrad<T>(T*, const T*, T*, index_t, double, double, double);                 \
  template void rmsprop<T>(T*, const T*, T*, index_t, double, double, double, double);         \
  template void adam<T>(T*, const T*, T*, T*, index_t, double, double, double, double, double, \
                        double)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
