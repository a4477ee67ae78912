// libFuzzer harness: plan.json is the input, and the files beside it have sizes derived from their names
// ("pool4096.bin" is 4096 bytes long), so that plans that pass every check are reachable without a disk.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "bundle.h"
#include "json.h"

namespace {

std::optional<std::uint64_t> size_from_name(const std::string& file) {
  const std::size_t digit = file.find_first_of("0123456789");
  if (digit == std::string::npos) return std::nullopt;
  return std::strtoull(file.c_str() + digit, nullptr, 10);
}

// What the executor relies on; a plan that is accepted and breaks it is a crash.
void require(bool holds) {
  if (!holds) std::abort();
}

// Relative, and no part is empty, hidden or "..": "a..b" is a name like any other.
bool inside(const std::string& path) {
  return ("/" + path + "/").find("//") == std::string::npos && ("/" + path).find("/.") == std::string::npos;
}

void verify(const ecp::Bundle& bundle) {
  for (const auto& pool : bundle.pools) require(!pool.file || inside(*pool.file));
  for (const auto& mem : bundle.mems) {
    const auto& pool = bundle.pools.at(mem.pool);
    require(mem.bytes > 0 && mem.offset <= pool.bytes && mem.bytes <= pool.bytes - mem.offset);
    require(!mem.image || (pool.file && mem.image->width * mem.image->height * mem.image->texel_bytes() <= mem.bytes));
  }
  for (const auto* side : {&bundle.inputs, &bundle.outputs}) {
    for (const auto& tensor : *side) {
      require(tensor.bytes > 0 && tensor.bytes <= bundle.mems.at(tensor.mem).bytes);
      require(!tensor.golden || inside(*tensor.golden));
    }
  }
  for (const auto& program : bundle.programs) require(inside(program.file));
  auto launches = bundle.launches;
  std::size_t behind = 0;  // first launch that no group before stands for
  for (const auto& group : bundle.groups) {
    require(group.count > 0 && group.first >= behind && group.first + group.count <= bundle.launches.size());
    behind = group.first + group.count;
    launches.push_back(group.launch);
  }
  require(!bundle.status || bundle.mems.at(bundle.status->mem).bytes >= 16);
  for (const auto& launch : launches) {
    require(launch.program < bundle.programs.size());
    require(!launch.global.empty() && launch.global.size() <= 3);
    require(launch.local.empty() || launch.local.size() == launch.global.size());
    for (const auto& argument : launch.args) {
      require(argument.kind != ecp::Argument::Kind::kMem || argument.mem < bundle.mems.size());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    verify(ecp::parse_plan({reinterpret_cast<const char*>(data), size}, size_from_name));
  } catch (const ecp::BundleError&) {
  } catch (const ecp::json::Error&) {
  }
  return 0;
}
