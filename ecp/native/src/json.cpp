#include "json.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace ecp::json {
namespace {

// Names go out again in the runner's own JSON, so broken UTF-8 is refused on the way in.
bool valid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    const int more = lead < 0x80 ? 0 : lead < 0xC2 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : lead < 0xF5 ? 3 : -1;
    if (more < 0 || text.size() - i < static_cast<std::size_t>(more)) return false;
    for (int k = 0; k < more; ++k) {
      const auto byte = static_cast<unsigned char>(text[i++]);
      const bool overlong = k == 0 && ((lead == 0xE0 && byte < 0xA0) || (lead == 0xF0 && byte < 0x90));
      const bool outside = k == 0 && ((lead == 0xED && byte > 0x9F) || (lead == 0xF4 && byte > 0x8F));
      if ((byte & 0xC0) != 0x80 || overlong || outside) return false;
    }
  }
  return true;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value document() {
    Value value = parse_value(0);
    space();
    if (at_ != text_.size()) fail("text after the document");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(what + " at byte " + std::to_string(at_));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  void expect(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) fail(std::string("expected '") + wanted + "'");
    ++at_;
  }

  void literal(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) fail("unknown word");
    at_ += word.size();
  }

  Value parse_value(int depth) {
    if (depth > kMaxDepth) fail("nested too deep");
    space();
    Value value;
    switch (peek()) {
      case '{': parse_object(value, depth); break;
      case '[': parse_array(value, depth); break;
      case '"':
        value.kind = Value::Kind::kString;
        value.string = parse_string();
        break;
      case 't':
      case 'f':
        value.kind = Value::Kind::kBool;
        value.boolean = peek() == 't';
        literal(value.boolean ? "true" : "false");
        break;
      case 'n': literal("null"); break;
      default: parse_number(value);
    }
    return value;
  }

  void parse_object(Value& value, int depth) {
    value.kind = Value::Kind::kObject;
    expect('{');
    space();
    if (peek() == '}') {
      ++at_;
      return;
    }
    for (;;) {
      space();
      std::string name = parse_string();
      space();
      expect(':');
      if (!value.object.emplace(name, parse_value(depth + 1)).second) fail("key \"" + name.substr(0, 60) + "\" twice");
      space();
      if (peek() != ',') break;
      ++at_;
    }
    expect('}');
  }

  void parse_array(Value& value, int depth) {
    value.kind = Value::Kind::kArray;
    expect('[');
    space();
    if (peek() == ']') {
      ++at_;
      return;
    }
    for (;;) {
      value.array.push_back(parse_value(depth + 1));
      space();
      if (peek() != ',') break;
      ++at_;
    }
    expect(']');
  }

  bool digits() {
    const std::size_t start = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > start;
  }

  void parse_number(Value& value) {
    value.kind = Value::Kind::kNumber;
    const std::size_t start = at_;
    bool whole = true;
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else if (!digits()) {
      fail("expected a value");
    }
    if (peek() == '.') {
      whole = false;
      ++at_;
      if (!digits()) fail("a digit has to follow the point");
    }
    if (peek() == 'e' || peek() == 'E') {
      whole = false;
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) fail("a digit has to follow the exponent");
    }
    const std::string token(text_.substr(start, at_ - start));
    // strtod, because the NDK's library has no from_chars for double; the C locale is never changed.
    value.number = std::strtod(token.c_str(), nullptr);
    if (!std::isfinite(value.number)) fail("number out of range");
    value.whole = whole;
    if (whole) {
      const auto result = std::from_chars(token.data(), token.data() + token.size(), value.integer);
      value.is_integer = result.ec == std::errc();
    }
  }

  unsigned hex4() {
    if (text_.size() - at_ < 4) fail("short \\u escape");
    unsigned value = 0;
    const char* begin = text_.data() + at_;
    const auto result = std::from_chars(begin, begin + 4, value, 16);
    if (result.ec != std::errc() || result.ptr != begin + 4) fail("bad \\u escape");
    at_ += 4;
    return value;
  }

  void append_code_point(std::string& out, unsigned code) {
    if (code >= 0xDC00 && code <= 0xDFFF) fail("lone surrogate");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (text_.substr(at_, 2) != "\\u") fail("lone surrogate");
      at_ += 2;
      const unsigned low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("lone surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      if (code < 0x10000) {
        out += static_cast<char>(0xE0 | (code >> 12));
      } else {
        out += static_cast<char>(0xF0 | (code >> 18));
        out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      }
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  std::string parse_string() {
    expect('"');
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) fail("string without end");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) fail("control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = at_ < text_.size() ? text_[at_++] : '\0';
      constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
      const std::size_t index = kFrom.find(escape);
      if (escape == 'u') {
        append_code_point(out, hex4());
      } else if (index != std::string_view::npos) {
        out += kTo[index];
      } else {
        fail("unknown escape");
      }
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Value parse(std::string_view text) {
  const auto mark = [](char c) { return c == ',' || c == ':' || c == '[' || c == '{'; };
  if (static_cast<std::size_t>(std::count_if(text.begin(), text.end(), mark)) > kMaxValues) {
    throw Error("more than " + std::to_string(kMaxValues) + " values");
  }
  if (!valid_utf8(text)) throw Error("not UTF-8");
  return Parser(text).document();
}

void Writer::separate() {
  if (!first_ && !after_key_) out_ += ',';
  first_ = false;
  after_key_ = false;
}

void Writer::quote(std::string_view value) {
  out_ += '"';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (byte < 0x20) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(byte));
      out_ += buffer;
    } else {
      out_ += c;
    }
  }
  out_ += '"';
}

Writer& Writer::open(char bracket) {
  separate();
  out_ += bracket;
  first_ = true;
  return *this;
}

Writer& Writer::close(char bracket) {
  out_ += bracket;
  first_ = false;
  return *this;
}

Writer& Writer::key(std::string_view name) {
  separate();
  quote(name);
  out_ += ':';
  after_key_ = true;
  return *this;
}

Writer& Writer::text(std::string_view value) {
  separate();
  quote(value);
  return *this;
}

Writer& Writer::number(double value) {
  if (!std::isfinite(value)) return null();
  separate();
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  out_ += buffer;
  return *this;
}

Writer& Writer::integer(std::int64_t value) {
  separate();
  out_ += std::to_string(value);
  return *this;
}

Writer& Writer::boolean(bool value) {
  separate();
  out_ += value ? "true" : "false";
  return *this;
}

Writer& Writer::null() {
  separate();
  out_ += "null";
  return *this;
}

Writer& Writer::numbers(const std::vector<double>& values) {
  begin_array();
  for (const double value : values) number(value);
  return end_array();
}

}  // namespace ecp::json
