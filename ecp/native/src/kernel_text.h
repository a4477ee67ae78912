// What a kernel's text and build options may not do: read files of the computer that builds it.
// ecp/kernel_text.py has the same rules and says why.
#pragma once

#include <optional>
#include <string>

namespace ecp {

// The first build option that is not known to be harmless, or nothing.
std::optional<std::string> refused_option(const std::string& options);

// What a text holds that could make its compiler read a file, or nothing. `assembler`: inline assembly is allowed.
std::optional<std::string> refused_source(const std::string& text, bool assembler);

}  // namespace ecp
