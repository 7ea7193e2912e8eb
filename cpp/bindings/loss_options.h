// The options of a softmax loss: checked when they are made, and never changed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nnext/cross_entropy.h"
#include "row_weights.h"
#include "view.h"

namespace nnext::bindings {

class LossOptions {
 public:
  // ValueError for a value out of its range, TypeError for one of a wrong type.
  LossOptions(py::handle reduction, py::handle ignore_label, py::handle label_smoothing,
              py::handle class_weight, py::handle z_loss, py::handle softcap);

  Reduction reduction() const { return reduction_; }
  std::optional<std::int64_t> ignore_label() const { return ignore_label_; }
  bool has_class_weight() const { return !class_weight_.empty(); }
  double softcap() const { return softcap_; }  // 0: none

  // ValueError unless there are no class weights or one for each class.
  void check_classes(py::ssize_t classes) const;

  // The terms of a row's loss, as the core has them; class weights belong to this.
  template <class T>
  LossTerms<T> terms(py::ssize_t classes) const {
    LossTerms<T> terms;
    terms.weight_sum = static_cast<double>(classes);
    if (has_class_weight()) {
      terms.class_weight = weights<T>().data();
      terms.weight_sum = weight_sum<T>();
    }
    terms.smoothing = smoothing_;
    terms.z_loss = z_loss_;
    terms.softcap = static_cast<T>(softcap_);
    return terms;
  }

  // As Python sees them: the arguments of the constructor, by name.
  py::dict as_dict() const;
  std::string text() const;  // those off their defaults, "label_smoothing=0.1, softcap=3.0"

 private:
  template <class T>
  const std::vector<T>& weights() const {
    if constexpr (sizeof(T) == 4) {
      return class_weight_f32_;
    } else {
      return class_weight_;
    }
  }
  template <class T>
  double weight_sum() const {
    double sum = 0;
    for (const T w : weights<T>()) sum += static_cast<double>(w);
    return sum;
  }

  Reduction reduction_ = Reduction::kMean;
  std::optional<std::int64_t> ignore_label_;
  double smoothing_ = 0;
  std::vector<double> class_weight_;  // empty: 1 for each class
  std::vector<float> class_weight_f32_;
  double z_loss_ = 0;
  double softcap_ = 0;
};

}  // namespace nnext::bindings

// How every function takes LossOptions: an object that `__new__` made alone holds none, and
// pybind11 would hand over memory that nobody has written. To be seen wherever LossOptions are
// bound or taken.
template <>
class pybind11::detail::type_caster<nnext::bindings::LossOptions>
    : public type_caster_base<nnext::bindings::LossOptions> {
 public:
  // NOLINTNEXTLINE(bugprone-derived-method-shadowing-base-method): how casters are specialised
  bool load(handle source, bool convert) {
    return this->template load_impl<type_caster>(source, convert);
  }

 private:
  friend class type_caster_generic;
  void load_value(value_and_holder&& holder) {
    if (!holder.holder_constructed()) {
      throw type_error(
          "options: expected LossOptions, got an object whose __init__ was not called");
    }
    // NOLINTNEXTLINE(performance-move-const-arg): an rvalue is what it takes
    type_caster_generic::load_value(std::move(holder));
  }
};
