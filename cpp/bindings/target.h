// Arrays of the caller that a call overwrites: all of them or none.
#pragma once

#include <initializer_list>
#include <span>

#include "nnext/sum.h"
#include "scalars.h"
#include "view.h"

namespace nnext::bindings {

class Target {
 public:
  // Raises TypeError for what is no array or of a wrong type, ValueError for a read-only array, and
  // with a shape also for a wrong one.
  Target(const char* name, py::handle object);
  Target(const char* name, py::handle object, const Shape& shape);

  // Where the core writes, once prepared.
  const View& array() const { return work_; }
  const View& original() const { return original_; }
  const py::object& object() const { return original_.owner(); }

  // Chooses where the core writes: in place if the array has the type computed in, a layout that
  // `fits`, shares no memory with `inputs`, and nothing that may fail comes after the core; else in
  // a new C-contiguous array, which holds the numbers of this one if the core adds to them.
  void prepare(const ComputeType& type, bool fits, bool may_be_in_place,
               std::span<const View* const> inputs, SumInto into = SumInto::kOverwrite);
  void prepare(const ComputeType& type, bool fits, bool may_be_in_place,
               std::initializer_list<const View*> inputs, SumInto into = SumInto::kOverwrite) {
    prepare(type, fits, may_be_in_place, std::span(inputs.begin(), inputs.size()), into);
  }

  // The same for an array that the core updates: in place, or in a C-contiguous copy of it.
  void prepare_update(const ComputeType& type, bool in_place);

  // Whether what the core computes must be converted to another type: that may raise.
  bool needs_conversion(const ComputeType& type) const;

  // A copy of the array as it is, to put back later.
  View copy() const { return converted(original_, original_.dtype()); }
  void put_back(const View& copy) const noexcept;

  // Raises ValueError if the two share memory, of which one would be written over.
  void require_apart(const Target& other) const;

 private:
  friend void commit(std::span<Target* const> targets);
  void convert();
  void write() const noexcept;

  View original_;
  View work_;
  py::object half_;  // what the result is rounded to, if that is not the original's type alone
};

// Hands over what was computed elsewhere (another type, a layout the core cannot write, an
// overlap). All conversions come first, since they may raise; then bytes are copied. Null pointers
// are passed over.
void commit(std::span<Target* const> targets);
inline void commit(std::initializer_list<Target*> targets) {
  commit(std::span<Target* const>(targets.begin(), targets.size()));
}

// What gradients do with the numbers that their arrays hold, from the argument `accumulate`.
inline SumInto sum_into(py::handle accumulate) {
  return truth(accumulate) ? SumInto::kContinue : SumInto::kOverwrite;
}

// Whether the core may write any of these in place: no conversion is left for after it.
bool may_write_in_place(std::initializer_list<const Target*> targets, const ComputeType& type);

}  // namespace nnext::bindings
