// Owns the operators that draw tokens: checks what they are given and shares the rows between threads.
#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "choice.h"
#include "arguments.h"
#include "pool.h"

namespace reckon {
namespace {

void requireRows(const at::Tensor& logits, const at::Tensor& uniforms, double temperature) {
  require(logits, "logits", logits.scalar_type(), 2);
  require(uniforms, "uniforms", at::kFloat, 1);
  TORCH_CHECK(uniforms.size(0) == logits.size(0), "expected ", logits.size(0), " uniform numbers, found ", uniforms.size(0));
  TORCH_CHECK(logits.size(1) > 0 && temperature >= 0, "expected a vocabulary, and a temperature of 0 or more, found ", temperature);
}

/// One id a row of logits [rows, vocabulary] at its uniform number, and its log-probability at the temperature; the
/// likeliest, and its log-probability at temperature 1, for temperature 0. -1 and NaN where no logit is finite or one is no number.
std::tuple<at::Tensor, at::Tensor> sample(const at::Tensor& logits, const at::Tensor& uniforms, double temperature) {
  const Element element = elementOf(logits, "logits");
  requireRows(logits, uniforms, temperature);
  const int64_t rows = logits.size(0), vocabulary = logits.size(1), stride = vocabulary * logits.element_size();
  at::Tensor ids = at::empty({rows}, logits.options().dtype(at::kInt));
  at::Tensor logps = at::empty({rows}, uniforms.options());
  int32_t* const id = ids.mutable_data_ptr<int32_t>();
  float* const logp = logps.mutable_data_ptr<float>();
  const float* const u = uniforms.const_data_ptr<float>();
  const char* const from = static_cast<const char*>(readable(logits));
  auto work = [&](int64_t row) {
    const Sampled drawn = kernels().sample({element, from + row * stride, vocabulary, static_cast<float>(temperature), u[row]});
    id[row] = drawn.id;
    logp[row] = drawn.logp;
  };
  shareWork(rows, threadsFor(rows * vocabulary * 4), work);
  return {ids, logps};
}

/// The ids of a list, checked; null for none.
const int32_t* idsOf(const std::optional<at::Tensor>& list, const char* what, int64_t dimensions, int64_t vocabulary) {
  if (!list) return nullptr;
  require(*list, what, at::kInt, dimensions);
  const int32_t* const ids = list->const_data_ptr<int32_t>();
  for (int64_t i = 0; i < list->numel(); i++)
    TORCH_CHECK(ids[i] >= 0 && ids[i] < vocabulary, what, " holds the id ", ids[i], ", and the vocabulary has ", vocabulary);
  return ids;
}

/// See DrawJob and Drawn: ids and kept counts [2, rows] (i32); log-probabilities, sampling ones, plain ones and entropies
/// [4, rows] (the last two only with statistics); the likeliest ids and their log-probabilities [rows, alternatives].
/// `seen` [rows, S], `biased` and `bias` [B], `banned` [K] for the rows that `early` [rows] (i32) marks.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> draw(
    const at::Tensor& logits, const at::Tensor& uniforms, double temperature, int64_t topK, double topP, double minP, double penalty,
    const std::optional<at::Tensor>& seen, const std::optional<at::Tensor>& biased, const std::optional<at::Tensor>& bias,
    const std::optional<at::Tensor>& banned, const std::optional<at::Tensor>& early, int64_t alternatives) {
  const Element element = elementOf(logits, "logits");
  requireRows(logits, uniforms, temperature);
  const int64_t rows = logits.size(0), vocabulary = logits.size(1), stride = vocabulary * logits.element_size();
  const int32_t* const seenIds = idsOf(seen, "seen", 2, vocabulary);
  const int32_t* const biasedIds = idsOf(biased, "biased", 1, vocabulary);
  const int32_t* const bannedIds = idsOf(banned, "banned", 1, vocabulary);
  TORCH_CHECK(!seen || seen->size(0) == rows, "seen must have a row for each of ", rows);
  TORCH_CHECK(biased.has_value() == bias.has_value() && banned.has_value() == early.has_value(), "biased and bias, banned and early go together");
  if (bias) {
    require(*bias, "bias", at::kFloat, 1);
    TORCH_CHECK(bias->size(0) == biased->size(0), "expected ", biased->size(0), " biases, found ", bias->size(0));
  }
  if (early) {
    require(*early, "early", at::kInt, 1);
    TORCH_CHECK(early->size(0) == rows, "early must have ", rows, " elements, found ", early->size(0));
  }
  TORCH_CHECK(minP >= 0 && minP <= 1, "min-p must be from 0 to 1, found ", minP);
  TORCH_CHECK(alternatives >= -1 && alternatives <= vocabulary, "a vocabulary of ", vocabulary, " has no ", alternatives, " alternatives");
  const int64_t listed = std::max<int64_t>(alternatives, 0);
  at::Tensor integers = at::empty({2, rows}, logits.options().dtype(at::kInt));
  at::Tensor floats = at::empty({4, rows}, uniforms.options());
  at::Tensor likeliest = at::empty({rows, listed}, integers.options());
  at::Tensor likeliestLogps = at::empty({rows, listed}, uniforms.options());
  int32_t* const whole = integers.mutable_data_ptr<int32_t>();
  float* const real = floats.mutable_data_ptr<float>();
  auto work = [&](int64_t row) {
    thread_local std::vector<float> scratch;
    if (scratch.size() < static_cast<size_t>(2 * vocabulary)) scratch.resize(static_cast<size_t>(2 * vocabulary));
    const int64_t seenCount = seen ? seen->size(1) : 0;
    DrawJob job{};
    job.element = element;
    job.logits = static_cast<const char*>(readable(logits)) + row * stride;
    job.vocabulary = vocabulary;
    job.temperature = static_cast<float>(temperature);
    job.uniform = uniforms.const_data_ptr<float>()[row];
    job.topK = topK;
    job.topP = topP;
    job.minP = static_cast<float>(minP);
    job.penalty = static_cast<float>(penalty);
    job.seen = seenIds + row * seenCount;
    job.seenCount = seenCount;
    job.biased = biasedIds;
    job.bias = bias ? bias->const_data_ptr<float>() : nullptr;
    job.biasCount = bias ? bias->size(0) : 0;
    job.banned = bannedIds;
    job.bannedCount = early && early->const_data_ptr<int32_t>()[row] != 0 ? banned->size(0) : 0;
    job.alternatives = alternatives;
    job.likeliest = likeliest.mutable_data_ptr<int32_t>() + row * listed;
    job.likeliestLogps = likeliestLogps.mutable_data_ptr<float>() + row * listed;
    const Drawn drawn = kernels().draw(job, scratch.data(), scratch.data() + vocabulary);
    whole[row] = drawn.id;
    whole[rows + row] = drawn.kept;
    const float values[] = {drawn.logp, drawn.samplingLogp, drawn.plainLogp, drawn.entropy};
    for (int64_t i = 0; i < 4; i++) real[i * rows + row] = values[i];
  };
  shareWork(rows, threadsFor(rows * vocabulary * 16), work);
  return {integers, floats, likeliest, likeliestLogps};
}

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def("sample(Tensor logits, Tensor uniforms, float temperature) -> (Tensor, Tensor)");
  library.def(
      "draw(Tensor logits, Tensor uniforms, float temperature, int top_k, float top_p, float min_p, float penalty, Tensor? seen, "
      "Tensor? biased, Tensor? bias, Tensor? banned, Tensor? early, int alternatives) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(reckon, CPU, library) {
  library.impl("sample", TORCH_FN(reckon::sample));
  library.impl("draw", TORCH_FN(reckon::draw));
}
