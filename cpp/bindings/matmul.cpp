// numpy.matmul on the core: broadcasting, one-dimensional operands, out=. What the core does not
// compute (integers, complex, objects, array types of others) goes to NumPy.
#include "nnext/matmul.h"

#include <algorithm>

#include "arrays.h"
#include "module.h"
#include "nnext/threads.h"

namespace nnext::bindings {
namespace {

using Shape = std::vector<py::ssize_t>;

py::object numpy_matmul(py::handle a, py::handle b, py::handle out) {
  const py::object function = py::module_::import("numpy").attr("matmul");
  return out.is_none() ? function(a, b) : function(a, b, py::arg("out") = out);
}

// Another library's array, or a subclass with rules of its own: numpy.matmul knows how to ask it. A
// memmap is an ndarray that lies in a file.
bool is_foreign(py::handle object) {
  PyTypeObject* const type = Py_TYPE(object.ptr());
  if (type == py::detail::npy_api::get().PyArray_Type_ || type == &PyList_Type ||
      type == &PyTuple_Type) {
    return false;
  }
  static const auto* memmap = new py::object(py::module_::import("numpy").attr("memmap"));
  return reinterpret_cast<PyObject*>(type) != memmap->ptr() &&
         py::hasattr(object, "__array_ufunc__");
}

// Whether `out` is one the core's result can be stored in; NumPy has answers for all others.
bool is_plain_out(py::handle out, const Shape& shape) {
  if (!py::detail::npy_api::get().PyArray_Check_(out.ptr()) || is_foreign(out)) return false;
  const auto array = py::reinterpret_borrow<py::array>(out);
  return shape_of(array) == shape && array.dtype().kind() == 'f' && array.itemsize() <= 8;
}

// A stack of matrices: element strides of its two last axes and of the broadcast stack axes.
struct Stack {
  py::array array;
  index_t rows;
  index_t cols;
  index_t row_stride;
  index_t col_stride;
  Shape strides;  // in elements, one for each axis of the broadcast stack; 0 where repeated

  // A 1-D operand is a row (on the left) or a column (on the right).
  Stack(py::array operand, bool left) : array(std::move(operand)) {
    const py::ssize_t ndim = array.ndim();
    const py::ssize_t size = array.itemsize();
    const py::ssize_t last = array.strides(ndim - 1) / size;
    if (ndim == 1) {
      rows = left ? 1 : array.shape(0);
      cols = left ? array.shape(0) : 1;
      row_stride = left ? rows * cols : last;
      col_stride = left ? last : 1;
    } else {
      rows = array.shape(ndim - 2);
      cols = array.shape(ndim - 1);
      row_stride = array.strides(ndim - 2) / size;
      col_stride = last;
    }
  }

  py::ssize_t stack_ndim() const { return std::max<py::ssize_t>(array.ndim() - 2, 0); }

  void broadcast_to(const Shape& stack) {
    const py::ssize_t skipped = static_cast<py::ssize_t>(stack.size()) - stack_ndim();
    strides.assign(stack.size(), 0);
    for (py::ssize_t i = 0; i < stack_ndim(); ++i) {
      if (array.shape(i) != 1) {
        strides[static_cast<std::size_t>(skipped + i)] = array.strides(i) / array.itemsize();
      }
    }
  }

  template <class T>
  MatrixView<T> matrix(index_t offset) const {
    return {static_cast<T*>(const_cast<void*>(array.data())) + offset, rows, cols, row_stride,
            col_stride};
  }
};

[[noreturn]] void raise_misfit(const Argument& a, const Argument& b, const std::string& why) {
  throw py::value_error("matmul: a of shape " + shape_text(a.array) + " and b of shape " +
                        shape_text(b.array) + " do not fit: " + why);
}

Shape broadcast_stacks(const Argument& a, const Argument& b) {
  const py::ssize_t a_ndim = std::max<py::ssize_t>(a.array.ndim() - 2, 0);
  const py::ssize_t b_ndim = std::max<py::ssize_t>(b.array.ndim() - 2, 0);
  const py::ssize_t ndim = std::max(a_ndim, b_ndim);
  Shape stack(static_cast<std::size_t>(ndim));
  for (py::ssize_t i = 0; i < ndim; ++i) {
    const py::ssize_t from_a = i - (ndim - a_ndim);
    const py::ssize_t from_b = i - (ndim - b_ndim);
    const py::ssize_t n = from_a >= 0 ? a.array.shape(from_a) : 1;
    const py::ssize_t m = from_b >= 0 ? b.array.shape(from_b) : 1;
    if (n != m && n != 1 && m != 1) raise_misfit(a, b, "their leading axes do not broadcast");
    stack[static_cast<std::size_t>(i)] = n == 1 ? m : n;
  }
  return stack;
}

// Where matrix `item` of the stack starts in an operand.
index_t offset_of(index_t item, const Shape& stack, const Shape& strides) {
  index_t offset = 0;
  for (std::size_t i = stack.size(); i-- > 0;) {
    offset += item % stack[i] * strides[i];
    item /= stack[i];
  }
  return offset;
}

template <class T>
void multiply(const Stack& a, const Stack& b, T* c, const Shape& stack) {
  index_t items = 1;
  for (const py::ssize_t n : stack) items *= n;
  const index_t size = a.rows * b.cols;
  const auto one = [&](index_t item) {
    matmul<T>(a.matrix<const T>(offset_of(item, stack, a.strides)),
              b.matrix<const T>(offset_of(item, stack, b.strides)),
              MatrixView<T>{c + item * size, a.rows, b.cols, b.cols, 1});
  };
  if (items == 1) return one(0);
  // Many small products: one thread computes each (loops inside a loop run in its own thread).
  constexpr index_t kMultiplyAdds = 250'000;
  const index_t each = std::max<index_t>(1, size * std::max<index_t>(a.cols, 1));
  parallel_ranges(items, kMultiplyAdds / each + 1, 1, [&](index_t begin, index_t end) {
    for (index_t item = begin; item < end; ++item) one(item);
  });
}

// A stack times one matrix is one product of all its rows, where they lie evenly spaced.
bool joins_rows(const Stack& a, const Stack& b, const Shape& stack) {
  if (b.stack_ndim() > 0 || a.stack_ndim() == 0) return false;
  index_t step = a.rows * a.row_stride;
  for (std::size_t i = stack.size(); i-- > 0;) {
    if (stack[i] != 1 && a.strides[i] != step) return false;
    step *= stack[i];
  }
  return true;
}

// Two matrices of one type into a new array or a plain `out`: the case that is worth a way of its
// own, without the lists of shapes that the general one needs. Null when it is not that case.
py::object matmul_plain(py::handle a_object, py::handle b_object, py::handle out) {
  const auto is_plain = [](py::handle object) {
    return Py_TYPE(object.ptr()) == py::detail::npy_api::get().PyArray_Type_ &&
           py::reinterpret_borrow<py::array>(object).ndim() == 2;
  };
  if (!is_plain(a_object) || !is_plain(b_object)) return {};
  const Argument a{"a", py::reinterpret_borrow<py::array>(a_object)};
  const Argument b{"b", py::reinterpret_borrow<py::array>(b_object)};
  const std::optional<ComputeType> type = common_float_type({&a.array, &b.array});
  if (!type || a.array.shape(1) != b.array.shape(0)) return {};
  const py::ssize_t shape[] = {a.array.shape(0), b.array.shape(1)};
  py::array c;
  if (out.is_none()) {
    c = new_array(*type, 2, shape);
  } else {
    if (!is_plain(out)) return {};
    c = py::reinterpret_borrow<py::array>(out);
    const bool fits = common_float_type({&a.array, &c}).has_value() && c.writeable() &&
                      c.shape(0) == shape[0] && c.shape(1) == shape[1] && same_flat_layout({&c}) &&
                      !may_overlap(c, a.array) && !may_overlap(c, b.array);
    if (!fits) return {};
  }
  with_type(*type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(c.size()) *
                                  static_cast<double>(a.array.shape(1)));
    matmul<T>(matrix_view<const T>(a.array), matrix_view<const T>(b.array), matrix_view<T>(c));
  });
  return c;
}

py::object matmul_any(py::handle a_object, py::handle b_object, py::handle out) {
  if (py::object result = matmul_plain(a_object, b_object, out)) return result;
  if (PyTuple_Check(out.ptr())) {
    if (py::len(out) != 1) return numpy_matmul(a_object, b_object, out);
    return matmul_any(a_object, b_object, py::reinterpret_borrow<py::tuple>(out)[0]);
  }
  if (is_foreign(a_object) || is_foreign(b_object)) return numpy_matmul(a_object, b_object, out);
  const Argument a = argument("a", a_object);
  const Argument b = argument("b", b_object);
  ComputeType type;
  const int a_number = a.array.dtype().num();
  const int b_number = b.array.dtype().num();
  constexpr int kFloat32 = 11;
  constexpr int kFloat64 = 12;
  if (a_number == b_number && (a_number == kFloat32 || a_number == kFloat64)) {
    type.is_double = a_number == kFloat64;
  } else {
    // NumPy's own promotion, in which integers count.
    const py::object common = py::module_::import("numpy").attr("result_type")(a.array, b.array);
    const auto name = py::str(common.attr("name")).cast<std::string>();
    if (name != "float32" && name != "float64" && name != "float16" && name != "bfloat16") {
      return numpy_matmul(a.array, b.array, out);
    }
    type.is_double = name == "float64";
    if (name == "float16" || name == "bfloat16") type.half = common;
  }
  if (a.array.ndim() == 0 || b.array.ndim() == 0) {
    raise_misfit(a, b, "operands need at least 1 dimension");
  }
  Stack left(operand(a, type), /*left=*/true);
  Stack right(operand(b, type), /*left=*/false);
  if (left.cols != right.rows) {
    raise_misfit(
        a, b,
        "expected " + std::to_string(left.cols) + " rows in b, got " + std::to_string(right.rows));
  }
  const Shape stack = broadcast_stacks(a, b);
  Shape shape = stack;
  if (a.array.ndim() > 1) shape.push_back(left.rows);
  if (b.array.ndim() > 1) shape.push_back(right.cols);

  if (!out.is_none() && !is_plain_out(out, shape)) return numpy_matmul(a.array, b.array, out);
  std::optional<Target> target;
  if (!out.is_none()) {
    target.emplace("out", out, shape);
    target->prepare(type, !type.half && (target->original().flags() & py::array::c_style) != 0,
                    {&left.array, &right.array});
  }
  py::array result = target ? target->array()
                            : new_array(type, static_cast<py::ssize_t>(shape.size()), shape.data());
  left.broadcast_to(stack);
  right.broadcast_to(stack);
  Shape items = stack;
  if (joins_rows(left, right, stack)) {
    left.rows = right.cols == 0 ? 0 : result.size() / right.cols;
    items.clear();
  }
  if (result.size() > 0) {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      // Nothing that owns a Python object may be copied from here on.
      const MaybeReleaseGil release(static_cast<double>(result.size()) *
                                    static_cast<double>(left.cols));
      multiply<T>(left, right, output<T>(result), items);
    });
  }
  if (target) {
    target->commit(type);
    return target->original();
  }
  py::array done = finished(result, type);
  if (shape.empty()) return done[py::tuple()];
  return done;
}

}  // namespace

void bind_matmul(py::module_& module) {
  module.def("matmul", &matmul_any, py::arg("a"), py::arg("b"), py::arg("out") = py::none());
}

}  // namespace nnext::bindings
