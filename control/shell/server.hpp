// The shell's server: a Unix stream socket, one JSON object a line in and one a line out.
//   {"command": "show tunnels", "json": true}  ->  {"status": 0, "command": "show tunnels", "data": [...]}
//   {"command": "show tunnels"}                ->  {"status": 0, "command": "show tunnels", "text": "..."}
//   {"complete": "sh tu"}                      ->  {"status": 0, "choices": ["tunnels"]}
// Status 1: `text` says what is wrong. Who connects may send anything, slowly or not at all.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/shell/commands.hpp"

namespace espgate::control {

// Answers one line. Never throws; the answer has no newline.
[[nodiscard]] std::string answer_line(Gateway& gateway, std::string_view request, Time now);

class ShellServer {
 public:
  using Protocol = boost::asio::local::stream_protocol;
  using Answer = std::function<std::string(std::string_view line)>;

  static constexpr std::size_t kMaxRequest = 16 * 1024;  // bytes of a line
  static constexpr unsigned kMaxSessions = 32;
  static constexpr std::chrono::seconds kWriteLimit{10};  // for a client that does not read

  // Listens at `path`, mode 0600. Throws std::system_error with words.
  ShellServer(boost::asio::io_context& context, const std::string& path, Answer answer);
  ~ShellServer();
  ShellServer(const ShellServer&) = delete;
  ShellServer& operator=(const ShellServer&) = delete;

  // Serves a connected socket; for tests too.
  void serve(Protocol::socket socket);
  // Stops accepting, ends the sessions and removes the socket's file.
  void close();

 private:
  class Session;
  void accept();

  Protocol::acceptor acceptor_;
  boost::asio::steady_timer retry_;
  std::string path_;
  Answer answer_;
  std::vector<std::weak_ptr<Session>> sessions_;
};

}  // namespace espgate::control
