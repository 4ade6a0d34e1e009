// Owns the names of the products with a weight in 8 bit for many rows, which library-int8.cpp has.
#pragma once
#include <ATen/core/TensorBody.h>

#include <optional>

namespace reckon {

/// x [..., ins] * (values [outs, ins] * scales [outs])^T + bias [outs]. The whole numbers are exact in x's dtype; a sum is
/// rounded to it before it is scaled in f32.
at::Tensor int8Product(const at::Tensor& x, const at::Tensor& values, const at::Tensor& scales, const std::optional<at::Tensor>& bias);

/// The gradient of x: (g * scales) * values, over blocks of the weight's columns.
at::Tensor int8InputGradient(const at::Tensor& g, const at::Tensor& values, const at::Tensor& scales);

}  // namespace reckon
