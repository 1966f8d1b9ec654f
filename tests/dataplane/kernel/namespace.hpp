// A network namespace of its own for the calling thread, and what iproute2 says of it.
#pragma once

#include <fcntl.h>
#include <sched.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "channel/region.hpp"

namespace espgate::test {

class NetworkNamespace {
 public:
  NetworkNamespace() : before_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    if (unshare(CLONE_NEWNET) != 0) FAIL("no network namespace; these tests need root");
    (void)run("ip link set lo up");
  }
  ~NetworkNamespace() { setns(before_.get(), CLONE_NEWNET); }
  NetworkNamespace(const NetworkNamespace&) = delete;
  NetworkNamespace& operator=(const NetworkNamespace&) = delete;

  // What a command says on its standard output.
  static std::string run(const std::string& command) {
    FILE* const pipe = popen(command.c_str(), "re");
    REQUIRE(pipe != nullptr);
    std::string output;
    char room[4096];
    for (std::size_t got = 0; (got = std::fread(room, 1, sizeof room, pipe)) > 0;) output.append(room, got);
    INFO(command << "\n" << output);
    CHECK(pclose(pipe) == 0);
    return output;
  }
  static nlohmann::json ip(const std::string& command) {
    return nlohmann::json::parse(run("ip -details -json " + command));
  }

 private:
  channel::Fd before_;
};

// One that `ip netns` knows, until this goes.
struct NamedNamespace {
  explicit NamedNamespace(const std::string& its_name) : name(its_name) {
    (void)NetworkNamespace::run("ip netns del " + name + " 2>/dev/null || true");
    (void)NetworkNamespace::run("ip netns add " + name);
  }
  ~NamedNamespace() { (void)NetworkNamespace::run("ip netns del " + name); }
  NamedNamespace(const NamedNamespace&) = delete;
  NamedNamespace& operator=(const NamedNamespace&) = delete;

  [[nodiscard]] std::string in(const std::string& command) const {
    return "ip netns exec " + name + " " + command;
  }
  [[nodiscard]] nlohmann::json ip(const std::string& command) const {
    return nlohmann::json::parse(NetworkNamespace::run(in("ip -details -json " + command)));
  }

  std::string name;
};

}  // namespace espgate::test
