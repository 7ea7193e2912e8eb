// Letting go of Python's lock while the core works.
#pragma once

#include <Python.h>

namespace nnext::bindings {

// Takes the GIL back; does not return to a thread that finds the interpreter at its end.
void take_gil(PyThreadState* state) noexcept;

// Releases the GIL for its lifetime when the work (element operations, roughly) lasts longer than
// letting go and taking back: about 0.1 us, against some 10 us for this many. NNEXT_CHECK_GIL (make
// check-python) releases it for any work, so that tests with small arrays find what touches Python
// without it.
class MaybeReleaseGil {
 public:
  explicit MaybeReleaseGil(double work) {
#if defined(NNEXT_CHECK_GIL)
    constexpr double kLeast = -1;
#else
    constexpr double kLeast = 20000;
#endif
    if (work > kLeast) state_ = PyEval_SaveThread();
  }
  MaybeReleaseGil(const MaybeReleaseGil&) = delete;
  MaybeReleaseGil& operator=(const MaybeReleaseGil&) = delete;
  ~MaybeReleaseGil() {
    if (state_ != nullptr) take_gil(state_);
  }

 private:
  PyThreadState* state_ = nullptr;
};

}  // namespace nnext::bindings
