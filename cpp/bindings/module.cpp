// The compiled module: the list of its parts.
#include "module.h"

#include "nnext/dispatch.h"

PYBIND11_MODULE(_nnext, module) {
  using namespace nnext::bindings;
  nnext::isa_in_use();  // an instruction set that NNEXT_ISA names and is not there fails here
  module.doc() = "The compiled core of nnext; use it through the package.";
  bind_config(module);
  bind_matmul(module);
  bind_affine(module);
  bind_softmax(module);
  bind_loss_options(module);
  bind_loss_batch(module);
  bind_softmax_loss(module);
  bind_linear_loss(module);
  bind_elementwise(module);
  bind_embedding(module);
  bind_reduce(module);
  bind_optimizer(module);
}
