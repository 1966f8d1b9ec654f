#include "dataplane/ports/kernel.hpp"

#include <netpacket/packet.h>
#include <rte_ether.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

namespace espgate::dataplane {

bool ask_kernel(unsigned index, unsigned long request, ifreq& answer) noexcept {
  if (if_indextoname(index, answer.ifr_name) == nullptr) return false;
  const channel::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return socket && ioctl(socket.get(), request, &answer) == 0;
}

bool set_up(unsigned index) noexcept {
  ifreq request{};
  if (!ask_kernel(index, SIOCGIFFLAGS, request)) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ask_kernel(index, SIOCSIFFLAGS, request);
}

channel::Fd join_groups(unsigned index, const std::set<Mac>& groups) {
  if (index == 0) return {};
  channel::Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  for (const Mac& group : groups) {
    packet_mreq wish{};
    wish.mr_ifindex = static_cast<int>(index);
    wish.mr_type = PACKET_MR_MULTICAST;
    wish.mr_alen = RTE_ETHER_ADDR_LEN;
    std::copy(group.begin(), group.end(), wish.mr_address);
    if (setsockopt(socket.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &wish, sizeof(wish)) != 0) return {};
  }
  return socket;
}

namespace {

// What the kernel says of this process's descriptors in lines that begin so, by descriptor.
std::map<int, std::string> described(std::string_view start) {
  std::map<int, std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo", ignored)) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);)
      if (line.starts_with(start)) found[std::stoi(entry.path().filename())] = line;
  }
  return found;
}

bool is_xdp_socket(int descriptor) noexcept {
  int domain = 0;
  socklen_t length = sizeof domain;
  return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_XDP;
}

}  // namespace

std::map<int, std::string> xdp_descriptors() {
  std::map<int, std::string> found = described("map_id:");
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const int descriptor = std::stoi(entry.path().filename());
    if (is_xdp_socket(descriptor)) found[descriptor] = std::filesystem::read_symlink(entry.path(), ignored);
  }
  return found;
}

bool lost_a_tap() {
  constexpr std::string_view kLine = "iff:\t";
  const std::map<int, std::string> taps = described(kLine);
  return std::any_of(taps.begin(), taps.end(), [&](const auto& tap) { return tap.second == kLine; });
}

}  // namespace espgate::dataplane
