// Owns the table of live tensors: integer handles with a generation number, and the scopes that free them.
// A handle is slot + generation * 2^24; generations start at 1, so a small number is never a live handle.
#pragma once
#include <ATen/core/TensorBody.h>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace reckon {

/// An error with a message for the user; becomes a JavaScript Error.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Slots {
 public:
  int64_t put(at::Tensor tensor);
  /// The tensor behind a handle; throws Failure for a freed or made-up handle.
  const at::Tensor& get(int64_t handle) const;
  void free(int64_t handle);
  /// Takes the tensor out of its scope: it lives until it is freed by name.
  void keep(int64_t handle);
  void enter();
  /// Frees what was made since the matching enter(), except `survivors`, which move to the scope outside.
  void exit(const std::vector<int64_t>& survivors);
  size_t live() const { return live_; }
  size_t depth() const { return scopes_.size(); }

 private:
  struct Slot {
    at::Tensor tensor;
    uint32_t generation = 1;
    bool used = false;
    bool kept = false;
  };
  const Slot* find(int64_t handle) const;
  std::vector<Slot> slots_;
  std::vector<uint32_t> unused_;
  std::vector<std::vector<int64_t>> scopes_;
  size_t live_ = 0;
};

/// The process's one table. JavaScript runs on one thread, and worker threads get no addon.
Slots& slots();

}  // namespace reckon
