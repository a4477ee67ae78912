// The bundle: what ecp.compile wrote and this runner executes. A bundle is untrusted input, so after
// parse_plan every index, offset, size and name in the structures below is known to be in range.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ecp {

struct BundleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class DType {
  kFloat32, kFloat16, kFloat64, kInt64, kInt32, kInt16, kInt8, kUInt64, kUInt32, kUInt16, kUInt8, kBool
};

std::size_t item_size(DType dtype);

struct Tensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  DType dtype = DType::kFloat32;
  std::size_t mem = 0;         // index into Bundle::mems
  std::uint64_t bytes = 0;     // dense row-major size
  std::optional<std::string> golden;  // file of the golden content, `bytes` long
};

struct Pool {
  std::string name;
  std::uint64_t bytes = 0;
  std::optional<std::string> file;  // `bytes` long
  bool read_only = false;           // no kernel writes to it
};

struct Image {
  std::uint64_t width = 0, height = 0;
  bool half = false;  // RGBA texels of 4 halves instead of 4 floats
  std::uint64_t texel_bytes() const { return half ? 8 : 16; }
};

struct MemRegion {
  std::string name;
  std::size_t pool = 0;  // index into Bundle::pools
  std::uint64_t offset = 0, bytes = 0;
  std::optional<Image> image;
};

struct Program {
  std::string name, file, options;
  std::string target;  // instructions beyond what the device's compiler has, mostly empty
};

struct Argument {
  enum class Kind { kMem, kInt32, kFloat32 };
  Kind kind = Kind::kMem;
  std::size_t mem = 0;  // index into Bundle::mems
  std::int32_t i32 = 0;
  float f32 = 0.0F;
};

struct Launch {
  std::size_t program = 0;  // index into Bundle::programs
  std::string kernel, family;
  std::vector<Argument> args;
  std::vector<std::size_t> global, local;  // 1 to 3 entries; local empty = the driver's choice
  std::vector<std::string> nodes;
  double flops = 0, bytes = 0;
  bool layout = false;
  std::size_t resident_groups = 0;  // work-groups that wait for each other, so that all must run at once
};

// One launch that stands for `count` launches from number `first`.
struct Group {
  std::size_t first = 0, count = 0;
  Launch launch;
};

// The indices of tensor `index` into `size` elements that `node` reads by at run time.
struct IndexCheck {
  std::string node, index;
  std::int64_t size = 0;
};

// Where kernels note the first run-time index that is outside: the number of its check from 1 (0: none), a word
// that is not used, the index in two halves.
struct Status {
  std::size_t mem = 0;  // index into Bundle::mems, of at least 16 bytes
  std::vector<IndexCheck> checks;
};

struct Bundle {
  std::string folder, plan_sha256, model, model_sha256, device_class, precision;
  std::vector<Tensor> inputs, outputs;
  std::vector<Pool> pools;
  std::vector<MemRegion> mems;
  std::vector<Program> programs;
  std::vector<Launch> launches;
  std::vector<Group> groups;  // in order, none inside another
  std::optional<Status> status;  // where kernels check run-time indices
};

// Size of a file inside the bundle, or nothing where there is no such regular file.
using FileSize = std::function<std::optional<std::uint64_t>(const std::string&)>;

// Throws BundleError (or json::Error) with a one-line reason that names the entry.
Bundle parse_plan(std::string_view plan, const FileSize& file_size);

// Reads FOLDER/plan.json and checks it against the files beside it.
Bundle load_bundle(const std::string& folder);

}  // namespace ecp
