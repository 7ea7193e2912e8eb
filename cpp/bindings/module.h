// What each file of the bindings adds to the module.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace nnext::bindings {

// Throws EmptyBatchError, a ValueError: a mean over nothing.
[[noreturn]] void raise_empty_batch(const std::string& message);

void bind_config(pybind11::module_& module);
void bind_matmul(pybind11::module_& module);
void bind_plan(pybind11::module_& module);
void bind_affine(pybind11::module_& module);
void bind_softmax(pybind11::module_& module);
void bind_loss_options(pybind11::module_& module);
void bind_loss_batch(pybind11::module_& module);
void bind_softmax_loss(pybind11::module_& module);
void bind_linear_loss(pybind11::module_& module);
void bind_element_loss(pybind11::module_& module);
void bind_elementwise(pybind11::module_& module);
void bind_embedding(pybind11::module_& module);
void bind_embedding_dot(pybind11::module_& module);
void bind_normalize(pybind11::module_& module);
void bind_recurrent(pybind11::module_& module);
void bind_reduce(pybind11::module_& module);
void bind_optimizer(pybind11::module_& module);

}  // namespace nnext::bindings
