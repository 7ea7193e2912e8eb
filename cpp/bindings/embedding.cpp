// Rows of a table by index, and their gradient.
#include "nnext/embedding.h"

#include <cstdlib>

#include "arrays.h"
#include "module.h"

namespace nnext::bindings {
namespace {

bool has_contiguous_rows(const py::array& w) {
  return w.strides(1) == w.itemsize() || w.shape(1) <= 1;
}

Argument table(const char* name, py::handle object) {
  Argument w = argument(name, object);
  if (w.array.ndim() != 2) {
    throw py::value_error(std::string(name) + ": expected a matrix (V, D), got shape " +
                          shape_text(w.array));
  }
  return w;
}

py::array forward(py::handle w_object, py::handle index_object) {
  const Argument w = table("W", w_object);
  const ComputeType type = compute_type({&w});
  const py::array index =
      checked_indices(argument("index", index_object), w.array.shape(0), "index", "rows of W");
  const py::array rows =
      has_contiguous_rows(w.array) ? operand(w, type) : contiguous_operand(w, type);
  const py::ssize_t width = rows.shape(1);
  std::vector<py::ssize_t> shape = shape_of(index);
  shape.push_back(width);
  py::array out = new_array(type, static_cast<py::ssize_t>(shape.size()), shape.data());
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(out.size()));
    embedding<T>(input<T>(rows), rows.strides(0) / rows.itemsize(), input<std::int64_t>(index),
                 index.size(), width, output<T>(out));
  });
  return finished(out, type);
}

void backward(py::handle dout_object, py::handle index_object, py::handle dw_object) {
  const Argument dout = argument("dout", dout_object);
  const Argument dw = table("dW", dw_object);
  Target target("dW", dw_object, shape_of(dw.array));
  const py::array index =
      checked_indices(argument("index", index_object), dw.array.shape(0), "index", "rows of W");
  const py::ssize_t width = dw.array.shape(1);
  std::vector<py::ssize_t> shape = shape_of(index);
  shape.push_back(width);
  if (shape_of(dout.array) != shape) {
    throw py::value_error("dout: expected shape " + shape_text(shape) +
                          ", that of the output, got " + shape_text(dout.array));
  }
  const ComputeType type = compute_type({&dout, &dw});
  const py::array gradient = contiguous_operand(dout, type);
  const bool apart = dw.array.shape(0) <= 1 ||
                     std::abs(dw.array.strides(0)) >= dw.array.shape(1) * dw.array.itemsize();
  target.prepare(type, has_contiguous_rows(dw.array) && apart, {&gradient});
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    py::array& to = target.array();
    const MaybeReleaseGil release(static_cast<double>(gradient.size() + to.size()));
    embedding_backward<T>(input<T>(gradient), input<std::int64_t>(index), index.size(), width,
                          output<T>(to), to.shape(0), to.strides(0) / to.itemsize());
  });
  target.commit(type);
}

}  // namespace

void bind_embedding(py::module_& module) {
  module.def("embedding_forward", &forward, py::arg("W"), py::arg("index"));
  module.def("embedding_backward", &backward, py::arg("dout"), py::arg("index"), py::arg("dW"));
}

}  // namespace nnext::bindings
