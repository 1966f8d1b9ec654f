// ike-udp: the IKE daemon over plain UDP sockets, without a dataplane, for trying it against other
// implementations.
//   ike-udp FILE.yaml
//   ike-udp LOCAL REMOTE LOCAL-ID REMOTE-ID PSK IKE-PROPOSAL ESP-PROPOSAL [CHILD-LIFETIME [IKE-LIFETIME]]
// Commands on stdin: initiate, rekey-child, rekey-ike, terminate, list, quit.
// What the dataplane would be told goes to stdout, one line each.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <iostream>

#include "conf/credentials.hpp"
#include "conf/load.hpp"
#include "control/ike/daemon.hpp"
#include "control/ike/keeper.hpp"

namespace espgate::test {
namespace {

using ike::Endpoint;
using ike::Time;
using ike::TunnelId;

constexpr std::array<std::uint16_t, 2> kPorts{500, 4500};
constexpr std::size_t kMarker = 4;  // RFC 3948 section 2.2

Time clock_now() { return std::chrono::steady_clock::now(); }

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(format, std::forward<Args>(args)...);
  std::cout << std::endl;
}

sockaddr_in sockaddr_of(const IpAddress& address, std::uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  std::memcpy(&out.sin_addr, address.bytes.data(), 4);
  return out;
}

class UdpHost : public ike::Host {
 public:
  explicit UdpHost(const IpAddress& local) : local_(local) {
    for (std::size_t i = 0; i < kPorts.size(); ++i) {
      sockets[i] = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      const sockaddr_in name = sockaddr_of(local, kPorts[i]);
      if (::bind(sockets[i], reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
        throw std::runtime_error("bind");
    }
  }
  ~UdpHost() override {
    for (const int fd : sockets) ::close(fd);
  }

  void receive(std::size_t which, ike::Daemon& daemon) {
    std::array<std::uint8_t, 65536> buffer{};
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t got = ::recvfrom(sockets[which], buffer.data(), buffer.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) return;
    crypto::Bytes bytes(buffer.data(), static_cast<std::size_t>(got));
    if (which == 1) {
      if (bytes.size() < kMarker || bytes[0] != 0 || bytes[1] != 0 || bytes[2] != 0 || bytes[3] != 0)
        return;  // ESP
      bytes = bytes.subspan(kMarker);
    }
    Endpoint remote;
    remote.address.family = Family::v4;
    std::memcpy(remote.address.bytes.data(), &from.sin_addr, 4);
    remote.port = ntohs(from.sin_port);
    daemon.received({local_, kPorts[which]}, remote, bytes, clock_now());
  }

  void send(const Endpoint& local, const Endpoint& remote, crypto::Bytes datagram) override {
    const bool marked = local.port == kPorts[1];
    std::vector<std::uint8_t> bytes(marked ? kMarker : 0, 0);
    bytes.insert(bytes.end(), datagram.begin(), datagram.end());
    const sockaddr_in to = sockaddr_of(remote.address, remote.port);
    if (::sendto(sockets[marked ? 1 : 0], bytes.data(), bytes.size(), 0,
                 reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
      say("send failed");
  }
  std::uint32_t allocate_spi(TunnelId) override { return next_spi_ += 0x1001; }
  void release_spi(std::uint32_t spi) override { say("release {:08x}", spi); }
  void install_inbound(const ike::ChildInstall& c) override {
    current = c.inbound_spi;
    say("inbound {:08x} udp={} selectors={}/{}", c.inbound_spi, c.udp_encapsulation, c.local_selectors.size(),
        c.remote_selectors.size());
  }
  void install_outbound(const ike::ChildInstall& c) override { say("outbound {:08x}", c.outbound_spi); }
  void move_child(const ike::ChildInstall& c) override { say("moved {:08x}", c.outbound_spi); }
  void remove_inbound(TunnelId, std::uint32_t spi) override { say("remove inbound {:08x}", spi); }
  void remove_outbound(TunnelId, std::uint32_t spi) override { say("remove outbound {:08x}", spi); }
  std::optional<Time> last_inbound(TunnelId) override { return std::nullopt; }
  void tunnel_up(TunnelId) override { say("up"); }
  void tunnel_down(TunnelId, const ike::Reason& reason) override { say("down: {}", reason.summary); }
  void attempt_failed(TunnelId, const ike::Reason& reason) override { say("failed: {}", reason.summary); }
  void peer_attempt_failed(TunnelId, const ike::Reason& reason) override {
    say("the peer failed: {}", reason.summary);
  }
  void rekey_failed(TunnelId, const ike::Reason& reason) override { say("{}", reason.summary); }
  void log(std::optional<TunnelId>, const std::string& line) override { say("log: {}", line); }

  std::array<int, 2> sockets{};
  std::uint32_t current{0};

 private:
  IpAddress local_;
  std::uint32_t next_spi_{0x10000000};
};

conf::Identity fqdn(const std::string& name) {
  return {conf::IdentityType::fqdn, name, {name.begin(), name.end()}};
}

conf::Tunnel tunnel_of(char** argv, int argc) {
  conf::Tunnel out;
  out.name = "peer";
  out.local = *parse_address(argv[1]);
  out.remote = *parse_address(argv[2]);
  out.local_id = fqdn(argv[3]);
  out.remote_id = fqdn(argv[4]);
  out.psk = crypto::SecretBytes(std::string_view(argv[5]));
  out.ike_proposals = {conf::parse_ike_proposal(argv[6])};
  out.esp_proposals = {conf::parse_esp_proposal(argv[7])};
  out.local_selectors = out.remote_selectors = {*parse_prefix("0.0.0.0/0"), *parse_prefix("::/0")};
  if (argc > 8) out.child_lifetime = std::chrono::seconds(std::stoi(argv[8]));
  if (argc > 9) out.ike_lifetime = std::chrono::seconds(std::stoi(argv[9]));
  return out;
}

bool obey(const std::string& command, ike::Daemon& daemon, UdpHost& host) {
  if (command == "initiate") daemon.initiate(0, clock_now());
  if (command == "rekey-child") daemon.rekey_child(host.current, clock_now());
  if (command == "rekey-ike") daemon.rekey_ike(0, clock_now());
  if (command == "terminate") daemon.terminate(0, {ike::Failure::operator_request, "asked for"}, clock_now());
  if (command == "list") {
    for (const ike::IkeInfo& i : daemon.list())
      say("ike {} children={} {}", i.state, i.children.size(), i.algorithms);
    say("end of list");
  }
  return command != "quit";
}

// FILE.yaml: its first tunnel.
std::vector<conf::Tunnel> tunnels_of(char** argv, int argc) {
  std::vector<conf::Tunnel> out;
  if (argc > 2) {
    out.push_back(tunnel_of(argv, argc));
    return out;
  }
  conf::Configuration file = conf::load_file(argv[1]);
  for (const std::string& line : conf::load_credentials(file, argv[1], std::time(nullptr))) say("{}", line);
  return std::move(file.tunnels);
}

int run(int argc, char** argv) {
  const std::vector<conf::Tunnel> tunnels = tunnels_of(argv, argc);
  UdpHost host(tunnels[0].local);
  ike::LocalKeeper keeper(tunnels);
  ike::Daemon daemon(tunnels, keeper, host, {}, clock_now());
  say("ready");
  for (;;) {
    int wait = -1;
    if (const auto next = daemon.next_deadline())
      wait = static_cast<int>(std::max<std::int64_t>(
          0, std::chrono::duration_cast<std::chrono::milliseconds>(*next - clock_now()).count() + 1));
    std::array<pollfd, 3> fds{{{0, POLLIN, 0}, {host.sockets[0], POLLIN, 0}, {host.sockets[1], POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), wait) < 0) return 1;
    daemon.advance(clock_now());
    for (std::size_t i = 0; i < 2; ++i)
      if ((fds[i + 1].revents & POLLIN) != 0) host.receive(i, daemon);
    std::string command;
    if (fds[0].revents != 0 && (!std::getline(std::cin, command) || !obey(command, daemon, host))) return 0;
  }
}

}  // namespace
}  // namespace espgate::test

int main(int argc, char** argv) {
  if (argc < 8 && argc != 2) return 2;
  return espgate::test::run(argc, argv);
}
