#include "world.hpp"

#include <algorithm>

namespace espgate::test {
namespace {

ByteVector bytes_of(const crypto::SecretBytes& secret) {
  return {secret.view().begin(), secret.view().end()};
}

ike::ChildInstall copy_of(const ike::ChildInstall& from) {
  ike::ChildInstall out;
  out.tunnel = from.tunnel;
  out.inbound_spi = from.inbound_spi;
  out.outbound_spi = from.outbound_spi;
  out.suite = from.suite;
  out.mode = from.mode;
  out.esn = from.esn;
  out.padding = from.padding;
  out.inbound_keys = from.inbound_keys.copy();
  out.outbound_keys = from.outbound_keys.copy();
  out.local = from.local;
  out.remote = from.remote;
  out.udp_encapsulation = from.udp_encapsulation;
  out.follow = from.follow;
  out.keepalive = from.keepalive;
  out.local_selectors = from.local_selectors;
  out.remote_selectors = from.remote_selectors;
  out.label = from.label;
  return out;
}

conf::Tunnel tunnel_between(const char* local, const char* remote, const char* local_id,
                            const char* remote_id) {
  conf::Tunnel out;
  out.name = remote_id;
  out.local = address(local);
  out.remote = address(remote);
  out.local_id = fqdn(local_id);
  out.remote_id = fqdn(remote_id);
  out.psk = crypto::SecretBytes(std::string_view("correct horse battery staple"));
  out.ike_proposals = {ike_gcm(crypto::DhGroup::curve25519)};
  out.esp_proposals = {esp(crypto::EspSuite::aes256_gcm16, {crypto::DhGroup::curve25519})};
  out.local_selectors = {*parse_prefix("0.0.0.0/0"), *parse_prefix("::/0")};
  out.remote_selectors = out.local_selectors;
  out.ike_lifetime = seconds(0);  // tests that want rekeys ask for them
  out.child_lifetime = seconds(0);
  return out;
}

std::vector<conf::Tunnel> or_default(std::vector<conf::Tunnel> given, conf::Tunnel (*make)()) {
  if (given.empty()) given.push_back(make());
  return given;
}

}  // namespace

IpAddress address(const char* text) { return *parse_address(text); }

conf::Identity fqdn(const std::string& name) {
  return {conf::IdentityType::fqdn, name, {name.begin(), name.end()}};
}

conf::IkeProposal ike_gcm(crypto::DhGroup group, crypto::Prf prf, std::uint16_t bits) {
  return {"", {{crypto::IkeCipherId::aes_gcm16, bits}}, {}, {prf}, {group}};
}

conf::IkeProposal ike_cbc(crypto::DhGroup group, crypto::IkeIntegrity integrity, crypto::Prf prf,
                          std::uint16_t bits) {
  return {"", {{crypto::IkeCipherId::aes_cbc, bits}}, {integrity}, {prf}, {group}};
}

conf::EspProposal esp(crypto::EspSuite suite, std::vector<crypto::DhGroup> groups) {
  return {"", {suite}, std::move(groups)};
}

conf::Tunnel east_tunnel() { return tunnel_between("192.0.2.1", "192.0.2.2", "east", "west"); }
conf::Tunnel west_tunnel() { return tunnel_between("192.0.2.2", "192.0.2.1", "west", "east"); }

conf::Tunnel copy(const conf::Tunnel& from) {
  conf::Tunnel out;
  static_cast<conf::Inherited&>(out) = from;
  out.name = from.name;
  out.parent = from.parent;
  out.parent_index = from.parent_index;
  out.peers = from.peers;
  out.first_slot = from.first_slot;
  out.psk = from.psk.copy();
  for (const conf::Ppk& ppk : from.ppks)
    out.ppks.push_back({ppk.id, ppk.type, ppk.secret.copy(), ppk.not_before, ppk.not_after, ppk.mark});
  out.ppk_use = from.ppk_use;
  out.local_auth = from.local_auth;
  out.remote_auth = from.remote_auth;
  out.ike_proposals = from.ike_proposals;
  out.ike_lifetime = from.ike_lifetime;
  out.ike_reauth = from.ike_reauth;
  out.childless = from.childless;
  out.verify_rekey = from.verify_rekey;
  out.dpd_interval = from.dpd_interval;
  out.local_selectors = from.local_selectors;
  out.remote_selectors = from.remote_selectors;
  out.mode = from.mode;
  return out;
}

// ---- a gateway

Gateway::Gateway(World& world, std::string its_name, std::vector<conf::Tunnel> its_tunnels,
                 const ike::Settings& its_settings)
    : name(std::move(its_name)),
      tunnels(std::move(its_tunnels)),
      settings(its_settings),
      keeper(tunnels),
      daemon(std::make_unique<ike::Daemon>(tunnels, keeper, *this, settings, kStart)),
      world_(world),
      next_spi_(name == "east" ? 0x1000 : 0x2000) {}

void Gateway::complain(const std::string& what) { world_.complaints.push_back(name + ": " + what); }

void Gateway::initiate(TunnelId tunnel) { daemon->initiate(tunnel, world_.now); }

void Gateway::restart() {
  inbound.clear();
  outbound.clear();
  sending.clear();
  reserved.clear();
  up_tunnels.clear();
  up = false;
  daemon = std::make_unique<ike::Daemon>(tunnels, keeper, *this, settings, world_.now);
}

bool Gateway::said(const std::string& words) const {
  const auto has = [&words](const std::string& line) { return line.find(words) != std::string::npos; };
  return std::any_of(lines.begin(), lines.end(), has) ||
         std::any_of(failures.begin(), failures.end(), [&](const Reason& r) { return has(r.summary); }) ||
         std::any_of(downs.begin(), downs.end(), [&](const Reason& r) { return has(r.summary); }) ||
         std::any_of(failed_rekeys.begin(), failed_rekeys.end(),
                     [&](const Reason& r) { return has(r.summary); });
}

void Gateway::send(const Endpoint& local, const Endpoint& remote, crypto::Bytes datagram) {
  witnessed("sends " + std::to_string(datagram.size()) + " bytes, exchange " + std::to_string(datagram[18]) +
            ((datagram[19] & 0x20) != 0 ? ", response " : ", request ") + std::to_string(datagram[23]));
  world_.transmit({local, remote, {datagram.begin(), datagram.end()}, 0});
}

std::uint32_t Gateway::allocate_spi(TunnelId) {
  if (full) return 0;
  reserved.insert(++next_spi_);
  return next_spi_;
}

void Gateway::release_spi(std::uint32_t spi) {
  if (reserved.erase(spi) == 0) complain("released an SPI that was not reserved");
}

void Gateway::install_inbound(const ike::ChildInstall& child) {
  witnessed("installs inbound " + std::to_string(child.inbound_spi));
  if (reserved.erase(child.inbound_spi) == 0) complain("installed an SPI that was not reserved");
  if (child.inbound_keys.empty()) complain("installed inbound without keys");
  if (!inbound.emplace(child.inbound_spi, copy_of(child)).second) complain("installed inbound twice");
}

void Gateway::install_outbound(const ike::ChildInstall& child) {
  witnessed("installs outbound " + std::to_string(child.outbound_spi));
  if (child.outbound_keys.empty()) complain("installed outbound without keys");
  if (!inbound.contains(child.inbound_spi)) complain("installed outbound before inbound");
  if (!outbound.emplace(child.outbound_spi, copy_of(child)).second) complain("installed outbound twice");
  sending[child.tunnel] = child.outbound_spi;
}

void Gateway::move_child(const ike::ChildInstall& child) {
  const auto found = outbound.find(child.outbound_spi);
  if (found == outbound.end()) return;
  if (!child.follow) complain("moved a child that does not follow");
  found->second.remote = child.remote;
}

void Gateway::remove_inbound(TunnelId, std::uint32_t spi) {
  witnessed("removes inbound " + std::to_string(spi));
  if (inbound.erase(spi) == 0) complain("removed an inbound SA that is not there");
}

void Gateway::remove_outbound(TunnelId tunnel, std::uint32_t spi) {
  witnessed("removes outbound " + std::to_string(spi));
  if (outbound.erase(spi) == 0) complain("removed an outbound SA that is not there");
  if (sending[tunnel] == spi) sending.erase(tunnel);
}

std::optional<Time> Gateway::last_inbound(TunnelId) { return heard; }

void Gateway::tunnel_up(TunnelId tunnel) {
  if (!up_tunnels.insert(tunnel).second) complain("up twice");
  up = true;
  ++ups;
}

void Gateway::tunnel_down(TunnelId tunnel, const Reason& reason) {
  if (up_tunnels.erase(tunnel) == 0) complain("down twice");
  up = !up_tunnels.empty();
  downs.push_back(reason);
  if (retry) retry_at[tunnel] = world_.now + seconds(1);
}

void Gateway::attempt_failed(TunnelId tunnel, const Reason& reason) {
  failures.push_back(reason);
  failed.push_back(tunnel);
  ++own_failures;
  if (retry) retry_at[tunnel] = world_.now + seconds(1);
}

void Gateway::peer_attempt_failed(TunnelId tunnel, const Reason& reason) {
  failures.push_back(reason);
  failed.push_back(tunnel);
}

void Gateway::rekey_failed(TunnelId tunnel, const Reason& reason) {
  failed_rekeys.push_back(reason);
  log(tunnel, reason.summary);
}

void Gateway::log(std::optional<TunnelId>, const std::string& line) {
  lines.push_back(line);
  witnessed(line);
}

void Gateway::witnessed(const std::string& what) const {
  if (world_.witness) world_.witness(*this, what);
}

// ---- the world

ike::Settings World::quick() {
  ike::Settings settings;
  settings.random_seed = 1;
  return settings;
}

World::World(std::vector<conf::Tunnel> east_tunnels, std::vector<conf::Tunnel> west_tunnels,
             const ike::Settings& settings)
    : east(*this, "east", or_default(std::move(east_tunnels), east_tunnel), settings),
      west(*this, "west", or_default(std::move(west_tunnels), west_tunnel), settings) {}

void World::transmit(Datagram datagram) {
  datagram.number = ++sent;
  largest = std::max(largest, datagram.bytes.size());
  const std::vector<milliseconds> delays = fate ? fate(datagram) : std::vector{milliseconds(10)};
  for (const milliseconds delay : delays) wire_.emplace(now + delay, datagram);
}

void World::deliver(const Datagram& original) {
  Datagram datagram = original;
  if (translate) translate(datagram);
  for (Gateway* gateway : {&east, &west}) {
    const auto is_its = [&datagram](const conf::Tunnel& tunnel) {
      return !tunnel.parent_index && tunnel.local == datagram.to.address;
    };
    if (std::any_of(gateway->tunnels.begin(), gateway->tunnels.end(), is_its))
      gateway->daemon->received(datagram.to, datagram.from, datagram.bytes, now);
  }
}

void World::start_traffic(std::size_t tunnels) {
  next_tick_ = now;
  carrying_ = tunnels;
}

// Some overtake IKE's messages and some are overtaken by them.
void World::tick(Gateway& from, Gateway& to) {
  static constexpr int kDelays[] = {1, 100, 10, 3};
  const milliseconds delay(kDelays[++ticks_ % 4]);
  for (const auto& [tunnel, spi] : from.sending)
    packets_.emplace(now + delay,
                     InnerPacket{&to, tunnel, spi, bytes_of(from.outbound.at(spi).outbound_keys)});
  if (from.sending.size() < carrying_) ++lost;
}

void World::arrive(const InnerPacket& packet) {
  const auto found = packet.to->inbound.find(packet.spi);
  const bool opens = found != packet.to->inbound.end() && bytes_of(found->second.inbound_keys) == packet.key;
  if (opens) packet.to->heard = now;
  ++(opens ? delivered : lost);
}

std::optional<Time> World::next_event() const {
  std::optional<Time> next = next_tick_;
  const auto earlier = [&next](std::optional<Time> t) {
    if (t && (!next || *t < *next)) next = t;
  };
  for (const Gateway* gateway : {&east, &west}) {
    earlier(gateway->daemon->next_deadline());
    for (const auto& [tunnel, when] : gateway->retry_at) earlier(when);
  }
  if (!wire_.empty()) earlier(wire_.begin()->first);
  if (!packets_.empty()) earlier(packets_.begin()->first);
  return next;
}

// What it sends on was sent on until now.
void World::note_flow(Gateway& from) {
  for (const auto& [tunnel, spi] : from.sending) from.sent_on[spi] = now;
}

void World::check_flow(const Gateway& from, const Gateway& to) {
  if (from.sending.size() < carrying_) complaints.push_back(from.name + ": has nothing to send on");
  for (const auto& [tunnel, spi] : from.sending) {
    const auto found = to.inbound.find(spi);
    const bool opens = found != to.inbound.end() &&
                       bytes_of(found->second.inbound_keys) == bytes_of(from.outbound.at(spi).outbound_keys);
    if (!opens) complaints.push_back(from.name + ": sends on what its peer does not have");
  }
  for (const auto& [spi, until] : from.sent_on) {
    if (until + kFlight > now && !to.inbound.contains(spi))
      complaints.push_back(to.name + ": removed an inbound SA with packets on their way to it");
  }
}

void World::step() {
  if (watched_) {
    note_flow(east);
    note_flow(west);
  }
  while (!wire_.empty() && wire_.begin()->first <= now) deliver(wire_.extract(wire_.begin()).mapped());
  while (!packets_.empty() && packets_.begin()->first <= now)
    arrive(packets_.extract(packets_.begin()).mapped());
  for (Gateway* gateway : {&east, &west}) {
    gateway->daemon->advance(now);
    for (const auto& [tunnel, when] : std::map(gateway->retry_at)) {
      if (when > now) continue;
      gateway->retry_at.erase(tunnel);
      gateway->initiate(tunnel);
    }
  }
  if (next_tick_ && *next_tick_ <= now) {
    tick(east, west);
    tick(west, east);
    next_tick_ = now + milliseconds(7);
  }
  if (watched_) {
    check_flow(east, west);
    check_flow(west, east);
  }
}

void World::run(milliseconds time, const std::function<bool()>& done) {
  const Time end = now + time;
  for (auto next = next_event(); next && *next <= end; next = next_event()) {
    now = std::max(now, *next);
    step();
    if (done && done()) return;
  }
  now = end;
}

bool World::establish() {
  east.initiate();
  run(seconds(60), [this] { return settled(); });
  return settled();
}

bool World::settled(std::size_t tunnels) const {
  for (const Gateway* gateway : {&east, &west}) {
    const bool whole = gateway->inbound.size() == tunnels && gateway->outbound.size() == tunnels &&
                       gateway->sending.size() == tunnels && gateway->reserved.empty() &&
                       gateway->ike_sas() == 1;
    if (!whole) return false;
  }
  return std::all_of(east.outbound.begin(), east.outbound.end(), [this](const auto& entry) {
    const ike::ChildInstall& a = entry.second;
    const auto there = west.inbound.find(a.outbound_spi);
    const auto back = east.inbound.find(a.inbound_spi);
    if (there == west.inbound.end() || back == east.inbound.end()) return false;
    const auto b = west.outbound.find(there->second.outbound_spi);
    return b != west.outbound.end() && b->second.outbound_spi == a.inbound_spi &&
           a.local_selectors == b->second.remote_selectors &&
           a.remote_selectors == b->second.local_selectors &&
           bytes_of(a.outbound_keys) == bytes_of(there->second.inbound_keys) &&
           bytes_of(b->second.outbound_keys) == bytes_of(back->second.inbound_keys) &&
           a.mode == b->second.mode && a.esn == b->second.esn && a.suite == b->second.suite &&
           a.udp_encapsulation == b->second.udp_encapsulation;
  });
}

}  // namespace espgate::test
