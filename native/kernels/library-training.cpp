// Owns the operators of training that compute row by row, each with its gradient: the gated SiLU, the norm, the rotation
// of heads, and the folding of a norm into the matrices behind it. They keep their inputs for the way back and nothing else.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include "gated.h"
#include "training-arguments.h"

namespace reckon {
namespace {

struct GatedSilu : torch::autograd::Function<GatedSilu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor both = operand(given, "both");
    context->save_for_backward({both});
    return gated(both);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {gatedSlopes(context->get_saved_variables()[0], operand(gradients[0], "the gradient"))};
  }
};

struct Normalised : torch::autograd::Function<Normalised> {
  /// x / rms(x) over the last dimension.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given, double epsilon) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor x = operand(given, "x");
    context->save_for_backward({x});
    context->saved_data["epsilon"] = epsilon;
    at::Tensor y = at::empty_like(x);
    const Element element = elementOf(x, "x");
    const int64_t width = x.size(-1), stride = width * x.element_size();
    const char* const from = bytesOf(x);
    char* const to = bytesIn(y);
    shareRows(x.numel() / std::max<int64_t>(width, 1), width, [&](int64_t row) {
      kernels().normalise(element, from + row * stride, to + row * stride, width, static_cast<float>(epsilon));
    });
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::Tensor x = context->get_saved_variables()[0], g = operand(gradients[0], "the gradient");
    const auto epsilon = static_cast<float>(context->saved_data["epsilon"].toDouble());
    at::Tensor gx = at::empty_like(x);
    const Element element = elementOf(x, "x");
    const int64_t width = x.size(-1), stride = width * x.element_size();
    const char *const from = bytesOf(x), *const slopes = bytesOf(g);
    char* const to = bytesIn(gx);
    shareRows(x.numel() / std::max<int64_t>(width, 1), width, [&](int64_t row) {
      training().normaliseBack(element, from + row * stride, slopes + row * stride, to + row * stride, width, epsilon);
    });
    return {gx, at::Tensor()};
  }
};

/// Rotates, or rotates back, the first `turned` heads of x [..., heads, dim]; row i takes row i % rows of the tables.
at::Tensor rotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, int64_t turned, bool back) {
  const int64_t heads = x.size(-2), dim = x.size(-1), rows = cos.numel() / dim, stride = dim * x.element_size();
  at::Tensor y = at::empty_like(x);
  const Element element = elementOf(x, "x");
  const char *const from = bytesOf(x), *const cosines = bytesOf(cos), *const sines = bytesOf(sin);
  char* const to = bytesIn(y);
  shareRows(x.numel() / (heads * dim), heads * dim, [&](int64_t row) {
    const int64_t at = row % rows * stride, place = row * heads * stride;
    training().rotate(element, {from + place, cosines + at, sines + at, to + place, heads, turned, dim}, back);
  });
  return y;
}

struct RotatedHeads : torch::autograd::Function<RotatedHeads> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given, const at::Tensor& cosines, const at::Tensor& sines,
                            int64_t turned) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor x = operand(given, "x"), cos = operand(cosines, "cos"), sin = operand(sines, "sin");
    TORCH_CHECK(x.dim() >= 2 && x.numel() > 0, "x must be heads of some width, found ", x.sizes());
    const int64_t heads = x.size(-2), dim = x.size(-1);
    TORCH_CHECK(dim % 2 == 0 && turned >= 0 && turned <= heads, "expected heads of an even width of which ", turned, " turn, found ", x.sizes());
    TORCH_CHECK(cos.sizes() == sin.sizes() && cos.size(-1) == dim && cos.numel() > 0 && cos.scalar_type() == x.scalar_type() &&
                    sin.scalar_type() == x.scalar_type() && x.numel() / (heads * dim) % (cos.numel() / dim) == 0,
                "the tables must be rows of ", dim, " in x's dtype that fit its rows, found ", cos.sizes(), " and ", sin.sizes());
    context->save_for_backward({cos, sin});
    context->saved_data["turned"] = turned;
    return rotated(x, cos, sin, turned, false);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor g = operand(gradients[0], "the gradient");
    return {rotated(g, saved[0], saved[1], context->saved_data["turned"].toInt(), true), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct Folded : torch::autograd::Function<Folded> {
  /// The matrices [_, width] below each other with their columns times the norm [width], all f32, in another dtype.
  static at::Tensor forward(AutogradContext* context, at::TensorList weights, const at::Tensor& norm, at::ScalarType dtype) {
    at::AutoDispatchBelowADInplaceOrView below;
    const int64_t width = norm.numel();
    int64_t rows = 0;
    variable_list kept{norm};
    require(norm, "norm", at::kFloat, 1);
    for (const at::Tensor& weight : weights) {
      require(weight, "weight", at::kFloat, 2);
      TORCH_CHECK(weight.size(1) == width, "expected a weight of ", width, " columns, found ", weight.size(1));
      rows += weight.size(0);
      kept.push_back(weight);
    }
    context->save_for_backward(kept);
    at::Tensor y = at::empty({rows, width}, norm.options().dtype(dtype));
    const Element element = elementOf(y, "the folded weight");
    char* to = bytesIn(y);
    for (const at::Tensor& weight : weights) {
      const float* const from = weight.const_data_ptr<float>();
      const float* const scale = norm.const_data_ptr<float>();
      const int64_t stride = width * y.element_size();
      shareRows(weight.size(0), width, [&](int64_t row) { training().fold(element, from + row * width, scale, to + row * stride, width); });
      to += weight.size(0) * stride;
    }
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& norm = saved[0];
    const at::Tensor g = operand(gradients[0], "the gradient");
    const Element element = elementOf(g, "the gradient");
    const int64_t width = norm.numel(), stride = width * g.element_size();
    const float* const scale = norm.const_data_ptr<float>();
    at::Tensor gnorm = at::zeros_like(norm);
    float* const total = gnorm.mutable_data_ptr<float>();
    const char* from = bytesOf(g);
    variable_list result;
    for (size_t i = 1; i < saved.size(); i++) {
      at::Tensor gweight = at::empty_like(saved[i]);
      const float* const weight = saved[i].const_data_ptr<float>();
      float* const to = gweight.mutable_data_ptr<float>();
      // Shared by columns: a column's sum over all rows then has one order, whatever the number of threads.
      const int64_t rows = gweight.size(0), some = 64;
      auto columns = [&](int64_t item) {
        const int64_t first = item * some, count = std::min(some, width - first);
        for (int64_t row = 0; row < rows; row++) {
          const int64_t at = row * width + first;
          training().foldBack(element, weight + at, scale + first, from + at * g.element_size(), to + at, total + first, count);
        }
      };
      shareTeam((width + some - 1) / some, threadsFor(rows * width), columns);
      from += gweight.size(0) * stride;
      result.push_back(gweight);
    }
    result.push_back(gnorm);
    result.push_back(at::Tensor());
    return result;
  }
};

at::Tensor gatedSilu(const at::Tensor& both) { return GatedSilu::apply(both); }
at::Tensor normalised(const at::Tensor& x, double epsilon) { return Normalised::apply(x, epsilon); }
at::Tensor rotatedHeads(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, int64_t turned) {
  return RotatedHeads::apply(x, cos, sin, turned);
}
at::Tensor folded(at::TensorList weights, const at::Tensor& norm, at::ScalarType dtype) { return Folded::apply(weights, norm, dtype); }

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def("gated_silu(Tensor both) -> Tensor");
  library.def("normalised(Tensor x, float epsilon) -> Tensor");
  library.def("rotated_heads(Tensor x, Tensor cos, Tensor sin, int turned) -> Tensor");
  library.def("folded(Tensor[] weights, Tensor norm, ScalarType dtype) -> Tensor");
}

// The functions look at what is to be learned themselves, so one serves with and without autograd's keys.
TORCH_LIBRARY_IMPL(reckon, CompositeImplicitAutograd, library) {
  library.impl("gated_silu", TORCH_FN(reckon::gatedSilu));
  library.impl("normalised", TORCH_FN(reckon::normalised));
  library.impl("rotated_heads", TORCH_FN(reckon::rotatedHeads));
  library.impl("folded", TORCH_FN(reckon::folded));
}
