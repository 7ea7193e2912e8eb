// Optimizer steps over lists of arrays: all are checked, then all are updated.
#include "nnext/optimizer.h"

#include "arrays.h"
#include "module.h"
#include "nnext/reduce.h"

namespace nnext::bindings {
namespace {

// One list of arrays of the caller: params, grads or a list of an optimizer's state.
struct List {
  const char* name;
  py::handle object;
  bool written;
  std::vector<py::array> arrays{};
};

std::string element_name(const List& list, std::size_t i) {
  return std::string(list.name) + "[" + std::to_string(i) + "]";
}

void read(List& list) {
  // A tuple of its own: reading an item may run Python code that changes the caller's list.
  const auto items = py::reinterpret_steal<py::object>(PySequence_Tuple(list.object.ptr()));
  if (!items) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    throw py::type_error(std::string(list.name) + ": expected a list of arrays, got " +
                         Py_TYPE(list.object.ptr())->tp_name);
  }
  const Py_ssize_t n = PyTuple_GET_SIZE(items.ptr());
  list.arrays.reserve(static_cast<std::size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    const std::string name = element_name(list, static_cast<std::size_t>(i));
    PyObject* item = PyTuple_GET_ITEM(items.ptr(), i);
    Argument one = argument(name.c_str(), item);
    if (list.written) {
      const Target check(name.c_str(), item, shape_of(one.array));
    } else {
      compute_type({&one});
    }
    list.arrays.push_back(one.array);
  }
}

// Reads all lists and checks that each holds arrays of the shapes of the first.
void read_all(std::initializer_list<List*> lists) {
  const List& first = **lists.begin();
  for (List* list : lists) {
    read(*list);
    if (list->arrays.size() != first.arrays.size()) {
      throw py::value_error(std::string(list->name) + ": expected " +
                            std::to_string(first.arrays.size()) + " arrays, one for each of " +
                            first.name + ", got " + std::to_string(list->arrays.size()));
    }
    for (std::size_t i = 0; i < list->arrays.size(); ++i) {
      if (same_shape(list->arrays[i], first.arrays[i])) continue;
      throw py::value_error(element_name(*list, i) + ": expected shape " +
                            shape_text(first.arrays[i]) + ", that of " + element_name(first, i) +
                            ", got " + shape_text(list->arrays[i]));
    }
  }
}

// Calls step(T, pointers of the i-th array of every list, n) for each i: on the arrays themselves
// where all have the parameter's type and one layout, else on contiguous copies written back.
template <std::size_t N, class Step>
void for_each_parameter(List* const (&lists)[N], const Step& step) {
  for (std::size_t i = 0; i < lists[0]->arrays.size(); ++i) {
    const Argument parameter{"params", lists[0]->arrays[i]};
    const ComputeType type = compute_type({&parameter});
    py::array work[N];
    bool direct = true;
    for (std::size_t j = 0; j < N; ++j) {
      work[j] = operand({lists[j]->name, lists[j]->arrays[i]}, type);
      direct = direct && (work[j].ptr() == lists[j]->arrays[i].ptr() || !lists[j]->written);
    }
    std::vector<const py::array*> together;
    for (const py::array& array : work) together.push_back(&array);
    direct = direct && same_flat_layout(together);
    // One pass over shifted views of one memory would read what it has just written.
    for (std::size_t j = 1; direct && j < N; ++j) {
      for (std::size_t l = 0; l < j; ++l) direct = direct && !may_overlap(work[l], work[j]);
    }
    if (!direct) {
      for (std::size_t j = 0; j < N; ++j) {
        py::array copy = new_like(type, work[j]);
        py::module_::import("numpy").attr("copyto")(copy, work[j]);
        work[j] = copy;
      }
    }
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      T* data[N];
      for (std::size_t j = 0; j < N; ++j) data[j] = output<T>(work[j]);
      const MaybeReleaseGil release(static_cast<double>(work[0].size()));
      step(data, static_cast<index_t>(work[0].size()));
    });
    if (direct) continue;
    for (std::size_t j = 0; j < N; ++j) {
      if (!lists[j]->written) continue;
      py::module_::import("numpy").attr("copyto")(lists[j]->arrays[i], work[j],
                                                  py::arg("casting") = "same_kind");
    }
  }
}

void sgd_any(py::handle params, py::handle grads, py::handle lr_object) {
  const double lr = number("lr", lr_object);
  List p{"params", params, true};
  List g{"grads", grads, false};
  read_all({&p, &g});
  List* const lists[] = {&p, &g};
  for_each_parameter(lists, [&](auto& at, index_t n) { sgd(at[0], at[1], n, lr); });
}

// The optimizers with one array of state to a parameter: step(p, g, state, n).
template <class Step>
void with_one_state(py::handle params, py::handle grads, const char* name, py::handle state,
                    const Step& step) {
  List p{"params", params, true};
  List g{"grads", grads, false};
  List s{name, state, true};
  read_all({&p, &g, &s});
  List* const lists[] = {&p, &g, &s};
  for_each_parameter(lists, [&](auto& at, index_t n) { step(at[0], at[1], at[2], n); });
}

void momentum_any(py::handle params, py::handle grads, py::handle v, py::handle lr_object,
                  py::handle momentum_object) {
  const double lr = number("lr", lr_object);
  const double rate = number("momentum", momentum_object);
  with_one_state(params, grads, "v", v,
                 [&](auto* p, auto* g, auto* s, index_t n) { momentum(p, g, s, n, lr, rate); });
}

void nesterov_any(py::handle params, py::handle grads, py::handle v, py::handle lr_object,
                  py::handle momentum_object) {
  const double lr = number("lr", lr_object);
  const double rate = number("momentum", momentum_object);
  with_one_state(params, grads, "v", v,
                 [&](auto* p, auto* g, auto* s, index_t n) { nesterov(p, g, s, n, lr, rate); });
}

void book_nesterov_any(py::handle params, py::handle grads, py::handle v, py::handle lr_object,
                       py::handle momentum_object) {
  const double lr = number("lr", lr_object);
  const double rate = number("momentum", momentum_object);
  with_one_state(params, grads, "v", v, [&](auto* p, auto* g, auto* s, index_t n) {
    book_nesterov(p, g, s, n, lr, rate);
  });
}

void adagrad_any(py::handle params, py::handle grads, py::handle h, py::handle lr_object,
                 py::handle eps_object) {
  const double lr = number("lr", lr_object);
  const double eps = number("eps", eps_object);
  with_one_state(params, grads, "h", h,
                 [&](auto* p, auto* g, auto* s, index_t n) { adagrad(p, g, s, n, lr, eps); });
}

void rmsprop_any(py::handle params, py::handle grads, py::handle h, py::handle lr_object,
                 py::handle decay_object, py::handle eps_object) {
  const double lr = number("lr", lr_object);
  const double decay = number("decay_rate", decay_object);
  const double eps = number("eps", eps_object);
  with_one_state(params, grads, "h", h, [&](auto* p, auto* g, auto* s, index_t n) {
    rmsprop(p, g, s, n, lr, decay, eps);
  });
}

void adam_any(py::handle params, py::handle grads, py::handle m_object, py::handle v_object,
              py::handle step_object, py::handle beta1_object, py::handle beta2_object,
              py::handle eps_object, py::handle scale_object, py::handle decay_object) {
  const double step_size = number("step_size", step_object);
  const double beta1 = number("beta1", beta1_object);
  const double beta2 = number("beta2", beta2_object);
  const double eps = number("eps", eps_object);
  const double v_scale = number("v_scale", scale_object);
  const double decay = number("decay", decay_object);
  List p{"params", params, true};
  List g{"grads", grads, false};
  List m{"m", m_object, true};
  List v{"v", v_object, true};
  read_all({&p, &g, &m, &v});
  List* const lists[] = {&p, &g, &m, &v};
  for_each_parameter(lists, [&](auto& at, index_t n) {
    adam(at[0], at[1], at[2], at[3], n, step_size, beta1, beta2, eps, v_scale, decay);
  });
}

double clip_any(py::handle grads, py::handle max_norm_object) {
  const double max_norm = number("max_norm", max_norm_object);
  if (!(max_norm > 0)) {
    throw py::value_error("max_norm: expected a positive number, got " + std::to_string(max_norm));
  }
  List g{"grads", grads, true};
  read_all({&g});
  List* const lists[] = {&g};
  const double norm = norm_of([&](double factor) {
    double squares = 0;
    for (const py::array& array : g.arrays) {
      const Argument gradient{"grads", array};
      const ComputeType type = compute_type({&gradient});
      const py::array values = contiguous_operand(gradient, type);
      squares += with_type(type, [&](auto zero) {
        using T = decltype(zero);
        return sum_of_squares<T>(input<T>(values), values.size(), factor);
      });
    }
    return squares;
  });
  const double rate = max_norm / (norm + 1e-6);
  if (rate < 1) {
    for_each_parameter(lists, [&](auto& at, index_t n) {
      using T = std::remove_pointer_t<std::remove_reference_t<decltype(at[0])>>;
      scale(at[0], n, static_cast<T>(rate));
    });
  }
  return norm;
}

}  // namespace

void bind_optimizer(py::module_& module) {
  module.def("sgd_update", &sgd_any, py::arg("params"), py::arg("grads"), py::arg("lr"));
  module.def("momentum_update", &momentum_any, py::arg("params"), py::arg("grads"), py::arg("v"),
             py::arg("lr"), py::arg("momentum"));
  module.def("nesterov_update", &nesterov_any, py::arg("params"), py::arg("grads"), py::arg("v"),
             py::arg("lr"), py::arg("momentum"));
  module.def("book_nesterov_update", &book_nesterov_any, py::arg("params"), py::arg("grads"),
             py::arg("v"), py::arg("lr"), py::arg("momentum"));
  module.def("adagrad_update", &adagrad_any, py::arg("params"), py::arg("grads"), py::arg("h"),
             py::arg("lr"), py::arg("eps"));
  module.def("rmsprop_update", &rmsprop_any, py::arg("params"), py::arg("grads"), py::arg("h"),
             py::arg("lr"), py::arg("decay_rate"), py::arg("eps"));
  module.def("adam_update", &adam_any, py::arg("params"), py::arg("grads"), py::arg("m"),
             py::arg("v"), py::arg("step_size"), py::arg("beta1"), py::arg("beta2"), py::arg("eps"),
             py::arg("v_scale"), py::arg("decay"));
  module.def("clip_grads", &clip_any, py::arg("grads"), py::arg("max_norm"));
}

}  // namespace nnext::bindings
