// The plans of matrix products, to look at and to force: for benchmarks/plan.py and the tests.
#include "nnext/plan.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>

#include "module.h"
#include "view.h"

namespace nnext::bindings {
namespace {

constexpr const char* kOrders[] = {"panels", "runs", "columns"};

template <class T>
Plan plan_of(const View& a, const View& b, const View& out) {
  return matmul_plan<T>(matrix_view<const T>(a), matrix_view<const T>(b), matrix_view<T>(out),
                        SumInto::kOverwrite);
}

py::dict plan(py::handle a, py::handle b, py::handle out) {
  const View a_view("a", a);
  const View b_view("b", b);
  const View out_view("out", out);
  const auto type = common_float_type({&a_view, &b_view, &out_view});
  const bool fits = a_view.ndim() == 2 && b_view.ndim() == 2 && out_view.ndim() == 2 &&
                    a_view.shape(1) == b_view.shape(0) && a_view.shape(0) == out_view.shape(0) &&
                    b_view.shape(1) == out_view.shape(1) && out_view.size() > 0;
  if (!type || !fits) {
    throw py::value_error(
        "plan: expected float32 or float64 matrices of a product that is not "
        "empty, and its result, got " +
        shape_text(a_view) + ", " + shape_text(b_view) + " and " + shape_text(out_view));
  }
  const Plan plan = type->is_double ? plan_of<double>(a_view, b_view, out_view)
                                    : plan_of<float>(a_view, b_view, out_view);
  py::dict result;
  result["transposed"] = plan.transposed;
  result["order"] = kOrders[static_cast<int>(plan.order)];
  result["packs_a"] = plan.packs_a;
  result["group_rows"] = plan.group_rows;
  result["packs_b"] = plan.packs_b;
  result["fetches_panels"] = plan.fetches_panels;
  result["fetches_c"] = plan.fetches_c;
  result["tile_vectors"] = plan.tile_vectors;
  result["tile_rows"] = plan.tile_rows;
  result["mc"] = plan.mc;
  result["kc"] = plan.kc;
  result["nc"] = plan.nc;
  result["parts"] = py::make_tuple(plan.row_parts, plan.col_parts);
  return result;
}

// The wish of that name, taken out of those that are left.
template <class T>
std::optional<T> taken(py::dict& wishes, const char* name, T least) {
  if (!wishes.contains(name)) return std::nullopt;
  const py::object wish = wishes.attr("pop")(name);
  try {
    T value = wish.cast<T>();
    if (value < least) throw py::value_error(std::string("wish_plan: ") + name + " is too small");
    return value;
  } catch (const py::cast_error&) {
    throw py::type_error(std::string("wish_plan: ") + name + " cannot be " +
                         py::repr(wish).cast<std::string>());
  }
}

// A product may be reading the wishes of before, so that they are kept for ever: a few bytes each.
void wish_plan(const py::kwargs& kwargs) {
  if (kwargs.empty()) {
    wish(nullptr);
    return;
  }
  py::dict left(kwargs.attr("copy")());
  auto wishes = std::make_unique<PlanWishes>();
  wishes->transposed = taken<bool>(left, "transposed", false);
  wishes->packs_a = taken<bool>(left, "packs_a", false);
  wishes->group_rows = taken<index_t>(left, "group_rows", 1);
  wishes->packs_b = taken<bool>(left, "packs_b", false);
  wishes->fetches_panels = taken<bool>(left, "fetches_panels", false);
  wishes->fetches_c = taken<bool>(left, "fetches_c", false);
  wishes->tile_vectors = taken<int>(left, "tile_vectors", 1);
  wishes->tile_rows = taken<index_t>(left, "tile_rows", 1);
  wishes->mc = taken<index_t>(left, "mc", 1);
  wishes->kc = taken<index_t>(left, "kc", 1);
  wishes->nc = taken<index_t>(left, "nc", 1);
  if (const auto name = taken<std::string>(left, "order", ""); name) {
    const auto* const found = std::find(std::begin(kOrders), std::end(kOrders), *name);
    if (found == std::end(kOrders)) throw py::value_error("wish_plan: there is no order " + *name);
    wishes->order = static_cast<Order>(found - std::begin(kOrders));
  }
  if (!left.empty()) {
    throw py::type_error("wish_plan: a plan has no " + (*left.begin()).first.cast<std::string>());
  }
  wish(wishes.release());
}

}  // namespace

void bind_plan(py::module_& module) {
  module.def("plan", &plan, py::arg("a"), py::arg("b"), py::arg("out"));
  module.def("wish_plan", &wish_plan);
}

}  // namespace nnext::bindings
