#include "control/shell/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "channel/region.hpp"
#include "conf/apart.hpp"
#include "conf/credentials.hpp"
#include "conf/load.hpp"
#include "confine/confine.hpp"

namespace espgate::control {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kFirstRestart = 200ms;
constexpr std::chrono::milliseconds kLongestRestart = 10s;
constexpr std::chrono::seconds kStable = 30s;    // alive for so long: the next restart is quick again
constexpr std::chrono::seconds kStopLimit = 6s;  // then SIGKILL

void say(const std::string& text) { fmt::print(stderr, "espgate: {}\n", text); }

// Beside this executable, in the build tree's folders, or in PATH.
std::string find_program(const std::string& name) {
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& folder : {here, here / "../dataplane", here / "../control"})
    if (::access((folder / name).c_str(), X_OK) == 0) return folder / name;
  return name;
}

channel::Fd lock_directory(const std::string& directory) {
  const std::string path = directory + "/lock";
  channel::Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) throw std::runtime_error(fmt::format("can't make {}: {}", path, std::strerror(errno)));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
    throw std::runtime_error(fmt::format("another `espgate run` uses {}", directory));
  return lock;
}

sigset_t handled_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::sigaddset(&set, number);
  return set;
}

// A child process. In a process group of its own, so that Ctrl-C reaches us alone and we stop the two in
// order.
class Child {
 public:
  explicit Child(std::string name) : name_(std::move(name)), path_(find_program(name_)) {}

  void start(const std::vector<std::string>& arguments);
  void signal(int number) const {
    if (pid_ > 0) ::kill(pid_, number);
  }
  [[nodiscard]] bool running() const noexcept { return pid_ > 0; }
  // Words when it ended since the last call.
  std::optional<std::string> ended();
  // It ended of its own will soon after its start, so it would do so again.
  [[nodiscard]] bool gave_up() const noexcept { return gave_up_; }

  // Has it started again, the later the oftener it ends. Returns in how long.
  std::chrono::milliseconds start_later();
  [[nodiscard]] const std::optional<Clock::time_point>& starts_at() const noexcept { return starts_at_; }

 private:
  [[noreturn]] void become(const std::vector<std::string>& arguments, pid_t parent) const;

  std::string name_;
  std::string path_;
  pid_t pid_{-1};
  Clock::time_point started_{};
  std::optional<Clock::time_point> starts_at_;
  std::chrono::milliseconds wait_{kFirstRestart / 2};
  bool gave_up_{false};
};

void Child::start(const std::vector<std::string>& arguments) {
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error(fmt::format("can't start {}: {}", name_, std::strerror(errno)));
  if (pid == 0) become(arguments, parent);
  pid_ = pid;
  started_ = Clock::now();
  starts_at_.reset();
}

std::chrono::milliseconds Child::start_later() {
  wait_ = Clock::now() - started_ > kStable ? kFirstRestart : std::min(wait_ * 2, kLongestRestart);
  starts_at_ = Clock::now() + wait_;
  return wait_;
}

void Child::become(const std::vector<std::string>& arguments, pid_t parent) const {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // it died before prctl
  const sigset_t handled = handled_signals();
  ::sigprocmask(SIG_UNBLOCK, &handled, nullptr);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  std::vector<char*> words{const_cast<char*>(name_.c_str())};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  ::execvp(path_.c_str(), words.data());
  say(fmt::format("can't start {}: {}", path_, std::strerror(errno)));
  ::_exit(127);
}

std::optional<std::string> Child::ended() {
  int status = 0;
  if (pid_ <= 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = -1;
  gave_up_ = WIFEXITED(status) && WEXITSTATUS(status) != 0 && Clock::now() - started_ < kStable;
  if (WIFSIGNALED(status)) return fmt::format("{} was killed by signal {}", name_, WTERMSIG(status));
  return fmt::format("{} ended with status {}", name_, WEXITSTATUS(status));
}

class Supervisor {
 public:
  Supervisor(const std::string& file, const std::string& runtime)
      : arguments_{"--config", file, "--runtime", runtime}, handled_(handled_signals()) {
    ::sigprocmask(SIG_BLOCK, &handled_, nullptr);
  }

  int run() {
    for (Child* const child : {&dataplane_, &signer_, &control_}) child->start(arguments_);
    while (!asked_to_stop_ && dataplane_ok_) {
      wait_signal(next_wait());
      reap();
      for (Child* const child : {&dataplane_, &signer_, &control_})
        if (child->starts_at() && Clock::now() >= *child->starts_at()) child->start(arguments_);
    }
    for (Child* const child : {&control_, &signer_, &dataplane_}) stop(*child);
    return dataplane_ok_ ? 0 : 1;
  }

 private:
  [[nodiscard]] std::chrono::milliseconds next_wait() const {
    std::chrono::milliseconds wait = 1h;
    for (const Child* const child : {&dataplane_, &signer_, &control_}) {
      if (!child->starts_at()) continue;
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(*child->starts_at() - Clock::now());
      wait = std::clamp(left + 1ms, std::chrono::milliseconds(0), wait);
    }
    return wait;
  }

  void wait_signal(std::chrono::milliseconds limit) {
    const timespec timeout{static_cast<time_t>(limit.count() / 1000),
                           static_cast<long>(limit.count() % 1000 * 1'000'000)};
    const int number = ::sigtimedwait(&handled_, nullptr, &timeout);
    if (number == SIGINT || number == SIGTERM || number == SIGHUP) asked_to_stop_ = true;
  }

  void reap() {
    if (const auto words = dataplane_.ended(); words && !asked_to_stop_) {
      dataplane_ok_ = !dataplane_.gave_up();
      if (dataplane_ok_)
        say(fmt::format("{}; tunnels are negotiated anew, starting it again in {} ms", *words,
                        dataplane_.start_later().count()));
      else
        say(*words + "; stopping");
    }
    if (const auto words = control_.ended(); words && !asked_to_stop_ && dataplane_ok_)
      say(fmt::format("{}; the tunnels' SAs go on, starting it again in {} ms", *words,
                      control_.start_later().count()));
    // It ends with the control process that it served: then there is nothing to say.
    if (const auto words = signer_.ended(); words && !asked_to_stop_ && dataplane_ok_) {
      const auto wait = signer_.start_later();
      if (!words->ends_with("status 0"))
        say(fmt::format("{}; the tunnels' SAs go on, starting it again in {} ms", *words, wait.count()));
    }
  }

  void stop(Child& child) {
    child.signal(SIGTERM);
    const Clock::time_point limit = Clock::now() + kStopLimit;
    while (child.running() && Clock::now() < limit) {
      wait_signal(100ms);
      note_end(child);
    }
    if (!child.running()) return;
    child.signal(SIGKILL);
    while (child.running()) {
      wait_signal(100ms);
      note_end(child);
    }
  }

  static void note_end(Child& child) {
    if (const auto words = child.ended(); words && !words->ends_with("status 0")) say(*words);
  }

  std::vector<std::string> arguments_;
  sigset_t handled_;
  Child dataplane_{"espgate-dataplane"};
  Child signer_{"espgate-signer"};
  Child control_{"espgate-control"};
  bool asked_to_stop_{false};
  bool dataplane_ok_{true};
};

// What is wrong only by now is no reason not to start: the control process says it.
conf::Configuration checked(const std::string& file) {
  conf::Configuration configuration = conf::load_file(file);
  static_cast<void>(conf::load_credentials(configuration, file, std::time(nullptr)));
  return configuration;
}

// The runtime directory and the user that it names.
std::pair<std::string, std::string> checked_apart(const std::string& file) {
  const std::string found = conf::apart([&file] {
    const conf::Configuration configuration = checked(file);
    conf::Packer out;
    out.text(configuration.runtime_directory);
    out.text(configuration.user);
    return std::move(out).take();
  });
  conf::Unpacker from(found);
  std::string runtime = from.text();
  return {std::move(runtime), from.text()};
}

// Whose processes have ended, and may not have been able to.
void remove_sockets(const std::string& runtime) {
  for (const char* const name : {"shell.sock", "signer.sock", "dataplane.sock"})
    ::unlink((runtime + "/" + name).c_str());
}

}  // namespace

int run_gateway(const std::string& file, std::string runtime) {
  try {
    const auto [runtime_in_file, user] = checked_apart(file);
    if (runtime.empty()) runtime = runtime_in_file;
    for (const std::string& words : confine::share_directory(runtime, user)) throw std::runtime_error(words);
    const channel::Fd lock = lock_directory(runtime);
    const int status = Supervisor(file, runtime).run();
    remove_sockets(runtime);
    return status;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

}  // namespace espgate::control
