#include "dataplane/kernel/space.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "dataplane/log.hpp"

namespace espgate::dataplane {

Space::Space(const std::string& name) : fd_(open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC)) {
  if (!fd_)
    throw std::runtime_error(
        fmt::format("network namespace {}: {} (ip netns add {})", name, std::strerror(errno), name));
}

Space::Visit::Visit(const Space& space) {
  if (!space.fd_) return;
  home_ = channel::Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home_ || setns(space.fd_.get(), CLONE_NEWNET) != 0)
    throw std::runtime_error(fmt::format("entering a network namespace: {}", std::strerror(errno)));
}

// A thread that is where it does not belong must do nothing more.
Space::Visit::~Visit() {
  if (!home_ || setns(home_.get(), CLONE_NEWNET) == 0) return;
  log_line("returning from a network namespace: {}", std::strerror(errno));
  std::abort();
}

}  // namespace espgate::dataplane
