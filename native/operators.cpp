// Owns the one generic door: any operator of libtorch's dispatcher, by name, through its boxed calling convention.
// Argument types are read from the operator's schema at run time, so a new libtorch needs no new wrappers.
#include <ATen/core/Generator.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include "napi.h"
#include "runtime.h"

namespace reckon {
namespace {

struct Operator {
  c10::OperatorHandle handle;
};

std::vector<Operator>& table() {
  static auto* operators = new std::vector<Operator>();
  return *operators;
}

c10::Scalar readScalar(napi_env env, napi_value value) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  if (type == napi_boolean) return c10::Scalar(readBool(env, value));
  const double number = readNumber(env, value);
  // Integral numbers stay integers, or integer tensors would turn to floats.
  const bool integral = number >= -9007199254740992.0 && number <= 9007199254740992.0 && number == static_cast<double>(static_cast<int64_t>(number));
  return integral ? c10::Scalar(static_cast<int64_t>(number)) : c10::Scalar(number);
}

c10::IValue readValue(napi_env env, napi_value value, const c10::Type& type);

c10::IValue readList(napi_env env, napi_value value, const c10::TypePtr& element) {
  using c10::TypeKind;
  switch (element->kind()) {
    case TypeKind::TensorType: {
      c10::List<at::Tensor> list;
      eachElement(env, value, [&](napi_value e) { list.push_back(slots().get(readInteger(env, e, "a Tensor"))); });
      return list;
    }
    case TypeKind::IntType:
    case TypeKind::SymIntType:
      return c10::List<int64_t>(c10::ArrayRef<int64_t>(readIntegers(env, value)));
    case TypeKind::FloatType: {
      c10::List<double> list;
      eachElement(env, value, [&](napi_value e) { list.push_back(readNumber(env, e)); });
      return list;
    }
    case TypeKind::BoolType: {
      c10::List<bool> list;
      eachElement(env, value, [&](napi_value e) { list.push_back(readBool(env, e)); });
      return list;
    }
    case TypeKind::OptionalType: {
      c10::List<std::optional<at::Tensor>> list;
      eachElement(env, value, [&](napi_value e) {
        if (isNothing(env, e)) list.push_back(std::nullopt);
        else list.push_back(slots().get(readInteger(env, e, "a Tensor")));
      });
      return list;
    }
    case TypeKind::NumberType: {
      c10::List<c10::IValue> list(c10::NumberType::get());
      eachElement(env, value, [&](napi_value e) { list.push_back(c10::IValue(readScalar(env, e))); });
      return c10::IValue(c10::impl::toList(std::move(list)));
    }
    default:
      throw Failure("arguments of type " + element->str() + "[] cannot be passed from JavaScript");
  }
}

c10::IValue readValue(napi_env env, napi_value value, const c10::Type& type) {
  using c10::TypeKind;
  switch (type.kind()) {
    case TypeKind::TensorType:
      return slots().get(readInteger(env, value, "a Tensor"));
    case TypeKind::OptionalType:
      if (isNothing(env, value)) return c10::IValue();
      return readValue(env, value, *type.castRaw<c10::OptionalType>()->getElementType());
    case TypeKind::ListType: {
      const auto& element = type.castRaw<c10::ListType>()->getElementType();
      return readList(env, value, element);
    }
    case TypeKind::IntType:
    case TypeKind::SymIntType:
      return readInteger(env, value);
    case TypeKind::FloatType:
      return readNumber(env, value);
    case TypeKind::BoolType:
      return readBool(env, value);
    case TypeKind::NumberType:
      return readScalar(env, value);
    case TypeKind::StringType:
      return readString(env, value);
    case TypeKind::DeviceObjType:
      return c10::Device(readString(env, value));
    case TypeKind::GeneratorType:
      return generatorOf(readInteger(env, value, "a Generator"));
    default:
      throw Failure("arguments of type " + type.str() + " cannot be passed from JavaScript");
  }
}

napi_value writeValue(napi_env env, const c10::IValue& value) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    return tensor.defined() ? makeHandle(env, tensor) : makeNothing(env);
  }
  if (value.isInt()) return makeNumber(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return makeNumber(env, value.toDouble());
  if (value.isBool()) return makeBool(env, value.toBool());
  if (value.isNone()) return makeNothing(env);
  if (value.isString()) return makeString(env, value.toStringRef());
  if (value.isList() || value.isTuple()) {
    const auto elements = value.isList() ? value.toListRef().vec() : value.toTupleRef().elements().vec();
    napi_value array;
    napi_create_array_with_length(env, elements.size(), &array);
    for (size_t i = 0; i < elements.size(); i++) napi_set_element(env, array, i, writeValue(env, elements[i]));
    return array;
  }
  throw Failure("a result of type " + value.tagKind() + " cannot be passed to JavaScript");
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

/// find(name, overload) -> {index, arguments, results, text} as JSON, or nothing where no such operator is registered.
napi_value find(Call& call) {
  const std::string name = readString(call.env, call.values[0]);
  const std::string overload = readString(call.env, call.values[1]);
  auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  if (!handle) return makeNothing(call.env);
  const c10::FunctionSchema& schema = handle->schema();
  std::ostringstream text;
  text << schema;
  std::string json = "{\"index\":" + std::to_string(table().size()) + ",\"text\":" + quoted(text.str()) + ",\"arguments\":[";
  bool first = true;
  for (const c10::Argument& argument : schema.arguments()) {
    json += std::string(first ? "" : ",") + "{\"name\":" + quoted(argument.name()) + ",\"type\":" + quoted(argument.type()->str()) +
            ",\"optional\":" + (argument.default_value() ? "true" : "false") + "}";
    first = false;
  }
  json += "],\"results\":[";
  first = true;
  for (const c10::Argument& result : schema.returns()) {
    json += std::string(first ? "" : ",") + quoted(result.type()->str());
    first = false;
  }
  table().push_back({*handle});
  return makeString(call.env, json + "]}");
}

/// call(index, ...arguments): undefined stands for an argument's default. Tensors are handles, in and out.
napi_value callOperator(Call& call) {
  const auto index = static_cast<size_t>(readInteger(call.env, call.values[0]));
  if (index >= table().size()) throw Failure("no such operator");
  const c10::OperatorHandle& handle = table()[index].handle;
  const auto& arguments = handle.schema().arguments();
  for (size_t i = arguments.size() + 1; i < call.count; i++) {
    napi_valuetype type;
    napi_typeof(call.env, call.values[i], &type);
    if (type != napi_undefined) throw Failure("expected at most " + std::to_string(arguments.size()) + " arguments");
  }
  torch::jit::Stack stack;
  stack.reserve(arguments.size() + 1);
  for (size_t i = 0; i < arguments.size(); i++) {
    napi_valuetype type = napi_undefined;
    if (i + 1 < call.count) napi_typeof(call.env, call.values[i + 1], &type);
    if (type == napi_undefined) {
      const auto& fallback = arguments[i].default_value();
      if (!fallback) throw Failure("argument '" + arguments[i].name() + "' (" + arguments[i].type()->str() + ") is missing");
      stack.push_back(*fallback);
      continue;
    }
    try {
      stack.push_back(readValue(call.env, call.values[i + 1], *arguments[i].type()));
    } catch (const Failure& failure) {
      throw Failure("argument '" + arguments[i].name() + "' (" + arguments[i].type()->str() + "): " + failure.what());
    }
  }
  handle.callBoxed(stack);
  if (stack.empty()) return makeNothing(call.env);
  if (stack.size() == 1) return writeValue(call.env, stack[0]);
  napi_value array;
  napi_create_array_with_length(call.env, stack.size(), &array);
  for (size_t i = 0; i < stack.size(); i++) napi_set_element(call.env, array, i, writeValue(call.env, stack[i]));
  return array;
}

/// names() -> every registered operator, as 'aten::add.Tensor'.
napi_value names(Call& call) {
  const auto all = c10::Dispatcher::singleton().getAllOpNames();
  napi_value array;
  napi_create_array_with_length(call.env, all.size(), &array);
  for (size_t i = 0; i < all.size(); i++) {
    const std::string text = all[i].overload_name.empty() ? all[i].name : all[i].name + "." + all[i].overload_name;
    napi_set_element(call.env, array, i, makeString(call.env, text));
  }
  return array;
}

}  // namespace

void exportOperators(napi_env env, napi_value exports) {
  add(env, exports, "find", guarded<find>);
  add(env, exports, "call", guarded<callOperator>);
  add(env, exports, "names", guarded<names>);
}

}  // namespace reckon
