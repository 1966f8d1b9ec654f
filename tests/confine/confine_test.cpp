// What a confined process may still do: it confines itself in a process of its own and tries.
#include "confine/confine.hpp"

#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace espgate::confine {
namespace {

namespace fs = std::filesystem;

struct Attempt {
  const char* name;
  std::function<long()> call;  // below 0: errno says why not
};

struct Result {
  std::map<std::string, int> errors;  // by attempt; 0: it was allowed
  std::string status;                 // /proc/PID/status, as the parent sees it
  Shortcomings shortcomings;
};

bool write_all(int fd, const std::string& text) {
  return ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Says what became of each attempt, one line each, then waits to be looked at.
[[noreturn]] void be_confined(int out, int wait, const std::function<Shortcomings()>& confine,
                              const std::vector<Attempt>& attempts) {
  std::string report;
  for (const std::string& words : confine()) report += "!" + words + "\n";
  for (const Attempt& attempt : attempts) {
    errno = 0;
    const long result = attempt.call();
    report += attempt.name + std::string("=") + std::to_string(result < 0 ? errno : 0) + "\n";
  }
  char byte = 0;
  const bool told = write_all(out, report + "end\n");
  (void)!::read(wait, &byte, 1);
  ::_exit(told ? 0 : 1);
}

Result tried(const std::function<Shortcomings()>& confine, const std::vector<Attempt>& attempts) {
  std::array<int, 2> report{}, leave{};
  REQUIRE(::pipe(report.data()) == 0);
  REQUIRE(::pipe(leave.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(report[0]);
    ::close(leave[1]);
    be_confined(report[1], leave[0], confine, attempts);
  }
  ::close(report[1]);
  ::close(leave[0]);
  std::string text;
  char buffer[4096];
  while (!text.ends_with("end\n")) {
    const ssize_t got = ::read(report[0], buffer, sizeof buffer);
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  Result out;
  out.status = text_of("/proc/" + std::to_string(child) + "/status");
  ::close(leave[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(report[0]);
  INFO(text);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  for (std::size_t at = 0; at < text.size();) {
    const std::string line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    if (line.starts_with("!")) out.shortcomings.push_back(line.substr(1));
    if (const std::size_t equal = line.find('='); equal != line.npos && !line.starts_with("!"))
      out.errors[line.substr(0, equal)] = std::stoi(line.substr(equal + 1));
  }
  return out;
}

// The child must not go on as a second copy of the test.
long make_process() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  if (pid > 0) ::waitpid(pid, nullptr, 0);
  return pid;
}

constexpr pid_t kNobody = 0x7fffffff;

// System calls that no process may make, in ways that do nothing to the machine even where they may be made:
// then they fail of what they are given, if at all, and never with EPERM.
std::vector<Attempt> never() {
  return {
      {"execve", [] { return ::syscall(SYS_execve, nullptr, nullptr, nullptr); }},
      {"fork", make_process},
      {"ptrace", [] { return ::ptrace(PTRACE_ATTACH, kNobody, nullptr, nullptr); }},
      {"process_vm_readv", [] { return ::process_vm_readv(kNobody, nullptr, 0, nullptr, 0, 0); }},
      {"mount", [] { return ::syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr); }},
      {"init_module", [] { return ::syscall(SYS_init_module, nullptr, 0, nullptr); }},
      {"keyctl", [] { return ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0); }},
      {"setuid", [] { return ::syscall(SYS_setuid, -1); }},
      {"unshare", [] { return ::unshare(0); }},
      {"chroot", [] { return ::syscall(SYS_chroot, nullptr); }},
      {"mknod", [] { return ::syscall(SYS_mknodat, AT_FDCWD, nullptr, 0, 0); }},
      {"clock_settime", [] { return ::syscall(SYS_clock_settime, CLOCK_REALTIME, nullptr); }},
  };
}

void append(std::vector<Attempt>& to, std::vector<Attempt> more) {
  for (Attempt& each : more) to.push_back(std::move(each));
}

// Before, each call is possible: else the test shows nothing.
void check_refused(const std::function<Shortcomings()>& confine, const std::vector<Attempt>& calls) {
  for (const auto& [name, error] : tried([] { return Shortcomings{}; }, calls).errors) {
    CAPTURE(name);
    CHECK(error != EPERM);
  }
  const Result refused = tried(confine, calls);
  CHECK(refused.errors.size() == calls.size());
  for (const auto& [name, error] : refused.errors) {
    CAPTURE(name, std::strerror(error));
    CHECK(error == EPERM);
  }
}

bool has(const Result& result, const std::string& line) {
  return result.status.find(line) != std::string::npos;
}

void check_status(const Result& result, const std::string& capabilities) {
  INFO(result.status);
  CHECK(has(result, "CapEff:\t" + capabilities));
  CHECK(has(result, "CapPrm:\t" + capabilities));
  CHECK(has(result, "CapBnd:\t" + capabilities));
  CHECK(has(result, "NoNewPrivs:\t1"));
  CHECK(has(result, "Seccomp:\t2"));
}

bool is_root() { return ::geteuid() == 0; }

}  // namespace

TEST_CASE("the dataplane starts no program, loads no module, and keeps what ports need") {
  if (!is_root()) return;
  std::vector<Attempt> calls = never();
  append(calls, {{"pidfd_getfd", [] { return ::syscall(SYS_pidfd_getfd, -1, -1, 0); }},
                 {"bpf", [] { return ::syscall(SYS_bpf, -1, nullptr, 0); }},
                 {"swapon", [] { return ::syscall(SYS_swapon, nullptr, 0); }}});
  check_refused([] { return dataplane({}); }, calls);
  const Result result = tried([] { return dataplane({}); }, {});
  CHECK(result.shortcomings.empty());
  check_status(result, "0000000000007000");  // NET_ADMIN, NET_RAW, IPC_LOCK

  const std::vector<Attempt> needed{{"packets", [] { return ::socket(AF_PACKET, SOCK_RAW, 0); }},
                                    {"routes", [] { return ::socket(AF_NETLINK, SOCK_RAW, 0); }},
                                    {"tun", [] { return ::open("/dev/net/tun", O_RDWR); }},
                                    {"thread", [] {
                                       long made = -1;
                                       std::thread([&made] { made = 0; }).join();
                                       return made;
                                     }}};
  for (const auto& [name, error] : tried([] { return dataplane({}); }, needed).errors) {
    CAPTURE(name, std::strerror(error));
    CHECK(error == 0);
  }
  const std::vector<Attempt> other_space{
      {"setns", [] { return ::syscall(SYS_setns, ::open("/proc/self/ns/net", O_RDONLY), CLONE_NEWNET); }}};
  CHECK(tried([] { return dataplane({}); }, other_space).errors.at("setns") == EPERM);
  CHECK(tried([] { return dataplane({false, true}); }, other_space).errors.at("setns") == 0);
}

TEST_CASE("no core file, and nobody may look") {
  const Result result = tried([] { return keep_memory_private(); }, {});
  CHECK(result.shortcomings.empty());
  const pid_t child = ::fork();
  if (child == 0) {
    (void)keep_memory_private().size();
    std::signal(SIGABRT, SIG_DFL);  // which the test program catches
    ::abort();
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK_FALSE(WCOREDUMP(status));
}

}  // namespace espgate::confine
