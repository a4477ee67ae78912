#include "kernel_text.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace ecp {
namespace {

using Words = std::set<std::string, std::less<>>;

const Words kOptions = {"-cl-mad-enable",
                        "-cl-no-signed-zeros",
                        "-cl-denorms-are-zero",
                        "-cl-fast-relaxed-math",
                        "-cl-finite-math-only",
                        "-cl-unsafe-math-optimizations",
                        "-cl-single-precision-constant",
                        "-cl-fp32-correctly-rounded-divide-sqrt",
                        "-cl-opt-disable"};
const Words kDirectives = {"define", "undef", "if", "ifdef", "ifndef", "else", "elif", "endif", "error"};
const Words kPragmas = {"unroll", "nounroll", "OPENCL"};
const Words kReading = {"include", "include_next", "import", "embed", "line", "__include_macros", "pragma"};

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// -DNAME or -DNAME=NUMBER
bool definition(std::string_view option) {
  if (option.substr(0, 2) != "-D") return false;
  std::size_t at = 2;
  while (at < option.size() && (letter(option[at]) || (at > 2 && digit(option[at])))) ++at;
  if (at == 2 || at > 66) return false;
  if (at == option.size()) return true;
  const std::string_view value = option.substr(at + 1);
  return option[at] == '=' && !value.empty() && value.size() <= 9 && std::all_of(value.begin(), value.end(), digit);
}

bool language(std::string_view option) {
  return option.size() == 13 && option.substr(0, 10) == "-cl-std=CL" && option[10] >= '1' && option[10] <= '3' &&
         option[11] == '.' && option[12] >= '0' && option[12] <= '2';
}

std::string in_line(const std::string& text, std::size_t at) {
  return " in line " + std::to_string(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1) +
         ", which is not allowed";
}

std::string_view word_at(std::string_view text, std::size_t& at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  const std::size_t start = at;
  while (at < text.size() && letter(text[at])) ++at;
  return text.substr(start, at - start);
}

// Line ends joined by a backslash, other spellings of '#', operators that reach the preprocessor from an expression.
std::optional<std::string> hidden(const std::string& text) {
  for (const char* one : {"??", "%:", "_Pragma", "__has_include", "__has_embed"}) {
    if (const std::size_t at = text.find(one); at != std::string::npos) {
      return std::string("holds '") + one + "'" + in_line(text, at);
    }
  }
  for (std::size_t at = text.find('\\'); at != std::string::npos; at = text.find('\\', at + 1)) {
    const std::size_t end = text.find_first_not_of(" \t\v\f", at + 1);
    const bool last = end == std::string::npos ? true : text[end] == '\n' || text[end] == '\r';
    if (last) return "holds a line that ends in '\\'" + in_line(text, at);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> refused_option(const std::string& options) {
  for (std::size_t at = 0; at <= options.size();) {
    const std::size_t end = std::min(options.find(' ', at), options.size());
    const std::string option = options.substr(at, end - at);
    if (!option.empty() && kOptions.count(option) == 0 && !definition(option) && !language(option)) return option;
    at = end + 1;
  }
  return std::nullopt;
}

std::optional<std::string> refused_source(const std::string& text, bool assembler) {
  if (text.find('\0') != std::string::npos) return "holds a NUL byte";
  if (auto found = hidden(text)) return found;
  if (!assembler && (text.find("asm") != std::string::npos || text.find("##") != std::string::npos)) {
    return "holds inline assembly or '##', which only kernels for NVIDIA may";
  }
  for (std::size_t at = text.find('#'); at != std::string::npos;) {
    const std::size_t line = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
    const std::size_t begin = line == std::string::npos ? 0 : line + 1;
    const std::size_t first = text.find_first_not_of(" \t", begin);
    std::size_t next = at + 1;
    const bool pasted = next < text.size() && text[next] == '#';
    if (pasted) ++next;
    const std::size_t following = next;
    const std::string_view word = word_at(text, next), more = word_at(text, next);
    bool allowed = false;
    if (first == at && !pasted) {
      allowed = kDirectives.count(word) > 0 || (word == "pragma" && kPragmas.count(more) > 0);
    } else {  // an operator of a macro, whose operand is no directive even after a comment
      allowed = (pasted || !word.empty()) && kReading.count(word) == 0 && kDirectives.count(word) == 0;
    }
    if (!allowed) return "holds '#" + std::string(word.substr(0, 20)) + "'" + in_line(text, at);
    at = text.find('#', following);
  }
  return std::nullopt;
}

}  // namespace ecp
