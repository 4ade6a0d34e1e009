// Owns packed matrices as operators of the dispatcher: laying a weight out, and the product with it.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstring>

#include "arguments.h"
#include "choice.h"
#include "products.h"

namespace reckon {
namespace {

/// One block of whole numbers, which stay so: its rows' groups, `Word` each, side by side.
template <class Word>
void packBlock(const char* weight, int64_t rows, int64_t rowBytes, int64_t groups, char* to) {
  constexpr int64_t bytes = sizeof(Word), stretch = 64 / bytes;
  for (int64_t first = 0; first < groups; first += stretch) {
    const int64_t count = std::min(stretch, groups - first);
    for (int64_t row = 0; row < rows; row++) {
      const char* const from = weight + row * rowBytes + first * bytes;
      const int64_t there = std::min(count, (rowBytes - first * bytes) / bytes);
      char* const target = to + (first * kBlockOuts + row) * bytes;
      for (int64_t g = 0; g < there; g++) memcpy(target + g * kBlockOuts * bytes, from + g * bytes, bytes);
      // The last group's second input where their number is odd.
      const int64_t rest = there < count ? (rowBytes - first * bytes) % bytes : 0;
      if (rest > 0) memcpy(target + there * kBlockOuts * bytes, from + there * bytes, static_cast<size_t>(rest));
    }
  }
}

/// A weight [outs, ins] as [blocks, groups, kBlockOuts, pair], `pair` inputs a group, with zeros where outputs and inputs end.
at::Tensor pack(const at::Tensor& weight, int64_t pair) {
  TORCH_CHECK(weight.device().is_cpu() && weight.dim() == 2, "expected a matrix on the CPU to pack, found one of ", weight.dim(), " dimensions on ",
              weight.device());
  TORCH_CHECK(pair == 1 || pair == 2, "inputs are packed one by one or in pairs, found ", pair);
  const at::Tensor own = weight.detach().contiguous();
  const int64_t outs = own.size(0), ins = own.size(1), element = own.element_size(), bytes = pair * element;
  const int64_t blocks = (outs + kBlockOuts - 1) / kBlockOuts, groups = (ins + pair - 1) / pair;
  TORCH_CHECK(element == 1 || bytes == 4, "a group of inputs has 4 bytes, or those of 8 bit, found ", bytes);
  at::Tensor packed = at::empty({blocks, groups, kBlockOuts, pair}, own.options());
  const char* const from = static_cast<const char*>(own.const_data_ptr());
  char* const to = static_cast<char*>(packed.mutable_data_ptr());
  const int64_t blockBytes = groups * kBlockOuts * bytes;
  auto work = [&](int64_t block) {
    const int64_t rows = std::min(kBlockOuts, outs - block * kBlockOuts);
    const char* const first = from + block * kBlockOuts * ins * element;
    char* const target = to + block * blockBytes;
    if (element > 1) return kernels().pack({elementOf(own, "weight"), first, false, target, rows, ins, ins, 1});
    if (rows < kBlockOuts || ins % pair != 0) memset(target, 0, static_cast<size_t>(blockBytes));
    if (bytes == 2) packBlock<uint16_t>(first, rows, ins, groups, target);
    else packBlock<uint8_t>(first, rows, ins, groups, target);
  };
  shareWork(blocks, threadsFor(outs * ins / 4), work);
  return packed;
}

/// Pieces of a matrix go from thread to thread, and all rows pass over one before the next. They are small enough that no
/// thread waits long for the last one. Where all rows pass at once, each thread begins with one large piece: the first weights of
/// a piece come slower than the others, which are fetched ahead.
void shareProduct(const LinearJob& job) {
  const int threads = threadsFor(job.rows * job.ins * job.outs / 16);
  const int64_t blocks = (job.outs + kBlockOuts - 1) / kBlockOuts, lots = (job.rows + 63) / 64;
  const int64_t small = threads == 1 ? std::max<int64_t>(blocks, 1) : std::max<int64_t>(blocks / (threads * 8), 1);
  const int64_t large = lots == 1 ? std::max(small, blocks * 3 / (threads * 4)) : small;
  const int64_t inLarge = std::min(blocks, threads * large), largeOnes = (inLarge + large - 1) / large;
  const int64_t pieces = largeOnes + (blocks - inLarge + small - 1) / small;
  const KernelTable& table = kernels();
  auto one = [&](int64_t item) {
    const int64_t lot = item % lots, piece = item / lots;
    const int64_t begin = piece < largeOnes ? piece * large : inLarge + (piece - largeOnes) * small;
    const int64_t end = std::min(blocks, begin + (piece < largeOnes ? large : small));
    table.linear(job, begin * kBlockOuts, std::min(job.outs, end * kBlockOuts), lot * 64, std::min(job.rows, (lot + 1) * 64));
  };
  shareWork(pieces * lots, threads, one);
}

/// x [rows, ins] * weight [outs, ins]^T, by scales [outs] where the weight is in 8 bit, + bias [outs], then + residual
/// [rows, outs]. The weight is packed; of more outputs than `outs` the first are computed.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, int64_t outs, const std::optional<at::Tensor>& scales,
                  const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& residual) {
  elementOf(x, "x");
  const at::ScalarType dtype = x.scalar_type();
  require(x, "x", dtype, 2);
  LinearJob job = packedJob(dtype, weight, scales, bias, x.size(1), outs);
  job.rows = x.size(0);
  if (residual) {
    require(*residual, "residual", dtype, 2);
    TORCH_CHECK(residual->size(0) == job.rows && residual->size(1) == outs, "the residual must be [", job.rows, ", ", outs, "]");
    job.residual = readable(*residual);
  }
  at::Tensor y = at::empty({job.rows, outs}, x.options());
  job.x = readable(x);
  job.y = y.mutable_data_ptr();
  shareProduct(job);
  return y;
}

}  // namespace

LinearJob packedJob(at::ScalarType dtype, const at::Tensor& weight, const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias,
                    int64_t ins, int64_t outs) {
  const int64_t pair = dtype == at::kBFloat16 ? 2 : 1;
  require(weight, "the packed weight", scales ? at::kChar : dtype, 4);
  TORCH_CHECK(weight.size(2) == kBlockOuts && weight.size(3) == pair, "the weight must be packed as [_, _, ", kBlockOuts, ", ", pair, "], found ",
              weight.sizes());
  TORCH_CHECK(weight.size(1) == (ins + pair - 1) / pair, "x has ", ins, " columns, and the weight ", weight.size(1), " groups of ", pair);
  TORCH_CHECK(outs >= 0 && outs <= weight.size(0) * kBlockOuts, "the weight has no ", outs, " outputs");
  if (scales) {
    require(*scales, "scales", at::kFloat, 1);
    TORCH_CHECK(scales->size(0) >= outs, "the weight must have ", outs, " scales, found ", scales->size(0));
  }
  if (bias) {
    require(*bias, "bias", dtype, 1);
    TORCH_CHECK(bias->size(0) == outs, "the bias must have ", outs, " elements, found ", bias->size(0));
  }
  return {dtype == at::kFloat ? Element::f32 : Element::bf16, nullptr, readable(weight), scales.has_value(),
          scales ? scales->const_data_ptr<float>() : nullptr, bias ? readable(*bias) : nullptr, nullptr, nullptr, 0, ins, outs, ins, pair};
}

}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def("pack(Tensor weight, int pair) -> Tensor");
  library.def("linear(Tensor x, Tensor weight, int outs, Tensor? scales=None, Tensor? bias=None, Tensor? residual=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(reckon, CPU, library) {
  library.impl("pack", TORCH_FN(reckon::pack));
  library.impl("linear", TORCH_FN(reckon::linear));
}
