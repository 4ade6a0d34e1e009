// Owns the kernels as operators of the dispatcher, under `reckon::`: checks what they are given, shares the work between
// threads, and refuses inputs whose gradient somebody wants.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

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

void checkPlaces(const AttentionJob& job) {
  for (int64_t n = 0; n < job.count; n++) {
    const int32_t* const place = job.places + 4 * n;
    const int64_t own = static_cast<int64_t>(place[1]) - place[3];
    TORCH_CHECK(place[0] >= 0 && place[0] < job.slots, "sequence ", n, " has no slot ", place[0], " in a cache of ", job.slots);
    TORCH_CHECK(own >= 0 && own < job.capacity, "sequence ", n, " stands at ", own, " of its slot, which holds ", job.capacity);
    TORCH_CHECK(place[3] >= 0 && place[3] <= job.prefixCapacity, "sequence ", n, " has a prefix of ", place[3], ", the cache holds ",
                job.prefixCapacity);
    TORCH_CHECK(place[3] == 0 || (place[2] >= 0 && place[2] < job.prefixes), "sequence ", n, " has no prefix ", place[2]);
  }
}

/// See AttentionJob. The cache is written.
at::Tensor decodeAttention(const at::Tensor& qkv, const at::Tensor& rotation, const std::optional<at::Tensor>& norms, double epsilon,
                           at::Tensor cache, const std::optional<at::Tensor>& prefix, const at::Tensor& places) {
  const Element element = elementOf(qkv, "qkv");
  const at::ScalarType dtype = qkv.scalar_type();
  require(qkv, "qkv", dtype, 2);
  require(cache, "cache", dtype, 5);
  require(rotation, "rotation", dtype, 3);
  require(places, "places", at::kInt, 2);
  const int64_t count = qkv.size(0), groups = cache.size(2), dim = cache.size(4);
  TORCH_CHECK(dim > 0 && dim % 2 == 0 && qkv.size(1) % dim == 0, "qkv must be whole heads of an even width ", dim, ", found ", qkv.size(1));
  const int64_t heads = qkv.size(1) / dim - 2 * groups;
  TORCH_CHECK(heads > 0 && groups > 0 && heads % groups == 0, "expected a multiple of ", groups, " heads, found ", heads);
  TORCH_CHECK(rotation.size(0) == 2 && rotation.size(1) == count && rotation.size(2) == dim, "rotation must be [2, ", count, ", ", dim, "]");
  TORCH_CHECK(places.size(0) == count && places.size(1) == 4, "places must be [", count, ", 4]");
  if (norms) {
    require(*norms, "norms", dtype, 2);
    TORCH_CHECK(norms->size(0) == 2 && norms->size(1) == dim, "norms must be [2, ", dim, "]");
  }
  if (prefix) {
    require(*prefix, "prefix", dtype, 5);
    TORCH_CHECK(prefix->size(0) == 2 && prefix->size(2) == groups && prefix->size(4) == dim, "prefix must be [2, _, ", groups, ", _, ", dim, "]");
  }
  at::Tensor y = at::empty({count, heads * dim}, qkv.options());
  const AttentionJob job{element, readable(qkv), readable(rotation), norms ? readable(*norms) : nullptr, static_cast<float>(epsilon),
                         cache.mutable_data_ptr(), prefix ? readable(*prefix) : nullptr, places.const_data_ptr<int32_t>(),
                         y.mutable_data_ptr(), count, heads, groups, dim, cache.size(1), cache.size(3),
                         prefix ? prefix->size(1) : 0, prefix ? prefix->size(3) : 0};
  checkPlaces(job);
  int64_t tokens = 0;
  for (int64_t n = 0; n < count; n++) tokens += job.places[4 * n + 1] + 1;
  auto work = [&](int64_t item) {
    thread_local std::vector<float> scratch;
    const int64_t n = item / groups;
    const auto room = static_cast<size_t>(attentionScratch(heads / groups, dim, job.places[4 * n + 1] + 1));
    if (scratch.size() < room) scratch.resize(room);
    kernels().attend(job, n, item % groups, scratch.data());
  };
  shareWork(count * groups, threadsFor(tokens * heads * dim / 4), work);
  return y;
}

}  // namespace
}  // namespace reckon

// The gradient check stands in the kernels themselves, so the same function serves with and without autograd's keys.
TORCH_LIBRARY(reckon, library) {
  library.def("normalise(Tensor x, float epsilon) -> Tensor");
  library.def("swiglu(Tensor both) -> Tensor");
  library.def(
      "decode_attention(Tensor qkv, Tensor rotation, Tensor? norms, float epsilon, Tensor(a!) cache, Tensor? prefix, Tensor places) -> Tensor");
}

TORCH_LIBRARY_IMPL(reckon, CPU, library) {
  library.impl("normalise", TORCH_FN(reckon::normalise));
  library.impl("swiglu", TORCH_FN(reckon::swiglu));
  library.impl("decode_attention", TORCH_FN(reckon::decodeAttention));
}
