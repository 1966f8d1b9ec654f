// The `espgate` program's way to the shell's server: one request, one answer. Waiting calls; no Asio.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "channel/region.hpp"

namespace espgate::control {

using nlohmann::json;

// The server can't be reached, or stopped answering. In words.
class Unreachable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Exit statuses of the program.
enum class Outcome : int { done = 0, refused = 1, unreachable = 2 };

class Client {
 public:
  explicit Client(std::string runtime_directory) : runtime_directory_(std::move(runtime_directory)) {}

  // Connects if need be. Throws Unreachable.
  [[nodiscard]] json request(const json& request);
  // What may stand in the place of the last word of `line`; empty when nothing can be asked.
  [[nodiscard]] std::vector<std::string> choices(const std::string& line) noexcept;

 private:
  void connect();
  void send_line(const std::string& line);
  [[nodiscard]] std::string receive_line();

  std::string runtime_directory_;
  channel::Fd socket_;
  std::string input_;
};

// One command, its answer printed: to standard output, or, when it failed, to standard error. `monitor` goes
// on until Ctrl-C.
Outcome execute(Client& client, const std::string& command, bool as_json);

// The prompt, until `exit` or the end of input.
Outcome prompt(Client& client, const std::string& runtime_directory);

}  // namespace espgate::control
