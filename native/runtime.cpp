// Owns the process-wide switches: grad mode, threads, generators, and what libtorch says of itself; and the addon's
// entry point.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/headeronly/version.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <unordered_map>

#include "host-memory.h"
#include "kernels/choice.h"
#include "napi.h"
#include "runtime.h"

namespace reckon {
namespace {

std::unordered_map<int64_t, at::Generator>& generators() {
  static auto* table = new std::unordered_map<int64_t, at::Generator>();
  return *table;
}
int64_t nextGenerator = 1;

napi_value makeGenerator(Call& call) {
  const c10::Device device(readString(call.env, call.values[0]));
  at::Generator generator = at::globalContext().defaultGenerator(device).clone();
  generator.set_current_seed(static_cast<uint64_t>(readInteger(call.env, call.values[1])));
  generators().emplace(nextGenerator, generator);
  return makeNumber(call.env, static_cast<double>(nextGenerator++));
}

napi_value freeGenerator(Call& call) {
  generators().erase(readInteger(call.env, call.values[0]));
  return makeNothing(call.env);
}

/// generatorState(id) -> handle of a byte tensor; setGeneratorState(id, handle) puts it back.
napi_value generatorState(Call& call) { return makeHandle(call.env, generatorOf(readInteger(call.env, call.values[0])).get_state()); }

napi_value setGeneratorState(Call& call) {
  generatorOf(readInteger(call.env, call.values[0])).set_state(slots().get(readInteger(call.env, call.values[1], "a Tensor")));
  return makeNothing(call.env);
}

/// manualSeed(seed): the default generators of every device.
napi_value manualSeed(Call& call) {
  at::manual_seed(static_cast<uint64_t>(readInteger(call.env, call.values[0])));
  return makeNothing(call.env);
}

napi_value gradEnabled(Call& call) { return makeBool(call.env, c10::GradMode::is_enabled()); }

napi_value setGradEnabled(Call& call) {
  c10::GradMode::set_enabled(readBool(call.env, call.values[0]));
  return makeNothing(call.env);
}

napi_value threads(Call& call) { return makeNumber(call.env, at::get_num_threads()); }

napi_value setThreads(Call& call) {
  const int64_t count = readInteger(call.env, call.values[0]);
  if (count < 1 || count > 1024) throw Failure("expected 1 to 1024 threads, found " + std::to_string(count));
  at::set_num_threads(static_cast<int>(count));
  return makeNothing(call.env);
}

/// kernelNames() -> the instruction sets that this processor has kernels for, the best one last.
napi_value kernelNames(Call& call) {
  const auto& tables = runnableKernels();
  napi_value array;
  napi_create_array_with_length(call.env, tables.size(), &array);
  for (size_t i = 0; i < tables.size(); i++) napi_set_element(call.env, array, i, makeString(call.env, tables[i]->name));
  return array;
}

/// useKernels(name): puts the kernels of that instruction set in use.
napi_value useKernelsOf(Call& call) {
  const std::string name = readString(call.env, call.values[0]);
  if (!useKernels(name)) throw Failure("this processor has no kernels '" + name + "'");
  return makeNothing(call.env);
}

/// freeCachedMemory(device): hands back what its allocator keeps for later and no tensor uses.
napi_value freeCachedMemory(Call& call) {
  const c10::Device device(readString(call.env, call.values[0]));
  if (device.is_cpu()) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
  } else if (auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()))) {
    allocator->emptyCache();
  }
  return makeNothing(call.env);
}

/// deviceMemory(device) -> { total, peak } in bytes: what the device has, and the most that tensors have held of it in this process;
/// undefined where its allocator does not say, as the CPU's.
napi_value deviceMemory(Call& call) {
  const c10::Device device(readString(call.env, call.values[0]));
  auto* allocator = device.is_cpu() ? nullptr : dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  if (allocator == nullptr || !allocator->initialized()) return makeNothing(call.env);
  const c10::DeviceIndex index = device.has_index() ? device.index() : static_cast<c10::DeviceIndex>(0);
  constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  try {
    const size_t total = allocator->getMemoryInfo(index).second;
    const int64_t peak = allocator->getDeviceStats(index).allocated_bytes[all].peak;
    napi_value object;
    napi_create_object(call.env, &object);
    napi_set_named_property(call.env, object, "total", makeNumber(call.env, static_cast<double>(total)));
    napi_set_named_property(call.env, object, "peak", makeNumber(call.env, static_cast<double>(peak)));
    return object;
  } catch (const c10::NotImplementedError&) {
    return makeNothing(call.env);
  }
}

napi_value describe(Call& call) {
  napi_value object;
  napi_create_object(call.env, &object);
  const auto set = [&](const char* name, napi_value value) { napi_set_named_property(call.env, object, name, value); };
  set("torch", makeString(call.env, TORCH_VERSION));
  set("cpuCapability", makeString(call.env, at::get_cpu_capability()));
  set("mkldnn", makeBool(call.env, at::globalContext().hasMKLDNN()));
  set("mkl", makeBool(call.env, at::globalContext().hasMKL()));
  set("cuda", makeBool(call.env, at::globalContext().hasCUDA()));
  set("cudaDevices", makeNumber(call.env, static_cast<double>(at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0)));
  set("mps", makeBool(call.env, at::globalContext().hasMPS()));
  set("threads", makeNumber(call.env, at::get_num_threads()));
  return object;
}

}  // namespace

at::Generator generatorOf(int64_t id) {
  const auto found = generators().find(id);
  if (found == generators().end()) throw Failure("the generator was already freed");
  return found->second;
}

void exportRuntime(napi_env env, napi_value exports) {
  add(env, exports, "makeGenerator", guarded<makeGenerator>);
  add(env, exports, "freeGenerator", guarded<freeGenerator>);
  add(env, exports, "generatorState", guarded<generatorState>);
  add(env, exports, "setGeneratorState", guarded<setGeneratorState>);
  add(env, exports, "manualSeed", guarded<manualSeed>);
  add(env, exports, "gradEnabled", guarded<gradEnabled>);
  add(env, exports, "setGradEnabled", guarded<setGradEnabled>);
  add(env, exports, "threads", guarded<threads>);
  add(env, exports, "setThreads", guarded<setThreads>);
  add(env, exports, "kernelNames", guarded<kernelNames>);
  add(env, exports, "useKernels", guarded<useKernelsOf>);
  add(env, exports, "freeCachedMemory", guarded<freeCachedMemory>);
  add(env, exports, "deviceMemory", guarded<deviceMemory>);
  add(env, exports, "describe", guarded<describe>);
}

}  // namespace reckon

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */) {
  reckon::useHostMemory();
  reckon::exportOperators(env, exports);
  reckon::exportTensors(env, exports);
  reckon::exportRuntime(env, exports);
  return exports;
}
