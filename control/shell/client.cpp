#include "control/shell/client.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "control/shell/render.hpp"

namespace espgate::control {

namespace {

constexpr std::size_t kMaxAnswer = 256U * 1024 * 1024;
constexpr timeval kAnswerLimit{10, 0};

}  // namespace

void Client::connect() {
  try {
    socket_ = channel::connect_to(runtime_directory_ + "/shell.sock");
  } catch (const std::exception& error) {
    throw Unreachable(
        fmt::format("espgate-control can't be reached in {}: {}", runtime_directory_, error.what()));
  }
  input_.clear();
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerLimit, sizeof kAnswerLimit);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &kAnswerLimit, sizeof kAnswerLimit);
}

void Client::send_line(const std::string& line) {
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t count = ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw Unreachable("espgate-control does not take the command");
    sent += static_cast<std::size_t>(count);
  }
}

std::string Client::receive_line() {
  char buffer[65536];
  std::size_t searched = 0;
  while (true) {
    const std::size_t end = input_.find('\n', searched);
    if (end != std::string::npos) {
      std::string line = input_.substr(0, end);
      input_.erase(0, end + 1);
      return line;
    }
    searched = input_.size();
    const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) throw Unreachable("espgate-control closed the connection");
    if (count < 0 || input_.size() > kMaxAnswer) throw Unreachable("espgate-control does not answer");
    input_.append(buffer, static_cast<std::size_t>(count));
  }
}

json Client::request(const json& request) {
  const bool fresh = !socket_;
  try {
    if (fresh) connect();
    send_line(request.dump(-1, ' ', true, json::error_handler_t::replace) + "\n");
    const json answer = json::parse(receive_line(), nullptr, false);
    if (!answer.is_object()) throw Unreachable("espgate-control's answer can't be understood");
    return answer;
  } catch (const Unreachable&) {
    socket_ = channel::Fd();
    if (fresh) throw;
  }
  return this->request(request);  // it was restarted since the last command: once more, on a new connection
}

std::vector<std::string> Client::choices(const std::string& line) noexcept {
  try {
    return request({{"complete", line}}).value("choices", std::vector<std::string>());
  } catch (const std::exception&) {
    return {};
  }
}

namespace {

volatile std::sig_atomic_t interrupted = 0;

// Ctrl-C ends what runs in this scope, and not the program.
class InterruptScope {
 public:
  InterruptScope() {
    interrupted = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    ::sigaction(SIGINT, &action, &before_);
  }
  ~InterruptScope() { ::sigaction(SIGINT, &before_, nullptr); }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  struct sigaction before_ {};
};

bool print(std::FILE* out, const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size();
  return std::fflush(out) == 0 && written;
}

void wait_a_second() {
  const timespec second{1, 0};
  ::nanosleep(&second, nullptr);  // Ctrl-C cuts it short
}

Outcome monitor(Client& client, bool as_json) {
  const InterruptScope scope;
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  json before;
  while (interrupted == 0) {
    const json answer = client.request({{"command", "monitor"}, {"json", true}});
    if (answer.value("status", 1) != 0) {
      print(stderr, answer.value("text", std::string()));
      return Outcome::refused;
    }
    const json& sample = answer.at("data");
    std::string text;
    if (as_json)
      text = sample.dump() + "\n";
    else if (!before.is_null())
      text = (terminal ? "\x1b[H\x1b[J" : "") + render_rates(before, sample);
    if (!print(stdout, text)) break;
    before = sample;
    wait_a_second();
  }
  return Outcome::done;
}

}  // namespace

Outcome execute(Client& client, const std::string& command, bool as_json) {
  try {
    const json answer = client.request({{"command", command}, {"json", as_json}});
    if (answer.value("status", 1) != 0) {
      print(stderr, answer.value("text", std::string("the command failed\n")));
      return Outcome::refused;
    }
    if (answer.value("command", std::string()) == "monitor") return monitor(client, as_json);
    if (answer.contains("data"))
      print(stdout, answer.at("data").dump(2) + "\n");
    else
      print(stdout, answer.value("text", std::string()));
    return Outcome::done;
  } catch (const Unreachable& error) {
    print(stderr, std::string(error.what()) + "\n");
    return Outcome::unreachable;
  }
}

}  // namespace espgate::control
