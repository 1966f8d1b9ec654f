#include "dataplane/kernel/twins.hpp"

#include <fmt/format.h>
#include <net/if.h>
#include <sys/epoll.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "dataplane/log.hpp"
#include "dataplane/path/cleartext.hpp"
#include "dataplane/path/wire.hpp"
#include "dataplane/ports/checksum.hpp"

namespace espgate::dataplane {

namespace {

constexpr int kTwinsPerCall = 32;
constexpr unsigned kPacketsPerTwin = 32;
constexpr std::uint16_t kLeastMtu6 = 1280;  // RFC 8200 section 5; with less the kernel would do without IPv6

std::string text_of(const channel::Name& name) { return {name.data(), strnlen(name.data(), name.size())}; }

bool has_v6(const std::vector<IpPrefix>& addresses) noexcept {
  return std::any_of(addresses.begin(), addresses.end(),
                     [](const IpPrefix& each) { return each.address.is_v6(); });
}

}  // namespace

Twins::Twins(std::string owner, const Forwarding& tables, Resolver& resolver, const Interfaces& interfaces,
             Outbox& outbox, std::uint64_t seed)
    : owner_("espgate " + std::move(owner)),
      tables_(tables),
      resolver_(resolver),
      interfaces_(interfaces),
      outbox_(outbox),
      limit_(kLimits, seed),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw std::runtime_error("no epoll");
  homes_[kMainTable].space.emplace();
}

void Twins::settle_in(TableId table, const std::string& space) { homes_[table].space.emplace(space); }

const Space* Twins::space_of(TableId table) const noexcept {
  const std::optional<Space>& space = homes_[table].space;
  return space ? &*space : nullptr;
}

// Which interfaces there were before ours. Of those with our mark a process before this one has been the
// owner.
void Twins::look_around(Home& home) {
  if (home.links) return;
  auto links = std::make_unique<Links>();
  home.existing = links->all();
  home.links = std::move(links);
}

bool Twins::is_ours(const KernelLink& link) const { return link.alias.starts_with(owner_ + " "); }

Twins::TwinPtr Twins::make(const Wanted& wanted) {
  const std::string& name = wanted.name;
  Home& home = homes_[wanted.table];
  if (!home.space) throw std::runtime_error("its table has no network namespace for twins");
  const Space::Visit visit(*home.space);
  look_around(home);
  const auto before = home.existing.find(name);
  const bool ours = before != home.existing.end() && is_ours(before->second);
  if (before != home.existing.end() && !ours)
    throw std::runtime_error(
        fmt::format("kernel interface {}: there is one of this name that is not ours; "
                    "give the twin another name (kernel: NAME)",
                    name));
  auto twin = std::make_unique<Twin>(name, wanted.port, wanted.tunnel, wanted.table);
  twin->carrier = ours && before->second.carrier;
  twin->tun.set_carrier(twin->carrier);
  if (!ours) be_only_a_host(name);
  twin->index = static_cast<int>(if_nametoindex(name.c_str()));
  twin->mtu = has_v6(wanted.addresses) ? std::max(wanted.mtu, kLeastMtu6) : wanted.mtu;
  home.links->set_up(twin->index, twin->mtu, fmt::format("{} {}", owner_, wanted.interface));
  if (ours) twin->addresses = std::move(before->second.addresses);
  set_addresses(*twin, wanted.addresses);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = twin.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, twin->tun.fd(), &event) != 0)
    throw std::runtime_error("no epoll");
  home.behind[twin->index] = wanted.port == Note::kNoPort
                                 ? NextHop{NextHopKind::tunnel, 0, 0, wanted.tunnel}
                                 : NextHop{NextHopKind::connected, wanted.port, 0, 0};
  changes_++;
  to_entrust_ = true;
  if (ours) home.existing.erase(before);
  return twin;
}

void Twins::set_addresses(Twin& twin, const std::vector<IpPrefix>& wanted) {
  const auto has = [](const std::vector<IpPrefix>& all, const IpPrefix& one) {
    return std::find(all.begin(), all.end(), one) != all.end();
  };
  const Links& links = *homes_[twin.table].links;
  for (const IpPrefix& former : std::exchange(twin.addresses, {}))
    has(wanted, former) ? twin.addresses.push_back(former) : links.remove_address(twin.index, former);
  for (const IpPrefix& each : wanted) {
    if (has(twin.addresses, each)) continue;
    links.add_address(twin.index, each);
    twin.addresses.push_back(each);
  }
}

void Twins::add_port(std::uint8_t port, const conf::Port& configured) {
  std::vector<IpPrefix> addresses = configured.addresses;
  addresses.push_back({interfaces_[port].link_local, 64});
  ports_[port] = make({configured.kernel, port, Note::kNoTunnel, interfaces_[port].table, configured.name,
                       configured.mtu, std::move(addresses)});
}

void Twins::port_changed(std::uint8_t port, bool up) noexcept {
  if (ports_[port]) set_carrier(*ports_[port], up);
}

bool Twins::set_tunnel(const channel::SetTunnel& wanted, std::uint16_t mtu, std::uint64_t now) {
  const std::string name = text_of(wanted.kernel);
  const auto former = tunnels_.find(wanted.index);
  if (former != tunnels_.end() && (former->second->name != name || former->second->table != wanted.overlay))
    remove_tunnel(wanted.index);
  if (name.empty()) return true;
  const std::vector<IpPrefix> addresses(wanted.addresses.begin(),
                                        wanted.addresses.begin() + wanted.address_count);
  try {
    TwinPtr& twin = tunnels_[wanted.index];
    if (twin) {
      set_addresses(*twin, addresses);
      return true;
    }
    twin = make(
        {name, Note::kNoPort, wanted.index, wanted.overlay, text_of(wanted.interface_name), mtu, addresses});
    twin->patience_until = twin->carrier ? now + kPatience : 0;
    return true;
  } catch (const std::exception& error) {
    log_line("tunnel {}: no twin in the kernel: {}", text_of(wanted.name), error.what());
    if (!tunnels_[wanted.index]) tunnels_.erase(wanted.index);
    return false;
  }
}

void Twins::remove_tunnel(std::uint32_t index) noexcept {
  const auto twin = tunnels_.find(index);
  if (twin == tunnels_.end()) return;
  note_gone(*twin->second);
  remove_link(homes_[twin->second->table], twin->second->index, twin->second->name);
  tunnels_.erase(twin);
}

void Twins::note_gone(const Twin& twin) noexcept {
  Home& home = homes_[twin.table];
  home.behind.erase(twin.index);
  changes_++;
  if (home.gone && twin.tunnel != Note::kNoTunnel) home.gone(twin.tunnel);
}

std::optional<NextHop> Twins::behind(TableId table, int interface) const noexcept {
  const auto& behind = homes_[table].behind;
  const auto found = behind.find(interface);
  return found == behind.end() ? std::nullopt : std::optional(found->second);
}

int Twins::index_of(TableId table, NextHop hop) const noexcept {
  const Twin* twin = hop.port < ports_.size() ? ports_[hop.port].get() : nullptr;
  if (hop.kind == NextHopKind::tunnel) {
    const auto found = tunnels_.find(hop.index);
    twin = found == tunnels_.end() ? nullptr : found->second.get();
  }
  return twin != nullptr && twin->table == table ? twin->index : 0;
}

Twins::Twin* Twins::twin_at(TableId table, int interface) const noexcept {
  const std::optional<NextHop> hop = behind(table, interface);
  if (!hop) return nullptr;
  if (hop->kind != NextHopKind::tunnel) return ports_[hop->port].get();
  const auto found = tunnels_.find(hop->index);
  return found == tunnels_.end() ? nullptr : found->second.get();
}

void Twins::link_changed(TableId table, int interface, bool up) noexcept {
  Twin* const twin = twin_at(table, interface);
  if (twin == nullptr || !std::exchange(twin->set_down, !up) || !up) return;
  try {
    for (const IpPrefix& each : twin->addresses) homes_[table].links->add_address(interface, each);
  } catch (const std::exception& error) {
    log_line("kernel interface {} was set down and up: {}", twin->name, error.what());
  }
  note_lost(table, interface);
}

void Twins::note_lost(TableId table, int interface) noexcept {
  losses_++;
  for (const auto& [index, hop] : homes_[table].behind) {
    if (interface != 0 && interface != index) continue;
    if (Twin* const twin = twin_at(table, index)) twin->lost_at = losses_;
  }
}

std::uint64_t Twins::lost_at(TableId table, int interface) const noexcept {
  const Twin* const twin = twin_at(table, interface);
  return twin == nullptr ? 0 : twin->lost_at;
}

void Twins::wake_by(int fd) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void Twins::set_mtu(std::uint32_t tunnel, std::uint16_t mtu) noexcept {
  const auto found = tunnels_.find(tunnel);
  if (found == tunnels_.end()) return;
  Twin& twin = *found->second;
  if (has_v6(twin.addresses)) mtu = std::max(mtu, kLeastMtu6);
  if (std::exchange(twin.mtu, mtu) == mtu) return;
  try {
    homes_[twin.table].links->set_mtu(twin.index, mtu);
  } catch (const std::exception& error) {
    log_line("kernel interface {}: {}", twin.name, error.what());
  }
}

void Twins::set_carrier(Twin& twin, bool up) noexcept {
  if (std::exchange(twin.carrier, up) != up) twin.tun.set_carrier(up);
}

void Twins::follow(const IsUp& is_up, std::uint64_t now) noexcept {
  for (const auto& [index, twin] : tunnels_) {
    const bool up = is_up(index);
    if (up) twin->patience_until = 0;
    if (now >= twin->patience_until) set_carrier(*twin, up);
  }
}

void Twins::end_others() noexcept {
  if (std::exchange(ended_others_, true)) return;
  for (Home& home : homes_) try {
      if (!home.space) continue;
      const Space::Visit visit(*home.space);
      look_around(home);
      std::erase_if(home.existing, [&](const auto& each) {
        if (!is_ours(each.second)) return false;
        remove_link(home, each.second.index, each.first);
        return true;
      });
    } catch (const std::exception& error) {
      log_line("twins in the kernel that nobody wants any more may stay: {}", error.what());
    }
}

// Whoever else has a hold of it loses that.
void Twins::remove_link(const Home& home, int index, const std::string& name) noexcept {
  try {
    home.links->remove(index);
  } catch (const std::exception& error) {
    log_line("kernel interface {}: {}", name, error.what());
  }
}

void Twins::entrust(std::uint64_t receiver, const Give& give) {
  if (std::exchange(receiver_, receiver) == receiver && !to_entrust_) return;
  to_entrust_ = false;
  const auto offer = [&](Twin& twin) {
    if (twin.receiver == receiver || to_entrust_) return;
    if (give(fmt::format("{}:{}", twin.table, twin.name), twin.tun.keepsake()))
      twin.receiver = receiver;
    else
      to_entrust_ = true;
  };
  for (const TwinPtr& twin : ports_)
    if (twin) offer(*twin);
  for (const auto& [index, twin] : tunnels_) offer(*twin);
}

const Twins::Twin* Twins::twin_for(const Note& note) const noexcept {
  if (note.tunnel == Note::kNoTunnel) return note.port < ports_.size() ? ports_[note.port].get() : nullptr;
  const auto found = tunnels_.find(note.tunnel);
  return found == tunnels_.end() ? nullptr : found->second.get();
}

bool Twins::take(rte_mbuf* packet, std::uint64_t now) {
  const Twin* const twin = twin_for(note_of(packet));
  if (twin == nullptr) return false;
  const std::span<const std::uint8_t> bytes(rte_pktmbuf_mtod(packet, const std::uint8_t*), packet->data_len);
  if (!limit_.take(source_of(bytes.data()), now))
    outbox_.drop(packet, DropReason::kernel_rate_limited);
  else if (!twin->tun.write(bytes))
    outbox_.drop(packet, DropReason::kernel_refused);
  else
    rte_pktmbuf_free(packet);
  return true;
}

unsigned Twins::serve(std::uint64_t now) {
  epoll_event events[kTwinsPerCall];
  const int count = epoll_wait(epoll_.get(), events, kTwinsPerCall, 0);
  unsigned packets = 0;
  for (int i = 0; i < count; i++)
    if (auto* const twin = static_cast<Twin*>(events[i].data.ptr)) packets += drain(*twin, now);
  return packets;
}

unsigned Twins::drain(Twin& twin, std::uint64_t now) {
  unsigned done = 0;
  for (; done < kPacketsPerTwin; done++) {
    rte_mbuf* const packet = outbox_.make(0);
    if (packet == nullptr) break;
    auto* const room = rte_pktmbuf_mtod(packet, std::uint8_t*);
    const int length = twin.tun.read({room, rte_pktmbuf_tailroom(packet)});
    if (length <= 0) {
      rte_pktmbuf_free(packet);
      if (length < 0) lose(twin);
      break;
    }
    rte_pktmbuf_append(packet, static_cast<std::uint16_t>(length));
    send(twin, packet, now);
  }
  return done;
}

// Multicast has no way through the workers; what the kernel sends of its own (MLD, IGMP) is nothing to miss.
void Twins::send(const Twin& twin, rte_mbuf* packet, std::uint64_t now) {
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  const bool v6 = ip[0] >> 4 == 6;
  const std::uint16_t length = v6 ? checked_ipv6(ip, packet->data_len) : checked_ipv4(ip, packet->data_len);
  if (length == 0) return outbox_.drop(packet, v6 ? DropReason::malformed_ipv6 : DropReason::malformed_ipv4);
  const IpAddress to = destination_of(ip);
  if (!is_unicast(to)) return outbox_.drop(packet, DropReason::multicast);
  if (twin.tunnel != Note::kNoTunnel) return outbox_.protect(twin.tunnel, packet);
  send_by_port(twin.port, to, packet, now);
}

// Link-local addresses mean that link; all else the route decides. What may leave by a route's port, the
// workers ask.
void Twins::send_by_port(std::uint8_t port, const IpAddress& to, rte_mbuf* packet, std::uint64_t now) {
  if (!is_link_local(to)) return outbox_.route(packet, interfaces_[port].table);
  const auto* const ip = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  if (tables_.ports[port].encrypted_only && !may_go_in_clear(ip, to.family, packet->data_len))
    return outbox_.drop(packet, DropReason::cleartext_out);
  resolver_.send(port, to, packet, now);
}

// Somebody has deleted the interface.
void Twins::lose(const Twin& twin) noexcept {
  log_line("kernel interface {} was deleted; there is no twin until this process starts again", twin.name);
  note_gone(twin);
  if (twin.tunnel == Note::kNoTunnel)
    ports_[twin.port].reset();
  else
    tunnels_.erase(twin.tunnel);
}

}  // namespace espgate::dataplane
