// Checks and conversions of arguments; see arrays.h.
#include "arrays.h"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <thread>

#include "nnext/memory.h"

namespace nnext::bindings {
namespace {

enum class Kind { kFloat32, kFloat64, kHalf, kInteger, kOther };

// NumPy's type numbers, fixed by its ABI.
constexpr int kNumFloat32 = 11;
constexpr int kNumFloat64 = 12;
constexpr int kNumFloat16 = 23;
constexpr int kLastInteger = 10;  // 0 is bool, then the integers

int type_number(const py::array& array) {
  return py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->type_num;
}

Kind kind_of(const py::array& array) {
  const int number = type_number(array);
  if (number == kNumFloat32) return Kind::kFloat32;
  if (number == kNumFloat64) return Kind::kFloat64;
  if (number >= 0 && number <= kLastInteger) return Kind::kInteger;
  if (number == kNumFloat16) return Kind::kHalf;
  // bfloat16 comes from ml_dtypes, whose type number is given out at run time.
  return py::str(array.dtype().attr("name")).equal(py::str("bfloat16")) ? Kind::kHalf
                                                                        : Kind::kOther;
}

// Types that are asked for in every call, made once and never freed: they must outlive any static
// destructor that could run after the interpreter.
const py::dtype& float_type(bool is_double) {
  static const auto* types =
      new std::pair<py::dtype, py::dtype>(py::dtype::of<float>(), py::dtype::of<double>());
  return is_double ? types->second : types->first;
}

bool is_native_and_aligned(const py::array& array) {
  constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array.flags() & kAligned) == 0) return false;
  const char order =
      py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr)->byteorder;
  if (order != '=' && order != '|') {
    return array.dtype().attr("isnative").cast<bool>();
  }
  // An aligned array may still step by a part of an element (a field of a record).
  const py::ssize_t size = array.itemsize();
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    if (array.strides(i) % size != 0) return false;
  }
  return true;
}

bool is_c_contiguous(const py::array& array) { return (array.flags() & py::array::c_style) != 0; }
bool is_f_contiguous(const py::array& array) { return (array.flags() & py::array::f_style) != 0; }

py::object numpy() { return py::module_::import("numpy"); }

[[noreturn]] void raise_type(const Argument& argument) {
  throw py::type_error(std::string(argument.name) + ": cannot compute with type " +
                       py::str(argument.array.dtype()).cast<std::string>() +
                       "; expected float32, float64, float16, bfloat16, integers or booleans");
}

bool is_integer_number(int number) { return number >= 1 && number <= kLastInteger; }

// First and last byte an array touches; equal for an empty one.
std::pair<const char*, const char*> extent(const py::array& array) {
  const char* low = static_cast<const char*>(array.data());
  const char* high = low;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    if (array.shape(i) == 0) return {low, low};
    const py::ssize_t reach = (array.shape(i) - 1) * array.strides(i);
    (reach < 0 ? low : high) += reach;
  }
  return {low, high + array.itemsize()};
}

}  // namespace

Argument argument(const char* name, py::handle object) {
  if (py::detail::npy_api::get().PyArray_Check_(object.ptr())) {
    return {name, py::reinterpret_borrow<py::array>(object)};
  }
  if (object.is_none()) throw py::type_error(std::string(name) + ": expected an array, got None");
  return {name, py::reinterpret_steal<py::array>(numpy().attr("asarray")(object).release())};
}

ComputeType compute_type(std::initializer_list<const Argument*> arguments) {
  bool has_double = false;
  bool has_float = false;
  bool mixed_halves = false;
  py::object half;
  for (const Argument* argument : arguments) {
    switch (kind_of(argument->array)) {
      case Kind::kFloat64:
        has_double = true;
        break;
      case Kind::kFloat32:
        has_float = true;
        break;
      case Kind::kHalf:
        mixed_halves = mixed_halves || (half && !half.equal(argument->array.dtype()));
        half = argument->array.dtype();
        break;
      case Kind::kInteger:
        break;
      case Kind::kOther:
        raise_type(*argument);
    }
  }
  if (has_double || (!has_float && !half)) return {true, {}};
  if (has_float || mixed_halves) return {false, {}};
  return {false, half};
}

std::optional<ComputeType> common_float_type(std::initializer_list<const py::array*> arrays) {
  const int number = type_number(**arrays.begin());
  if (number != kNumFloat32 && number != kNumFloat64) return {};
  for (const py::array* array : arrays) {
    if (type_number(*array) != number || !is_native_and_aligned(*array)) return {};
  }
  return ComputeType{number == kNumFloat64, {}};
}

py::array operand(const Argument& argument, const ComputeType& type) {
  const py::array& array = argument.array;
  const int wanted = type.is_double ? kNumFloat64 : kNumFloat32;
  if (type_number(array) == wanted && is_native_and_aligned(array)) return array;
  return py::reinterpret_steal<py::array>(
      numpy().attr("array")(array, float_type(type.is_double)).release());
}

py::array contiguous_operand(const Argument& argument, const ComputeType& type) {
  py::array array = operand(argument, type);
  if (is_c_contiguous(array)) return array;
  return contiguous(array);
}

py::array contiguous(const py::array& array) {
  auto copy = py::reinterpret_steal<py::array>(py::detail::npy_api::get().PyArray_FromAny_(
      array.ptr(), nullptr, 0, 0,
      static_cast<int>(py::array::c_style) | py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_, nullptr));
  if (!copy) throw py::error_already_set();
  return copy;
}

namespace {

// The block behind a large array: its base object gives it back when the array dies.
struct Block {
  void* memory;
  std::size_t bytes;
};

void release_block(PyObject* capsule) {
  auto* block = static_cast<Block*>(PyCapsule_GetPointer(capsule, nullptr));
  give_block(block->memory, block->bytes);
  delete block;
}

}  // namespace

py::array new_array(const py::dtype& dtype, py::ssize_t ndim, const py::ssize_t* shape) {
  auto& api = py::detail::npy_api::get();
  py::dtype descr = dtype;
  std::size_t bytes = static_cast<std::size_t>(dtype.itemsize());
  for (py::ssize_t i = 0; i < ndim; ++i) bytes *= static_cast<std::size_t>(shape[i]);
  void* memory = nullptr;
  py::object base;
  if (bytes >= kSmallestBlock) {
    memory = take_block(bytes);
    auto* const block = new Block{memory, bytes};
    base = py::reinterpret_steal<py::object>(PyCapsule_New(block, nullptr, &release_block));
    if (!base) {
      delete block;
      give_block(memory, bytes);
      throw py::error_already_set();
    }
  }
  constexpr int kWriteable = py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  auto result = py::reinterpret_steal<py::array>(api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descr.release().ptr(), static_cast<int>(ndim), shape, nullptr, memory,
      memory == nullptr ? 0 : kWriteable, nullptr));
  if (!result) throw py::error_already_set();
  if (base && api.PyArray_SetBaseObject_(result.ptr(), base.release().ptr()) != 0) {
    throw py::error_already_set();
  }
  return result;
}

py::array new_array(const ComputeType& type, py::ssize_t ndim, const py::ssize_t* shape) {
  return new_array(float_type(type.is_double), ndim, shape);
}

py::array finished(py::array result, const ComputeType& type) {
  if (!type.half) return result;
  return py::reinterpret_steal<py::array>(result.attr("astype")(type.half).release());
}

Target::Target(const char* name, py::handle object, const std::vector<py::ssize_t>& shape)
    : name_(name) {
  if (!py::detail::npy_api::get().PyArray_Check_(object.ptr())) {
    throw py::type_error(std::string(name) + ": expected an array to write into, got " +
                         Py_TYPE(object.ptr())->tp_name);
  }
  original_ = py::reinterpret_borrow<py::array>(object);
  const Kind kind = kind_of(original_);
  if (kind == Kind::kOther || kind == Kind::kInteger) {
    throw py::type_error(std::string(name) + ": expected a floating type to write into, got " +
                         py::str(original_.dtype()).cast<std::string>());
  }
  if (shape_of(original_) != shape) {
    throw py::value_error(std::string(name) + ": expected shape " + shape_text(shape) + ", got " +
                          shape_text(original_));
  }
  if (!original_.writeable()) {
    throw py::value_error(std::string(name) + ": the array is read-only");
  }
}

void Target::prepare(const ComputeType& type, bool fits,
                     std::initializer_list<const py::array*> inputs) {
  const int wanted = type.is_double ? kNumFloat64 : kNumFloat32;
  bool in_place = fits && type_number(original_) == wanted && is_native_and_aligned(original_);
  for (const py::array* input : inputs) in_place = in_place && !may_overlap(original_, *input);
  work_ = in_place ? original_ : new_like(type, original_);
}

void Target::commit(const ComputeType& type) {
  if (work_.ptr() == original_.ptr()) return;
  numpy().attr("copyto")(original_, finished(work_, type), py::arg("casting") = "same_kind");
}

void Target::require_apart(const Target& other) const {
  // Extents may interleave, as those of two columns do, and share nothing.
  if (may_overlap(original_, other.original_) &&
      numpy().attr("shares_memory")(original_, other.original_).cast<bool>()) {
    throw py::value_error(std::string(name_) + " and " + other.name_ + " share memory");
  }
}

namespace {

// Copies the elements of an integer array to `to`, C-contiguous on both sides.
template <class Int>
void copy_integers(const py::array& from, std::int64_t* to) {
  const Int* values = input<Int>(from);
  for (py::ssize_t i = 0; i < from.size(); ++i) to[i] = static_cast<std::int64_t>(values[i]);
}

// Integers of any type and layout as a new int64 array of the given shape and as many elements,
// each in [0, limit), or -1 for the ignored one. Always a copy: the caller may change its own array
// later, and these have been checked.
py::array checked_copy(const Argument& index, const std::vector<py::ssize_t>& shape,
                       py::ssize_t limit, const char* what, const char* of,
                       std::optional<std::int64_t> ignored = {}) {
  const py::array& from = index.array;
  if (from.size() > 0 && !is_integer_number(type_number(from))) {  // [] is an array of floats
    throw py::type_error(std::string(index.name) + ": expected integers, got type " +
                         py::str(from.dtype()).cast<std::string>() + " of shape " +
                         shape_text(from));
  }
  static const auto* int64 = new py::dtype(py::dtype::of<std::int64_t>());
  py::array copy = new_array(*int64, static_cast<py::ssize_t>(shape.size()), shape.data());
  auto* values = output<std::int64_t>(copy);
  const bool plain = is_c_contiguous(from) && is_native_and_aligned(from);
  if (plain && from.itemsize() == 8) {
    copy_integers<std::int64_t>(from, values);
  } else if (plain && from.itemsize() == 4 && from.dtype().kind() == 'i') {
    copy_integers<std::int32_t>(from, values);
  } else {
    const py::object reshaped = from.attr("reshape")(py::tuple(copy.attr("shape")));
    numpy().attr("copyto")(copy, reshaped, py::arg("casting") = "unsafe");
  }
  for (py::ssize_t i = 0; i < copy.size(); ++i) {
    // (The largest unsigned labels are negative as int64, but no -1.)
    if (ignored && values[i] == *ignored && (values[i] >= 0 || from.dtype().kind() != 'u')) {
      values[i] = -1;
      continue;
    }
    if (values[i] >= 0 && values[i] < limit) continue;
    // Read again from the caller's array: an unsigned label may not fit an int64.
    const auto value = py::str(from.attr("flat").attr("__getitem__")(i)).cast<std::string>();
    throw py::index_error(std::string(index.name) + ": " + what + " " + value + " in row " +
                          std::to_string(i) + " is out of range for " + std::to_string(limit) +
                          " " + of);
  }
  return copy;
}

}  // namespace

py::array checked_indices(const Argument& index, py::ssize_t limit, const char* what,
                          const char* of) {
  return checked_copy(index, shape_of(index.array), limit, what, of);
}

py::array class_indices(py::handle t, const std::vector<py::ssize_t>& shape, py::ssize_t classes,
                        std::optional<std::int64_t> ignored) {
  Argument labels = argument("t", t);
  py::ssize_t rows = 1;
  for (const py::ssize_t n : shape) rows *= n;
  const bool as_indices = labels.array.size() == rows;
  const py::ssize_t ndim = labels.array.ndim();
  const bool is_one_hot = labels.array.size() == rows * classes && ndim > 0 &&
                          labels.array.shape(ndim - 1) == classes &&
                          (!as_indices || ndim > static_cast<py::ssize_t>(shape.size()));
  if (is_one_hot && rows > 0) {
    if (kind_of(labels.array) == Kind::kOther) raise_type(labels);
    const py::object table = labels.array.attr("reshape")(rows, classes);
    labels.array =
        py::reinterpret_steal<py::array>(table.attr("argmax")(py::arg("axis") = 1).release());
  } else if (!as_indices && !is_one_hot) {
    std::vector<py::ssize_t> scores = shape;
    scores.push_back(classes);
    throw py::value_error("t: expected labels of shape " + shape_text(shape) +
                          " or one-hot ones of shape " + shape_text(scores) + ", got shape " +
                          shape_text(labels.array));
  }
  if (rows == 0)
    return new_array(py::dtype::of<std::int64_t>(), static_cast<py::ssize_t>(shape.size()),
                     shape.data());
  return checked_copy(labels, shape, classes, "label", "classes", ignored);
}

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string shape_text(const py::array& array) { return shape_text(shape_of(array)); }

bool same_shape(const py::array& a, const py::array& b) {
  if (a.ndim() != b.ndim()) return false;
  for (py::ssize_t i = 0; i < a.ndim(); ++i) {
    if (a.shape(i) != b.shape(i)) return false;
  }
  return true;
}

void require_same_shape(const Argument& a, const Argument& b) {
  if (same_shape(a.array, b.array)) return;
  throw py::value_error(std::string(b.name) + ": expected shape " + shape_text(a.array) +
                        ", that of " + a.name + ", got " + shape_text(b.array));
}

void require_axis(const Argument& a) {
  if (a.array.ndim() > 0) return;
  throw py::value_error(std::string(a.name) +
                        ": expected an array of at least 1 dimension, got shape ()");
}

double number(const char* name, py::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    throw py::type_error(std::string(name) + ": expected a number, got " +
                         Py_TYPE(object.ptr())->tp_name);
  }
  return value;
}

bool truth(py::handle object) {
  const int result = PyObject_IsTrue(object.ptr());
  if (result < 0) throw py::error_already_set();
  return result != 0;
}

bool same_flat_layout(const std::vector<const py::array*>& arrays) {
  bool all_c = true;
  bool all_f = true;
  for (const py::array* array : arrays) {
    all_c = all_c && is_c_contiguous(*array);
    all_f = all_f && is_f_contiguous(*array);
  }
  return all_c || all_f;
}

void take_gil(PyThreadState* state) noexcept {
  try {
    PyEval_RestoreThread(state);
  } catch (...) {
    // Before 3.14 Python ends a daemon thread here by pthread_exit, which unwinds the stack in C
    // libraries like glibc: through destructors that let go of Python objects without the GIL.
    // Later versions let it hang instead, until the process is gone.
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

bool may_overlap(const py::array& a, const py::array& b) {
  const auto [a_low, a_high] = extent(a);
  const auto [b_low, b_high] = extent(b);
  return a_low < b_high && b_low < a_high;
}

}  // namespace nnext::bindings
