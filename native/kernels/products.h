// Owns the names of products that more than one operator goes by; library-packed.cpp, library-product.cpp and
// library-int8.cpp have them.
#pragma once
#include <ATen/core/TensorBody.h>

#include <optional>

#include "table.h"

namespace reckon {

/// The product with a packed matrix as LinearJob has it, checked; rows, x, residual and y are the caller's to fill in.
LinearJob packedJob(at::ScalarType dtype, const at::Tensor& weight, const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias,
                    int64_t ins, int64_t outs);

/// x [..., ins] * weight [outs, ins]^T + bias [outs], the weight in 8 bit where it has scales [outs]. Where the
/// kernels serve whole sequences, a row has the bits that library-packed.cpp's product gives it, whatever other rows there are.
at::Tensor productOf(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias);

/// `productOf` with a weight in 8 bit on any device, by libtorch's product. The whole numbers are exact in x's dtype; a sum
/// is rounded to it before it is scaled in f32.
at::Tensor int8Product(const at::Tensor& x, const at::Tensor& values, const at::Tensor& scales, const std::optional<at::Tensor>& bias);

/// The gradient [rows, ins] of productOf's x from that of the product, g [rows, outs]; `scales` of a weight in 8 bit, or undefined.
at::Tensor inputGradient(const at::Tensor& g, const at::Tensor& weight, const at::Tensor& scales);

/// `inputGradient` with a weight in 8 bit: (g * scales) * values, over blocks of the weight's columns.
at::Tensor int8InputGradient(const at::Tensor& g, const at::Tensor& values, const at::Tensor& scales);

}  // namespace reckon
