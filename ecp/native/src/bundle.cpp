#include "bundle.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <set>

#include "files.h"
#include "json.h"
#include "kernel_text.h"

namespace ecp {
namespace {

using json::Value;
using Kind = json::Value::Kind;

// Far above any real model, far below what could exhaust a phone while parsing.
// ecp/plan.py and ecp/plan_check.py have the same.
constexpr std::int64_t kVersion = 2;
constexpr std::size_t kMaxEntries = 100000, kMaxArgs = 1024, kMaxRank = 32, kMaxText = 4096;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40, kMaxPlan = 16u << 20, kMaxSource = 16u << 20;
constexpr std::uint64_t kAlignment = 4096, kMaxWork = std::uint64_t{1} << 34, kMaxLocal = 4096;
constexpr std::int64_t kMaxGlobal = std::int64_t{1} << 31, kMaxCount = std::int64_t{1} << 62;

// What messages repeat of a text that was given: printable, and not a page of it.
std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 60)) out += c >= 0x20 && c <= 0x7E ? c : '?';
  return out;
}

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

bool boolean(const Value& object, const std::string& name, const std::string& where) {
  const Value& value = field(object, name, where);
  if (!value.is(Kind::kBool)) fail(where + "." + name, "is not true or false");
  return value.boolean;
}

double number(const Value& object, const std::string& name, const std::string& where) {
  const Value& value = field(object, name, where);
  if (!value.is(Kind::kNumber)) fail(where + "." + name, "is not a number");
  return value.number;
}

std::int64_t count(const Value& object, const std::string& name, const std::string& where) {
  return integer(field(object, name, where), 0, kMaxCount, where + "." + name);
}

const std::string& choice(const Value& object, const std::string& name, std::initializer_list<const char*> known,
                          const std::string& where) {
  const std::string& value = text(object, name, where);
  std::string all;
  for (const char* one : known) {
    if (value == one) return value;
    all += std::string(all.empty() ? "" : ", ") + one;
  }
  fail(where + "." + name, "is not one of " + all);
}

// An object of exactly these fields.
void exactly(const Value& object, std::initializer_list<const char*> known, const std::string& where) {
  for (const char* name : known) field(object, name, where);
  if (object.object.size() == known.size()) return;
  for (const auto& [name, value] : object.object) {
    if (std::none_of(known.begin(), known.end(), [&name = name](const char* one) { return name == one; })) {
      fail(where, "has the unknown field \"" + shown(name) + "\"");
    }
  }
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
  if (!names.emplace(name, names.size()).second) fail(where, "repeats the name \"" + shown(name) + "\"");
}

std::size_t lookup(const Names& names, const std::string& name, const std::string& where) {
  const auto found = names.find(name);
  if (found == names.end()) fail(where, "names the unknown \"" + shown(name) + "\"");
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
    // Before any other word: a later version has other fields.
    const Value& version = field(root_, "version", "the plan");
    if (!version.is_integer || version.integer != kVersion) fail("version", "is not 2: this runner reads version 2 only");
    exactly(root_, {"inputs", "outputs", "pools", "mems", "programs", "launches", "groups", "status", "format",
                    "version", "model", "device", "device_class", "precision", "arithmetic", "options", "persistent",
                    "persistent_reason", "schedule", "report", "golden"}, "the plan");
    read_head();
    each("pools", [this](const Value& v, const std::string& w) { read_pool(v, w); });
    each("mems", [this](const Value& v, const std::string& w) { read_mem(v, w); });
    each("inputs", [this](const Value& v, const std::string& w) { read_tensor(v, w, bundle_.inputs); });
    each("outputs", [this](const Value& v, const std::string& w) { read_tensor(v, w, bundle_.outputs); });
    if (bundle_.outputs.empty()) fail("outputs", "is empty");
    each("programs", [this](const Value& v, const std::string& w) { read_program(v, w); });
    each("launches", [this](const Value& v, const std::string& w) { bundle_.launches.push_back(read_launch(v, w)); });
    each("groups", [this](const Value& v, const std::string& w) { read_group(v, w); });
    const Value& status = field(root_, "status", "the plan");
    if (!status.is(Kind::kNull)) bundle_.status = read_status(status);
    const Value& golden = field(root_, "golden", "the plan");
    exactly(golden, {"inputs", "outputs"}, "golden");
    read_golden(golden, "inputs", bundle_.inputs);
    read_golden(golden, "outputs", bundle_.outputs);
    return std::move(bundle_);
  }

 private:
  template <typename Read>
  void each(const std::string& name, Read read) {
    const auto& entries = list(root_, name, "the plan");
    for (std::size_t i = 0; i < entries.size(); ++i) read(entries[i], indexed(name, i));
  }

  // What is only passed on or for the record.
  void read_head() {
    const Value& model = field(root_, "model", "the plan");
    exactly(model, {"name", "sha256"}, "model");
    bundle_.model = text(model, "name", "model");
    bundle_.model_sha256 = text(model, "sha256", "model");
    const bool hexadecimal = bundle_.model_sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hexadecimal || (!bundle_.model_sha256.empty() && bundle_.model_sha256.size() != 64)) {
      fail("model.sha256", "is not a SHA-256");
    }
    text(root_, "device", "the plan");
    bundle_.device_class = text(root_, "device_class", "the plan");
    bundle_.precision = choice(root_, "precision", {"fp32", "fp16"}, "the plan");
    choice(root_, "arithmetic", {"float", "half"}, "the plan");
    const Value& options = field(root_, "options", "the plan");
    exactly(options, {"eliminate", "fuse", "layout_choice", "memory_plan"}, "options");
    for (const auto& [name, value] : options.object) boolean(options, name, "options");
    boolean(root_, "persistent", "the plan");
    text(root_, "persistent_reason", "the plan");
    read_schedule(field(root_, "schedule", "the plan"));
    read_report(field(root_, "report", "the plan"));
  }

  static void read_schedule(const Value& value) {
    if (value.is(Kind::kNull)) return;
    exactly(value, {"source", "row"}, "schedule");
    text(value, "source", "schedule");
    const Value& row = field(value, "row", "schedule");
    if (!row.is(Kind::kObject)) fail("schedule.row", "is not an object");
    for (const auto& [name, entry] : row.object) {
      if (name.empty() || name.size() > kMaxText || name.find('\0') != std::string::npos) {
        fail("schedule.row", "has a name that is not a text of 1 to 4096 bytes");
      }
      const std::string where = "schedule.row." + shown(name);
      if (!entry.is(Kind::kArray)) {
        read_scalar(entry, where);
      } else {
        for (const Value& one : entry.array) read_scalar(one, where);
      }
    }
  }

  static void read_scalar(const Value& value, const std::string& where) {
    const bool fits = value.is(Kind::kBool) || (value.is(Kind::kNumber) && (value.is_integer || !value.whole)) ||
                      (value.is(Kind::kString) && value.string.size() <= kMaxText &&
                       value.string.find('\0') == std::string::npos);
    if (!fits) fail(where, "is not a number, a text or true or false");
  }

  static void read_report(const Value& value) {
    exactly(value, {"imported_nodes", "transformative_nodes", "eliminated", "launches", "dispatches",
                    "layout_launches", "layout_bytes", "materialized", "arena_bytes", "naive_bytes", "weight_bytes",
                    "macs", "compile_seconds", "cold_compile_seconds", "arithmetic", "half_launches",
                    "wgmma_launches"}, "report");
    for (const char* name : {"imported_nodes", "transformative_nodes", "eliminated", "launches", "dispatches",
                             "layout_launches", "layout_bytes", "arena_bytes", "naive_bytes", "weight_bytes", "macs",
                             "half_launches", "wgmma_launches"}) {
      count(value, name, "report");
    }
    number(value, "compile_seconds", "report");
    number(value, "cold_compile_seconds", "report");
    choice(value, "arithmetic", {"float", "half"}, "report");
    const auto& materialized = list(value, "materialized", "report");
    for (std::size_t i = 0; i < materialized.size(); ++i) {
      const Value& pair = materialized[i];
      const std::string where = indexed("report.materialized", i);
      if (!pair.is(Kind::kArray) || pair.array.size() != 2) fail(where, "is not a list of 2 entries");
      for (const Value& one : pair.array) plain_text(one, where);
    }
  }

  void read_pool(const Value& value, const std::string& where) {
    exactly(value, {"name", "bytes", "file", "access"}, where);
    Pool pool;
    pool.name = text(value, "name", where);
    declare(pool_names_, pool.name, where);
    pool.bytes = size(value, "bytes", 0, where);
    if (!field(value, "file", where).is(Kind::kNull)) {
      pool.file = file_name(value, "file", where);
      own_file(*pool.file, where);
      require_file(file_size_, *pool.file, pool.bytes, where);
    }
    pool.read_only = choice(value, "access", {"ro", "rw"}, where) == "ro";
    bundle_.pools.push_back(std::move(pool));
  }

  void read_mem(const Value& value, const std::string& where) {
    exactly(value, {"name", "pool", "offset", "bytes", "image"}, where);
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
    const Value& image = field(value, "image", where);
    if (!image.is(Kind::kNull)) {
      mem.image = read_image(image, where + ".image");
      if (!pool.file) fail(where, "is an image in a pool without a file");
      if (mem.image->width * mem.image->height * mem.image->texel_bytes() > mem.bytes) {
        fail(where + ".image", "is larger than its " + std::to_string(mem.bytes) + " bytes");
      }
    }
    bundle_.mems.push_back(std::move(mem));
  }

  static Image read_image(const Value& value, const std::string& where) {
    exactly(value, {"width", "height", "format"}, where);
    Image image;
    image.width = static_cast<std::uint64_t>(integer(field(value, "width", where), 1, 65536, where + ".width"));
    image.height = static_cast<std::uint64_t>(integer(field(value, "height", where), 1, 65536, where + ".height"));
    image.half = choice(value, "format", {"RGBA_F32", "RGBA_F16"}, where) == "RGBA_F16";
    return image;
  }

  void read_tensor(const Value& value, const std::string& where, std::vector<Tensor>& into) {
    static const std::map<std::string, DType, std::less<>> kTypes = {
        {"float32", DType::kFloat32}, {"float16", DType::kFloat16}, {"float64", DType::kFloat64},
        {"int64", DType::kInt64},     {"int32", DType::kInt32},     {"int16", DType::kInt16},
        {"int8", DType::kInt8},       {"uint64", DType::kUInt64},   {"uint32", DType::kUInt32},
        {"uint16", DType::kUInt16},   {"uint8", DType::kUInt8},     {"bool", DType::kBool}};
    exactly(value, {"name", "shape", "dtype", "mem"}, where);
    Tensor tensor;
    tensor.name = text(value, "name", where);
    declare(tensor_names_, (&into == &bundle_.inputs ? "i:" : "o:") + tensor.name, where);
    const auto type = kTypes.find(text(value, "dtype", where));
    if (type == kTypes.end()) fail(where + ".dtype", "is not a known type");
    tensor.dtype = type->second;
    tensor.mem = lookup(mem_names_, text(value, "mem", where), where + ".mem");
    const MemRegion& mem = bundle_.mems[tensor.mem];
    if (mem.image) fail(where, "lies in an image");
    if (bundle_.pools[mem.pool].read_only) fail(where, "lies in a pool that is never written to");
    tensor.bytes = item_size(tensor.dtype);
    std::uint64_t some = 1;  // without the zeros, so that no product of the others leaves 64 bits
    for (const Value& dim : list(value, "shape", where, kMaxRank)) {
      const std::int64_t most = static_cast<std::int64_t>(kMaxBytes);
      tensor.shape.push_back(static_cast<std::uint64_t>(integer(dim, 0, most, where + ".shape")));
      if (tensor.shape.back() == 0) continue;
      if (some > kMaxBytes / tensor.shape.back()) fail(where, "does not fit into mem \"" + shown(mem.name) + "\"");
      some *= tensor.shape.back();
    }
    const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0u) != tensor.shape.end();
    tensor.bytes *= empty ? 0 : some;
    if (tensor.bytes > mem.bytes) fail(where, "does not fit into mem \"" + shown(mem.name) + "\"");
    into.push_back(std::move(tensor));
  }

  void read_program(const Value& value, const std::string& where) {
    exactly(value, {"name", "file", "options", "target"}, where);
    Program program;
    program.name = text(value, "name", where);
    declare(program_names_, program.name, where);
    program.file = file_name(value, "file", where);
    program.options = text(value, "options", where);
    program.target = choice(value, "target", {"", "sm_90a"}, where);
    if (const auto refused = refused_option(program.options)) {
      fail(where, "has the build option \"" + shown(*refused) + "\", which is not allowed");
    }
    if (sources_.insert(program.file).second) own_file(program.file, where);
    const auto bytes = file_size_(program.file);
    if (!bytes || *bytes > kMaxSource) fail(where, "names " + program.file + ", which is missing or too large");
    bundle_.programs.push_back(std::move(program));
  }

  Status read_status(const Value& value) const {
    exactly(value, {"mem", "checks"}, "status");
    Status status;
    status.mem = lookup(mem_names_, text(value, "mem", "status"), "status.mem");
    const MemRegion& mem = bundle_.mems[status.mem];
    if (mem.image || mem.bytes < 16 || bundle_.pools[mem.pool].read_only) {
      fail("status.mem", "cannot hold the status of run-time indices");
    }
    const auto& checks = list(value, "checks", "status");
    for (std::size_t i = 0; i < checks.size(); ++i) {
      const std::string where = indexed("status.checks", i);
      exactly(checks[i], {"node", "index", "size"}, where);
      status.checks.push_back({text(checks[i], "node", where), text(checks[i], "index", where),
                               integer(field(checks[i], "size", where), 1, std::int64_t{1} << 40, where + ".size")});
    }
    return status;
  }

  void read_group(const Value& value, const std::string& where) {
    exactly(value, {"first", "count", "launch"}, where);
    const auto limit = static_cast<std::int64_t>(kMaxEntries);
    Group group;
    group.first = static_cast<std::size_t>(integer(field(value, "first", where), 0, limit, where + ".first"));
    group.count = static_cast<std::size_t>(integer(field(value, "count", where), 1, limit, where + ".count"));
    const std::size_t end = bundle_.groups.empty() ? 0 : bundle_.groups.back().first + bundle_.groups.back().count;
    if (group.first < end) fail(where, "begins before the one ahead of it ends");
    if (group.first + group.count > bundle_.launches.size()) {
      fail(where, "ends at launch " + std::to_string(group.first + group.count) + " of " +
                      std::to_string(bundle_.launches.size()));
    }
    group.launch = read_launch(field(value, "launch", where), where + ".launch");
    bundle_.groups.push_back(std::move(group));
  }

  Launch read_launch(const Value& value, const std::string& where) const {
    exactly(value, {"program", "kernel", "args", "global_size", "local_size", "family", "nodes", "flops", "bytes",
                    "layout", "reason", "arithmetic", "target", "resident_groups"}, where);
    Launch launch;
    launch.program = lookup(program_names_, text(value, "program", where), where + ".program");
    launch.kernel = text(value, "kernel", where);
    launch.family = text(value, "family", where);
    if (launch.kernel.empty()) fail(where + ".kernel", "is empty");
    const auto& args = list(value, "args", where, kMaxArgs);
    for (std::size_t i = 0; i < args.size(); ++i) {
      launch.args.push_back(read_argument(args[i], indexed(where + ".args", i)));
    }
    launch.global = read_sizes(value, "global_size", where);
    if (product(launch.global, kMaxWork) > kMaxWork) fail(where, "has more than 2^34 work-items");
    if (!field(value, "local_size", where).is(Kind::kNull)) read_local(value, where, launch);
    const auto& nodes = list(value, "nodes", where);
    for (const Value& node : nodes) launch.nodes.push_back(plain_text(node, where + ".nodes"));
    launch.flops = static_cast<double>(count(value, "flops", where));
    launch.bytes = static_cast<double>(count(value, "bytes", where));
    launch.layout = boolean(value, "layout", where);
    text(value, "reason", where);
    choice(value, "arithmetic", {"float", "half"}, where);
    choice(value, "target", {"", "sm_90a"}, where);
    launch.resident_groups = static_cast<std::size_t>(
        integer(field(value, "resident_groups", where), 0, kMaxGlobal, where + ".resident_groups"));
    return launch;
  }

  static void read_local(const Value& value, const std::string& where, Launch& launch) {
    launch.local = read_sizes(value, "local_size", where);
    if (launch.local.size() != launch.global.size()) fail(where + ".local_size", "has another rank than global_size");
    if (product(launch.local, kMaxLocal) > kMaxLocal) fail(where + ".local_size", "has more than 4096 work-items");
    for (std::size_t i = 0; i < launch.local.size(); ++i) {
      if (launch.global[i] % launch.local[i] != 0) fail(where + ".local_size", "does not divide global_size");
    }
  }

  // The product, or something above `most` where it is larger: at most 2^31 times 2^34 before the check.
  static std::uint64_t product(const std::vector<std::size_t>& sizes, std::uint64_t most) {
    std::uint64_t all = 1;
    for (const std::size_t one : sizes) {
      all *= one;
      if (all > most) break;
    }
    return all;
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
      exactly(entries[i], {"name", "file"}, where);
      const std::string& name = text(entries[i], "name", where);
      Tensor* match = nullptr;
      for (Tensor& tensor : tensors) {
        if (tensor.name == name) match = &tensor;
      }
      if (match == nullptr) fail(where, "names the unknown \"" + shown(name) + "\"");
      if (match->golden) fail(where, "repeats the name \"" + shown(name) + "\"");
      match->golden = file_name(entries[i], "file", where);
      own_file(*match->golden, where);
      require_file(file_size_, *match->golden, match->bytes, where);
    }
  }

  static const std::string& plain_text(const Value& value, const std::string& where) {
    if (!value.is(Kind::kString) || value.string.size() > kMaxText || value.string.find('\0') != std::string::npos) {
      fail(where, "holds something that is no text of up to 4096 bytes");
    }
    return value.string;
  }

  // A file holds one thing: what is written through one name must not change what another reads.
  void own_file(const std::string& file, const std::string& where) {
    if (!files_.insert(file).second) fail(where, "names the file \"" + file + "\" for two things");
  }

  const Value& root_;
  const FileSize& file_size_;
  Bundle bundle_;
  Names pool_names_, mem_names_, tensor_names_, program_names_;
  std::set<std::string> files_ = {"plan.json"}, sources_;
};

}  // namespace

std::size_t item_size(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
    case DType::kUInt64:
    case DType::kInt64: return 8;
    case DType::kFloat32:
    case DType::kUInt32:
    case DType::kInt32: return 4;
    case DType::kInt16:
    case DType::kUInt16:
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

namespace {

// Nothing for a file in a folder that is a link: it would lead out of the bundle.
std::optional<std::uint64_t> size_inside(const std::string& folder, const std::string& file) {
  const std::size_t slash = file.find('/');
  if (slash != std::string::npos && !is_folder(folder + "/" + file.substr(0, slash))) return std::nullopt;
  return regular_file_size(folder + "/" + file);
}

void check_sources(const std::string& folder, const Bundle& bundle) {
  for (const Program& program : bundle.programs) {
    const auto refused = refused_source(read_file(folder + "/" + program.file), bundle.device_class == "nvidia");
    if (refused) throw BundleError(program.file + " " + *refused);
  }
}

}  // namespace

Bundle load_bundle(const std::string& folder) {
  const std::string path = folder + "/plan.json";
  const auto bytes = regular_file_size(path);
  if (!bytes) throw BundleError(path + " does not exist: is this a bundle folder?");
  if (*bytes > kMaxPlan) throw BundleError(path + " is larger than 16 MiB");
  const std::string plan = read_file(path);
  Bundle bundle;
  try {
    bundle = parse_plan(plan, [&](const std::string& file) { return size_inside(folder, file); });
    check_sources(folder, bundle);
  } catch (const json::Error& error) {
    throw BundleError(path + ": " + error.what());
  }
  bundle.folder = folder;
  bundle.plan_sha256 = sha256_hex(plan);
  return bundle;
}

}  // namespace ecp
