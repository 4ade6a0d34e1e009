// Owns what the operators ask of the tensors they are given, and how they share their work between threads.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/TensorBody.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "pool.h"
#include "table.h"

namespace reckon {

/// Work that takes less than some microseconds is not worth a second thread.
constexpr int64_t kSmallWork = 1 << 15;

inline Element elementOf(const at::Tensor& x, const char* what) {
  if (x.scalar_type() == at::kFloat) return Element::f32;
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, what, " must be f32 or bf16, found ", x.scalar_type());
  return Element::bf16;
}

inline void require(const at::Tensor& x, const char* what, at::ScalarType dtype, int64_t dimensions) {
  TORCH_CHECK(x.device().is_cpu(), what, " must be on the CPU, found ", x.device());
  TORCH_CHECK(x.scalar_type() == dtype, what, " must be ", dtype, ", found ", x.scalar_type());
  TORCH_CHECK(x.dim() == dimensions, what, " must have ", dimensions, " dimensions, found ", x.dim());
  TORCH_CHECK(x.is_contiguous(), what, " must be contiguous");
  TORCH_CHECK(!(x.requires_grad() && c10::GradMode::is_enabled()), what,
              " requires a gradient, and kernels for decoding give none: call them under noGrad");
}

inline const void* readable(const at::Tensor& x) { return x.const_data_ptr(); }

inline int threadsFor(int64_t work) { return work < kSmallWork ? 1 : at::get_num_threads(); }

}  // namespace reckon
