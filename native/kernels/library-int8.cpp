// Owns weights in 8 bit: rounding, as an operator of the dispatcher, and the product on any device, by libtorch's own over
// blocks of the weight, and its gradient, which library-product.cpp makes an operator of.
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <torch/library.h>

#include <vector>

#include "arguments.h"
#include "choice.h"
#include "products.h"

namespace reckon {
namespace {

/// Elements of the weight that are widened at once.
constexpr int64_t kWidened = 1 << 21;

/// Values [outs, ins] in 8 bit and scales [outs], largest magnitude / 127 of each row; NaN for a row that is not finite.
std::tuple<at::Tensor, at::Tensor> quantise(const at::Tensor& weight) {
  const Element element = elementOf(weight, "weight");
  require(weight.detach(), "weight", weight.scalar_type(), 2);
  const int64_t outs = weight.size(0), ins = weight.size(1), stride = ins * weight.element_size();
  at::Tensor values = at::empty({outs, ins}, weight.options().dtype(at::kChar));
  at::Tensor scales = at::empty({outs}, weight.options().dtype(at::kFloat));
  const char* const from = static_cast<const char*>(readable(weight));
  int8_t* const to = values.mutable_data_ptr<int8_t>();
  float* const scale = scales.mutable_data_ptr<float>();
  auto work = [&](int64_t row) { scale[row] = kernels().quantise(element, from + row * stride, to + row * ins, ins); };
  shareWork(outs, threadsFor(outs * ins), work);
  return {values, scales};
}

}  // namespace

at::Tensor int8Product(const at::Tensor& x, const at::Tensor& values, const at::Tensor& scales, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(values.scalar_type() == at::kChar && values.dim() == 2 && x.dim() > 0 && x.size(-1) == values.size(1),
              "expected a weight in 8 bit of ", x.dim() > 0 ? x.size(-1) : 0, " columns");
  const int64_t outs = values.size(0), ins = values.size(1), block = std::max<int64_t>(kWidened / std::max<int64_t>(ins, 1), 1);
  const at::Tensor x2 = x.reshape({-1, ins});
  at::Tensor y = at::empty({x2.size(0), outs}, x.options());
  for (int64_t first = 0; first < outs; first += block) {
    const int64_t count = std::min(block, outs - first);
    const at::Tensor wide = values.narrow(0, first, count).to(x.scalar_type());
    at::Tensor scaled = at::mm(x2, wide.t()).to(at::kFloat).mul_(scales.narrow(0, first, count));
    if (bias) scaled.add_(bias->narrow(0, first, count));
    y.narrow(1, first, count).copy_(scaled);
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = outs;
  return y.view(shape);
}

at::Tensor int8InputGradient(const at::Tensor& g, const at::Tensor& values, const at::Tensor& scales) {
  const int64_t outs = values.size(0), ins = values.size(1), block = std::max<int64_t>(kWidened / std::max<int64_t>(outs, 1), 1);
  const at::Tensor scaled = g.reshape({-1, outs}).to(at::kFloat).mul(scales).to(g.scalar_type());
  at::Tensor dx = at::empty({scaled.size(0), ins}, g.options());
  for (int64_t first = 0; first < ins; first += block) {
    const int64_t count = std::min(block, ins - first);
    dx.narrow(1, first, count).copy_(at::mm(scaled, values.narrow(1, first, count).to(g.scalar_type())));
  }
  std::vector<int64_t> shape = g.sizes().vec();
  shape.back() = ins;
  return dx.view(shape);
}

}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) { library.def("quantise(Tensor weight) -> (Tensor, Tensor)"); }

TORCH_LIBRARY_IMPL(reckon, CPU, library) { library.impl("quantise", TORCH_FN(reckon::quantise)); }
