// Rows of a table by index, and their gradient.
#include "nnext/embedding.h"

#include <cstdlib>

#include "gil.h"
#include "labels.h"
#include "module.h"
#include "target.h"

namespace nnext::bindings {
namespace {

bool has_contiguous_rows(const View& w) { return w.strides(1) == w.itemsize() || w.shape(1) <= 1; }

void require_matrix(const View& table) {
  if (table.ndim() == 2) return;
  throw py::value_error(std::string(table.name()) + ": expected a matrix (V, D), got shape " +
                        shape_text(table));
}

Shape output_shape(const View& index, py::ssize_t width) {
  Shape shape = shape_of(index);
  shape.push_back(width);
  return shape;
}

py::array forward(py::handle w_object, py::handle index_object) {
  const View w = argument("W", w_object);
  const View given = argument("idx", index_object);
  require_matrix(w);
  const ComputeType type = compute_type({&w});
  const View index = checked_indices(given, w.shape(0), "index", "rows of W");
  const View as_it_lies = operand(w, type);
  const View rows = has_contiguous_rows(as_it_lies) ? as_it_lies : contiguous(as_it_lies);
  const py::ssize_t width = rows.shape(1);
  const View out = new_array(type, output_shape(index, width));
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(out.size()));
    embedding<T>(input<T>(rows), rows.strides(0) / rows.itemsize(), input<std::int64_t>(index),
                 index.size(), width, output<T>(out));
  });
  return finished(out, type);
}

void backward(py::handle dout_object, py::handle index_object, py::handle dw_object,
              py::handle accumulate) {
  const View dout = argument("dout", dout_object);
  const View given = argument("idx", index_object);
  Target target("dW", dw_object);
  const View& dw = target.original();
  require_matrix(dw);
  const View index = checked_indices(given, dw.shape(0), "index", "rows of W");
  const py::ssize_t width = dw.shape(1);
  const Shape shape = output_shape(index, width);
  if (shape_of(dout) != shape) {
    throw py::value_error("dout: expected shape " + shape_text(shape) +
                          ", that of the output, got " + shape_text(dout));
  }
  const SumInto into = sum_into(accumulate);
  const ComputeType type = compute_type({&dout, &dw});
  const View gradient = contiguous_operand(dout, type);
  const bool apart = dw.shape(0) <= 1 || std::abs(dw.strides(0)) >= dw.shape(1) * dw.itemsize();
  target.prepare(type, has_contiguous_rows(dw) && apart, may_write_in_place({&target}, type),
                 {&gradient}, into);
  const View& to = target.array();
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(gradient.size() + to.size()));
    embedding_backward<T>(input<T>(gradient), input<std::int64_t>(index), index.size(), width,
                          output<T>(to), to.shape(0), to.strides(0) / to.itemsize(), into);
  });
  commit({&target});
}

}  // namespace

void bind_embedding(py::module_& module) {
  module.def("embedding_forward", &forward, py::arg("W"), py::arg("idx"));
  module.def("embedding_backward", &backward, py::arg("dout"), py::arg("idx"), py::arg("dW"),
             py::arg("accumulate") = false);
}

}  // namespace nnext::bindings
