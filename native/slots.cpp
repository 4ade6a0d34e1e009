// Owns the bookkeeping of slots.h; see there.
#include "slots.h"

namespace reckon {

namespace {
constexpr int64_t kSlotBits = 24;
constexpr int64_t kSlotMask = (int64_t{1} << kSlotBits) - 1;
}  // namespace

Slots& slots() {
  static Slots* table = new Slots();  // never destroyed: libtorch may be gone when static destructors run
  return *table;
}

int64_t Slots::put(at::Tensor tensor) {
  uint32_t index;
  if (unused_.empty()) {
    if (slots_.size() > static_cast<size_t>(kSlotMask)) throw Failure("more than 16 million live tensors: something leaks");
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = unused_.back();
    unused_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.tensor = std::move(tensor);
  slot.used = true;
  slot.kept = false;
  ++live_;
  const int64_t handle = (static_cast<int64_t>(slot.generation) << kSlotBits) | index;
  if (!scopes_.empty()) scopes_.back().push_back(handle);
  return handle;
}

const Slots::Slot* Slots::find(int64_t handle) const {
  if (handle < 0) return nullptr;
  const auto index = static_cast<size_t>(handle & kSlotMask);
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  return slot.used && slot.generation == static_cast<uint32_t>(handle >> kSlotBits) ? &slot : nullptr;
}

const at::Tensor& Slots::get(int64_t handle) const {
  const Slot* slot = find(handle);
  if (!slot) throw Failure("the tensor was already freed (by dispose, or at the end of the scope that it was made in)");
  return slot->tensor;
}

void Slots::free(int64_t handle) {
  Slot* slot = const_cast<Slot*>(find(handle));
  if (!slot) return;
  // The tensor may run other destructors; the slot is in order before that happens.
  at::Tensor dying = std::move(slot->tensor);
  slot->tensor = at::Tensor();
  slot->used = false;
  slot->generation = slot->generation == 0x0fffffffu ? 1 : slot->generation + 1;
  --live_;
  unused_.push_back(static_cast<uint32_t>(handle & kSlotMask));
}

void Slots::keep(int64_t handle) {
  Slot* slot = const_cast<Slot*>(find(handle));
  if (!slot) throw Failure("cannot keep a tensor that was already freed");
  slot->kept = true;
}

void Slots::enter() { scopes_.emplace_back(); }

void Slots::exit(const std::vector<int64_t>& survivors) {
  if (scopes_.empty()) throw Failure("a scope was closed twice");
  std::vector<int64_t> made = std::move(scopes_.back());
  scopes_.pop_back();
  std::vector<int64_t> before;
  for (const int64_t handle : survivors) {
    Slot* slot = const_cast<Slot*>(find(handle));
    if (slot && !slot->kept) {
      slot->kept = true;
      before.push_back(handle);
    }
  }
  for (const int64_t handle : made) {
    const Slot* slot = find(handle);
    if (slot && !slot->kept) free(handle);
  }
  // A survivor belongs to the scope outside from here on; one that was older than this scope is listed twice
  // there at most, and freeing twice is harmless because of the generation number.
  for (const int64_t handle : before) {
    const_cast<Slot*>(find(handle))->kept = false;
  }
  if (!scopes_.empty()) {
    for (const int64_t handle : made) {
      if (find(handle) && !find(handle)->kept) scopes_.back().push_back(handle);
    }
  }
}

}  // namespace reckon
