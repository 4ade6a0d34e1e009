// Owns the product of whole sequences with a matrix as it lies, as an operator with a gradient: what a decoding step
// computes row by row, a training pass then has to the last bit. A small matrix is laid out whole, as body-packed.h has it;
// of a larger one block after block, and all rows pass over a block while it is in the cache. The gradient of the input goes the
// same way, and in f32 that of the weight (docs/performance.md); in bf16 that one is libtorch's, which is as fast.
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include <vector>

#include "products.h"
#include "room.h"
#include "training-arguments.h"

namespace reckon {
namespace {

/// Rows that a block is laid out for at least, where more than one thread could take it.
constexpr int64_t kLaidOutFor = 256;
/// Rows that a call of the kernel takes.
constexpr int64_t kLot = 64;
/// Bytes of a packed matrix that is laid out whole, where rows are so many times what each thread takes at once.
constexpr int64_t kSmallMatrix = 1 << 20, kManyLots = 4;

/// Whether the kernels compute on tensors like x here: it is on the CPU, and libtorch's product is no faster.
bool servesWhole(const at::Tensor& x) {
  if (!x.device().is_cpu() || (x.scalar_type() != at::kFloat && x.scalar_type() != at::kBFloat16)) return false;
  return kernels().servesWhole[static_cast<int>(elementOf(x, "x"))];
}

/// A factor of a product as it lies in memory: element (row, k) is at row * stride + k * step.
struct Factor {
  const at::Tensor& values;
  int64_t rows, stride, step;
};

/// left [rows, ins] right [outs, ins]^T, by scales [outs], + bias [outs]. In bf16 the left factor's step is 1.
void multiply(const Factor& left, const Factor& right, int64_t ins, const float* scales, const void* bias, void* y) {
  const Element element = elementOf(left.values, "x");
  const int64_t rows = left.rows, outs = right.rows, size = left.values.element_size(), pair = element == Element::bf16 ? 2 : 1;
  const bool isInt8 = right.values.scalar_type() == at::kChar;
  const char* const from = static_cast<const char*>(right.values.const_data_ptr());
  const void* const rowsOfX = left.values.const_data_ptr();
  const int threads = threadsFor(rows * ins * outs / 16);
  const int64_t blocks = (outs + kBlockOuts - 1) / kBlockOuts, blockBytes = (ins + pair - 1) / pair * kBlockOuts * pair * size;
  const KernelTable& table = kernels();
  auto layOut = [&](int64_t block, char* to) {
    const int64_t out = block * kBlockOuts;
    table.pack({element, from + out * right.stride * right.values.element_size(), isInt8, to, std::min(kBlockOuts, outs - out), ins, right.stride, right.step});
  };
  auto over = [&](const char* packed, int64_t out, int64_t count, int64_t first, int64_t last) {
    const LinearJob job{element, rowsOfX, packed, false, scales ? scales + out : nullptr,
                        bias ? static_cast<const char*>(bias) + out * size : nullptr, nullptr, static_cast<char*>(y) + out * size,
                        rows, ins, outs, left.stride, left.step * pair};
    for (int64_t row = first; row < last; row += kLot) table.linear(job, 0, count, row, std::min(last, row + kLot));
  };
  if (blocks * blockBytes <= kSmallMatrix && rows >= kManyLots * kLot * threads) {
    // All of it stays in the second cache, and each row, which might not, is read once.
    thread_local Room room;
    char* const packed = room.of(blocks * blockBytes);
    auto one = [&](int64_t block) { layOut(block, packed + block * blockBytes); };
    shareTeam(blocks, threads, one);
    auto some = [&](int64_t lot) { over(packed, 0, outs, lot * kLot, std::min(rows, (lot + 1) * kLot)); };
    return shareTeam((rows + kLot - 1) / kLot, threads, some);
  }
  const int64_t wanted = threads == 1 ? 1 : (4 * threads + blocks - 1) / blocks;
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, rows / kLaidOutFor)), perPart = roundedUp((rows + parts - 1) / parts, kLot);
  auto one = [&](int64_t item) {
    const int64_t block = item / parts, out = block * kBlockOuts, first = item % parts * perPart;
    if (first >= rows) return;
    thread_local Room room;
    char* const packed = room.of(blockBytes);
    layOut(block, packed);
    over(packed, out, std::min(kBlockOuts, outs - out), first, std::min(rows, first + perPart));
  };
  shareTeam(blocks * parts, threads, one);
}

/// `productOf` by the kernels.
at::Tensor ownProduct(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias) {
  const at::ScalarType dtype = scales ? at::kChar : x.scalar_type();
  TORCH_CHECK(weight.scalar_type() == dtype && weight.device().is_cpu(), "expected a weight of ", dtype, " on the CPU, found ", weight.scalar_type(),
              " on ", weight.device());
  const int64_t ins = weight.size(1), rows = x.numel() / std::max<int64_t>(ins, 1);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  at::Tensor y = at::empty(shape, x.options());
  multiply({x, rows, ins, 1}, {weight, weight.size(0), ins, 1}, ins, scales ? scales->const_data_ptr<float>() : nullptr,
           bias ? bias->const_data_ptr() : nullptr, y.mutable_data_ptr());
  return y;
}

/// The gradient of the weight [outs, ins] from g [rows, outs] and x [rows, ins].
at::Tensor weightGradient(const at::Tensor& g, const at::Tensor& x) {
  if (!servesWhole(g) || g.scalar_type() != at::kFloat) return at::mm(g.t(), x);
  const int64_t outs = g.size(1), ins = x.size(1);
  at::Tensor gweight = at::empty({outs, ins}, g.options());
  multiply({g, outs, 1, outs}, {x, ins, 1, ins}, g.size(0), nullptr, nullptr, gweight.mutable_data_ptr());
  return gweight;
}

struct Product : torch::autograd::Function<Product> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given, const at::Tensor& weight, const std::optional<at::Tensor>& scales,
                            const std::optional<at::Tensor>& bias) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor x = given.contiguous();
    const at::Tensor matrix = weight.contiguous();
    // Each is there for the other's gradient: a frozen matrix keeps no input.
    const at::Tensor none;
    context->save_for_backward({weight.requires_grad() ? x : none, given.requires_grad() ? matrix : none, scales.value_or(none)});
    context->saved_data["shape"] = x.sizes().vec();
    context->saved_data["bias"] = bias && bias->requires_grad();
    return productOf(x, matrix, scales, bias);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scales = saved[2];
    const at::Tensor g = gradients[0].reshape({-1, gradients[0].size(-1)}).contiguous();
    at::Tensor gx, gweight, gbias;
    if (weight.defined()) {
      gx = inputGradient(g, weight, scales);
      gx = gx.view(context->saved_data["shape"].toIntVector());
    }
    if (x.defined()) gweight = weightGradient(g, x.view({-1, x.size(-1)}));
    if (context->saved_data["bias"].toBool()) gbias = g.sum(0);
    return {gx, gweight, at::Tensor(), gbias};
  }
};

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(!(scales && c10::GradMode::is_enabled() && (scales->requires_grad() || (bias && bias->requires_grad()))),
              "scales and bias of a weight in 8 bit are frozen, and one of them requires a gradient");
  return Product::apply(x, weight, scales, bias);
}

}  // namespace

at::Tensor productOf(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(weight.dim() == 2 && x.dim() > 0 && x.size(-1) == weight.size(1), "x has ", x.dim() > 0 ? x.size(-1) : 0,
              " columns, and the weight is ", weight.sizes());
  if (!servesWhole(x) || x.numel() == 0) return scales ? int8Product(x, weight, *scales, bias) : at::linear(x, weight, bias);
  if (scales) require(scales->detach(), "scales", at::kFloat, 1);
  if (bias) require(bias->detach(), "bias", x.scalar_type(), 1);
  TORCH_CHECK((!scales || scales->size(0) == weight.size(0)) && (!bias || bias->size(0) == weight.size(0)),
              "expected as many scales and numbers of the bias as outputs, ", weight.size(0));
  return ownProduct(x.contiguous(), weight.contiguous(), scales, bias);
}

at::Tensor inputGradient(const at::Tensor& g, const at::Tensor& weight, const at::Tensor& scales) {
  if (scales.defined()) return int8InputGradient(g, weight, scales);
  if (!servesWhole(g)) return at::mm(g, weight);
  const int64_t outs = weight.size(0), ins = weight.size(1);
  at::Tensor gx = at::empty({g.size(0), ins}, g.options());
  multiply({g, g.size(0), g.stride(0), 1}, {weight, ins, weight.stride(1), weight.stride(0)}, outs, nullptr, nullptr, gx.mutable_data_ptr());
  return gx;
}

namespace {

at::Tensor& productInto(const at::Tensor& x, const at::Tensor& weight, at::Tensor& y) {
  TORCH_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1), "x is ", x.sizes(), ", and the weight ", weight.sizes());
  TORCH_CHECK(y.dim() == 2 && y.size(0) == x.size(0) && y.size(1) == weight.size(0), "expected room for [", x.size(0), ", ", weight.size(0),
              "], found ", y.sizes());
  if (!servesWhole(x)) return at::linear_out(y, x, weight);
  for (const at::Tensor* one : {&x, &weight, const_cast<const at::Tensor*>(&y)}) require(*one, "a tensor of the product", x.scalar_type(), 2);
  const int64_t ins = x.size(1);
  multiply({x, x.size(0), ins, 1}, {weight, weight.size(0), ins, 1}, ins, nullptr, nullptr, y.mutable_data_ptr());
  return y;
}

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def("product(Tensor x, Tensor weight, Tensor? scales=None, Tensor? bias=None) -> Tensor");
  library.def("product.out(Tensor x, Tensor weight, *, Tensor(a!) out) -> Tensor(a!)");
}

// The function looks at what is to be learned itself, so one serves with and without autograd's keys.
TORCH_LIBRARY_IMPL(reckon, CompositeImplicitAutograd, library) { library.impl("product", TORCH_FN(reckon::product)); }

TORCH_LIBRARY_IMPL(reckon, CPU, library) { library.impl("product.out", TORCH_FN(reckon::productInto)); }
