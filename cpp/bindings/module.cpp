// The compiled module: the list of its parts.
#include "module.h"

#include <exception>
#include <new>
#include <typeinfo>

#include "nnext/caches.h"
#include "nnext/dispatch.h"
#include "nnext/threads.h"

namespace {

// MemoryError in words: the standard library's own exceptions hold no more than their names.
void translate_no_memory(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::bad_alloc& error) {
    const bool wordless = typeid(error) == typeid(std::bad_alloc) ||
                          typeid(error) == typeid(std::bad_array_new_length);
    PyErr_SetString(PyExc_MemoryError, wordless ? "nnext: not enough memory" : error.what());
  }
}

}  // namespace

// PyInit__nnext, which Python calls, is below.
PYBIND11_MODULE(_nnext_of_main_interpreter, module) {
  using namespace nnext::bindings;
  nnext::isa_in_use();   // an instruction set that NNEXT_ISA names and is not there fails here,
  nnext::num_threads();  // NNEXT_NUM_THREADS that is no number of threads,
  nnext::caches();       // and NNEXT_CACHES that does not say caches
  pybind11::register_local_exception_translator(&translate_no_memory);
  module.doc() = "The compiled core of nnext; use it through the package.";
  bind_config(module);
  bind_matmul(module);
  bind_plan(module);
  bind_affine(module);
  bind_softmax(module);
  bind_loss_options(module);
  bind_loss_batch(module);
  bind_softmax_loss(module);
  bind_linear_loss(module);
  bind_element_loss(module);
  bind_elementwise(module);
  bind_embedding(module);
  bind_embedding_dot(module);
  bind_normalize(module);
  bind_recurrent(module);
  bind_reduce(module);
  bind_optimizer(module);
}

// Before pybind11 does anything: its first step waits, in a sub-interpreter and for ever, for the
// GIL that the thread itself holds.
// NOLINTNEXTLINE(bugprone-reserved-identifier): Python gives the name.
extern "C" PYBIND11_EXPORT PyObject* PyInit__nnext() {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "nnext cannot be imported in a sub-interpreter: NumPy and pybind11 work in the "
                    "main one alone. Start a process instead (multiprocessing)");
    return nullptr;
  }
  return PyInit__nnext_of_main_interpreter();
}
