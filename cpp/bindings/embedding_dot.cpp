// Scores against rows of a table by index, and the loss of negative sampling made of them.
#include "nnext/embedding_dot.h"

#include <algorithm>
#include <cstdlib>
#include <type_traits>
#include <vector>

#include "gil.h"
#include "labels.h"
#include "module.h"
#include "nnext/element_loss.h"
#include "scalars.h"
#include "target.h"

namespace nnext::bindings {
namespace {

bool has_contiguous_rows(const View& w) { return w.strides(1) == w.itemsize() || w.shape(1) <= 1; }

// h (N, H) and a table W (V, H), as the core reads them.
class Operands {
 public:
  Operands(py::handle h_object, py::handle w_object)
      : h_(argument("h", h_object)), w_(argument("W", w_object)), type_(compute_type({&h_, &w_})) {
    if (w_.ndim() != 2) {
      throw py::value_error("W: expected a matrix (V, H), got shape " + shape_text(w_));
    }
    if (h_.ndim() != 2 || h_.shape(1) != w_.shape(1)) {
      throw py::value_error("h: expected shape (N, " + std::to_string(w_.shape(1)) +
                            "), rows as long as those of W " + shape_text(w_) + ", got shape " +
                            shape_text(h_));
    }
  }

  // Computes in the wider type of these and another array.
  void join(const View& other) { type_ = compute_type({&h_, &w_, &other}); }

  void convert() {
    h_ = contiguous_operand(h_, type_);
    const View as_it_lies = operand(w_, type_);
    w_ = has_contiguous_rows(as_it_lies) ? as_it_lies : contiguous(as_it_lies);
  }

  const View& h() const { return h_; }
  const View& w() const { return w_; }
  const ComputeType& type() const { return type_; }
  py::ssize_t rows() const { return h_.shape(0); }
  py::ssize_t width() const { return w_.shape(1); }
  py::ssize_t vocabulary() const { return w_.shape(0); }
  py::ssize_t row_stride() const { return w_.strides(0) / w_.itemsize(); }

 private:
  View h_;
  View w_;
  ComputeType type_;
};

// Indices (N,) or (N, C), checked.
View indices(const char* what, const View& given, const Operands& in) {
  if (given.ndim() < 1 || given.ndim() > 2 || given.shape(0) != in.rows()) {
    const std::string n = std::to_string(in.rows());
    throw py::value_error(std::string(given.name()) + ": expected shape (" + n + ",) or (" + n +
                          ", C), a row for each of h, got shape " + shape_text(given));
  }
  return checked_indices(given, in.vocabulary(), what, "rows of W");
}

py::ssize_t columns(const View& index) { return index.ndim() == 1 ? 1 : index.shape(1); }

double work(const Operands& in, const View& index) {
  return static_cast<double>(index.size()) * static_cast<double>(in.width() + 4);
}

template <class T>
void scores_into(const Operands& in, const View& index, const View& scores) {
  embedding_dot<T>(input<T>(in.h()), input<T>(in.w()), in.row_stride(), input<std::int64_t>(index),
                   in.rows(), columns(index), in.width(), output<T>(scores));
}

// The gradients from those by the scores, which `slopes` makes in the core, without the GIL.
template <class Slopes>
py::array gradients(Operands& in, const View& index, Target& target, SumInto into,
                    const Slopes& slopes) {
  const ComputeType& type = in.type();
  in.convert();
  const View& dw = target.original();
  const bool apart = dw.shape(0) <= 1 || std::abs(dw.strides(0)) >= dw.shape(1) * dw.itemsize();
  target.prepare(type, has_contiguous_rows(dw) && apart, may_write_in_place({&target}, type),
                 {&in.h(), &in.w()}, into);
  const View& to = target.array();
  const View dscores = new_like(type, index);
  const View dh = new_like(type, in.h());
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(2 * work(in, index) + static_cast<double>(to.size()));
    slopes(output<T>(dscores));
    embedding_dot_backward<T>(input<T>(dscores), input<T>(in.h()), input<T>(in.w()),
                              in.row_stride(), input<std::int64_t>(index), in.rows(),
                              columns(index), in.width(), output<T>(dh), output<T>(to), to.shape(0),
                              to.strides(0) / to.itemsize(), into);
  });
  py::array result = finished(dh, type);
  commit({&target});
  return result;
}

py::array dot_forward(py::handle h, py::handle w, py::handle index_object) {
  Operands in(h, w);
  const View index = indices("index", argument("idx", index_object), in);
  in.convert();
  const View scores = new_like(in.type(), index);
  with_type(in.type(), [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work(in, index));
    scores_into<T>(in, index, scores);
  });
  return finished(scores, in.type());
}

py::array dot_backward(py::handle dout_object, py::handle h, py::handle w, py::handle index_object,
                       py::handle dw, py::handle accumulate) {
  Operands in(h, w);
  const View dout = argument("dout", dout_object);
  in.join(dout);
  Target target("dW", dw, shape_of(in.w()));
  const View index = indices("index", argument("idx", index_object), in);
  if (!same_shape(dout, index)) {
    throw py::value_error("dout: expected shape " + shape_text(index) +
                          ", that of the output, got " + shape_text(dout));
  }
  const SumInto into = sum_into(accumulate);
  const View values = contiguous_operand(dout, in.type());
  return gradients(in, index, target, into, [&](auto* dscores) {
    using T = std::remove_pointer_t<decltype(dscores)>;
    std::copy_n(input<T>(values), values.size(), dscores);
  });
}

// The labels of a row's scores: 1 for the targets, which come first, and 0 for the samples.
template <class T>
std::vector<T> labels_of(py::ssize_t rows, py::ssize_t targets, py::ssize_t all) {
  std::vector<T> labels(static_cast<std::size_t>(rows * all));
  for (py::ssize_t i = 0; i < rows; ++i) std::fill_n(labels.begin() + i * all, targets, T{1});
  return labels;
}

// The targets of each row and then its samples, in one array (N, C).
View joined(const View& target, const View& negative, py::ssize_t rows) {
  const py::ssize_t first = columns(target);
  const py::ssize_t second = columns(negative);
  const View index = new_array(int64_type(), Shape{rows, first + second});
  std::int64_t* to = output<std::int64_t>(index);
  for (py::ssize_t i = 0; i < rows; ++i) {
    to = std::copy_n(input<std::int64_t>(target) + i * first, first, to);
    to = std::copy_n(input<std::int64_t>(negative) + i * second, second, to);
  }
  return index;
}

// The loss, and what backward needs: the probabilities and the indices, the targets first.
py::tuple negative_forward(py::handle h, py::handle w, py::handle target_object,
                           py::handle negative_object) {
  Operands in(h, w);
  const View given = argument("target", target_object);
  const View samples = argument("negative", negative_object);
  const View target = indices("target", given, in);
  const View negative = indices("sample", samples, in);
  if (in.rows() == 0) {
    raise_empty_batch("h: expected at least 1 row for a mean loss, got shape " +
                      shape_text(in.h()));
  }
  if (target.size() == 0) {
    throw py::value_error("target: expected at least 1 target for each row, got shape " +
                          shape_text(target));
  }
  in.convert();
  const View index = joined(target, negative, in.rows());
  const View scores = new_like(in.type(), index);
  const View y = new_like(in.type(), index);
  std::vector<double> losses(static_cast<std::size_t>(in.rows()));
  with_type(in.type(), [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> labels = labels_of<T>(in.rows(), columns(target), columns(index));
    const MaybeReleaseGil release(work(in, index));
    scores_into<T>(in, index, scores);
    element_loss<T>({.kind = LossKind::kBinary}, input<T>(scores), labels.data(), output<T>(y),
                    in.rows(), columns(index), losses.data());
  });
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return py::make_tuple(sum / static_cast<double>(in.rows()), y.owner(), index.owner());
}

// Everything is checked again: these are attributes of a layer, which its user may have replaced.
py::array negative_backward(py::handle y_object, py::handle h, py::handle w,
                            py::handle index_object, py::handle targets, py::handle dw,
                            py::handle dout, py::handle accumulate) {
  Operands in(h, w);
  const View y = argument("y", y_object);
  Target target("dW", dw, shape_of(in.w()));
  const View index = indices("index", argument("idx", index_object), in);
  compute_type({&y});  // which refuses what are no numbers
  if (!same_shape(y, index)) {
    throw py::value_error("y: expected shape " + shape_text(index) + ", that of index, got " +
                          shape_text(y));
  }
  const std::int64_t first = whole_number("targets", targets);
  if (first < 0 || first > columns(index)) {
    throw py::value_error("targets: expected how many of the " + std::to_string(columns(index)) +
                          " columns, got " + std::to_string(first));
  }
  const SumInto into = sum_into(accumulate);
  const auto rows = static_cast<double>(in.rows());
  const std::vector<double> factor(static_cast<std::size_t>(in.rows()),
                                   number("dout", dout) / rows);
  const View values = contiguous_operand(y, in.type());
  std::vector<float> f32;
  std::vector<double> f64;
  if (in.type().is_double) {
    f64 = labels_of<double>(in.rows(), first, columns(index));
  } else {
    f32 = labels_of<float>(in.rows(), first, columns(index));
  }
  return gradients(in, index, target, into, [&](auto* dscores) {
    using T = std::remove_pointer_t<decltype(dscores)>;
    const T* labels = nullptr;
    if constexpr (sizeof(T) == 4) {
      labels = f32.data();
    } else {
      labels = f64.data();
    }
    element_loss_backward<T>({.kind = LossKind::kBinary}, input<T>(values), labels, factor.data(),
                             dscores, in.rows(), columns(index));
  });
}

}  // namespace

void bind_embedding_dot(py::module_& module) {
  module.def("embedding_dot_forward", &dot_forward, py::arg("h"), py::arg("W"), py::arg("idx"));
  module.def("embedding_dot_backward", &dot_backward, py::arg("dout"), py::arg("h"), py::arg("W"),
             py::arg("idx"), py::arg("dW"), py::arg("accumulate") = false);
  module.def("negative_sampling_forward", &negative_forward, py::arg("h"), py::arg("W"),
             py::arg("target"), py::arg("negative"));
  module.def("negative_sampling_backward", &negative_backward, py::arg("y"), py::arg("h"),
             py::arg("W"), py::arg("idx"), py::arg("targets"), py::arg("dW"), py::arg("dout"),
             py::arg("accumulate") = false);
}

}  // namespace nnext::bindings
