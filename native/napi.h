// Owns the few lines between Node-API and C++: checked calls, reading and making values, turning exceptions into
// JavaScript errors. Knows nothing of operators.
#pragma once
#include <node_api.h>

#include <exception>
#include <string>
#include <vector>

#include <c10/util/Exception.h>

#include "slots.h"

namespace reckon {

constexpr size_t kMostArguments = 32;

struct Call {
  napi_env env;
  size_t count = kMostArguments;
  napi_value values[kMostArguments];
};

inline void check(napi_status status, const char* what) {
  if (status != napi_ok) throw Failure(std::string("expected ") + what);
}

inline int64_t readInteger(napi_env env, napi_value value, const char* what = "a whole number") {
  double number = 0;
  check(napi_get_value_double(env, value, &number), what);
  // Handles and sizes stay below 2^53, so a double carries them exactly.
  const auto integer = static_cast<int64_t>(number);
  if (static_cast<double>(integer) != number) throw Failure(std::string("expected ") + what + ", found a fraction");
  return integer;
}

inline double readNumber(napi_env env, napi_value value) {
  double number = 0;
  check(napi_get_value_double(env, value, &number), "a number");
  return number;
}

inline bool readBool(napi_env env, napi_value value) {
  bool flag = false;
  check(napi_get_value_bool(env, value, &flag), "true or false");
  return flag;
}

inline std::string readString(napi_env env, napi_value value) {
  size_t length = 0;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "a string");
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, text.data(), length + 1, &length);
  return text;
}

inline bool isNothing(napi_env env, napi_value value) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  return type == napi_undefined || type == napi_null;
}

template <typename Read>
void eachElement(napi_env env, napi_value array, Read read) {
  bool isArray = false;
  napi_is_array(env, array, &isArray);
  if (!isArray) throw Failure("expected an array");
  uint32_t length = 0;
  napi_get_array_length(env, array, &length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    check(napi_get_element(env, array, i, &element), "an array element");
    read(element);
  }
}

inline std::vector<int64_t> readIntegers(napi_env env, napi_value array) {
  std::vector<int64_t> list;
  eachElement(env, array, [&](napi_value e) { list.push_back(readInteger(env, e)); });
  return list;
}

inline napi_value makeNumber(napi_env env, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  return value;
}

inline napi_value makeHandle(napi_env env, const at::Tensor& tensor) {
  return makeNumber(env, static_cast<double>(slots().put(tensor)));
}

inline napi_value makeString(napi_env env, const std::string& text) {
  napi_value value;
  napi_create_string_utf8(env, text.c_str(), text.size(), &value);
  return value;
}

inline napi_value makeBool(napi_env env, bool flag) {
  napi_value value;
  napi_get_boolean(env, flag, &value);
  return value;
}

inline napi_value makeNothing(napi_env env) {
  napi_value value;
  napi_get_undefined(env, &value);
  return value;
}

/// Runs the body of one exported function; whatever it throws becomes a JavaScript Error without a C++ backtrace.
template <napi_value (*body)(Call&)>
napi_value guarded(napi_env env, napi_callback_info info) {
  Call call;
  call.env = env;
  std::string message;
  bool memory = false;
  try {
    napi_get_cb_info(env, info, &call.count, call.values, nullptr, nullptr);
    if (call.count > kMostArguments) throw Failure("too many arguments");
    return body(call);
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
    // The allocators of the CPU and of MPS, cuBLAS and the CUDA runtime throw the general error; that of CUDA has a type for it.
    memory = dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
             message.find("DefaultCPUAllocator: ") != std::string::npos ||
             message.find("CUBLAS_STATUS_ALLOC_FAILED") != std::string::npos || message.find("CUDA error: out of memory") != std::string::npos ||
             message.find("MPS backend out of memory") != std::string::npos;
  } catch (const std::bad_alloc&) {
    message = "out of memory";
    memory = true;
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "an unknown C++ exception";
  }
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, memory ? "OUT_OF_MEMORY" : nullptr, message.c_str());
  return nullptr;
}

using Export = napi_value (*)(napi_env, napi_callback_info);

inline void add(napi_env env, napi_value exports, const char* name, Export function) {
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
  napi_set_named_property(env, exports, name, value);
}

void exportOperators(napi_env env, napi_value exports);
void exportTensors(napi_env env, napi_value exports);
void exportRuntime(napi_env env, napi_value exports);

}  // namespace reckon
