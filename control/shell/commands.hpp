// The shell's commands: one table from which execution, abbreviation, help and completion come.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "control/gateway.hpp"

namespace espgate::control {

using nlohmann::json;

// What went wrong, in words for the operator.
class CommandError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using Arguments = std::vector<std::string>;

struct ShellCommand {
  std::string_view words;      // "show ike sa"
  std::string_view arguments;  // as help shows them: "NAME", "[-n N] [tunnel NAME]"; a NAME is a tunnel's
  std::string_view help;       // one line
  json (*data)(Gateway& gateway, const Arguments& arguments, Time now);
  std::string (*text)(const json& data);  // at most 80 columns
};

[[nodiscard]] const std::vector<ShellCommand>& shell_commands();

struct Matched {
  const ShellCommand* command;
  Arguments arguments;
};
// The command that `words` begin with; each word may be cut short as long as it is clear which is meant.
// Throws CommandError with the choices when it is not.
[[nodiscard]] Matched match_command(const std::vector<std::string>& words);

// What may stand in the place of the last word of `line` (an empty one after a blank): whole words, sorted.
[[nodiscard]] std::vector<std::string> complete(std::string_view line,
                                                const conf::Configuration& configuration);

// The commands that begin with `words`, with their help; "" for all.
[[nodiscard]] std::string help_text(const std::vector<std::string>& words);

[[nodiscard]] std::vector<std::string> split_words(std::string_view line);

}  // namespace espgate::control
