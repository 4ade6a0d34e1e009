// Owns the kernels for any processor, without instructions of its own.
#include "scalars.h"
#include "table.h"
#include "training-table.h"

namespace reckon {
namespace portable_ {
#include "lanes-portable.h"
#include "body.h"
#include "body-packed.h"
#include "body-quantise.h"
#include "sampling.h"
#include "training-products.h"
#include "training-rows.h"
#include "training-low-rank.h"
#include "training-attention.h"
#include "training-terms.h"
#include "training.h"
constexpr KernelTable table{"portable", {false, false}, linear, pack, normalise, swiglu, attend, sample, draw, quantise, &trainingTable};
}  // namespace portable_
const KernelTable* portableTable() { return &portable_::table; }
}  // namespace reckon
