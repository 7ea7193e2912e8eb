// What each file of the bindings adds to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace nnext::bindings {

void bind_config(pybind11::module_& module);
void bind_matmul(pybind11::module_& module);
void bind_affine(pybind11::module_& module);
void bind_softmax(pybind11::module_& module);
void bind_cross_entropy(pybind11::module_& module);
void bind_elementwise(pybind11::module_& module);
void bind_embedding(pybind11::module_& module);
void bind_reduce(pybind11::module_& module);
void bind_optimizer(pybind11::module_& module);

}  // namespace nnext::bindings
