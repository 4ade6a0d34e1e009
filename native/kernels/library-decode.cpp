// Owns a decoding step's attention, and a whole layer of it, as operators of the dispatcher.
#include <ATen/core/List.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <array>
#include <vector>

#include "arguments.h"
#include "choice.h"
#include "products.h"
#include "room.h"

namespace reckon {
namespace {

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

/// What attention reads but for queries, keys and values of the `count` new tokens, all of it checked.
AttentionJob attentionOver(at::ScalarType dtype, int64_t count, int64_t heads, const at::Tensor& rotation, const std::optional<at::Tensor>& norms,
                           double epsilon, at::Tensor& cache, const std::optional<at::Tensor>& prefix, const at::Tensor& places) {
  require(cache, "cache", dtype, 5);
  require(rotation, "rotation", dtype, 3);
  require(places, "places", at::kInt, 2);
  const int64_t groups = cache.size(2), dim = cache.size(4);
  TORCH_CHECK(cache.size(0) == 2, "the cache must be keys and values [2, _, _, _, _], found ", cache.sizes());
  TORCH_CHECK(dim > 0 && dim % 2 == 0, "heads must be of an even width, found ", dim);
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
  const char* const cos = static_cast<const char*>(readable(rotation));
  const AttentionJob job{dtype == at::kFloat ? Element::f32 : Element::bf16, nullptr, cos, cos + count * dim * rotation.element_size(),
                         norms ? readable(*norms) : nullptr, static_cast<float>(epsilon), cache.mutable_data_ptr(), prefix ? readable(*prefix) : nullptr,
                         places.const_data_ptr<int32_t>(), nullptr, count, heads, groups, dim, cache.size(1), cache.size(3),
                         prefix ? prefix->size(1) : 0, prefix ? prefix->size(3) : 0, 1};
  checkPlaces(job);
  return job;
}

/// One head group of one sequence, in memory that its thread keeps.
void attendIn(const AttentionJob& job, int64_t n, int64_t group) {
  thread_local std::vector<float> scratch;
  const auto room = static_cast<size_t>(attentionScratch(job.heads / job.groups, job.dim, job.places[4 * n + 1] + 1));
  if (scratch.size() < room) scratch.resize(room);
  kernels().attend(job, n, group, scratch.data());
}

/// See AttentionJob. The cache is written.
at::Tensor decodeAttention(const at::Tensor& qkv, const at::Tensor& rotation, const std::optional<at::Tensor>& norms, double epsilon,
                           at::Tensor cache, const std::optional<at::Tensor>& prefix, const at::Tensor& places) {
  elementOf(qkv, "qkv");
  require(qkv, "qkv", qkv.scalar_type(), 2);
  require(cache, "cache", qkv.scalar_type(), 5);
  const int64_t count = qkv.size(0), groups = cache.size(2), dim = cache.size(4);
  TORCH_CHECK(dim > 0 && qkv.size(1) % dim == 0, "qkv must be whole heads of width ", dim, ", found ", qkv.size(1));
  const int64_t heads = qkv.size(1) / dim - 2 * groups;
  AttentionJob job = attentionOver(qkv.scalar_type(), count, heads, rotation, norms, epsilon, cache, prefix, places);
  at::Tensor y = at::empty({count, heads * dim}, qkv.options());
  job.qkv = readable(qkv);
  job.y = y.mutable_data_ptr();
  int64_t tokens = 0;
  for (int64_t n = 0; n < count; n++) tokens += job.places[4 * n + 1] + 1;
  const int threads = threadsFor(tokens * heads * dim / 4);
  job.apart = threads;
  auto work = [&](int64_t item) { attendIn(job, item / groups, item % groups); };
  shareWork(count * groups, threads, work);
  return y;
}

/// The four products of a layer, in the order in which they are computed.
enum { kQkv, kOut, kGateUp, kDown, kProducts };

/// Some rows of a layer from its first norm to its last sum, in memory that their thread keeps.
struct LayerRows {
  const AttentionJob& attention;
  const std::array<LinearJob, kProducts>& products;
  float epsilon;
  int64_t bytes;  // of an element

  void operator()(const char* x, char* y, int64_t first, int64_t count) const {
    const KernelTable& table = kernels();
    const Element element = attention.element;
    const int64_t hidden = products[kQkv].ins, wide = products[kGateUp].outs, middle = products[kDown].ins;
    thread_local Room room;
    const int64_t perRow = 2 * hidden + products[kQkv].outs + products[kOut].ins + wide + middle;
    char* at = room.of(count * perRow * bytes + 6 * kLine);
    const auto take = [&](int64_t width) {
      char* const mine = at;
      at += wholeLines(count * width * bytes);
      return mine;
    };
    char *const normed = take(hidden), *const sum = take(hidden), *const qkv = take(products[kQkv].outs), *const attended = take(products[kOut].ins),
         *const both = take(wide), *const gated = take(middle);
    x += first * hidden * bytes;
    y += first * hidden * bytes;
    const auto normalise = [&](const char* from) {
      for (int64_t r = 0; r < count; r++) table.normalise(element, from + r * hidden * bytes, normed + r * hidden * bytes, hidden, epsilon);
    };
    const auto product = [&](int which, const char* from, const char* residual, char* to) {
      LinearJob job = products[which];
      job.x = from, job.residual = residual, job.y = to, job.rows = count;
      table.linear(job, 0, job.outs, 0, count);
    };
    normalise(x);
    product(kQkv, normed, nullptr, qkv);
    AttentionJob job = attention;
    job.qkv = qkv, job.y = attended, job.places += 4 * first, job.count = count;
    job.cos = static_cast<const char*>(job.cos) + first * job.dim * bytes;
    job.sin = static_cast<const char*>(job.sin) + first * job.dim * bytes;
    for (int64_t r = 0; r < count; r++)
      for (int64_t group = 0; group < job.groups; group++) attendIn(job, r, group);
    product(kOut, attended, x, sum);
    normalise(sum);
    product(kGateUp, normed, nullptr, both);
    for (int64_t r = 0; r < count; r++) table.swiglu(element, both + r * wide * bytes, gated + r * middle * bytes, middle);
    product(kDown, gated, sum, y);
  }
};

/// One layer of a decoding step: y = h + down(swiglu(gate_up(norm(h)))), h = x + o(attention(qkv(norm(x)))). `weights` are the
/// packed matrices of these four products, their biases, and the norms of queries and keys; the layer's own norms have no weight.
/// `sizes` are heads and the width of the MLP, `epsilons` those of the layer's norms and of the heads'. Threads share rows, not
/// outputs: a row passes the whole layer on one thread, and nobody waits for another between two products.
at::Tensor decodeLayer(const at::Tensor& x, const c10::List<std::optional<at::Tensor>>& weights, at::IntArrayRef sizes, at::ArrayRef<double> epsilons,
                       const at::Tensor& rotation, at::Tensor cache, const std::optional<at::Tensor>& prefix, const at::Tensor& places) {
  elementOf(x, "x");
  const at::ScalarType dtype = x.scalar_type();
  require(x, "x", dtype, 2);
  TORCH_CHECK(weights.size() == 2 * kProducts + 1, "expected four packed matrices, four biases and one pair of norms, found ", weights.size());
  TORCH_CHECK(sizes.size() == 2 && epsilons.size() == 2, "expected two sizes and two epsilons, found ", sizes.size(), " and ", epsilons.size());
  const int64_t count = x.size(0), hidden = x.size(1), heads = sizes[0], middle = sizes[1];
  const AttentionJob attention = attentionOver(dtype, count, heads, rotation, weights.get(2 * kProducts), epsilons[1], cache, prefix, places);
  const int64_t attended = heads * attention.dim;
  const int64_t shapes[kProducts][2] = {{hidden, attended + 2 * attention.groups * attention.dim}, {attended, hidden}, {hidden, 2 * middle}, {middle, hidden}};
  std::array<LinearJob, kProducts> products;
  for (size_t i = 0; i < kProducts; i++) {
    const std::optional<at::Tensor> weight = weights.get(i);
    TORCH_CHECK(weight, "packed matrix ", i, " is missing");
    products[i] = packedJob(dtype, *weight, std::nullopt, weights.get(kProducts + i), shapes[i][0], shapes[i][1]);
  }
  at::Tensor y = at::empty({count, hidden}, x.options());
  const char* const from = static_cast<const char*>(readable(x));
  char* const to = static_cast<char*>(y.mutable_data_ptr());
  const LayerRows rows{attention, products, static_cast<float>(epsilons[0]), x.element_size()};
  const int threads = at::get_num_threads();
  // As many rows as reading the weights for them again is worth, and still pieces enough that no thread waits long.
  const int64_t pieces = std::max<int64_t>((count + 63) / 64, std::min<int64_t>(threads, (count + 7) / 8));
  const int64_t perPiece = pieces == 0 ? 1 : (count + pieces - 1) / pieces;
  auto work = [&](int64_t piece) { rows(from, to, piece * perPiece, std::min(perPiece, count - piece * perPiece)); };
  shareWork((count + perPiece - 1) / perPiece, threads, work);
  return y;
}

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def(
      "decode_attention(Tensor qkv, Tensor rotation, Tensor? norms, float epsilon, Tensor(a!) cache, Tensor? prefix, Tensor places) -> Tensor");
  library.def(
      "decode_layer(Tensor x, Tensor?[] weights, int[] sizes, float[] epsilons, Tensor rotation, Tensor(a!) cache, Tensor? prefix, Tensor places) -> "
      "Tensor");
}

TORCH_LIBRARY_IMPL(reckon, CPU, library) {
  library.impl("decode_attention", TORCH_FN(reckon::decodeAttention));
  library.impl("decode_layer", TORCH_FN(reckon::decodeLayer));
}
