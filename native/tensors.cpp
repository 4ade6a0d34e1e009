// Owns what tensors need and the dispatcher lacks: lifetimes, bytes in and out, shape and dtype, gradients.
#include <ATen/ATen.h>

#include <cstring>

#include "napi.h"

namespace reckon {
namespace {

const at::Tensor& tensorAt(Call& call, size_t i) { return slots().get(readInteger(call.env, call.values[i], "a Tensor")); }

struct Bytes {
  uint8_t* data;
  size_t length;
};

Bytes bytesAt(Call& call, size_t i) {
  void* data = nullptr;
  size_t length = 0;
  napi_typedarray_type type;
  napi_value buffer;
  size_t offset;
  check(napi_get_typedarray_info(call.env, call.values[i], &type, &length, &data, &buffer, &offset), "a typed array");
  static constexpr size_t width[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  if (static_cast<size_t>(type) >= sizeof(width) / sizeof(width[0])) throw Failure("this kind of typed array is not supported");
  return {static_cast<uint8_t*>(data), length * width[type]};
}

/// fromBytes(typedArray, dtype, sizes) -> handle of a CPU tensor that owns a copy.
napi_value fromBytes(Call& call) {
  const Bytes bytes = bytesAt(call, 0);
  const auto dtype = static_cast<at::ScalarType>(readInteger(call.env, call.values[1]));
  const auto sizes = readIntegers(call.env, call.values[2]);
  int64_t elements = 1;
  for (const int64_t size : sizes) {
    if (size < 0) throw Failure("expected sizes of 0 or more, found " + std::to_string(size));
    elements *= size;
  }
  const size_t expected = static_cast<size_t>(elements) * c10::elementSize(dtype);
  if (expected != bytes.length) {
    throw Failure("expected " + std::to_string(expected) + " bytes for this shape, found " + std::to_string(bytes.length));
  }
  at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(dtype));
  if (bytes.length > 0) std::memcpy(tensor.data_ptr(), bytes.data, bytes.length);
  return makeHandle(call.env, tensor);
}

/// toBytes(handle, typedArray): copies the elements, row-major, into memory of exactly their size.
napi_value toBytes(Call& call) {
  const at::Tensor tensor = tensorAt(call, 0).detach().contiguous().cpu();
  const Bytes bytes = bytesAt(call, 1);
  if (tensor.nbytes() != bytes.length) {
    throw Failure("expected room for " + std::to_string(tensor.nbytes()) + " bytes, found " + std::to_string(bytes.length));
  }
  if (bytes.length > 0) std::memcpy(bytes.data, tensor.data_ptr(), bytes.length);
  return makeNothing(call.env);
}

napi_value sizes(Call& call) {
  const auto list = tensorAt(call, 0).sizes();
  napi_value array;
  napi_create_array_with_length(call.env, list.size(), &array);
  for (size_t i = 0; i < list.size(); i++) napi_set_element(call.env, array, i, makeNumber(call.env, static_cast<double>(list[i])));
  return array;
}

napi_value dtype(Call& call) { return makeNumber(call.env, static_cast<double>(tensorAt(call, 0).scalar_type())); }

napi_value device(Call& call) { return makeString(call.env, tensorAt(call, 0).device().str()); }

napi_value requiresGrad(Call& call) { return makeBool(call.env, tensorAt(call, 0).requires_grad()); }

napi_value setRequiresGrad(Call& call) {
  tensorAt(call, 0).set_requires_grad(readBool(call.env, call.values[1]));
  return makeNothing(call.env);
}

/// grad(handle) -> handle of the accumulated gradient, or nothing.
napi_value grad(Call& call) {
  const at::Tensor& gradient = tensorAt(call, 0).grad();
  return gradient.defined() ? makeHandle(call.env, gradient) : makeNothing(call.env);
}

/// setGrad(handle, gradient | null)
napi_value setGrad(Call& call) {
  tensorAt(call, 0).mutable_grad() = isNothing(call.env, call.values[1]) ? at::Tensor() : tensorAt(call, 1);
  return makeNothing(call.env);
}

napi_value release(Call& call) {
  slots().free(readInteger(call.env, call.values[0]));
  return makeNothing(call.env);
}

napi_value keep(Call& call) {
  slots().keep(readInteger(call.env, call.values[0]));
  return makeNothing(call.env);
}

napi_value scopeEnter(Call& call) {
  slots().enter();
  return makeNumber(call.env, static_cast<double>(slots().depth()));
}

napi_value scopeExit(Call& call) {
  slots().exit(readIntegers(call.env, call.values[0]));
  return makeNothing(call.env);
}

napi_value liveTensors(Call& call) { return makeNumber(call.env, static_cast<double>(slots().live())); }

}  // namespace

void exportTensors(napi_env env, napi_value exports) {
  add(env, exports, "fromBytes", guarded<fromBytes>);
  add(env, exports, "toBytes", guarded<toBytes>);
  add(env, exports, "sizes", guarded<sizes>);
  add(env, exports, "dtype", guarded<dtype>);
  add(env, exports, "device", guarded<device>);
  add(env, exports, "requiresGrad", guarded<requiresGrad>);
  add(env, exports, "setRequiresGrad", guarded<setRequiresGrad>);
  add(env, exports, "grad", guarded<grad>);
  add(env, exports, "setGrad", guarded<setGrad>);
  add(env, exports, "release", guarded<release>);
  add(env, exports, "keep", guarded<keep>);
  add(env, exports, "scopeEnter", guarded<scopeEnter>);
  add(env, exports, "scopeExit", guarded<scopeExit>);
  add(env, exports, "liveTensors", guarded<liveTensors>);
}

}  // namespace reckon
