// The options of a softmax loss; see loss_options.h.
#include "loss_options.h"

#include <cmath>
#include <limits>

#include "module.h"
#include "scalars.h"

namespace nnext::bindings {
namespace {

[[noreturn]] void raise_value(const char* name, const char* expected, py::handle got) {
  throw py::value_error(std::string(name) + ": expected " + expected + ", got " +
                        py::repr(got).cast<std::string>());
}

}  // namespace

LossOptions::LossOptions(py::handle reduction, py::handle ignore_label, py::handle label_smoothing,
                         py::handle class_weight, py::handle z_loss, py::handle softcap)
    : reduction_(reduction_of(reduction)) {
  if (!ignore_label.is_none()) ignore_label_ = whole_number("ignore_label", ignore_label);
  smoothing_ = number("label_smoothing", label_smoothing);
  if (!(smoothing_ >= 0 && smoothing_ < 1)) {
    raise_value("label_smoothing", "a number in [0, 1)", label_smoothing);
  }
  if (!class_weight.is_none()) {
    const View weight = argument("class_weight", class_weight);
    compute_type({&weight});  // a type that cannot be a weight raises
    if (weight.ndim() != 1 || weight.size() == 0) {
      throw py::value_error("class_weight: expected shape (C,), one for each class, got " +
                            shape_text(weight));
    }
    class_weight_ = doubles(weight);
    class_weight_f32_.reserve(class_weight_.size());
    for (const double one : class_weight_) {
      const auto rounded = static_cast<float>(one);
      if (std::isinf(rounded) != std::isinf(one) || (rounded == 0) != (one == 0)) {
        raise_value("class_weight", "numbers that float32 can hold", class_weight);
      }
      class_weight_f32_.push_back(rounded);
    }
  }
  z_loss_ = number("z_loss", z_loss);
  if (!(z_loss_ >= 0 && std::isfinite(z_loss_))) {
    raise_value("z_loss", "a finite number of at least 0", z_loss);
  }
  if (!softcap.is_none()) {
    softcap_ = number("softcap", softcap);
    // As a float it must be neither 0 nor infinite.
    constexpr double kMost = std::numeric_limits<float>::max();
    if (!(softcap_ <= kMost && static_cast<float>(softcap_) > 0)) {
      raise_value("softcap", "a finite number above 0 that float32 can hold, or None", softcap);
    }
  }
}

void LossOptions::check_classes(py::ssize_t classes) const {
  const auto count = static_cast<py::ssize_t>(class_weight_.size());
  if (count == 0 || count == classes) return;
  throw py::value_error("class_weight: expected shape (" + std::to_string(classes) +
                        ",), one for each class, got (" + std::to_string(count) + ",)");
}

py::dict LossOptions::as_dict() const {
  py::dict all;
  all["reduction"] = name_of(reduction_);
  all["ignore_label"] = ignore_label_ ? py::object(py::int_(*ignore_label_)) : py::none();
  all["label_smoothing"] = smoothing_;
  all["class_weight"] = py::none();
  if (has_class_weight()) {
    const auto count = static_cast<py::ssize_t>(class_weight_.size());
    const View copy = new_array(py::dtype::of<double>(), 1, &count);
    std::copy(class_weight_.begin(), class_weight_.end(), output<double>(copy));
    all["class_weight"] = copy.owner();
  }
  all["z_loss"] = z_loss_;
  all["softcap"] = softcap_ == 0 ? py::none() : py::object(py::float_(softcap_));
  return all;
}

std::string LossOptions::text() const {
  std::string text;
  const auto add = [&](const std::string& item) { text += (text.empty() ? "" : ", ") + item; };
  const py::dict all = as_dict();
  const auto shown = [&](const char* name) {
    return std::string(name) + "=" + py::repr(all[name]).cast<std::string>();
  };
  if (reduction_ != Reduction::kMean) add(shown("reduction"));
  if (ignore_label_) add(shown("ignore_label"));
  if (smoothing_ != 0) add(shown("label_smoothing"));
  if (has_class_weight()) add(shown("class_weight"));
  if (z_loss_ != 0) add(shown("z_loss"));
  if (softcap_ != 0) add(shown("softcap"));
  return text;
}

namespace {

LossOptions from_dict(const py::dict& all) {
  return {all["reduction"],    all["ignore_label"], all["label_smoothing"],
          all["class_weight"], all["z_loss"],       all["softcap"]};
}

bool equal(const LossOptions& a, py::handle other) {
  if (!py::isinstance<LossOptions>(other)) return false;
  const auto plain = [](py::dict all) {
    if (!py::object(all["class_weight"]).is_none()) {
      all["class_weight"] = all["class_weight"].attr("tolist")();
    }
    return all;
  };
  return plain(a.as_dict()).equal(plain(other.cast<const LossOptions&>().as_dict()));
}

}  // namespace

void bind_loss_options(py::module_& module) {
  py::class_<LossOptions> options(module, "LossOptions");
  options.def(py::init<py::handle, py::handle, py::handle, py::handle, py::handle, py::handle>(),
              py::kw_only(), py::arg("reduction") = "mean", py::arg("ignore_label") = py::none(),
              py::arg("label_smoothing") = 0.0, py::arg("class_weight") = py::none(),
              py::arg("z_loss") = 0.0, py::arg("softcap") = py::none());
  for (const char* name :
       {"reduction", "ignore_label", "label_smoothing", "class_weight", "z_loss", "softcap"}) {
    options.def_property_readonly(
        name, [name](const LossOptions& self) { return py::object(self.as_dict()[name]); });
  }
  options.def("__repr__",
              [](const LossOptions& self) { return "LossOptions(" + self.text() + ")"; });
  options.def("__str__", &LossOptions::text);
  options.def("__eq__", &equal);
  options.def("__copy__", [](const py::object& self) { return self; });
  options.def("__deepcopy__", [](const py::object& self, py::handle) { return self; });
  options.def(py::pickle([](const LossOptions& self) { return self.as_dict(); }, &from_dict));
  // For every protocol: what 0 and 1 do by themselves ends the process in pybind11's base class.
  options.def("__reduce__", [](const py::object& self) {
    return py::make_tuple(py::module_::import("copyreg").attr("__newobj__"),
                          py::make_tuple(py::type::of(self)), self.attr("__getstate__")());
  });
}

}  // namespace nnext::bindings
