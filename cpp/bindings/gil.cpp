// Taking Python's lock back; see gil.h.
#include "gil.h"

#include <chrono>
#include <thread>

namespace nnext::bindings {

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

}  // namespace nnext::bindings
