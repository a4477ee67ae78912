// JSON for untrusted input: a strict reader (RFC 8259, nothing more) with limits on depth, and a writer.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ecp::json {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One parsed value. Numbers keep both readings: `integer` is valid only where `is_integer`.
struct Value {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  bool whole = false;       // a number without point or exponent
  bool is_integer = false;  // and one that fits
  std::int64_t integer = 0;
  double number = 0.0;
  std::string string;
  std::vector<Value> array;
  std::map<std::string, Value, std::less<>> object;

  bool is(Kind other) const { return kind == other; }
};

inline constexpr int kMaxDepth = 32;
// Values a document may hold: a bound on memory that is known before anything is parsed.
inline constexpr std::size_t kMaxValues = std::size_t{1} << 19;

// Throws Error with the byte offset. Rejects trailing text, duplicate keys, control characters, lone
// surrogates, numbers outside double, and nesting beyond kMaxDepth.
Value parse(std::string_view text);

// Appends to a text; the caller keeps begin and end balanced.
class Writer {
 public:
  Writer& begin_object() { return open('{'); }
  Writer& end_object() { return close('}'); }
  Writer& begin_array() { return open('['); }
  Writer& end_array() { return close(']'); }
  Writer& key(std::string_view name);
  Writer& text(std::string_view value);
  Writer& number(double value);  // NaN and infinities become null
  Writer& integer(std::int64_t value);
  Writer& boolean(bool value);
  Writer& null();
  Writer& numbers(const std::vector<double>& values);
  const std::string& str() const { return out_; }

 private:
  Writer& open(char bracket);
  Writer& close(char bracket);
  void separate();
  void quote(std::string_view value);
  std::string out_;
  bool first_ = true;
  bool after_key_ = false;
};

}  // namespace ecp::json
