#include "dataplane/offload/card.hpp"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_mempool.h>
#include <rte_security.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "dataplane/log.hpp"
#include "dataplane/offload/transforms.hpp"
#include "dataplane/path/wire.hpp"

namespace espgate::dataplane {

namespace {

using channel::Direction;

constexpr unsigned kMostSessions = 4095;
constexpr unsigned kSessionHead =
    128;  // bytes of DPDK's own in front of the driver's; it does not tell how many

rte_security_ipsec_sa_direction direction_of(Direction direction) noexcept {
  return direction == Direction::outbound ? RTE_SECURITY_IPSEC_SA_DIR_EGRESS
                                          : RTE_SECURITY_IPSEC_SA_DIR_INGRESS;
}

std::uint32_t address4(const IpAddress& address) noexcept {
  std::uint32_t word = 0;
  std::memcpy(&word, address.bytes.data(), sizeof word);
  return word;
}

void set_tunnel(rte_security_ipsec_xform& ipsec, const CardSa& sa) noexcept {
  const bool out = sa.direction == Direction::outbound;
  const IpAddress& from = out ? sa.local : sa.remote;
  const IpAddress& to = out ? sa.remote : sa.local;
  if (!from.is_v4()) {
    ipsec.tunnel.type = RTE_SECURITY_IPSEC_TUNNEL_IPV6;
    std::memcpy(&ipsec.tunnel.ipv6.src_addr, from.bytes.data(), 16);
    std::memcpy(&ipsec.tunnel.ipv6.dst_addr, to.bytes.data(), 16);
    return;
  }
  ipsec.tunnel.type = RTE_SECURITY_IPSEC_TUNNEL_IPV4;
  ipsec.tunnel.ipv4.src_ip.s_addr = address4(from);
  ipsec.tunnel.ipv4.dst_ip.s_addr = address4(to);
}

rte_security_session_conf configuration_of(const CardSa& sa, Transforms& transforms) noexcept {
  rte_security_session_conf conf{};
  conf.action_type = RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO;
  conf.protocol = RTE_SECURITY_PROTOCOL_IPSEC;
  conf.ipsec.spi = sa.spi;
  std::memcpy(&conf.ipsec.salt, sa.keys->view().data() + sa.suite->key_length,
              std::min<std::size_t>(sa.suite->salt_length, sizeof conf.ipsec.salt));
  conf.ipsec.options.udp_encap = sa.udp ? 1 : 0;
  conf.ipsec.direction = direction_of(sa.direction);
  conf.ipsec.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP;
  conf.ipsec.mode = RTE_SECURITY_IPSEC_SA_MODE_TUNNEL;
  set_tunnel(conf.ipsec, sa);
  if (sa.udp) {
    const bool out = sa.direction == Direction::outbound;
    conf.ipsec.udp = {out ? sa.local_port : sa.remote_port, out ? sa.remote_port : sa.local_port};
  }
  conf.crypto_xform = transforms.chain();
  return conf;
}

// A capability for ESP in tunnel mode by inline cryptography, of this direction.
bool fits(const rte_security_capability& have, Direction direction) noexcept {
  return have.action == RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO &&
         have.protocol == RTE_SECURITY_PROTOCOL_IPSEC &&
         have.ipsec.proto == RTE_SECURITY_IPSEC_SA_PROTO_ESP &&
         have.ipsec.mode == RTE_SECURITY_IPSEC_SA_MODE_TUNNEL &&
         have.ipsec.direction == direction_of(direction) && have.crypto_capabilities != nullptr;
}

// What tells a card that UDP carries ESP is the port it goes to.
bool is_recognised(const CardSa& sa) noexcept {
  const std::uint16_t to = sa.direction == Direction::outbound ? sa.remote_port : sa.local_port;
  return !sa.udp || to == kNatTraversalPort;
}

// The capability that has this SA; nullptr: none.
const rte_security_capability* find(rte_security_ctx* context, const CardSa& sa) noexcept {
  if (!is_recognised(sa)) return nullptr;
  const Transforms transforms(*sa.suite, sa.keys->view(), sa.direction, 0);
  const rte_security_capability* have = rte_security_capabilities_get(context);
  for (; have != nullptr && have->action != RTE_SECURITY_ACTION_TYPE_NONE; ++have)
    if (fits(*have, sa.direction) && (!sa.udp || have->ipsec.options.udp_encap != 0) &&
        transforms.all_in(have->crypto_capabilities))
      return have;
  return nullptr;
}

const char* words_of(const rte_flow_error& error) noexcept {
  return error.message != nullptr ? error.message : rte_strerror(rte_errno);
}

}  // namespace

CardSa describe_for_card(const channel::InstallSa& install, Direction direction) {
  const crypto::SuiteRow* const row = crypto::find_suite(static_cast<crypto::EspSuite>(install.suite));
  return {.direction = direction,
          .suite = row,
          .spi = install.spi,
          .local = install.local,
          .remote = install.remote,
          .udp = install.udp_encapsulation != 0,
          .local_port = install.local_port,
          .remote_port = install.remote_port,
          .keys = std::make_shared<crypto::SecretBytes>(
              crypto::Bytes(install.keys.data(), crypto::key_material_length(*row))),
          .queue = {}};
}

std::unique_ptr<Card> Card::probe(std::string name, std::uint8_t port, std::uint16_t ethdev, bool receives,
                                  bool sends) {
  auto* const context = static_cast<rte_security_ctx*>(rte_eth_dev_get_sec_ctx(ethdev));
  if (context == nullptr || (!receives && !sends)) return nullptr;
  const rte_security_capability* have = rte_security_capabilities_get(context);
  bool some = false;
  for (; have != nullptr && have->action != RTE_SECURITY_ACTION_TYPE_NONE; ++have)
    some =
        some || (receives && fits(*have, Direction::inbound)) || (sends && fits(*have, Direction::outbound));
  if (!some) return nullptr;
  const unsigned size = kSessionHead + rte_security_session_get_size(context);
  rte_mempool* const pool =
      rte_mempool_create(fmt::format("sessions-{}", ethdev).c_str(), kMostSessions, size, 0, 0, nullptr,
                         nullptr, nullptr, nullptr, SOCKET_ID_ANY, 0);
  if (pool == nullptr) {
    log_line("port {}: no memory for the card's sessions: {}", name, rte_strerror(rte_errno));
    return nullptr;
  }
  return std::unique_ptr<Card>(new Card(std::move(name), port, ethdev, context, pool, receives, sends));
}

Card::Card(std::string name, std::uint8_t port, std::uint16_t ethdev, rte_security_ctx* context,
           rte_mempool* pool, bool receives, bool sends)
    : name_(std::move(name)),
      port_(port),
      ethdev_(ethdev),
      context_(context),
      pool_(pool),
      receives_(receives),
      sends_(sends) {}

Card::~Card() { rte_mempool_free(pool_); }

bool Card::can(const CardSa& sa) const noexcept {
  const bool out = sa.direction == Direction::outbound;
  if (!(out ? sends_ : receives_)) return false;
  if (out && sa.suite->iv_length != sizeof(std::uint64_t)) return false;
  return find(context_, sa) != nullptr;
}

std::shared_ptr<HeldByCard> Card::hold(const CardSa& sa) {
  Transforms transforms(*sa.suite, sa.keys->view(), sa.direction, 0);
  rte_security_session_conf conf = configuration_of(sa, transforms);
  auto held = std::make_shared<HeldByCard>();
  held->context = context_;
  held->port = port_;
  held->keys = sa.keys;
  const rte_security_capability* const have = find(context_, sa);
  held->needs_metadata = have != nullptr && (have->ol_flags & RTE_SECURITY_TX_OLOAD_NEED_MDATA) != 0;
  held->session = rte_security_session_create(context_, &conf, pool_);
  if (held->session == nullptr) {
    say("the card takes no further session; software does the SA");
    return nullptr;
  }
  if (sa.direction == Direction::inbound && !lead_to(*held, sa)) {
    forget(*held);
    return nullptr;
  }
  said_.clear();
  return held;
}

// RFC 4301 section 4.1: an SA is found by its SPI and the destination; the card may have no more than that.
// Some drivers take only the session, others want to be told the queue, too.
bool Card::lead_to(HeldByCard& held, const CardSa& sa) {
  rte_flow_attr attributes{};
  attributes.ingress = 1;
  rte_flow_item_ipv4 to4{}, mask4{};
  rte_flow_item_ipv6 to6{}, mask6{};
  to4.hdr.dst_addr = address4(sa.local);
  mask4.hdr.dst_addr = ~rte_be32_t{0};
  std::memcpy(to6.hdr.dst_addr, sa.local.bytes.data(), 16);
  std::memset(mask6.hdr.dst_addr, 0xff, 16);
  rte_flow_item_udp port{}, port_mask{};
  port.hdr.dst_port = __builtin_bswap16(sa.local_port);
  port_mask.hdr.dst_port = 0xffff;
  rte_flow_item_esp esp{}, esp_mask{};
  esp.hdr.spi = __builtin_bswap32(sa.spi);
  esp_mask.hdr.spi = ~rte_be32_t{0};
  std::array<rte_flow_item, 5> pattern{};
  std::size_t items = 0;
  const auto add = [&](rte_flow_item_type type, const void* spec, const void* mask) {
    pattern[items++] = {.type = type, .spec = spec, .last = nullptr, .mask = mask};
  };
  add(RTE_FLOW_ITEM_TYPE_ETH, nullptr, nullptr);
  if (sa.local.is_v4())
    add(RTE_FLOW_ITEM_TYPE_IPV4, &to4, &mask4);
  else
    add(RTE_FLOW_ITEM_TYPE_IPV6, &to6, &mask6);
  if (sa.udp) add(RTE_FLOW_ITEM_TYPE_UDP, &port, &port_mask);
  add(RTE_FLOW_ITEM_TYPE_ESP, &esp, &esp_mask);
  const rte_flow_action_queue queue{.index = sa.queue.value_or(0)};
  const std::array<rte_flow_action, 3> with_queue{{{RTE_FLOW_ACTION_TYPE_SECURITY, held.session},
                                                   {RTE_FLOW_ACTION_TYPE_QUEUE, &queue},
                                                   {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
  const std::array<rte_flow_action, 2> alone{
      {{RTE_FLOW_ACTION_TYPE_SECURITY, held.session}, {RTE_FLOW_ACTION_TYPE_END, nullptr}}};
  rte_flow_error error{};
  const bool named =
      sa.queue && rte_flow_validate(ethdev_, &attributes, pattern.data(), with_queue.data(), &error) == 0;
  held.rule =
      rte_flow_create(ethdev_, &attributes, pattern.data(), named ? with_queue.data() : alone.data(), &error);
  if (held.rule == nullptr)
    say(fmt::format("the card takes no flow rule for an SA: {}; software does it", words_of(error)));
  return held.rule != nullptr;
}

// The session goes even if the rule stays: with some drivers (ixgbe) it is the session that holds the place
// in the table, and the rule no more than a name.
void Card::forget(HeldByCard& held) {
  rte_flow_error error{};
  if (held.rule != nullptr && rte_flow_destroy(ethdev_, held.rule, &error) != 0)
    say(fmt::format("the card kept an SA's flow rule: {}", words_of(error)));
  held.rule = nullptr;
  if (rte_security_session_destroy(context_, held.session) != 0)
    say("the card kept a session, or had lost it");
}

// Not twice in a row: what was refused is tried again for as long as the SA lives.
void Card::say(const std::string& words) {
  if (said_ != words) log_line("port {}: {}", name_, words);
  said_ = words;
}

std::string Card::describe() const {
  std::string words;
  for (const Direction direction : {Direction::outbound, Direction::inbound}) {
    std::string suites;
    for (const crypto::SuiteRow& row : crypto::kSuites) {
      channel::InstallSa install{};
      install.suite = static_cast<std::uint16_t>(row.suite);
      if (!can(describe_for_card(install, direction))) continue;
      suites += suites.empty() ? "" : ", ";
      suites += row.name;
    }
    if (suites.empty()) suites = "nothing";
    words += direction == Direction::outbound ? "out " + suites : "; in " + suites;
  }
  return words;
}

}  // namespace espgate::dataplane
