// Array arguments and new arrays; see view.h.
#include "view.h"

#include <cstdint>
#include <new>
#include <utility>

#include "nnext/memory.h"

namespace nnext::bindings {
namespace {

using Api = py::detail::npy_api;

// NumPy's type numbers, fixed by its ABI.
constexpr int kNumBool = 0;
constexpr int kNumLastInteger = 10;
constexpr int kNumFloat32 = 11;
constexpr int kNumFloat64 = 12;
constexpr int kNumFloat16 = 23;
constexpr int kNumFirstUser = 256;
constexpr int kForceCast = 0x0010;  // of PyArray_FromAny: as a cast that may lose digits
constexpr int kEnsureCopy = 0x0020;

Kind kind_of(int number, py::handle dtype) {
  if (number == kNumFloat32) return Kind::kFloat32;
  if (number == kNumFloat64) return Kind::kFloat64;
  if (number == kNumBool) return Kind::kBool;
  if (number > 0 && number <= kNumLastInteger) return Kind::kInteger;
  if (number == kNumFloat16) return Kind::kHalf;
  // bfloat16 comes from ml_dtypes, whose type number is given out at run time.
  return number >= kNumFirstUser && py::str(dtype.attr("name")).equal(py::str("bfloat16"))
             ? Kind::kHalf
             : Kind::kOther;
}

py::object numpy() { return py::module_::import("numpy"); }

[[noreturn]] void raise_type(const View& argument) {
  throw py::type_error(std::string(argument.name()) + ": cannot compute with type " +
                       argument.dtype_text() +
                       "; expected float32, float64, float16, bfloat16, integers or booleans");
}

// First byte that an array touches and the one after the last; equal for an empty one.
std::pair<const char*, const char*> extent(const View& array) {
  const char* low = array.data();
  const char* high = low;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    if (array.shape(i) == 0) return {low, low};
    const py::ssize_t reach = (array.shape(i) - 1) * array.strides(i);
    (reach < 0 ? low : high) += reach;
  }
  return {low, high + array.itemsize()};
}

// PyArray_FromAny of the array as it was when the call began.
View from_any(const View& array, const py::object& dtype, int flags) {
  const py::array source = array.private_array();
  const auto result = py::reinterpret_steal<py::object>(Api::get().PyArray_FromAny_(
      source.ptr(), py::object(dtype).release().ptr(), 0, 0, flags, nullptr));
  if (!result) throw py::error_already_set();
  return {array.name(), result};
}

// TypeError for an array of which something is masked: nothing here knows masks.
void refuse_masked(const char* name, py::handle array) {
  if (Py_TYPE(array.ptr()) == Api::get().PyArray_Type_) return;
  const auto masked =
      py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("numpy.ma").ptr()));
  if (!masked || !py::isinstance(array, masked.attr("MaskedArray"))) return;
  if (!masked.attr("is_masked")(array).cast<bool>()) return;
  throw py::type_error(std::string(name) +
                       ": expected an array without masked elements, whose mask would be lost; " +
                       name + ".filled(value) is an array without");
}

// numpy.asarray, whose complaint about a list of rows of unlike lengths names no argument.
py::object as_array(const char* name, py::handle object) {
  try {
    return numpy().attr("asarray")(object);
  } catch (py::error_already_set& error) {
    if (error.type().ptr() != PyExc_ValueError) throw;
    const auto text = py::str(error.value()).cast<std::string>();
    if (text.find("inhomogeneous") == std::string::npos) throw;  // of code of the caller's
    const std::string named = std::string(name) + ": expected rows of equal lengths: " + text;
    py::raise_from(error, PyExc_ValueError, named.c_str());
    throw py::error_already_set();
  }
}

}  // namespace

View::View(const char* name, py::handle array)
    : name_(name), owner_(py::reinterpret_borrow<py::object>(array)) {
  const auto* const proxy = py::detail::array_proxy(array.ptr());
  dtype_ = py::reinterpret_borrow<py::object>(proxy->descr);
  data_ = proxy->data;
  layout_ = Layout(proxy->nd, proxy->dimensions, proxy->strides);
  flags_ = proxy->flags;
  const auto* const descr = py::detail::array_descriptor_proxy(proxy->descr);
  type_number_ = descr->type_num;
  const char order = descr->byteorder;
  // Everything is noted: from here on Python code may run.
  refuse_masked(name, array);
  itemsize_ = dtype().itemsize();
  kind_ = kind_of(type_number_, dtype_);
  size_ = 1;
  for (py::ssize_t i = 0; i < ndim(); ++i) size_ *= shape(i);
  constexpr int kAligned = Api::NPY_ARRAY_ALIGNED_;
  has_native_order_ = order == '=' || order == '|' || dtype_.attr("isnative").cast<bool>();
  is_native_ = (flags_ & kAligned) != 0 && has_native_order_;
  // An aligned array may still step by a part of an element (a field of a record).
  for (py::ssize_t i = 0; itemsize_ > 0 && i < ndim(); ++i) {
    is_native_ = is_native_ && strides(i) % itemsize_ == 0;
  }
}

bool View::is_unsigned() const { return kind_ == Kind::kInteger && type_number_ % 2 == 0; }

py::array View::private_array() const {
  Api& api = Api::get();
  const int flags = is_writeable() ? Api::NPY_ARRAY_WRITEABLE_ : 0;
  auto array = py::reinterpret_steal<py::array>(
      api.PyArray_NewFromDescr_(api.PyArray_Type_, py::object(dtype_).release().ptr(), layout_.ndim,
                                layout_.shape(), layout_.strides(), data_, flags, nullptr));
  if (!array) throw py::error_already_set();
  if (api.PyArray_SetBaseObject_(array.ptr(), py::object(owner_).release().ptr()) != 0) {
    throw py::error_already_set();
  }
  return array;
}

View argument(const char* name, py::handle object) {
  if (Api::get().PyArray_Check_(object.ptr())) return {name, object};
  if (object.is_none()) throw py::type_error(std::string(name) + ": expected an array, got None");
  const py::object array = as_array(name, object);
  View view(name, array);
  if (view.kind() == Kind::kOther && view.ndim() == 0 && py::hasattr(object, "toarray")) {
    throw py::type_error(std::string(name) + ": expected a NumPy array, got the sparse " +
                         Py_TYPE(object.ptr())->tp_name + "; its toarray() gives one");
  }
  return view;
}

ComputeType compute_type(std::initializer_list<const View*> arguments) {
  bool has_double = false;
  bool has_float = false;
  bool mixed_halves = false;
  py::object half;
  for (const View* argument : arguments) {
    switch (argument->kind()) {
      case Kind::kFloat64:
        has_double = true;
        break;
      case Kind::kFloat32:
        has_float = true;
        break;
      case Kind::kHalf: {
        // A result is stored in native byte order, whatever that of the argument.
        const py::object native = argument->dtype().attr("newbyteorder")("=");
        mixed_halves = mixed_halves || (half && !half.equal(native));
        half = native;
        break;
      }
      case Kind::kInteger:
      case Kind::kBool:
        break;
      case Kind::kOther:
        raise_type(*argument);
    }
  }
  if (has_double || (!has_float && !half)) return {true, {}};
  if (has_float || mixed_halves) return {false, {}};
  return {false, half};
}

std::optional<ComputeType> common_float_type(std::initializer_list<const View*> arrays) {
  const Kind kind = (*arrays.begin())->kind();
  if (kind != Kind::kFloat32 && kind != Kind::kFloat64) return {};
  for (const View* array : arrays) {
    if (array->kind() != kind || !array->is_native()) return {};
  }
  return ComputeType{kind == Kind::kFloat64, {}};
}

View operand(const View& array, const ComputeType& type) {
  const Kind wanted = type.is_double ? Kind::kFloat64 : Kind::kFloat32;
  if (array.kind() == wanted && array.is_native()) return array;
  return from_any(array, float_type(type.is_double),
                  kForceCast | kEnsureCopy | Api::NPY_ARRAY_ALIGNED_);
}

View contiguous_operand(const View& array, const ComputeType& type) {
  return contiguous(operand(array, type));
}

View contiguous(const View& array) {
  if (array.is_c_contiguous()) return array;
  return from_any(array, array.dtype(), py::array::c_style);
}

View converted(const View& array, const py::dtype& dtype) {
  return from_any(array, dtype,
                  kForceCast | kEnsureCopy | Api::NPY_ARRAY_ALIGNED_ | py::array::c_style);
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

[[noreturn]] void raise_no_memory(const py::dtype& dtype, const Shape& shape) {
  PyErr_Format(PyExc_MemoryError, "cannot allocate an array of shape %s and type %S",
               shape_text(shape).c_str(), dtype.ptr());
  throw py::error_already_set();
}

}  // namespace

View new_array(const py::dtype& dtype, py::ssize_t ndim, const py::ssize_t* shape) {
  Api& api = Api::get();
  py::dtype descr = dtype;
  // Overflow is left to NumPy, which says "array is too big".
  auto bytes = static_cast<double>(dtype.itemsize());
  for (py::ssize_t i = 0; i < ndim; ++i) bytes *= static_cast<double>(shape[i]);
  void* memory = nullptr;
  py::object base;
  if (bytes >= static_cast<double>(kSmallestBlock) && bytes < 0x1p62) {
    const auto whole = static_cast<std::size_t>(bytes);
    Block* block = nullptr;
    try {
      block = new Block{take_block(whole), whole};
    } catch (const std::bad_alloc&) {
      raise_no_memory(dtype, {shape, shape + ndim});
    }
    memory = block->memory;
    base = py::reinterpret_steal<py::object>(PyCapsule_New(block, nullptr, &release_block));
    if (!base) {
      give_block(block->memory, block->bytes);
      delete block;
      throw py::error_already_set();
    }
  }
  auto result = py::reinterpret_steal<py::object>(api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descr.release().ptr(), static_cast<int>(ndim), shape, nullptr, memory,
      memory == nullptr ? 0 : Api::NPY_ARRAY_WRITEABLE_, nullptr));
  if (!result) throw py::error_already_set();
  if (base && api.PyArray_SetBaseObject_(result.ptr(), base.release().ptr()) != 0) {
    throw py::error_already_set();
  }
  return {"result", result};
}

View new_array(const ComputeType& type, py::ssize_t ndim, const py::ssize_t* shape) {
  return new_array(float_type(type.is_double), ndim, shape);
}

// Types that are asked for in every call, made once and never freed: they must outlive any static
// destructor that could run after the interpreter.
const py::dtype& float_type(bool is_double) {
  static const auto* types =
      new std::pair<py::dtype, py::dtype>(py::dtype::of<float>(), py::dtype::of<double>());
  return is_double ? types->second : types->first;
}

const py::dtype& int64_type() {
  static const auto* type = new py::dtype(py::dtype::of<std::int64_t>());
  return *type;
}

py::array finished(const View& result, const ComputeType& type) {
  if (!type.half) return py::reinterpret_borrow<py::array>(result.owner());
  return py::reinterpret_steal<py::array>(result.owner().attr("astype")(type.half).release());
}

std::string shape_text(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string shape_text(const View& array) { return shape_text(shape_of(array)); }

bool same_shape(const View& a, const View& b) {
  return std::equal(a.shape(), a.shape() + a.ndim(), b.shape(), b.shape() + b.ndim());
}

void require_same_shape(const View& a, const View& b) {
  if (same_shape(a, b)) return;
  throw py::value_error(std::string(b.name()) + ": expected shape " + shape_text(a) + ", that of " +
                        a.name() + ", got " + shape_text(b));
}

void require_axis(const View& a) {
  if (a.ndim() > 0) return;
  throw py::value_error(std::string(a.name()) +
                        ": expected an array of at least 1 dimension, got shape ()");
}

bool same_flat_layout(std::initializer_list<const View*> arrays) {
  const auto all = [&](auto is) { return std::all_of(arrays.begin(), arrays.end(), is); };
  return all([](const View* a) { return a->is_c_contiguous(); }) ||
         all([](const View* a) { return a->is_f_contiguous(); });
}

bool may_overlap(const View& a, const View& b) {
  const auto [a_low, a_high] = extent(a);
  const auto [b_low, b_high] = extent(b);
  return a_low < b_high && b_low < a_high;
}

}  // namespace nnext::bindings
