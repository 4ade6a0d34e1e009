// Owns the kernels for any processor, without instructions of its own.
#include "scalars.h"
#include "table.h"

namespace reckon {
namespace portable_ {
#include "lanes-portable.h"
#include "body.h"
#include "body-packed.h"
#include "body-quantise.h"
#include "sampling.h"
constexpr KernelTable table{"portable", linear, normalise, swiglu, attend, sample, draw, quantise};
}  // namespace portable_
const KernelTable* portableTable() { return &portable_::table; }
}  // namespace reckon
