// Owns the gated SiLU of whole sequences and its gradient, which more than one operator computes.
#pragma once
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "training-arguments.h"

namespace reckon {

/// silu(gate) * up for [gate, up] side by side in the last dimension, contiguous.
inline at::Tensor gated(const at::Tensor& both) {
  TORCH_CHECK(both.size(-1) % 2 == 0, "the last dimension must be even, found ", both.size(-1));
  std::vector<int64_t> shape = both.sizes().vec();
  shape.back() /= 2;
  at::Tensor y = at::empty(shape, both.options());
  const Element element = elementOf(both, "both");
  const int64_t width = shape.back(), stride = width * both.element_size();
  const char* const from = bytesOf(both);
  char* const to = bytesIn(y);
  shareRows(both.numel() / std::max<int64_t>(2 * width, 1), 2 * width,
            [&](int64_t row) { kernels().swiglu(element, from + 2 * row * stride, to + row * stride, width); });
  return y;
}

/// The gradient of [gate, up] from that of `gated`, both contiguous.
inline at::Tensor gatedSlopes(const at::Tensor& both, const at::Tensor& g) {
  at::Tensor gboth = at::empty_like(both);
  const Element element = elementOf(both, "both");
  const int64_t width = both.size(-1) / 2, stride = width * both.element_size();
  const char *const x = bytesOf(both), *const slopes = bytesOf(g);
  char* const to = bytesIn(gboth);
  shareRows(both.numel() / std::max<int64_t>(2 * width, 1), 2 * width, [&](int64_t row) {
    training().swigluBack(element, x + 2 * row * stride, slopes + row * stride, to + 2 * row * stride, width);
  });
  return gboth;
}

}  // namespace reckon
