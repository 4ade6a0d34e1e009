// Owns the log-probabilities of tokens and the entropies of their distributions as operators of training, with their gradient:
// logits are read as they came, and nothing as large as they are is kept beside them.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "training-arguments.h"

namespace reckon {
namespace {

using Terms = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

void checkTokens(const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  elementOf(logits, "logits");
  TORCH_CHECK(logits.device().is_cpu() && logits.dim() == 2 && logits.is_contiguous() && logits.size(1) > 0,
              "logits must be rows on the CPU, side by side, found ", logits.sizes(), " on ", logits.device());
  TORCH_CHECK(targets.device().is_cpu() && targets.scalar_type() == at::kLong && targets.is_contiguous() && targets.dim() == 1 && targets.size(0) == logits.size(0),
              "targets must be a whole number for each of ", logits.size(0), " rows, found ", targets.scalar_type(), " ", targets.sizes(), " on ",
              targets.device());
  TORCH_CHECK(temperature > 0, "the temperature must be above 0, found ", temperature);
  const int64_t* const id = targets.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < targets.size(0); row++)
    TORCH_CHECK(id[row] >= 0 && id[row] < logits.size(1), "target ", id[row], " of row ", row, " is none of ", logits.size(1), " ids");
}

/// Of logits [N, V] / temperature: each target's log-probability, the entropy, and the logarithm of the sum of exponentials, f32 [N].
Terms computed(const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  checkTokens(logits, targets, temperature);
  const Element element = elementOf(logits, "logits");
  const int64_t rows = logits.size(0), width = logits.size(1), stride = width * logits.element_size();
  const auto make = [&] { return at::empty({rows}, logits.options().dtype(at::kFloat)); };
  at::Tensor logps = make(), entropies = make(), norms = make();
  float *const logp = logps.mutable_data_ptr<float>(), *const entropy = entropies.mutable_data_ptr<float>(), *const norm = norms.mutable_data_ptr<float>();
  const char* const from = bytesOf(logits);
  const int64_t* const id = targets.const_data_ptr<int64_t>();
  shareRows(rows, width, [&](int64_t row) {
    const TokenTerms terms = training().terms(element, from + row * stride, width, static_cast<float>(temperature), id[row]);
    logp[row] = terms.logp, entropy[row] = terms.entropy, norm[row] = terms.norm;
  });
  return {logps, entropies, norms};
}

/// The gradient of the logits, written to `to`, which may be the logits themselves; one that is not defined is 0.
void writeSlopes(const at::Tensor& logits, const at::Tensor& targets, double temperature, const at::Tensor& entropies, const at::Tensor& norms,
                 const at::Tensor& forLogps, const at::Tensor& forEntropies, at::Tensor& to) {
  const Element element = elementOf(logits, "logits");
  const int64_t rows = logits.size(0), width = logits.size(1), stride = width * logits.element_size();
  const auto numbers = [&](const at::Tensor& values, const char* what) -> const float* {
    if (!values.defined()) return nullptr;
    require(values, what, at::kFloat, 1);
    TORCH_CHECK(values.size(0) == rows, what, " must be one for each of ", rows, " rows, found ", values.sizes());
    return values.const_data_ptr<float>();
  };
  const float *const entropy = numbers(entropies, "entropies"), *const norm = numbers(norms, "norms");
  const float *const logp = numbers(forLogps, "the log-probabilities' gradient"), *const slope = numbers(forEntropies, "the entropies' gradient");
  const char* const from = bytesOf(logits);
  char* const target = bytesIn(to);
  const int64_t* const id = targets.const_data_ptr<int64_t>();
  shareRows(rows, width, [&](int64_t row) {
    const TermSlopes job{from + row * stride, width, static_cast<float>(temperature), id[row], {0, entropy[row], norm[row]}, logp ? logp[row] : 0,
                         slope ? slope[row] : 0};
    training().termSlopes(element, job, target + row * stride);
  });
}

struct TokenTermsOf : torch::autograd::Function<TokenTermsOf> {
  static variable_list forward(AutogradContext* context, const at::Tensor& given, const at::Tensor& targets, double temperature) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor logits = operand(given, "logits");
    auto [logps, entropies, norms] = computed(logits, targets, temperature);
    context->save_for_backward({logits, targets, entropies, norms});
    context->saved_data["temperature"] = temperature;
    context->mark_non_differentiable({norms});
    return {logps, entropies, norms};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    at::Tensor to = at::empty_like(saved[0]);
    const auto own = [](const at::Tensor& g) { return g.defined() ? g.contiguous() : g; };
    writeSlopes(saved[0], saved[1], context->saved_data["temperature"].toDouble(), saved[2], saved[3], own(gradients[0]), own(gradients[1]), to);
    return {to, at::Tensor(), at::Tensor()};
  }
};

Terms tokenTerms(const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  const variable_list all = TokenTermsOf::apply(logits, targets, temperature);
  return {all[0], all[1], all[2]};
}

/// Overwrites the logits with their gradient.
at::Tensor tokenSlopes(at::Tensor logits, const at::Tensor& targets, double temperature, const at::Tensor& entropies, const at::Tensor& norms,
                       const std::optional<at::Tensor>& forLogps, const std::optional<at::Tensor>& forEntropies) {
  checkTokens(logits, targets, temperature);
  writeSlopes(logits, targets, temperature, entropies, norms, forLogps.value_or(at::Tensor()), forEntropies.value_or(at::Tensor()), logits);
  return logits;
}

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def("token_terms(Tensor logits, Tensor targets, float temperature) -> (Tensor, Tensor, Tensor)");
  library.def(
      "token_slopes_(Tensor(a!) logits, Tensor targets, float temperature, Tensor entropies, Tensor norms, Tensor? logps, Tensor? by_entropies) -> "
      "Tensor(a!)");
}

TORCH_LIBRARY_IMPL(reckon, CompositeImplicitAutograd, library) {
  library.impl("token_terms", TORCH_FN(reckon::tokenTerms));
}

TORCH_LIBRARY_IMPL(reckon, CPU, library) {
  library.impl("token_slopes_", TORCH_FN(reckon::tokenSlopes));
}
