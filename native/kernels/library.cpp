// Owns the row-wise kernels of decoding as operators of the dispatcher, under `reckon::`: checks what they are given, shares
// the work between threads, and refuses inputs whose gradient somebody wants.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "arguments.h"
#include "choice.h"

namespace reckon {
namespace {

/// x / rms(x) over the last dimension, without a weight.
at::Tensor normalise(const at::Tensor& x, double epsilon) {
  const Element element = elementOf(x, "x");
  require(x, "x", x.scalar_type(), 2);
  at::Tensor y = at::empty(x.sizes(), x.options());
  const int64_t rows = x.size(0), width = x.size(1), stride = width * x.element_size();
  const char* const from = static_cast<const char*>(readable(x));
  char* const to = static_cast<char*>(y.mutable_data_ptr());
  auto work = [&](int64_t row) { kernels().normalise(element, from + row * stride, to + row * stride, width, static_cast<float>(epsilon)); };
  shareWork(rows, threadsFor(rows * width), work);
  return y;
}

/// silu(gate) * up for [gate, up] side by side in the last dimension.
at::Tensor swiglu(const at::Tensor& both) {
  const Element element = elementOf(both, "both");
  require(both, "both", both.scalar_type(), 2);
  TORCH_CHECK(both.size(1) % 2 == 0, "the last dimension must be even, found ", both.size(1));
  const int64_t rows = both.size(0), width = both.size(1) / 2, stride = width * both.element_size();
  at::Tensor y = at::empty({rows, width}, both.options());
  const char* const from = static_cast<const char*>(readable(both));
  char* const to = static_cast<char*>(y.mutable_data_ptr());
  auto work = [&](int64_t row) { kernels().swiglu(element, from + 2 * row * stride, to + row * stride, width); };
  shareWork(rows, threadsFor(rows * width * 2), work);
  return y;
}

}  // namespace
}  // namespace reckon

// The gradient check stands in the kernels themselves, so the same function serves with and without autograd's keys.
TORCH_LIBRARY(reckon, library) {
  library.def("normalise(Tensor x, float epsilon) -> Tensor");
  library.def("swiglu(Tensor both) -> Tensor");
}

TORCH_LIBRARY_IMPL(reckon, CPU, library) {
  library.impl("normalise", TORCH_FN(reckon::normalise));
  library.impl("swiglu", TORCH_FN(reckon::swiglu));
}
