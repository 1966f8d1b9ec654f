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

#include <algorithm>
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

// A directory for sockets as the processes make it, one with a file of state, and a file of nobody's
// business.
struct Places {
  Places() {
    char name[] = "/tmp/espgate-confine-XXXXXX";
    root = ::mkdtemp(name);
    ::chmod(root.c_str(), 0755);
    (void)share_directory(root + "/run", kUser);
    fs::create_directory(root + "/state");
    std::ofstream(root + "/state/numbers") << "1";
    std::ofstream(root + "/other") << "a secret";
    fs::permissions(root + "/other", fs::perms::all);  // of the file system's accord anybody may
    elsewhere = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    state = ::open((root + "/state").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  ~Places() {
    ::close(elsewhere);
    ::close(state);
    fs::remove_all(root);
  }
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

  static constexpr const char* kUser = "nobody";  // whom every system has
  std::string root;
  int elsewhere{-1};
  int state{-1};
};

long open_and_close(int directory, const char* path, int flags) {
  const int fd = ::openat(directory, path, flags, 0600);
  if (fd >= 0) ::close(fd);
  return fd;
}

// What neither the control process nor the signer has any business with.
std::vector<Attempt> outside(const Places& places) {
  return {{"open", [&places] { return open_and_close(places.elsewhere, "other", O_RDONLY); }},
          {"open by path", [] { return open_and_close(AT_FDCWD, "/etc/passwd", O_RDONLY); }},
          {"climb", [&places] { return open_and_close(places.state, "../other", O_RDONLY); }},
          {"udp", [] { return ::socket(AF_INET, SOCK_DGRAM, 0); }},
          {"tcp", [] { return ::socket(AF_INET6, SOCK_STREAM, 0); }},
          {"packets", [] { return ::socket(AF_PACKET, SOCK_RAW, 0); }},
          {"netlink", [] { return ::socket(AF_NETLINK, SOCK_RAW, 0); }},
          {"kill", [] { return ::kill(::getppid(), 0); }},
          {"unlink", [] { return ::unlink(""); }},
          {"thread", [] { return ::syscall(SYS_clone3, nullptr, 0); }}};
}

bool all_refused(const Result& result, const std::vector<int>& with) {
  bool all = !result.errors.empty();
  for (const auto& [name, error] : result.errors) {
    CAPTURE(name, std::strerror(error));
    CHECK(std::ranges::find(with, error) != with.end());
    all = all && error != 0;
  }
  return all;
}

TEST_CASE("the control process has its sockets and its state, and nothing else") {
  if (!is_root()) return;
  const Places places;
  const auto without_files = [&places] { return control({Places::kUser, places.root + "/run", ""}); };
  const auto with_files = [&places] {
    return control({Places::kUser, places.root + "/run", places.root + "/state"});
  };
  check_refused(without_files, never());
  check_refused(with_files, never());
  for (const auto& [name, error] : tried([] { return Shortcomings{}; }, outside(places)).errors) {
    CAPTURE(name);
    CHECK(error != EPERM);
    CHECK(error != EACCES);
  }
  CHECK(all_refused(tried(without_files, outside(places)), {EPERM}));
  CHECK(all_refused(tried(with_files, outside(places)), {EPERM, EACCES, ENOENT}));

  const std::vector<Attempt> needed{
      {"unix socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }},
      {"memory", [] { return std::vector<char>(64U << 20, 1).back() == 1 ? 0L : -1L; }}};
  for (const auto& [name, error] : tried(without_files, needed).errors) CHECK(error == 0);
  const std::vector<Attempt> of_state{
      {"read", [&places] { return open_and_close(places.state, "numbers", O_RDONLY); }},
      {"make", [&places] { return open_and_close(places.state, "new", O_WRONLY | O_CREAT | O_TRUNC); }},
      {"rename", [&places] { return ::renameat(places.state, "new", places.state, "numbers"); }},
      {"sync", [&places] { return ::fsync(places.state); }}};
  for (const Attempt& attempt : of_state)
    for (const auto& [name, error] : tried(with_files, {attempt}).errors) {
      CAPTURE(name, std::strerror(error));
      CHECK(error == 0);
    }
  for (const auto& [name, error] : tried(without_files, of_state).errors) CHECK(error == EPERM);

  const Result result = tried(with_files, {});
  check_status(result, "0000000000000000");
  CHECK_FALSE(has(result, "Uid:\t0"));
  for (const std::string& words : result.shortcomings) CHECK(words.find("RLIMIT_MEMLOCK") != words.npos);
}

TEST_CASE("the signer has what it has open, and nothing else") {
  if (!is_root()) return;
  const Places places;
  const auto confine = [] { return signer(Places::kUser); };
  std::vector<Attempt> calls = never();
  append(calls, {{"unix socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }},
                 {"connect", [] { return ::connect(-1, nullptr, 0); }}});
  check_refused(confine, calls);
  CHECK(all_refused(tried(confine, outside(places)), {EPERM}));
  const Result result = tried(confine, {});
  check_status(result, "0000000000000000");
  CHECK_FALSE(has(result, "Uid:\t0"));
}

TEST_CASE("who has no user to become stays root, without capabilities, and says so") {
  if (!is_root()) return;
  const Result result = tried([] { return signer("no-such-user"); }, never());
  check_status(result, "0000000000000000");
  CHECK(all_refused(result, {EPERM}));
  REQUIRE_FALSE(result.shortcomings.empty());
  CHECK(result.shortcomings.front().find("there is no user no-such-user") != std::string::npos);
}

TEST_CASE("a directory that is somebody's is not opened to others") {
  if (!is_root()) return;
  const Places places;
  struct stat status {};
  REQUIRE(::stat((places.root + "/run").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 02710);
  CHECK(share_directory(places.root, Places::kUser).empty());
  REQUIRE(::stat(places.root.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0755);
  CHECK(share_directory(places.root + "/other/run", Places::kUser).size() == 1);
  const Result result = tried([&places] { return control({Places::kUser, places.root, ""}); }, {});
  CHECK(has(result, "Uid:\t0"));
  CHECK_FALSE(result.shortcomings.empty());
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
