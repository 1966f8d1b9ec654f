#include "dataplane/kernel/tun.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace espgate::dataplane {

namespace {

const char* words(int error) {
  switch (error) {
    case EINVAL:
      return "an interface that is no TUN of ours has this name; give the twin another one";
    case EPERM:
      return "that takes root, or CAP_NET_ADMIN";
    default:
      return std::strerror(error);
  }
}

channel::Fd open_queue(const std::string& name) {
  channel::Fd fd(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) throw std::runtime_error(fmt::format("/dev/net/tun can't be opened: {}", std::strerror(errno)));
  ifreq request{};
  name.copy(request.ifr_name, sizeof(request.ifr_name) - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE;
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0)
    throw std::runtime_error(fmt::format("kernel interface {}: {}", name, words(errno)));
  return fd;
}

channel::Fd open_idle(const std::string& name) {
  channel::Fd fd = open_queue(name);
  ifreq request{};
  request.ifr_flags = IFF_DETACH_QUEUE;
  if (ioctl(fd.get(), TUNSETQUEUE, &request) != 0)
    throw std::runtime_error(fmt::format("kernel interface {}: {}", name, std::strerror(errno)));
  return fd;
}

}  // namespace

Tun::Tun(const std::string& name) : keepsake_(open_idle(name)), fd_(open_queue(name)) {}

bool Tun::write(std::span<const std::uint8_t> packet) const noexcept {
  return ::write(fd_.get(), packet.data(), packet.size()) == static_cast<ssize_t>(packet.size());
}

int Tun::read(std::span<std::uint8_t> room) const noexcept {
  const ssize_t length = ::read(fd_.get(), room.data(), room.size());
  if (length >= 0) return static_cast<int>(length);
  return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

void Tun::set_carrier(bool up) const noexcept {
  int state = up ? 1 : 0;
  ioctl(fd_.get(), TUNSETCARRIER, &state);
}

}  // namespace espgate::dataplane
