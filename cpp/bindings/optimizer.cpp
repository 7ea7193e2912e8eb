// Optimizer steps over lists of arrays: all are checked and all memory is had before the first is
// updated, all conversions are done before the first is handed over.
#include "nnext/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "gil.h"
#include "module.h"
#include "nnext/reduce.h"
#include "scalars.h"
#include "target.h"

namespace nnext::bindings {
namespace {

// One list of arrays of the caller: params, grads or a list of an optimizer's state.
struct List {
  const char* name;
  py::handle object;
  bool written;
  std::deque<std::string> names{};  // of the elements, "params[0]": views point to them, they stay
  std::vector<Target> targets{};    // of a list that is written
  std::vector<View> views{};        // of one that is read

  const View& at(std::size_t i) const { return written ? targets[i].original() : views[i]; }
  std::size_t size() const { return names.size(); }
};

// A number for all parameters; or, from a list, one for each.
class Numbers {
 public:
  Numbers(const char* name, py::handle object) : name_(name) {
    is_list_ = PyTuple_Check(object.ptr()) || PyList_Check(object.ptr());
    if (!is_list_) {
      values_.push_back(number(name, object));
      return;
    }
    // A tuple of its own: reading a number may run Python code that changes the caller's list.
    const auto items = py::reinterpret_steal<py::object>(PySequence_Tuple(object.ptr()));
    if (!items) throw py::error_already_set();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.ptr()); ++i) {
      values_.push_back(number(name, PyTuple_GET_ITEM(items.ptr(), i)));
    }
  }

  // Of parameter i.
  double operator[](std::size_t i) const { return values_[is_list_ ? i : 0]; }

  void require(std::size_t params) const {
    if (is_list_ && values_.size() != params) {
      throw py::value_error(std::string(name_) + ": expected a number, or " +
                            std::to_string(params) + " of them, one for each of params, got " +
                            std::to_string(values_.size()));
    }
  }

 private:
  const char* name_;
  bool is_list_;
  std::vector<double> values_{};
};

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
  // Room for those of a model. Where a whole array came in place of a list its first item is
  // refused, and there may be no memory for a target (2 KB) for each.
  constexpr Py_ssize_t kUsual = 64;
  const auto room = static_cast<std::size_t>(std::min(n, kUsual));
  if (list.written) {
    list.targets.reserve(room);
  } else {
    list.views.reserve(room);
  }
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* const item = PyTuple_GET_ITEM(items.ptr(), i);
    const char* const name =
        list.names.emplace_back(std::string(list.name) + "[" + std::to_string(i) + "]").c_str();
    if (list.written) {
      list.targets.emplace_back(name, item);
    } else {
      list.views.push_back(argument(name, item));
      compute_type({&list.views.back()});
    }
  }
}

// Reads all lists and checks that each holds arrays of the shapes of the first, and that there are
// as many numbers.
void read_all(std::initializer_list<List*> lists, std::initializer_list<const Numbers*> numbers) {
  const List& first = **lists.begin();
  for (List* list : lists) {
    read(*list);
    if (list->size() != first.size()) {
      throw py::value_error(std::string(list->name) + ": expected " + std::to_string(first.size()) +
                            " arrays, one for each of " + first.name + ", got " +
                            std::to_string(list->size()));
    }
    for (std::size_t i = 0; i < list->size(); ++i) require_same_shape(first.at(i), list->at(i));
  }
  for (const Numbers* list : numbers) list->require(first.size());
}

// The arrays at one place of N lists, as the core takes them.
template <std::size_t N>
struct Work {
  ComputeType type;
  std::array<View, N> arrays;
};

// Whether two of the arrays may share memory, as the parameters of two layers do that share a
// weight.
bool any_may_overlap(const List& list) {
  for (std::size_t i = 1; i < list.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (may_overlap(list.at(i), list.at(j))) return true;
    }
  }
  return false;
}

// Cold, else GCC 12 keeps `together` apart from its callers: 3 % of an update of 40 arrays, 6 % of
// 4 under Adam (Zen 5 EPYC).
template <std::size_t N, class Step>
[[gnu::cold, gnu::noinline]] void in_turn(List* const (&lists)[N], const Step& step);

// Calls step(pointers of the i-th array of every list, n, i) for each i of a range: on the arrays
// themselves where all have the parameter's type and one layout, else on contiguous copies that are
// written back at the end. Copies of parameters that share memory would each lack the others'
// steps.
template <std::size_t N, class Step>
void together(List* const (&lists)[N], const Step& step, std::size_t first, std::size_t count) {
  std::vector<Work<N>> all(count);
  // Nothing may be written in place where a conversion that may fail is still to come.
  bool in_place = true;
  bool all_direct = true;
  for (std::size_t i = 0; i < count; ++i) {
    all[i].type = compute_type({&lists[0]->at(first + i)});
    all[i].type.half = py::object();  // rounded by commit
    for (List* const list : lists) {
      in_place =
          in_place && !(list->written && list->targets[first + i].needs_conversion(all[i].type));
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    Work<N>& work = all[i];
    bool direct = in_place;
    for (std::size_t j = 0; j < N; ++j) {
      const View& given = lists[j]->at(first + i);
      work.arrays[j] = operand(given, work.type);
      direct = direct && (!lists[j]->written || work.arrays[j].data() == given.data());
    }
    direct = direct && [&work]<std::size_t... J>(std::index_sequence<J...>) {
      return same_flat_layout({&work.arrays[J]...});
    }(std::make_index_sequence<N>());
    // One pass over shifted views of one memory would read what it has just written.
    for (std::size_t j = 1; direct && j < N; ++j) {
      for (std::size_t l = 0; l < j; ++l) {
        direct = direct && !may_overlap(work.arrays[l], work.arrays[j]);
      }
    }
    all_direct = all_direct && direct;
    for (std::size_t j = 0; j < N; ++j) {
      if (lists[j]->written) {
        Target& target = lists[j]->targets[first + i];
        target.prepare_update(work.type, direct);
        work.arrays[j] = target.array();
      } else if (!direct) {
        work.arrays[j] = contiguous(work.arrays[j]);
      }
    }
  }
  if (!all_direct && count > 1 && any_may_overlap(*lists[0])) {
    in_turn(lists, step);
    return;
  }
  std::vector<Target*> targets;
  for (List* const list : lists) {
    for (std::size_t i = 0; list->written && i < count; ++i) {
      targets.push_back(&list->targets[first + i]);
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const Work<N>& work = all[i];
    with_type(work.type, [&](auto zero) {
      using T = decltype(zero);
      T* data[N];
      for (std::size_t j = 0; j < N; ++j) data[j] = output<T>(work.arrays[j]);
      const MaybeReleaseGil release(static_cast<double>(work.arrays[0].size()));
      step(data, static_cast<index_t>(work.arrays[0].size()), first + i);
    });
  }
  commit(targets);
}

// The same one after another, each on what the one before has written. If one fails, all is put
// back.
template <std::size_t N, class Step>
void in_turn(List* const (&lists)[N], const Step& step) {
  std::vector<std::pair<const Target*, View>> before;
  for (const List* const list : lists) {
    for (const Target& target : list->targets) before.emplace_back(&target, target.copy());
  }
  try {
    for (std::size_t i = 0; i < lists[0]->size(); ++i) together(lists, step, i, 1);
  } catch (...) {
    for (const auto& [target, copy] : before) target->put_back(copy);
    throw;
  }
}

template <std::size_t N, class Step>
void for_each_parameter(List* const (&lists)[N], const Step& step) {
  together(lists, step, 0, lists[0]->size());
}

void sgd_any(py::handle params, py::handle grads, py::handle lr_object, py::handle decay_object) {
  const Numbers lr("lr", lr_object);
  const Numbers decay("decay", decay_object);
  List p{"params", params, true};
  List g{"grads", grads, false};
  read_all({&p, &g}, {&lr, &decay});
  List* const lists[] = {&p, &g};
  for_each_parameter(
      lists, [&](auto& at, index_t n, std::size_t i) { sgd(at[0], at[1], n, lr[i], decay[i]); });
}

// The optimizers with one array of state to a parameter: step(p, g, state, n, i).
template <class Step>
void with_one_state(py::handle params, py::handle grads, const char* name, py::handle state,
                    std::initializer_list<const Numbers*> numbers, const Step& step) {
  List p{"params", params, true};
  List g{"grads", grads, false};
  List s{name, state, true};
  read_all({&p, &g, &s}, numbers);
  List* const lists[] = {&p, &g, &s};
  for_each_parameter(lists,
                     [&](auto& at, index_t n, std::size_t i) { step(at[0], at[1], at[2], n, i); });
}

// momentum, nesterov and book_nesterov: compute(p, g, v, n, lr, momentum, decay).
template <class Compute>
void velocity_any(py::handle params, py::handle grads, py::handle v, py::handle lr_object,
                  py::handle momentum_object, py::handle decay_object, const Compute& compute) {
  const Numbers lr("lr", lr_object);
  const Numbers rate("momentum", momentum_object);
  const Numbers decay("decay", decay_object);
  with_one_state(params, grads, "v", v, {&lr, &rate, &decay},
                 [&](auto* p, auto* g, auto* s, index_t n, std::size_t i) {
                   compute(p, g, s, n, lr[i], rate[i], decay[i]);
                 });
}

void momentum_any(py::handle params, py::handle grads, py::handle v, py::handle lr, py::handle rate,
                  py::handle decay) {
  velocity_any(params, grads, v, lr, rate, decay, [](auto... all) { momentum(all...); });
}

void nesterov_any(py::handle params, py::handle grads, py::handle v, py::handle lr, py::handle rate,
                  py::handle decay) {
  velocity_any(params, grads, v, lr, rate, decay, [](auto... all) { nesterov(all...); });
}

void book_nesterov_any(py::handle params, py::handle grads, py::handle v, py::handle lr,
                       py::handle rate, py::handle decay) {
  velocity_any(params, grads, v, lr, rate, decay, [](auto... all) { book_nesterov(all...); });
}

void adagrad_any(py::handle params, py::handle grads, py::handle h, py::handle lr_object,
                 py::handle eps_object, py::handle decay_object) {
  const Numbers lr("lr", lr_object);
  const Numbers eps("eps", eps_object);
  const Numbers decay("decay", decay_object);
  with_one_state(params, grads, "h", h, {&lr, &eps, &decay},
                 [&](auto* p, auto* g, auto* s, index_t n, std::size_t i) {
                   adagrad(p, g, s, n, lr[i], eps[i], decay[i]);
                 });
}

void rmsprop_any(py::handle params, py::handle grads, py::handle h, py::handle lr_object,
                 py::handle decay_rate_object, py::handle eps_object, py::handle decay_object) {
  const Numbers lr("lr", lr_object);
  const Numbers decay_rate("decay_rate", decay_rate_object);
  const Numbers eps("eps", eps_object);
  const Numbers decay("decay", decay_object);
  with_one_state(params, grads, "h", h, {&lr, &decay_rate, &eps, &decay},
                 [&](auto* p, auto* g, auto* s, index_t n, std::size_t i) {
                   rmsprop(p, g, s, n, lr[i], decay_rate[i], eps[i], decay[i]);
                 });
}

void adam_any(py::handle params, py::handle grads, py::handle m_object, py::handle v_object,
              py::handle step_object, py::handle beta1_object, py::handle beta2_object,
              py::handle eps_object, py::handle scale_object, py::handle decay_object) {
  const Numbers step_size("step_size", step_object);
  const Numbers beta1("beta1", beta1_object);
  const Numbers beta2("beta2", beta2_object);
  const Numbers eps("eps", eps_object);
  const Numbers v_scale("v_scale", scale_object);
  const Numbers decay("decay", decay_object);
  List p{"params", params, true};
  List g{"grads", grads, false};
  List m{"m", m_object, true};
  List v{"v", v_object, true};
  read_all({&p, &g, &m, &v}, {&step_size, &beta1, &beta2, &eps, &v_scale, &decay});
  List* const lists[] = {&p, &g, &m, &v};
  for_each_parameter(lists, [&](auto& at, index_t n, std::size_t i) {
    adam(at[0], at[1], at[2], at[3], n, step_size[i], beta1[i], beta2[i], eps[i], v_scale[i],
         decay[i]);
  });
}

double clip_any(py::handle grads, py::handle max_norm_object) {
  const double max_norm = number("max_norm", max_norm_object);
  if (!(max_norm > 0)) {
    throw py::value_error("max_norm: expected a positive number, got " + number_text(max_norm));
  }
  List g{"grads", grads, true};
  read_all({&g}, {});
  List* const lists[] = {&g};
  std::vector<View> values;
  values.reserve(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) {
    values.push_back(contiguous_operand(g.at(i), compute_type({&g.at(i)})));
  }
  const auto squares_of = [&values]<class T>(T, double factor) {
    double squares = 0;
    for (const View& array : values) {
      if ((array.kind() == Kind::kFloat64) != (sizeof(T) == sizeof(double))) continue;
      const MaybeReleaseGil release(static_cast<double>(array.size()));
      squares += sum_of_squares<T>(input<T>(array), array.size(), factor);
    }
    return squares;
  };
  const double of_floats = squares_of(float{}, 1.0);  // which need no factor, and no second pass
  const double norm = norm_of(
      [&](double factor) { return of_floats * factor * factor + squares_of(double{}, factor); });
  const double rate = max_norm / (norm + 1e-6);
  if (rate < 1) {
    for_each_parameter(lists, [&](auto& at, index_t n, std::size_t) {
      using T = std::remove_pointer_t<std::remove_reference_t<decltype(at[0])>>;
      if (rate >= std::numeric_limits<T>::min()) {
        scale(at[0], n, static_cast<T>(rate));
        return;
      }
      // A factor that T can only hold with digits lost; what it turns into anything is large.
      scale(at[0], n, T{0x1p-64});
      scale(at[0], n, static_cast<T>(rate * 0x1p64));
    });
  }
  return norm;
}

}  // namespace

void bind_optimizer(py::module_& module) {
  module.def("sgd_update", &sgd_any, py::arg("params"), py::arg("grads"), py::arg("lr"),
             py::arg("decay") = 0.0);
  module.def("momentum_update", &momentum_any, py::arg("params"), py::arg("grads"), py::arg("v"),
             py::arg("lr"), py::arg("momentum"), py::arg("decay") = 0.0);
  module.def("nesterov_update", &nesterov_any, py::arg("params"), py::arg("grads"), py::arg("v"),
             py::arg("lr"), py::arg("momentum"), py::arg("decay") = 0.0);
  module.def("book_nesterov_update", &book_nesterov_any, py::arg("params"), py::arg("grads"),
             py::arg("v"), py::arg("lr"), py::arg("momentum"), py::arg("decay") = 0.0);
  module.def("adagrad_update", &adagrad_any, py::arg("params"), py::arg("grads"), py::arg("h"),
             py::arg("lr"), py::arg("eps"), py::arg("decay") = 0.0);
  module.def("rmsprop_update", &rmsprop_any, py::arg("params"), py::arg("grads"), py::arg("h"),
             py::arg("lr"), py::arg("decay_rate"), py::arg("eps"), py::arg("decay") = 0.0);
  module.def("adam_update", &adam_any, py::arg("params"), py::arg("grads"), py::arg("m"),
             py::arg("v"), py::arg("step_size"), py::arg("beta1"), py::arg("beta2"), py::arg("eps"),
             py::arg("v_scale"), py::arg("decay") = 0.0);
  module.def("clip_grads", &clip_any, py::arg("grads"), py::arg("max_norm"));
}

}  // namespace nnext::bindings
