#include "channel/hand_over.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

namespace espgate::channel {
namespace {

// One byte must travel with the descriptors; its value tells our hand-over from another protocol's greeting.
constexpr char kGreeting = 'E';
constexpr std::size_t kKeepsakeName = 32;     // bytes, closed by a zero
constexpr std::size_t kMostDescriptors = 16;  // room to receive, and to close, more than there should be

template <std::size_t Count>
union ControlBuffer {
  cmsghdr alignment;
  char bytes[CMSG_SPACE(Count * sizeof(int))];
};

// Every descriptor that came is owned at once, whatever is wrong with the rest.
std::vector<Fd> owned_descriptors(msghdr& message) {
  std::vector<Fd> owned;
  owned.reserve(kMostDescriptors);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      owned.emplace_back(fd);
    }
  }
  return owned;
}

[[noreturn]] void refuse_receive(int error) {
  if (error == EAGAIN)
    throw std::runtime_error("the dataplane accepted the connection and then said nothing");
  throw std::runtime_error(std::string("receiving from the dataplane: ") + std::strerror(error));
}

struct Received {
  ssize_t bytes;
  int error;  // errno, if `bytes` is negative
  std::vector<Fd> descriptors;
  bool cut_off;  // there were more descriptors
};

Received receive(int socket, iovec data, int flags = 0) {
  ControlBuffer<kMostDescriptors> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  ssize_t bytes = -1;
  do {
    bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) return {bytes, errno, {}, false};
  return {bytes, 0, owned_descriptors(message), (message.msg_flags & MSG_CTRUNC) != 0};
}

template <std::size_t Count>
bool send(int socket, iovec data, const std::array<int, Count>& descriptors) noexcept {
  ControlBuffer<Count> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(descriptors));
  std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(descriptors));
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(data.iov_len);
}

}  // namespace

bool send_descriptors(int socket, const std::array<int, kDescriptors>& descriptors) noexcept {
  char greeting = kGreeting;
  return send(socket, {&greeting, 1}, descriptors);
}

Descriptors receive_descriptors(int socket) {
  char greeting = 0;
  auto [bytes, error, owned, cut_off] = receive(socket, {&greeting, 1});
  if (bytes < 0) refuse_receive(error);
  if (bytes == 0) throw std::runtime_error("the dataplane closed the connection without a word");
  if (greeting != kGreeting || owned.size() != kDescriptors || cut_off)
    throw std::runtime_error(
        "the dataplane did not hand over a region, a counters page and its wakes: "
        "it is not of this build");
  return {std::move(owned[0]), std::move(owned[1]), std::move(owned[2])};
}

bool send_keepsake(int socket, const std::string& name, int fd) noexcept {
  std::array<char, kKeepsakeName> bytes{};
  name.copy(bytes.data(), bytes.size() - 1);
  return send(socket, {bytes.data(), bytes.size()}, std::array{fd});
}

std::optional<Keepsake> receive_keepsake(int socket) {
  std::array<char, kKeepsakeName> name{};
  auto [bytes, error, owned, cut_off] = receive(socket, {name.data(), name.size()}, MSG_DONTWAIT);
  if (bytes < 0 && error == EAGAIN) return std::nullopt;
  if (bytes <= 0) throw std::runtime_error("it ended, or closed the channel");
  const bool whole = static_cast<std::size_t>(bytes) == name.size() && name.front() != 0 && name.back() == 0;
  if (!whole || owned.size() != 1 || cut_off)
    throw std::runtime_error("it sent something else than a descriptor to keep");
  return Keepsake{name.data(), std::move(owned[0])};
}

}  // namespace espgate::channel
