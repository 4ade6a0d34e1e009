// Owns causal attention of whole sequences as an operator with a gradient. It keeps the rotated queries, keys and values,
// its result, and one number a token and head; no scores and no weights.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <vector>

#include "training-arguments.h"

namespace reckon {
namespace {

CausalJob jobOf(const at::Tensor& qkv, const at::Tensor& starts, const at::Tensor& y, const at::Tensor& logSums) {
  const int64_t heads = y.size(2), dim = y.size(3);
  return {static_cast<const Bf16*>(qkv.const_data_ptr()), starts.defined() ? starts.const_data_ptr<int32_t>() : nullptr,
          static_cast<Bf16*>(y.data_ptr()), logSums.data_ptr<float>(), qkv.size(0), qkv.size(1), heads, (qkv.size(2) - heads) / 2, dim};
}

/// Runs work(sequence, group, scratch) over the groups of all sequences.
template <class W>
void shareGroups(const CausalJob& job, W&& work) {
  auto one = [&](int64_t item) {
    thread_local std::vector<float> scratch;
    constexpr size_t line = 64 / sizeof(float);  // a vector that lies across two cache lines is read twice
    const auto room = static_cast<size_t>(causalScratch(job.length, job.dim)) + line;
    if (scratch.size() < room) scratch.resize(room);
    float* const aligned = scratch.data() + (line - reinterpret_cast<uintptr_t>(scratch.data()) / sizeof(float) % line) % line;
    work(item / job.groups, item % job.groups, aligned);
  };
  shareTeam(job.batch * job.groups, threadsFor(job.batch * job.length * job.heads * job.dim), one);
}

struct CausalAttention : torch::autograd::Function<CausalAttention> {
  /// [B, T, heads, dim] of qkv [B, T, heads + 2 groups, dim]; `starts` [B, T] is the first token that each one sees.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given, int64_t groups, const std::optional<at::Tensor>& from) {
    at::AutoDispatchBelowADInplaceOrView below;
    TORCH_CHECK(given.scalar_type() == at::kBFloat16 && given.dim() == 4, "qkv must be bf16 of 4 dimensions");
    const at::Tensor qkv = operand(given, "qkv");
    const int64_t batch = qkv.size(0), length = qkv.size(1), heads = qkv.size(2) - 2 * groups, dim = qkv.size(3);
    TORCH_CHECK(groups > 0 && heads > 0 && heads % groups == 0, "expected a multiple of ", groups, " heads, found ", heads);
    TORCH_CHECK(dim > 0 && dim % kColumns == 0, "the width of a head must be a multiple of ", kColumns, ", found ", dim);
    const at::Tensor starts = from ? from->contiguous() : at::Tensor();
    if (from) checkStarts(starts, batch, length);
    at::Tensor y = at::empty({batch, length, heads, dim}, qkv.options());
    at::Tensor logSums = at::empty({batch, heads, length}, qkv.options().dtype(at::kFloat));
    const CausalJob job = jobOf(qkv, starts, y, logSums);
    shareGroups(job, [&](int64_t sequence, int64_t group, float* scratch) { training().causal(job, sequence, group, scratch); });
    context->save_for_backward({qkv, starts, y, logSums});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor g = operand(gradients[0], "the gradient");
    at::Tensor gqkv = at::empty_like(saved[0]);
    const CausalSlopes slopes{jobOf(saved[0], saved[1], saved[2], saved[3]), static_cast<const Bf16*>(g.const_data_ptr()),
                              static_cast<Bf16*>(gqkv.mutable_data_ptr())};
    shareGroups(slopes.job, [&](int64_t sequence, int64_t group, float* scratch) { training().causalBack(slopes, sequence, group, scratch); });
    return {gqkv, at::Tensor(), at::Tensor()};
  }

  static void checkStarts(const at::Tensor& starts, int64_t batch, int64_t length) {
    TORCH_CHECK(starts.device().is_cpu() && starts.scalar_type() == at::kInt && starts.dim() == 2 && starts.size(0) == batch && starts.size(1) == length,
                "starts must be i32 [", batch, ", ", length, "] on the CPU");
    const int32_t* const at = starts.const_data_ptr<int32_t>();
    for (int64_t i = 0; i < batch * length; i++)
      TORCH_CHECK(at[i] >= 0 && at[i] <= i % length, "token ", i % length, " cannot see from ", at[i], " on");
  }
};

at::Tensor causalAttention(const at::Tensor& qkv, int64_t groups, const std::optional<at::Tensor>& starts) {
  return CausalAttention::apply(qkv, groups, starts);
}

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) { library.def("causal_attention(Tensor qkv, int groups, Tensor? starts=None) -> Tensor"); }

TORCH_LIBRARY_IMPL(reckon, CompositeImplicitAutograd, library) { library.impl("causal_attention", TORCH_FN(reckon::causalAttention)); }
