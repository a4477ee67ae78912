#include "bundle.h"

#include <cmath>
#include <limits>
#include <map>

#include "files.h"
#include "json.h"

namespace ecp {
namespace {

using json::Value;
using Kind = json::Value::Kind;

// Far above any real model, far below what could exhaust a phone while parsing.
constexpr std::size_t kMaxEntries = 100000, kMaxArgs = 64, kMaxRank = 8, kMaxText = 4096;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40, kMaxPlan = 64u << 20, kMaxSource = 16u << 20;
constexpr std::uint64_t kAlignment = 4096;
constexpr std::int64_t kMaxGlobal = std::int64_t{1} << 31;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw BundleError("plan.json: " + where + " " + what);
}

const Value& field(const Value& object, const std::string& name, const std::string& where) {
  if (!object.is(Kind::kObject)) fail(where, "is not an object");
  const auto found = object.object.find(name);
  if (found == object.object.end()) fail(where, "has no \"" + name + "\"");
  return found->second;
}

const std::string& text(const Value& object, const std::string& name, const std::string& where) {
  const Value& value = field(object, name, where);
  if (!value.is(Kind::kString) || value.string.size() > kMaxText ||
      value.string.find('\0') != std::string::npos) {
    fail(where + "." + name, "is not a text of up to 4096 bytes");
  }
  return value.string;
}

std::int64_t integer(const Value& value, std::int64_t low, std::int64_t high, const std::string& where) {
  if (!value.is_integer || value.integer < low || value.integer > high) {
    fail(where, "is not an integer from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value.integer;
}

std::uint64_t size(const Value& object, const std::string& name, std::int64_t low, const std::string& where) {
  return static_cast<std::uint64_t>(
      integer(field(object, name, where), low, static_cast<std::int64_t>(kMaxBytes), where + "." + name));
}

const std::vector<Value>& list(const Value& object, const std::string& name, const std::string& where,
                               std::size_t most = kMaxEntries) {
  const Value& value = field(object, name, where);
  if (!value.is(Kind::kArray) || value.array.size() > most) {
    fail(where + "." + name, "is not a list of up to " + std::to_string(most) + " entries");
  }
  return value.array;
}

double amount(const Value& object, const std::string& name, const std::string& where) {
  const auto found = object.object.find(name);
  if (found == object.object.end()) return 0.0;
  if (!found->second.is(Kind::kNumber) || found->second.number < 0) fail(where + "." + name, "is not a count");
  return found->second.number;
}

// "name" or "folder/name", of letters, digits, '.', '_' and '-', not beginning with a point.
const std::string& file_name(const Value& object, const std::string& name, const std::string& where) {
  const std::string& path = text(object, name, where);
  bool start = true;
  int slashes = 0;
  for (const char c : path) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (c == '/' && !start && slashes == 0) {
      ++slashes;
      start = true;
      continue;
    }
    if (!word && (start || (c != '.' && c != '-'))) fail(where + "." + name, "is not a file inside the bundle");
    start = false;
  }
  if (start) fail(where + "." + name, "is not a file inside the bundle");
  return path;
}

void require_file(const FileSize& file_size, const std::string& file, std::uint64_t bytes,
                  const std::string& where) {
  const auto actual = file_size(file);
  if (!actual) fail(where, "names " + file + ", which is not a regular file in the bundle");
  if (*actual != bytes) {
    fail(where, "needs " + std::to_string(bytes) + " bytes, but " + file + " has " + std::to_string(*actual));
  }
}

using Names = std::map<std::string, std::size_t, std::less<>>;

void declare(Names& names, const std::string& name, const std::string& where) {
  if (name.empty()) fail(where, "has an empty name");
  if (!names.emplace(name, names.size()).second) fail(where, "repeats the name \"" + name + "\"");
}

std::size_t lookup(const Names& names, const std::string& name, const std::string& where) {
  const auto found = names.find(name);
  if (found == names.end()) fail(where, "names the unknown \"" + name + "\"");
  return found->second;
}

std::string indexed(const std::string& what, std::size_t index) {
  return what + "[" + std::to_string(index) + "]";
}

class PlanReader {
 public:
  PlanReader(const Value& root, const FileSize& file_size) : root_(root), file_size_(file_size) {}

  Bundle read() {
    if (text(root_, "format", "the plan") != "ecp-bundle") fail("format", "is not ecp-bundle");
    if (integer(field(root_, "version", "the plan"), 0, 1000000, "version") != 1) {
      fail("version", "is not 1: this runner reads version 1 only");
    }
    const Value& model = field(root_, "model", "the plan");
    bundle_.model = text(model, "name", "model");
    bundle_.model_sha256 = text(model, "sha256", "model");
    bundle_.device_class = text(root_, "device_class", "the plan");
    bundle_.precision = text(root_, "precision", "the plan");
    if (bundle_.precision != "fp32" && bundle_.precision != "fp16") fail("precision", "is not fp32 or fp16");
    each("pools", [this](const Value& v, const std::string& w) { read_pool(v, w); });
    each("mems", [this](const Value& v, const std::string& w) { read_mem(v, w); });
    each("inputs", [this](const Value& v, const std::string& w) { read_tensor(v, w, bundle_.inputs); });
    each("outputs", [this](const Value& v, const std::string& w) { read_tensor(v, w, bundle_.outputs); });
    each("programs", [this](const Value& v, const std::string& w) { read_program(v, w); });
    each("launches", [this](const Value& v, const std::string& w) { bundle_.launches.push_back(read_launch(v, w)); });
    const auto chain = root_.object.find("chain");
    if (chain != root_.object.end() && !chain->second.is(Kind::kNull)) {
      bundle_.chain = read_launch(chain->second, "chain");
    }
    const auto status = root_.object.find("status");
    if (status != root_.object.end()) bundle_.status = read_status(status->second);
    if (bundle_.outputs.empty()) fail("outputs", "is empty");
    const auto golden = root_.object.find("golden");
    if (golden != root_.object.end() && !golden->second.is(Kind::kNull)) {
      read_golden(golden->second, "inputs", bundle_.inputs);
      read_golden(golden->second, "outputs", bundle_.outputs);
    }
    return std::move(bundle_);
  }

 private:
  template <typename Read>
  void each(const std::string& name, Read read) {
    const auto& entries = list(root_, name, "the plan");
    for (std::size_t i = 0; i < entries.size(); ++i) read(entries[i], indexed(name, i));
  }

  void read_pool(const Value& value, const std::string& where) {
    Pool pool;
    pool.name = text(value, "name", where);
    declare(pool_names_, pool.name, where);
    pool.bytes = size(value, "bytes", 0, where);
    if (!field(value, "file", where).is(Kind::kNull)) {
      pool.file = file_name(value, "file", where);
      require_file(file_size_, *pool.file, pool.bytes, where);
    }
    const auto access = value.object.find("access");
    pool.read_only = access != value.object.end() && access->second.string == "ro";
    bundle_.pools.push_back(std::move(pool));
  }

  void read_mem(const Value& value, const std::string& where) {
    MemRegion mem;
    mem.name = text(value, "name", where);
    declare(mem_names_, mem.name, where);
    mem.pool = lookup(pool_names_, text(value, "pool", where), where + ".pool");
    mem.offset = size(value, "offset", 0, where);
    mem.bytes = size(value, "bytes", 1, where);
    const Pool& pool = bundle_.pools[mem.pool];
    if (mem.offset % kAlignment != 0) fail(where + ".offset", "is not a multiple of 4096");
    if (mem.offset > pool.bytes || mem.bytes > pool.bytes - mem.offset) {
      fail(where, "reaches beyond pool \"" + pool.name + "\" of " + std::to_string(pool.bytes) + " bytes");
    }
    const auto image = value.object.find("image");
    if (image != value.object.end() && !image->second.is(Kind::kNull)) {
      mem.image = read_image(image->second, where + ".image");
      if (!pool.file) fail(where, "is an image in a pool without a file");
      if (mem.image->width * mem.image->height * mem.image->texel_bytes() > mem.bytes) {
        fail(where + ".image", "is larger than its " + std::to_string(mem.bytes) + " bytes");
      }
    }
    bundle_.mems.push_back(std::move(mem));
  }

  static Image read_image(const Value& value, const std::string& where) {
    Image image;
    image.width = static_cast<std::uint64_t>(integer(field(value, "width", where), 1, 65536, where + ".width"));
    image.height = static_cast<std::uint64_t>(integer(field(value, "height", where), 1, 65536, where + ".height"));
    const std::string& format = text(value, "format", where);
    if (format != "RGBA_F32" && format != "RGBA_F16") fail(where + ".format", "is not RGBA_F32 or RGBA_F16");
    image.half = format == "RGBA_F16";
    return image;
  }

  void read_tensor(const Value& value, const std::string& where, std::vector<Tensor>& into) {
    static const std::map<std::string, DType, std::less<>> kTypes = {
        {"float32", DType::kFloat32}, {"float16", DType::kFloat16}, {"int64", DType::kInt64},
        {"int32", DType::kInt32},     {"int8", DType::kInt8},       {"uint8", DType::kUInt8},
        {"bool", DType::kBool}};
    Tensor tensor;
    tensor.name = text(value, "name", where);
    declare(tensor_names_, (&into == &bundle_.inputs ? "i:" : "o:") + tensor.name, where);
    const auto type = kTypes.find(text(value, "dtype", where));
    if (type == kTypes.end()) fail(where + ".dtype", "is not a known type");
    tensor.dtype = type->second;
    tensor.mem = lookup(mem_names_, text(value, "mem", where), where + ".mem");
    const MemRegion& mem = bundle_.mems[tensor.mem];
    if (mem.image) fail(where, "lies in an image");
    tensor.bytes = item_size(tensor.dtype);
    for (const Value& dim : list(value, "shape", where, kMaxRank)) {
      tensor.shape.push_back(static_cast<std::uint64_t>(integer(dim, 1, std::int64_t{1} << 40, where + ".shape")));
      if (tensor.bytes > mem.bytes / tensor.shape.back()) fail(where, "does not fit into mem \"" + mem.name + "\"");
      tensor.bytes *= tensor.shape.back();
    }
    if (tensor.bytes > mem.bytes) fail(where, "does not fit into mem \"" + mem.name + "\"");
    into.push_back(std::move(tensor));
  }

  void read_program(const Value& value, const std::string& where) {
    Program program;
    program.name = text(value, "name", where);
    declare(program_names_, program.name, where);
    program.file = file_name(value, "file", where);
    program.options = text(value, "options", where);
    for (const char c : program.options) {
      if (c < 0x20 || c > 0x7E) fail(where + ".options", "has a character outside printable ASCII");
    }
    const auto bytes = file_size_(program.file);
    if (!bytes || *bytes > kMaxSource) fail(where, "names " + program.file + ", which is missing or too large");
    bundle_.programs.push_back(std::move(program));
  }

  Status read_status(const Value& value) const {
    Status status;
    status.mem = lookup(mem_names_, text(value, "mem", "status"), "status.mem");
    const MemRegion& mem = bundle_.mems[status.mem];
    if (mem.image || mem.bytes < 16 || bundle_.pools[mem.pool].read_only) {
      fail("status.mem", "cannot hold the status of run-time indices");
    }
    const auto& checks = list(value, "checks", "status");
    for (std::size_t i = 0; i < checks.size(); ++i) {
      const std::string where = indexed("status.checks", i);
      status.checks.push_back({text(checks[i], "node", where), text(checks[i], "index", where),
                               integer(field(checks[i], "size", where), 1, std::int64_t{1} << 40, where + ".size")});
    }
    return status;
  }

  Launch read_launch(const Value& value, const std::string& where) const {
    Launch launch;
    launch.program = lookup(program_names_, text(value, "program", where), where + ".program");
    launch.kernel = text(value, "kernel", where);
    launch.family = text(value, "family", where);
    if (launch.kernel.empty()) fail(where + ".kernel", "is empty");
    const auto& args = list(value, "args", where, kMaxArgs);
    for (std::size_t i = 0; i < args.size(); ++i) {
      launch.args.push_back(read_argument(args[i], indexed(where + ".args", i)));
    }
    launch.global = read_sizes(value, "global", where);
    const auto local = value.object.find("local");
    if (local != value.object.end() && !local->second.is(Kind::kNull)) {
      launch.local = read_sizes(value, "local", where);
      if (launch.local.size() != launch.global.size()) fail(where + ".local", "has another rank than global");
      for (std::size_t i = 0; i < launch.local.size(); ++i) {
        if (launch.global[i] % launch.local[i] != 0) fail(where + ".local", "does not divide global");
      }
    }
    for (const Value& node : list(value, "nodes", where)) {
      if (!node.is(Kind::kString)) fail(where + ".nodes", "holds something that is no text");
      launch.nodes.push_back(node.string);
    }
    launch.flops = amount(value, "flops", where);
    launch.bytes = amount(value, "bytes", where);
    const auto layout = value.object.find("layout");
    launch.layout = layout != value.object.end() && layout->second.boolean;
    const auto resident = value.object.find("resident_groups");
    if (resident != value.object.end()) {
      launch.resident_groups =
          static_cast<std::size_t>(integer(resident->second, 0, kMaxGlobal, where + ".resident_groups"));
    }
    return launch;
  }

  Argument read_argument(const Value& value, const std::string& where) const {
    if (!value.is(Kind::kObject) || value.object.size() != 1) fail(where, "is not one of mem, i32, f32");
    const auto& [name, content] = *value.object.begin();
    Argument argument;
    if (name == "mem") {
      argument.mem = lookup(mem_names_, text(value, "mem", where), where);
    } else if (name == "i32") {
      argument.kind = Argument::Kind::kInt32;
      argument.i32 = static_cast<std::int32_t>(integer(content, std::numeric_limits<std::int32_t>::min(),
                                                       std::numeric_limits<std::int32_t>::max(), where));
    } else if (name == "f32") {
      argument.kind = Argument::Kind::kFloat32;
      if (!content.is(Kind::kNumber) || std::fabs(content.number) > std::numeric_limits<float>::max()) {
        fail(where, "is not a float");
      }
      argument.f32 = static_cast<float>(content.number);
    } else {
      fail(where, "is not one of mem, i32, f32");
    }
    return argument;
  }

  static std::vector<std::size_t> read_sizes(const Value& value, const std::string& name,
                                             const std::string& where) {
    std::vector<std::size_t> sizes;
    for (const Value& entry : list(value, name, where, 3)) {
      sizes.push_back(static_cast<std::size_t>(integer(entry, 1, kMaxGlobal, where + "." + name)));
    }
    if (sizes.empty()) fail(where + "." + name, "is empty");
    return sizes;
  }

  void read_golden(const Value& golden, const std::string& side, std::vector<Tensor>& tensors) {
    const auto& entries = list(golden, side, "golden");
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::string where = indexed("golden." + side, i);
      const std::string& name = text(entries[i], "name", where);
      Tensor* match = nullptr;
      for (Tensor& tensor : tensors) {
        if (tensor.name == name) match = &tensor;
      }
      if (match == nullptr) fail(where, "names the unknown \"" + name + "\"");
      match->golden = file_name(entries[i], "file", where);
      require_file(file_size_, *match->golden, match->bytes, where);
    }
  }

  const Value& root_;
  const FileSize& file_size_;
  Bundle bundle_;
  Names pool_names_, mem_names_, tensor_names_, program_names_;
};

}  // namespace

std::size_t item_size(DType dtype) {
  switch (dtype) {
    case DType::kInt64: return 8;
    case DType::kFloat32:
    case DType::kInt32: return 4;
    case DType::kFloat16: return 2;
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kBool: return 1;
  }
  return 0;
}

Bundle parse_plan(std::string_view plan, const FileSize& file_size) {
  const Value root = json::parse(plan);
  return PlanReader(root, file_size).read();
}

Bundle load_bundle(const std::string& folder) {
  const std::string path = folder + "/plan.json";
  const auto bytes = regular_file_size(path);
  if (!bytes) throw BundleError(path + " does not exist: is this a bundle folder?");
  if (*bytes > kMaxPlan) throw BundleError(path + " is larger than 64 MiB");
  const std::string plan = read_file(path);
  Bundle bundle;
  try {
    bundle = parse_plan(plan, [&](const std::string& file) { return regular_file_size(folder + "/" + file); });
  } catch (const json::Error& error) {
    throw BundleError(path + ": " + error.what());
  }
  bundle.folder = folder;
  bundle.plan_sha256 = sha256_hex(plan);
  return bundle;
}

}  // namespace ecp
