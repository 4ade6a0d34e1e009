// Owns a linear layer with a low-rank update beside its frozen weight as one operator with a gradient. It keeps its input
// as it came, which layers that read the same share, and `rank` numbers a row; the weight may be in 8 bit. Where its input is
// a gated SiLU it keeps gate and up, as the SiLU itself does, and computes their product again on the way back.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "gated.h"
#include "products.h"
#include "room.h"
#include "training-arguments.h"

namespace reckon {
namespace {

/// Rows, and columns, in whole numbers of which threads take them.
constexpr int64_t kRows = 32, kSlopeColumns = 64;

/// Activations as rows of a last dimension whose elements are neighbours.
at::Tensor rowsOf(const at::Tensor& x) {
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  return rows.stride(1) == 1 ? rows : rows.contiguous();
}

/// The job of one factor [rank, width]; what a function reads of the rest is set by its caller.
LowRankJob jobOf(const at::Tensor& factor, int64_t rows) {
  LowRankJob job{};
  job.factor = factor.const_data_ptr<float>();
  job.rows = rows, job.width = factor.size(1), job.rank = factor.size(0), job.scale = 1;
  return job;
}

/// Few large pieces, because kernels lay a factor out anew for each; some more of many, because threads are not equally fast.
template <class W>
void inPieces(int64_t count, int64_t step, int64_t work, W&& some) {
  constexpr int64_t many = 1024;
  const int threads = threadsFor(work);
  const int64_t pieces = threads * (1 + count / many), piece = roundedUp((count + pieces - 1) / pieces, step);
  auto one = [&](int64_t item) { some(item * piece, std::min(count, (item + 1) * piece)); };
  shareTeam((count + piece - 1) / piece, threads, one);
}

/// What a kernel lays a factor out in, on the thread that asks.
char* scratchOf(int64_t length) {
  thread_local Room room;
  return room.of(lowRankScratch(length));
}

/// scale * x factor^T in f32, [rows, rank], by `fill(element, job)`.
template <class S>
at::Tensor contractedBy(S&& fill, const at::Tensor& x, const at::Tensor& factor, double scale) {
  at::Tensor hidden = at::empty({x.size(0), factor.size(0)}, factor.options());
  LowRankJob job = jobOf(factor, x.size(0));
  job.x = x.const_data_ptr(), job.stride = x.stride(0), job.hidden = hidden.mutable_data_ptr<float>();
  job.scale = static_cast<float>(scale);
  fill(elementOf(x, "x"), job);
  return hidden;
}

at::Tensor contracted(const at::Tensor& x, const at::Tensor& factor, double scale) {
  auto fill = [&](Element element, const LowRankJob& job) {
    inPieces(job.rows, kRows, x.numel(), [&](int64_t begin, int64_t end) { training().contract(element, job, begin, end); });
  };
  return contractedBy(fill, x, factor, scale);
}

/// The same on the way back, where no decoding step has to have its bits.
at::Tensor contractedBack(const at::Tensor& x, const at::Tensor& factor, double scale) {
  auto fill = [&](Element element, const LowRankJob& job) {
    inPieces(job.rows, kRows, x.numel(),
             [&](int64_t begin, int64_t end) { training().contractMany(element, job, begin, end, scratchOf(job.width)); });
  };
  return contractedBy(fill, x, factor, scale);
}

/// y += hidden factor, rounded once.
void addSpread(at::Tensor& y, const at::Tensor& hidden, const at::Tensor& factor) {
  LowRankJob job = jobOf(factor, hidden.size(0));
  job.hidden = const_cast<float*>(hidden.const_data_ptr<float>()), job.y = y.mutable_data_ptr();
  const Element element = elementOf(y, "y");
  inPieces(job.rows, kRows, y.numel(), [&](int64_t begin, int64_t end) { training().spread(element, job, begin, end); });
}

/// Adds the update of x to the rows y of a decoding step, as the forward pass below does and with its bits, on the threads of
/// decoding and in one call: four operators a matrix took about as long as the matrix itself.
at::Tensor& addUpdateRows(const at::Tensor& x, const at::Tensor& a, const at::Tensor& b, double scale, at::Tensor& y) {
  require(x, "x", x.scalar_type(), 2);
  require(a, "a", at::kFloat, 2);
  require(b, "b", at::kFloat, 2);
  require(y, "y", x.scalar_type(), 2);
  TORCH_CHECK(x.size(1) == a.size(1) && a.size(0) == b.size(0) && b.size(1) == y.size(1) && x.size(0) == y.size(0), "an update of ", a.sizes(),
              " and, transposed, ", b.sizes(), " does not fit inputs of ", x.sizes(), " and outputs of ", y.sizes());
  const int64_t rows = x.size(0);
  constexpr int64_t piece = 4;  // rows that the kernels take at once
  at::Tensor hidden = at::empty({rows, a.size(0)}, a.options());
  LowRankJob down = jobOf(a, rows), up = jobOf(b, rows);
  down.x = x.const_data_ptr(), down.stride = x.stride(0), down.scale = static_cast<float>(scale);
  down.hidden = up.hidden = hidden.mutable_data_ptr<float>();
  up.y = y.mutable_data_ptr();
  const Element element = elementOf(x, "x");
  auto one = [&](int64_t item) {
    const int64_t begin = item * piece, end = std::min(rows, begin + piece);
    training().contract(element, down, begin, end);
    training().spread(element, up, begin, end);
  };
  shareWork((rows + piece - 1) / piece, threadsFor(x.numel() + y.numel()), one);
  return y;
}

/// hidden^T x in f32, [rank, width].
at::Tensor slopesOf(const at::Tensor& hidden, const at::Tensor& x, const at::Tensor& factor) {
  at::Tensor slopes = at::empty(factor.sizes(), factor.options());
  LowRankJob job = jobOf(factor, x.size(0));
  job.x = x.const_data_ptr(), job.stride = x.stride(0), job.hidden = const_cast<float*>(hidden.const_data_ptr<float>());
  job.slopes = slopes.mutable_data_ptr<float>();
  const Element element = elementOf(x, "x");
  inPieces(job.width, kSlopeColumns, x.numel(),
           [&](int64_t begin, int64_t end) { training().factorSlopes(element, job, begin, end, scratchOf(job.rows)); });
  return slopes;
}

struct LowRankLinear : torch::autograd::Function<LowRankLinear> {
  /// y = x weight^T + bias + scale (x a^T) b^T, the update in f32, rounded to x's dtype before and after it is added.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& given, const at::Tensor& weight,
                            const std::optional<at::Tensor>& scales, const std::optional<at::Tensor>& bias, const at::Tensor& a,
                            const at::Tensor& b, double scale, bool isGated) {
    at::AutoDispatchBelowADInplaceOrView below;
    const at::Tensor kept = operand(given, "x"), x = isGated ? gated(kept) : kept;
    require(a, "a", at::kFloat, 2);
    require(b, "b", at::kFloat, 2);
    TORCH_CHECK(a.size(1) == x.size(-1) && a.size(0) == b.size(1) && b.size(0) == weight.size(0) && weight.size(1) == a.size(1),
                "an update of ", a.sizes(), " and ", b.sizes(), " does not fit a weight of ", weight.sizes());
    at::Tensor y = productOf(x, weight, scales, bias);
    const at::Tensor hidden = contracted(rowsOf(x), a, scale);
    addSpread(y, hidden, b.t().contiguous());
    context->save_for_backward({kept, weight, scales.value_or(at::Tensor()), hidden, a, b});
    context->saved_data["scale"] = scale;
    context->saved_data["gated"] = isGated;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &kept = saved[0], &weight = saved[1], &scales = saved[2], &hidden = saved[3], &a = saved[4];
    const bool isGated = context->saved_data["gated"].toBool();
    const at::Tensor x = isGated ? gated(kept) : kept;
    const at::Tensor b = saved[5].t().contiguous(), g = rowsOf(gradients[0]);
    const at::Tensor ghidden = contractedBack(g, b, context->saved_data["scale"].toDouble());
    at::Tensor gx;
    if (context->needs_input_grad(0)) {
      gx = inputGradient(g, weight, scales);
      addSpread(gx, ghidden, a);
      gx = isGated ? gatedSlopes(kept, gx) : gx.view(x.sizes());
    }
    const at::Tensor ga = slopesOf(ghidden, rowsOf(x), a), gb = slopesOf(hidden, g, b).t().contiguous();
    return {gx, at::Tensor(), at::Tensor(), at::Tensor(), ga, gb, at::Tensor(), at::Tensor()};
  }
};

at::Tensor lowRankLinear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& scales,
                         const std::optional<at::Tensor>& bias, const at::Tensor& a, const at::Tensor& b, double scale, bool isGated) {
  TORCH_CHECK(!(c10::GradMode::is_enabled() && (weight.requires_grad() || (bias && bias->requires_grad()))),
              "the weight beside a low-rank update is frozen, and this one or its bias requires a gradient");
  return LowRankLinear::apply(x, weight, scales, bias, a, b, scale, isGated);
}

}  // namespace
}  // namespace reckon

TORCH_LIBRARY_FRAGMENT(reckon, library) {
  library.def("low_rank_linear(Tensor x, Tensor weight, Tensor? scales, Tensor? bias, Tensor a, Tensor b, float scale, "
      "bool gated) -> Tensor");
  library.def("add_update_rows(Tensor x, Tensor a, Tensor b, float scale, Tensor(a!) y) -> Tensor(a!)");
}

TORCH_LIBRARY_IMPL(reckon, CompositeImplicitAutograd, library) { library.impl("low_rank_linear", TORCH_FN(reckon::lowRankLinear)); }

TORCH_LIBRARY_IMPL(reckon, CPU, library) { library.impl("add_update_rows", TORCH_FN(reckon::addUpdateRows)); }
