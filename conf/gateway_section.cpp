#include "channel/counters.hpp"
#include "conf/choices.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::size_t kMostPortAddresses = 16;
constexpr std::size_t kMostLoopbacks = 256;
constexpr std::uint64_t kMostBlocks = 1U << 24;
constexpr std::size_t kMostItems = 1U << 20;  // what the file's size allows at best

constexpr std::array<std::pair<std::string_view, Idle>, 2> kIdle{
    {{"adaptive", Idle::adaptive}, {"busy", Idle::busy}}};
constexpr std::array<std::pair<std::string_view, Hugepages>, 3> kHugepages{
    {{"auto", Hugepages::automatic}, {"never", Hugepages::never}, {"require", Hugepages::require}}};
constexpr std::array<std::pair<std::string_view, Offload>, 3> kOffload{
    {{"auto", Offload::automatic}, {"never", Offload::never}, {"require", Offload::require}}};

void read_cpu(const Field& field, unsigned& out) { read_unsigned(field, out, 0, 1023); }

void read_workers(const Field& field, std::vector<unsigned>& out) {
  read_list(field, out, channel::kMaxWorkers, read_cpu);
  if (out.empty()) field.expected("the CPU of at least one worker, such as [1]");
}

void read_suite(const Field& field, crypto::EspSuite& out) {
  const crypto::SuiteRow* const row = field.is_scalar() ? crypto::find_suite(field.node.text) : nullptr;
  if (row == nullptr) return field.expected("an ESP suite, such as aes256gcm16 or aes256-sha256");
  out = row->suite;
}

void read_device(const Field& field, CryptoDevice& out) {
  read_text(field, out.device);
  if (out.device.empty()) return;
  try {
    (void)crypto_device_args(out.device);
  } catch (const Error& error) {
    field.error(std::string("device: ") + error.what());
  }
}

constexpr Key<CryptoDevice> kCryptoDeviceKeys[] = {
    {"device", Need::required, [](const Field& f, CryptoDevice& d) { read_device(f, d); }},
    {"suites", Need::optional,
     [](const Field& f, CryptoDevice& d) { read_list(f, d.suites, crypto::kSuites.size(), read_suite); }},
};

void read_crypto_device(const Field& item, CryptoDevice& out) {
  out.mark = item.node.mark;
  if (item.node.kind == NodeKind::scalar) return read_device(item, out);
  read_block({item.reading, item.node, "crypto-devices"}, kCryptoDeviceKeys, out);
}

// Options may differ, and yet it is one device.
void read_crypto_devices(const Field& field, std::vector<CryptoDevice>& out) {
  read_list(field, out, channel::kMaxCryptoDevices, read_crypto_device);
  const auto name_of = [](const CryptoDevice& device) {
    return device.device.substr(0, device.device.find(','));
  };
  for (std::size_t i = 0; i < out.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (!out[i].device.empty() && name_of(out[i]) == name_of(out[j]))
        field.reading.errors.add(
            out[i].mark, "crypto-devices: the device of line " + std::to_string(out[j].mark.line) + " again");
}

constexpr Key<Dataplane> kDataplaneKeys[] = {
    {"workers", Need::optional, [](const Field& f, Dataplane& d) { read_workers(f, d.workers); }},
    {"main-cpu", Need::optional, [](const Field& f, Dataplane& d) { read_cpu(f, d.main_cpu); }},
    {"idle", Need::optional, [](const Field& f, Dataplane& d) { read_choice(f, d.idle, kIdle); }},
    {"hugepages", Need::optional,
     [](const Field& f, Dataplane& d) { read_choice(f, d.hugepages, kHugepages); }},
    {"memory", Need::optional,
     [](const Field& f, Dataplane& d) { read_unsigned(f, d.memory_mib, 128, 1U << 20); }},
    {"packet-buffers", Need::optional,
     [](const Field& f, Dataplane& d) { read_unsigned(f, d.packet_buffers, 2048, 1U << 24); }},
    {"max-tunnels", Need::optional,
     [](const Field& f, Dataplane& d) { read_unsigned(f, d.max_tunnels, 1, 1U << 17); }},
    {"max-routes", Need::optional,
     [](const Field& f, Dataplane& d) { read_unsigned(f, d.max_routes, 16, 1U << 24); }},
    {"ipv6-blocks", Need::optional,
     [](const Field& f, Dataplane& d) { read_unsigned(f, d.ipv6_blocks, 4096, kMostBlocks); }},
    {"crypto-devices", Need::optional,
     [](const Field& f, Dataplane& d) { read_crypto_devices(f, d.crypto_devices); }},
};

// No network is behind a loopback.
void read_own_address(const Field& field, IpPrefix& out) {
  IpPrefix address;
  read_interface_address(field, address);
  if (!address.address.is_set()) return;
  if (address.length != (address.address.is_v4() ? 32 : 128))
    return field.expected("an address alone, such as 10.254.0.1/32");
  out = address;
}

constexpr Key<Table> kTableKeys[] = {
    {"name", Need::required, [](const Field& f, Table& t) { read_name(f, t.name); }},
    {"max-routes", Need::optional,
     [](const Field& f, Table& t) { read_unsigned(f, t.max_routes, 16, 1U << 24); }},
    {"ipv6-blocks", Need::optional,
     [](const Field& f, Table& t) { read_unsigned(f, t.ipv6_blocks, 4096, kMostBlocks); }},
    {"namespace", Need::optional, [](const Field& f, Table& t) { read_name(f, t.space); }},
};

constexpr Key<Loopback> kLoopbackKeys[] = {
    {"name", Need::required, [](const Field& f, Loopback& l) { read_name(f, l.name); }},
    {"addresses", Need::required,
     [](const Field& f, Loopback& l) { read_list(f, l.addresses, kMostPortAddresses, read_own_address); }},
    {"table", Need::optional, [](const Field& f, Loopback& l) { read_name(f, l.table.name); }},
};

constexpr Key<Port> kPortKeys[] = {
    {"name", Need::required, [](const Field& f, Port& p) { read_name(f, p.name); }},
    {"device", Need::optional, [](const Field& f, Port& p) { read_text(f, p.device); }},
    {"parent", Need::optional, [](const Field& f, Port& p) { read_name(f, p.parent); }},
    {"vlan", Need::optional, [](const Field& f, Port& p) { read_unsigned(f, p.vlan, 1, 4094); }},
    {"addresses", Need::optional,
     [](const Field& f, Port& p) { read_list(f, p.addresses, kMostPortAddresses, read_interface_address); }},
    {"table", Need::optional, [](const Field& f, Port& p) { read_name(f, p.table.name); }},
    {"encrypted-only", Need::optional, [](const Field& f, Port& p) { read_bool(f, p.encrypted_only); }},
    {"mtu", Need::optional, [](const Field& f, Port& p) { read_unsigned(f, p.mtu, 576, 9000); }},
    {"offload", Need::optional, [](const Field& f, Port& p) { read_choice(f, p.offload, kOffload); }},
    {"kernel", Need::optional, [](const Field& f, Port& p) { read_twin(f, p.kernel); }},
};

constexpr Key<Route> kRouteKeys[] = {
    {"table", Need::optional, [](const Field& f, Route& r) { read_name(f, r.table.name); }},
    {"to", Need::required, [](const Field& f, Route& r) { read_network(f, r.to); }},
    {"via", Need::optional, [](const Field& f, Route& r) { read_address(f, r.via.emplace()); }},
    {"tunnel", Need::optional, [](const Field& f, Route& r) { read_name(f, r.tunnel); }},
    {"group", Need::optional, [](const Field& f, Route& r) { read_name(f, r.group); }},
    {"blackhole", Need::optional, [](const Field& f, Route& r) { read_bool(f, r.blackhole); }},
    {"via-table", Need::optional, [](const Field& f, Route& r) { read_name(f, r.via_table.name); }},
};

constexpr Key<GroupMember> kMemberKeys[] = {
    {"tunnel", Need::optional, [](const Field& f, GroupMember& m) { read_name(f, m.tunnel); }},
    {"via", Need::optional, [](const Field& f, GroupMember& m) { read_address(f, m.via.emplace()); }},
    {"weight", Need::optional,
     [](const Field& f, GroupMember& m) { read_unsigned(f, m.weight, 1, channel::kMaxWeight); }},
    {"priority", Need::optional,
     [](const Field& f, GroupMember& m) { read_unsigned(f, m.priority, 1, 255); }},
};

void read_member(const Field& item, GroupMember& out) {
  const Field block{item.reading, item.node, "member"};
  read_block(block, kMemberKeys, out);
  if (item.node.kind != NodeKind::map) return;
  const bool tunnel = &item.node.at("tunnel") != &item.node;
  const bool via = &item.node.at("via") != &item.node;
  if (tunnel == via) block.error("member: expected exactly one of: tunnel, via");
}

// Tunnels' names alone: equal weights.
void read_member_name(const Field& item, GroupMember& out) { read_name(item, out.tunnel); }

constexpr Key<Group> kGroupKeys[] = {
    {"name", Need::required, [](const Field& f, Group& g) { read_name(f, g.name); }},
    {"tunnels", Need::optional,
     [](const Field& f, Group& g) { read_list(f, g.members, channel::kMaxGroupMembers, read_member_name); }},
    {"members", Need::optional,
     [](const Field& f, Group& g) { read_list(f, g.members, channel::kMaxGroupMembers, read_member); }},
    {"table", Need::optional, [](const Field& f, Group& g) { read_name(f, g.table.name); }},
    {"by", Need::optional, [](const Field& f, Group& g) { read_choice(f, g.by, kGroupChoice); }},
};

void check_sub_interface(const Field& block) {
  if (&block.node.at("device") != &block.node)
    block.error("port: expected a device, or a parent and a vlan, not both");
  if (&block.node.at("vlan") == &block.node)
    block.error("port: the key \"vlan\" is missing, for the parent's frames");
}

void read_port(const Field& item, Port& out) {
  out.mark = item.node.mark;
  const Field block{item.reading, item.node, "port"};
  read_block(block, kPortKeys, out);
  name_twin(out.kernel, out.name);
  if (item.node.kind != NodeKind::map) return;
  if (&item.node.at("parent") != &item.node) return check_sub_interface(block);
  if (&item.node.at("vlan") != &item.node) block.error("port: a vlan needs a parent");
  if (&item.node.at("device") == &item.node) block.error("port: the key \"device\" or \"parent\" is missing");
  if (out.device.empty()) return;
  try {
    (void)device_args(out, 0);
  } catch (const Error& error) {
    item.reading.errors.add(item.node.at("device").mark, std::string("device: ") + error.what());
  }
}

void read_ports(const Field& field, std::vector<Port>& out) {
  read_list(field, out, channel::kMaxPorts, read_port);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Node& item = field.node.at(i);
    if (out[i].parent.empty() || &item.at("mtu") != &item) continue;
    for (const Port& port : out)
      if (port.name == out[i].parent) out[i].mtu = port.mtu;
  }
  const bool empty_list = field.node.kind == NodeKind::list && field.node.children.empty();
  if (empty_list || field.node.kind == NodeKind::null) field.expected("at least one port");
}

void read_table(const Field& item, Table& out) {
  out.mark = item.node.mark;
  read_block({item.reading, item.node, "table"}, kTableKeys, out);
}

void read_loopback(const Field& item, Loopback& out) {
  out.mark = item.node.mark;
  read_block({item.reading, item.node, "loopback"}, kLoopbackKeys, out);
}

void read_route(const Field& item, Route& out) {
  out.mark = item.node.mark;
  const Field block{item.reading, item.node, "route"};
  read_block(block, kRouteKeys, out);
  if (item.node.kind != NodeKind::map) return;
  const int targets = (out.via ? 1 : 0) + (out.tunnel.empty() ? 0 : 1) + (out.group.empty() ? 0 : 1) +
                      (out.blackhole ? 1 : 0);
  if (targets != 1) block.error("route: expected exactly one of: via, tunnel, group, blackhole");
  const Node& via_table = item.node.at("via-table");
  if (&via_table == &item.node) out.via_table = out.table;
  if (out.blackhole && &via_table != &item.node)
    item.reading.errors.add(via_table.mark, "via-table: a blackhole leads nowhere");
}

void read_group(const Field& item, Group& out) {
  out.mark = item.node.mark;
  const Field block{item.reading, item.node, "group"};
  read_block(block, kGroupKeys, out);
  if (item.node.kind != NodeKind::map) return;
  const bool tunnels = &item.node.at("tunnels") != &item.node;
  const bool members = &item.node.at("members") != &item.node;
  if (tunnels == members) block.error("group: expected exactly one of: tunnels, members");
  if (out.by != channel::GroupChoice::selectors) return;
  for (std::size_t i = 0; members && i < out.members.size(); ++i) {
    const Node& member = item.node.at("members").at(i);
    if (out.members[i].via)
      item.reading.errors.add(
          member.at("via").mark,
          "via: a gateway has no selectors by which it could be chosen; expected a tunnel");
    if (&member.at("weight") != &member)
      item.reading.errors.add(member.at("weight").mark,
                              "weight: with by: selectors nothing is shared out; expected no such key");
  }
}

// The sockets in the runtime directory have paths of at most 107 characters (sun_path).
void read_directory(const Field& field, std::string& out) {
  std::string path;
  read_text(field, path);
  if (path.empty()) return;
  if (path.front() != '/' || path.size() > 80)
    return field.expected("an absolute path of at most 80 characters");
  out = path;
}

constexpr Key<Configuration> kFileKeys[] = {
    {"name", Need::optional, [](const Field& f, Configuration& c) { read_name(f, c.name); }},
    {"runtime-directory", Need::optional,
     [](const Field& f, Configuration& c) { read_directory(f, c.runtime_directory); }},
    {"state-directory", Need::optional,
     [](const Field& f, Configuration& c) { read_directory(f, c.state_directory); }},
    {"user", Need::optional, [](const Field& f, Configuration& c) { read_text(f, c.user); }},
    {"dataplane", Need::optional,
     [](const Field& f, Configuration& c) { read_block(f, kDataplaneKeys, c.dataplane); }},
    {"tables", Need::optional,
     [](const Field& f, Configuration& c) { read_list(f, c.tables, kMaxTables - 1, read_table); }},
    {"loopbacks", Need::optional,
     [](const Field& f, Configuration& c) { read_list(f, c.loopbacks, kMostLoopbacks, read_loopback); }},
    {"ports", Need::required, [](const Field& f, Configuration& c) { read_ports(f, c.ports); }},
    {"routes", Need::optional,
     [](const Field& f, Configuration& c) { read_list(f, c.routes, kMostItems, read_route); }},
    {"tunnels", Need::optional,
     [](const Field& f, Configuration& c) { read_tunnels(f, c.tunnels, kMostItems); }},
    {"groups", Need::optional,
     [](const Field& f, Configuration& c) { read_list(f, c.groups, kMostItems, read_group); }},
};

}  // namespace

void read_gateway(const Field& file, Configuration& out) { read_block(file, kFileKeys, out); }

void append_gateway_keys(std::vector<KnownKey>& to) {
  append_keys(to, "", kFileKeys);
  append_keys(to, "dataplane", kDataplaneKeys);
  append_keys(to, "dataplane.crypto-devices", kCryptoDeviceKeys);
  append_keys(to, "tables", kTableKeys);
  append_keys(to, "loopbacks", kLoopbackKeys);
  append_keys(to, "ports", kPortKeys);
  append_keys(to, "routes", kRouteKeys);
  append_keys(to, "groups", kGroupKeys);
  append_keys(to, "groups.members", kMemberKeys);
}

}  // namespace espgate::conf
