// Owns what the operators of training share: the checks of what they are given, whose gradient they have, and the cutting
// of rows into pieces of work.
#pragma once
#include <torch/csrc/autograd/custom_function.h>

#include "arguments.h"
#include "choice.h"
#include "team.h"
#include "training-table.h"

namespace reckon {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

inline const TrainingTable& training() { return *kernels().training; }

/// A contiguous tensor on the CPU in f32 or bf16.
inline at::Tensor operand(const at::Tensor& x, const char* what) {
  TORCH_CHECK(x.device().is_cpu(), what, " must be on the CPU, found ", x.device());
  elementOf(x, what);
  TORCH_CHECK(x.dim() > 0, what, " must have a dimension");
  return x.contiguous();
}

inline const char* bytesOf(const at::Tensor& x) { return static_cast<const char*>(x.const_data_ptr()); }
inline char* bytesIn(at::Tensor& x) { return static_cast<char*>(x.mutable_data_ptr()); }

/// Runs work(row) over rows of `width` elements, in pieces that are worth handing to a thread.
template <class W>
void shareRows(int64_t rows, int64_t width, W&& work) {
  const int64_t piece = std::max<int64_t>(1, kSmallWork / std::max<int64_t>(width, 1));
  auto some = [&](int64_t item) {
    const int64_t end = std::min(rows, (item + 1) * piece);
    for (int64_t row = item * piece; row < end; row++) work(row);
  };
  shareTeam((rows + piece - 1) / piece, threadsFor(rows * width), some);
}

}  // namespace reckon
