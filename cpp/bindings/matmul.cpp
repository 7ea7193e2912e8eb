// numpy.matmul on the core: broadcasting, one-dimensional operands, out=. What the core does not
// compute (integers, complex, objects, array types of others) goes to NumPy.
#include "nnext/matmul.h"

#include <algorithm>

#include "gil.h"
#include "module.h"
#include "nnext/threads.h"
#include "target.h"

namespace nnext::bindings {
namespace {

py::object numpy_matmul(py::handle a, py::handle b, py::handle out) {
  const py::object function = py::module_::import("numpy").attr("matmul");
  return out.is_none() ? function(a, b) : function(a, b, py::arg("out") = out);
}

// The same of arrays as they were when the call began, a plain `out` too.
py::object numpy_matmul(const View& a, const View& b, py::handle out) {
  if (Py_TYPE(out.ptr()) != py::detail::npy_api::get().PyArray_Type_) {
    return numpy_matmul(a.private_array(), b.private_array(), out);
  }
  numpy_matmul(a.private_array(), b.private_array(), View("out", out).private_array());
  return py::reinterpret_borrow<py::object>(out);
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
  const View view("out", out);
  const bool is_float =
      view.kind() == Kind::kFloat32 || view.kind() == Kind::kFloat64 || view.kind() == Kind::kHalf;
  return is_float && shape_of(view) == shape;
}

// TypeError unless the result may be cast to the type of `out`, as NumPy has it ("same_kind": from
// one floating type to any other).
void require_castable(const ComputeType& type, const View& out) {
  const py::object from = type.half ? type.half : py::object(float_type(type.is_double));
  const py::object can_cast = py::module_::import("numpy").attr("can_cast");
  if (can_cast(from, out.dtype(), "same_kind").cast<bool>()) return;
  throw py::type_error("out: cannot cast the product from " + py::str(from).cast<std::string>() +
                       " to " + out.dtype_text());
}

// A stack of matrices: element strides of its two last axes and of the broadcast stack axes.
struct Stack {
  View array;
  index_t rows;
  index_t cols;
  index_t row_stride;
  index_t col_stride;
  Shape strides;  // in elements, one for each axis of the broadcast stack; 0 where repeated

  // A 1-D operand is a row (on the left) or a column (on the right).
  Stack(const View& operand, bool left) : array(operand) {
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
    return {output<T>(array) + offset, rows, cols, row_stride, col_stride};
  }
};

[[noreturn]] void raise_misfit(const View& a, const View& b, const std::string& why) {
  throw py::value_error("matmul: a of shape " + shape_text(a) + " and b of shape " + shape_text(b) +
                        " do not fit: " + why);
}

Shape broadcast_stacks(const View& a, const View& b) {
  const py::ssize_t a_ndim = std::max<py::ssize_t>(a.ndim() - 2, 0);
  const py::ssize_t b_ndim = std::max<py::ssize_t>(b.ndim() - 2, 0);
  const py::ssize_t ndim = std::max(a_ndim, b_ndim);
  Shape stack(static_cast<std::size_t>(ndim));
  for (py::ssize_t i = 0; i < ndim; ++i) {
    const py::ssize_t from_a = i - (ndim - a_ndim);
    const py::ssize_t from_b = i - (ndim - b_ndim);
    const py::ssize_t n = from_a >= 0 ? a.shape(from_a) : 1;
    const py::ssize_t m = from_b >= 0 ? b.shape(from_b) : 1;
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
    return Py_TYPE(object.ptr()) == py::detail::npy_api::get().PyArray_Type_;
  };
  if (!is_plain(a_object) || !is_plain(b_object)) return {};
  const View a("a", a_object);
  const View b("b", b_object);
  if (a.ndim() != 2 || b.ndim() != 2) return {};
  const std::optional<ComputeType> type = common_float_type({&a, &b});
  if (!type || a.shape(1) != b.shape(0)) return {};
  const py::ssize_t shape[] = {a.shape(0), b.shape(1)};
  View c;
  if (out.is_none()) {
    c = new_array(*type, 2, shape);
  } else {
    if (!is_plain(out)) return {};
    c = View("out", out);
    const bool fits = common_float_type({&a, &c}).has_value() && c.is_writeable() &&
                      c.ndim() == 2 && c.shape(0) == shape[0] && c.shape(1) == shape[1] &&
                      same_flat_layout({&c}) && !may_overlap(c, a) && !may_overlap(c, b);
    if (!fits) return {};
  }
  with_type(*type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(c.size()) * static_cast<double>(a.shape(1)));
    matmul<T>(matrix_view<const T>(a), matrix_view<const T>(b), matrix_view<T>(c));
  });
  return c.owner();
}

// The type that numpy.matmul gives these operands, where the core computes it; else nothing. Where
// NumPy has no product of the two it raises, in numpy_matmul.
std::optional<ComputeType> result_type(const View& a, const View& b) {
  if (std::optional<ComputeType> type = common_float_type({&a, &b})) return type;
  const auto is_real = [](const View& x) { return x.kind() != Kind::kOther; };
  if (!is_real(a) || !is_real(b)) return {};
  py::object result;
  try {
    const py::object resolve = py::module_::import("numpy").attr("matmul").attr("resolve_dtypes");
    result = resolve(py::make_tuple(a.dtype(), b.dtype(), py::none()))[py::int_(2)];
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
    return {};
  }
  const auto name = py::str(result.attr("name")).cast<std::string>();
  if (name == "float32" || name == "float64") return ComputeType{name == "float64", {}};
  if (name == "float16" || name == "bfloat16") return ComputeType{false, result};
  return {};
}

py::object matmul_any(py::handle a_object, py::handle b_object, py::handle out_object) {
  py::object out = py::reinterpret_borrow<py::object>(out_object);
  if (PyTuple_Check(out.ptr()) && PyTuple_GET_SIZE(out.ptr()) == 1 &&
      !PyTuple_Check(PyTuple_GET_ITEM(out.ptr(), 0))) {
    out = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(out.ptr(), 0));
  }
  if (py::object result = matmul_plain(a_object, b_object, out)) return result;
  if (PyTuple_Check(out.ptr()) || is_foreign(a_object) || is_foreign(b_object)) {
    return numpy_matmul(a_object, b_object, out);
  }
  const View a = argument("a", a_object);
  const View b = argument("b", b_object);
  const std::optional<ComputeType> found = result_type(a, b);
  if (!found) return numpy_matmul(a, b, out);
  const ComputeType& type = *found;
  if (a.ndim() == 0 || b.ndim() == 0) {
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
  if (a.ndim() > 1) shape.push_back(left.rows);
  if (b.ndim() > 1) shape.push_back(right.cols);

  if (!out.is_none() && !is_plain_out(out, shape)) {
    return numpy_matmul(a, b, out);
  }
  std::optional<Target> target;
  if (!out.is_none()) {
    target.emplace("out", out, shape);
    require_castable(type, target->original());
    target->prepare(type, target->original().is_c_contiguous(),
                    may_write_in_place({&*target}, type), {&left.array, &right.array});
  }
  const View result = target ? target->array() : new_array(type, shape);
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
      const MaybeReleaseGil release(static_cast<double>(result.size()) *
                                    static_cast<double>(left.cols));
      multiply<T>(left, right, output<T>(result), items);
    });
  }
  if (target) {
    commit({&*target});
    return target->object();
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
