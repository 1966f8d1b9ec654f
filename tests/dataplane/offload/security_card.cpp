#include "tests/dataplane/offload/security_card.hpp"

#include <dlfcn.h>
#include <rte_cryptodev.h>
#include <rte_errno.h>
#include <rte_mbuf_dyn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace espgate::test {

namespace {

std::map<std::uint16_t, SecurityCard*> the_cards;

// Where the session's number travels with a packet; 0: no metadata.
int metadata_offset() {
  static const int offset = [] {
    const rte_mbuf_dynfield field{"espgate_test_card", sizeof(std::uint32_t), alignof(std::uint32_t), 0};
    return rte_mbuf_dynfield_register(&field);
  }();
  return offset;
}
std::uint32_t& metadata_of(rte_mbuf& mbuf) {
  return *RTE_MBUF_DYNFIELD(&mbuf, metadata_offset(), std::uint32_t*);
}

Octets bytes_of(const rte_mbuf& mbuf) {
  const auto* const data = rte_pktmbuf_mtod(&mbuf, const std::uint8_t*);
  return {data, data + mbuf.data_len};
}

// Where ESP begins in a frame of IPv4; 0: it is none.
std::size_t esp_in(const Octets& frame) {
  if (frame.size() < 42 || get16(frame, 12) != 0x0800 || (get16(frame, 20) & 0x3fff) != 0) return 0;
  const std::size_t payload = 14 + (frame[14] & 15U) * 4;
  if (frame[23] == 50) return payload;
  if (frame[23] == 17 && get16(frame, payload + 2) == 4500) return payload + 8;
  return 0;
}

Octets ip_of(const Octets& frame) { return slice(frame, 14, get16(frame, 16)); }

const crypto::SuiteRow* suite_of(const rte_crypto_sym_xform& xform, bool egress) {
  const auto find = [](crypto::CipherMode mode, unsigned key, unsigned icv, crypto::Integrity integrity) {
    const auto row =
        std::find_if(crypto::kSuites.begin(), crypto::kSuites.end(), [&](const crypto::SuiteRow& r) {
          return r.mode == mode && r.key_length == key && r.icv_length == icv && r.integrity == integrity;
        });
    return row == crypto::kSuites.end() ? nullptr : &*row;
  };
  if (xform.type == RTE_CRYPTO_SYM_XFORM_AEAD) {
    if (xform.next != nullptr || (xform.aead.op == RTE_CRYPTO_AEAD_OP_ENCRYPT) != egress ||
        xform.aead.aad_length != 8)
      return nullptr;
    const auto mode = xform.aead.algo == RTE_CRYPTO_AEAD_AES_GCM ? crypto::CipherMode::gcm
                                                                 : crypto::CipherMode::chacha20_poly1305;
    return find(mode, xform.aead.key.length, xform.aead.digest_length, crypto::Integrity::none);
  }
  if (xform.type == RTE_CRYPTO_SYM_XFORM_AUTH && xform.auth.algo == RTE_CRYPTO_AUTH_AES_GMAC)
    return find(crypto::CipherMode::gmac, xform.auth.key.length, xform.auth.digest_length,
                crypto::Integrity::none);
  // Integrity first on the way in, and no CBC on the way out.
  if (egress || xform.type != RTE_CRYPTO_SYM_XFORM_AUTH || xform.next == nullptr ||
      xform.next->type != RTE_CRYPTO_SYM_XFORM_CIPHER || xform.next->cipher.algo != RTE_CRYPTO_CIPHER_AES_CBC)
    return nullptr;
  return find(crypto::CipherMode::cbc, xform.next->cipher.key.length, xform.auth.digest_length,
              crypto::Integrity::hmac_sha256_128);
}

// Some drivers (ixgbe) read an AEAD's salt from behind its key.
Octets keys_of(const rte_crypto_sym_xform& xform, const crypto::SuiteRow& row) {
  if (xform.type == RTE_CRYPTO_SYM_XFORM_AEAD)
    return {xform.aead.key.data, xform.aead.key.data + row.key_length + row.salt_length};
  const Octets of_auth(xform.auth.key.data, xform.auth.key.data + xform.auth.key.length);
  if (xform.auth.algo == RTE_CRYPTO_AUTH_AES_GMAC)
    return {xform.auth.key.data, xform.auth.key.data + row.key_length + row.salt_length};
  return Octets(xform.next->cipher.key.data, xform.next->cipher.key.data + row.key_length) + of_auth;
}

rte_cryptodev_capabilities aead(rte_crypto_aead_algorithm algorithm, rte_crypto_param_range key,
                                rte_crypto_param_range digest) {
  rte_cryptodev_capabilities row{};
  row.op = RTE_CRYPTO_OP_TYPE_SYMMETRIC;
  row.sym.xform_type = RTE_CRYPTO_SYM_XFORM_AEAD;
  row.sym.aead.algo = algorithm;
  row.sym.aead.key_size = key;
  row.sym.aead.digest_size = digest;
  return row;
}
rte_cryptodev_capabilities auth(rte_crypto_auth_algorithm algorithm, rte_crypto_param_range key,
                                std::uint16_t digest) {
  rte_cryptodev_capabilities row{};
  row.op = RTE_CRYPTO_OP_TYPE_SYMMETRIC;
  row.sym.xform_type = RTE_CRYPTO_SYM_XFORM_AUTH;
  row.sym.auth.algo = algorithm;
  row.sym.auth.key_size = key;
  row.sym.auth.digest_size = {digest, digest, 0};
  return row;
}
rte_cryptodev_capabilities cipher(rte_crypto_cipher_algorithm algorithm, rte_crypto_param_range key) {
  rte_cryptodev_capabilities row{};
  row.op = RTE_CRYPTO_OP_TYPE_SYMMETRIC;
  row.sym.xform_type = RTE_CRYPTO_SYM_XFORM_CIPHER;
  row.sym.cipher.algo = algorithm;
  row.sym.cipher.key_size = key;
  return row;
}

// AES-GCM with 128 and 256 bits and the long ICV, GMAC, ChaCha20; AES-CBC with HMAC-SHA2-256, too.
const std::array<rte_cryptodev_capabilities, 6> kCrypto{
    aead(RTE_CRYPTO_AEAD_AES_GCM, {16, 32, 16}, {16, 16, 0}),
    aead(RTE_CRYPTO_AEAD_CHACHA20_POLY1305, {32, 32, 0}, {16, 16, 0}),
    auth(RTE_CRYPTO_AUTH_AES_GMAC, {16, 32, 8}, 16),
    auth(RTE_CRYPTO_AUTH_SHA256_HMAC, {32, 32, 0}, 16),
    cipher(RTE_CRYPTO_CIPHER_AES_CBC, {16, 32, 8}),
    rte_cryptodev_capabilities{}};

SecurityCard& card_of(void* device) { return *static_cast<SecurityCard*>(device); }

const rte_security_ops kOps = [] {
  rte_security_ops ops{};
  ops.session_create = [](void* device, rte_security_session_conf* conf, rte_security_session* session) {
    return card_of(device).create_session(*conf, *session);
  };
  ops.session_get_size = [](void*) { return static_cast<unsigned>(sizeof(std::uint32_t)); };
  ops.session_destroy = [](void* device, rte_security_session* session) {
    return card_of(device).destroy_session(*session);
  };
  ops.set_pkt_metadata = [](void* device, rte_security_session* session, rte_mbuf* mbuf, void* parameters) {
    if (parameters != nullptr) card_of(device).faults.emplace_back("metadata with parameters");
    return card_of(device).set_metadata(*session, *mbuf);
  };
  ops.capabilities_get = [](void* device) { return card_of(device).capabilities(); };
  return ops;
}();

}  // namespace

SecurityCard::SecurityCard(std::uint16_t port, bool in_queues) : port_(port) {
  context_.device = this;
  context_.ops = &kOps;
  the_cards[port] = this;
  if (!in_queues) return;
  tx_ = rte_eth_add_tx_callback(
      port, 0,
      [](std::uint16_t, std::uint16_t, rte_mbuf** packets, std::uint16_t count, void* card) {
        for (std::uint16_t i = 0; i < count; ++i) card_of(card).send(*packets[i]);
        return count;
      },
      this);
  rx_ = rte_eth_add_rx_callback(
      port, 0,
      [](std::uint16_t, std::uint16_t, rte_mbuf** packets, std::uint16_t count, std::uint16_t, void* card) {
        for (std::uint16_t i = 0; i < count; ++i) card_of(card).receive(*packets[i]);
        return count;
      },
      this);
  if (tx_ == nullptr || rx_ == nullptr) throw std::runtime_error("no callbacks");
}

SecurityCard::~SecurityCard() {
  if (tx_ != nullptr) rte_eth_remove_tx_callback(port_, 0, tx_);
  if (rx_ != nullptr) rte_eth_remove_rx_callback(port_, 0, rx_);
  the_cards.erase(port_);
}

const rte_security_capability* SecurityCard::capabilities() {
  static std::array<rte_security_capability, 3> rows;
  rows = {};
  for (std::size_t i = 0; i < 2; ++i) {
    rows[i].action = RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO;
    rows[i].protocol = RTE_SECURITY_PROTOCOL_IPSEC;
    rows[i].ipsec.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP;
    rows[i].ipsec.mode = RTE_SECURITY_IPSEC_SA_MODE_TUNNEL;
    rows[i].ipsec.options.udp_encap = udp ? 1 : 0;
    rows[i].crypto_capabilities = kCrypto.data();
  }
  rows[0].ipsec.direction = RTE_SECURITY_IPSEC_SA_DIR_EGRESS;
  rows[0].ol_flags = needs_metadata ? RTE_SECURITY_TX_OLOAD_NEED_MDATA : 0;
  rows[1].ipsec.direction = RTE_SECURITY_IPSEC_SA_DIR_INGRESS;
  rows[2].action = RTE_SECURITY_ACTION_TYPE_NONE;
  return rows.data();
}

int SecurityCard::create_session(const rte_security_session_conf& conf, rte_security_session& session) {
  const bool egress = conf.ipsec.direction == RTE_SECURITY_IPSEC_SA_DIR_EGRESS;
  if (conf.action_type != RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO ||
      conf.protocol != RTE_SECURITY_PROTOCOL_IPSEC || conf.ipsec.proto != RTE_SECURITY_IPSEC_SA_PROTO_ESP ||
      conf.ipsec.mode != RTE_SECURITY_IPSEC_SA_MODE_TUNNEL ||
      conf.ipsec.tunnel.type != RTE_SECURITY_IPSEC_TUNNEL_IPV4 || conf.ipsec.spi < 256)
    fault("a session that is not ESP in tunnel mode by inline cryptography");
  rte_security_ipsec_sa_options options = conf.ipsec.options;
  const bool in_udp = options.udp_encap != 0;
  options.udp_encap = 0;
  const rte_security_ipsec_sa_options none{};
  if (std::memcmp(&options, &none, sizeof none) != 0) fault("an option that was not in the capabilities");
  if (in_udp && (!udp || conf.ipsec.udp.dport != 4500)) fault("in UDP, and not to port 4500");
  const crypto::SuiteRow* const row = suite_of(*conf.crypto_xform, egress);
  if (row == nullptr) {
    fault("a transform that is not in the capabilities");
    return -ENOTSUP;
  }
  const Octets keys = keys_of(*conf.crypto_xform, *row);
  if (row->salt_length != 0 && std::memcmp(&conf.ipsec.salt, keys.data() + row->key_length, 4) != 0)
    fault("the salt is not the one behind the key");
  if (sessions_.size() >= capacity) {
    ++refused;
    return -ENOMEM;
  }
  std::memcpy(SECURITY_GET_SESS_PRIV(&session), &next_, sizeof next_);
  sessions_[next_++] = {egress, conf.ipsec.spi, in_udp, {row, keys}};
  return 0;
}

std::uint32_t SecurityCard::number_of(const rte_security_session& session) const {
  std::uint32_t number = 0;
  std::memcpy(&number, SECURITY_GET_SESS_PRIV(&session), sizeof number);
  return number;
}

int SecurityCard::destroy_session(const rte_security_session& session) {
  const std::uint32_t number = number_of(session);
  const bool led_to =
      std::any_of(rules_.begin(), rules_.end(), [&](const auto& rule) { return rule->session == number; });
  if (led_to) fault("a session goes before its rule");
  return sessions_.erase(number) != 0 ? 0 : -ENOENT;  // it may have been reset
}

void SecurityCard::reset() {
  sessions_.clear();
  for (auto& rule : rules_) kept_rules_.push_back(std::move(rule));
  rules_.clear();
}

// What a driver reads from the packet: its lengths are final, and the trailer is in place.
void SecurityCard::check_frame(const rte_mbuf& mbuf, const Octets& frame) {
  if (mbuf.l2_len != 14 || mbuf.l3_len != 20) fault("l2_len or l3_len");
  if ((mbuf.ol_flags & RTE_MBUF_F_TX_IPV4) == 0) fault("not said to be IPv4");
  if (mbuf.nb_segs != 1 || mbuf.pkt_len != mbuf.data_len) fault("segments");
  if (frame.size() != 14U + get16(frame, 16)) fault("lengths of frame and IP packet differ");
}

int SecurityCard::set_metadata(const rte_security_session& session, rte_mbuf& mbuf) {
  if (fail_metadata != 0) {
    --fail_metadata;
    ++refused;
    return -EIO;
  }
  const auto found = sessions_.find(number_of(session));
  if (found == sessions_.end()) {
    ++refused;
    return -ENOENT;
  }
  if (!needs_metadata) fault("metadata that nobody asked for");
  if (!found->second.egress) fault("metadata of a session for the other direction");
  if ((mbuf.ol_flags & RTE_MBUF_F_TX_SEC_OFFLOAD) == 0)
    fault("metadata for a packet that is not to be sealed");
  Octets frame = bytes_of(mbuf);
  check_frame(mbuf, frame);
  put16(frame, 12, 0x0800);  // the Ethernet header comes later
  const std::size_t esp = esp_in(frame);
  if (esp == 0 || get32(frame, esp) != found->second.spi) fault("metadata of another SA");
  metadata_of(mbuf) = found->first;
  return 0;
}

const SecurityCard::Session* SecurityCard::session_to_seal(rte_mbuf& mbuf, const Octets& frame) {
  if (needs_metadata) {
    const std::uint32_t number = std::exchange(metadata_of(mbuf), 0U);
    const auto found = sessions_.find(number);
    return found == sessions_.end() ? nullptr : &found->second;
  }
  for (const auto& [number, session] : sessions_)
    if (session.egress && get32(frame, esp_in(frame)) == session.spi) return &session;
  return nullptr;
}

void SecurityCard::send(rte_mbuf& mbuf) {
  if ((mbuf.ol_flags & RTE_MBUF_F_TX_SEC_OFFLOAD) == 0) return;
  const Octets frame = bytes_of(mbuf);
  check_frame(mbuf, frame);
  const Session* const session = session_to_seal(mbuf, frame);
  const std::size_t at = esp_in(frame);
  if (session == nullptr || at == 0) return fault("a packet leaves unsealed");
  if ((frame[23] == 17) != session->udp) fault("encapsulation");
  const Octets esp =
      oracle_seal(session->sa, slice(frame, at, frame.size() - at - session->sa.suite->icv_length));
  std::copy(esp.begin(), esp.end(), rte_pktmbuf_mtod(&mbuf, std::uint8_t*) + at);
  ++sealed;
}

// The packet is marked, and otherwise stays as it came, with its payload in clear.
void SecurityCard::receive(rte_mbuf& mbuf) {
  const Octets frame = bytes_of(mbuf);
  const std::size_t at = esp_in(frame);
  if (at == 0) return;
  const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const auto& own) {
    return own->spi == get32(frame, at) && own->destination == slice(frame, 30, 4) &&
           own->udp == (frame[23] == 17);
  });
  if (rule == rules_.end() || !sessions_.contains((*rule)->session)) return;
  const OracleSa& sa = sessions_.at((*rule)->session).sa;
  const Octets esp = slice(frame, at, ip_of(frame).size() + 14 - at);
  mbuf.ol_flags |= RTE_MBUF_F_RX_SEC_OFFLOAD;
  const bool short_one = esp.size() < 8U + sa.suite->iv_length + sa.suite->icv_length;
  const std::optional<Octets> text = short_one ? std::nullopt : oracle_open(sa, esp);
  if (!text) {
    mbuf.ol_flags |= RTE_MBUF_F_RX_SEC_OFFLOAD_FAILED;
    ++forged;
    return;
  }
  std::copy(text->begin(), text->end(), rte_pktmbuf_mtod(&mbuf, std::uint8_t*) + at);
  ++opened;
}

int SecurityCard::validate(const rte_flow_action* actions, rte_flow_error* error) {
  if (actions[0].type != RTE_FLOW_ACTION_TYPE_SECURITY || actions[0].conf == nullptr)
    fault("a rule of another kind");
  const bool alone = actions[1].type == RTE_FLOW_ACTION_TYPE_END;
  const bool named =
      actions[1].type == RTE_FLOW_ACTION_TYPE_QUEUE && actions[2].type == RTE_FLOW_ACTION_TYPE_END;
  if (takes_rules && (alone || (named && names_queue))) return 0;
  *error = {RTE_FLOW_ERROR_TYPE_ACTION, nullptr, "no such rule here"};
  rte_errno = ENOTSUP;
  return -ENOTSUP;
}

rte_flow* SecurityCard::create_rule(const rte_flow_item* pattern, const rte_flow_action* actions,
                                    rte_flow_error* error) {
  if (validate(actions, error) != 0) {
    ++refused;
    return nullptr;
  }
  auto rule = std::make_unique<rte_flow>();
  rule->session = number_of(*static_cast<const rte_security_session*>(actions[0].conf));
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
    if (pattern->type == RTE_FLOW_ITEM_TYPE_IPV4) {
      const auto& spec = *static_cast<const rte_flow_item_ipv4*>(pattern->spec);
      rule->destination.resize(4);
      std::memcpy(rule->destination.data(), &spec.hdr.dst_addr, 4);
    }
    if (pattern->type == RTE_FLOW_ITEM_TYPE_UDP) rule->udp = true;
    if (pattern->type == RTE_FLOW_ITEM_TYPE_ESP) {
      const auto& mask = *static_cast<const rte_flow_item_esp*>(pattern->mask);
      if (mask.hdr.spi != ~rte_be32_t{0}) fault("a rule for a part of an SPI");
      rule->spi = __builtin_bswap32(static_cast<const rte_flow_item_esp*>(pattern->spec)->hdr.spi);
    }
  }
  const auto session = sessions_.find(rule->session);
  if (session == sessions_.end() || session->second.egress || session->second.spi != rule->spi ||
      session->second.udp != rule->udp)
    fault("a rule that does not fit its session");
  rules_.push_back(std::move(rule));
  return rules_.back().get();
}

int SecurityCard::destroy_rule(rte_flow* rule, rte_flow_error* error) {
  const auto is_it = [rule](const auto& own) { return own.get() == rule; };
  const auto found = std::find_if(rules_.begin(), rules_.end(), is_it);
  if (found == rules_.end()) {
    if (std::none_of(kept_rules_.begin(), kept_rules_.end(), is_it)) fault("a rule that never was");
    return -ENOENT;
  }
  if (!destroys_rules) kept_rules_.push_back(std::move(*found));
  rules_.erase(found);
  if (destroys_rules) return 0;
  *error = {RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, "will not go"};
  return -EBUSY;
}

}  // namespace espgate::test

using espgate::test::the_cards;

void* rte_eth_dev_get_sec_ctx(std::uint16_t port) {
  const auto card = the_cards.find(port);
  return card == the_cards.end() ? nullptr : card->second->context();
}

int rte_eth_dev_info_get(std::uint16_t port, rte_eth_dev_info* info) {
  using Function = int (*)(std::uint16_t, rte_eth_dev_info*);
  static const auto real = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "rte_eth_dev_info_get"));
  const int result = real(port, info);
  if (result == 0 && the_cards.contains(port)) {
    info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_SECURITY;
    info->tx_offload_capa |= RTE_ETH_TX_OFFLOAD_SECURITY;
  }
  return result;
}

int rte_flow_validate(std::uint16_t port, const rte_flow_attr*, const rte_flow_item[],
                      const rte_flow_action actions[], rte_flow_error* error) {
  return the_cards.at(port)->validate(actions, error);
}

rte_flow* rte_flow_create(std::uint16_t port, const rte_flow_attr*, const rte_flow_item pattern[],
                          const rte_flow_action actions[], rte_flow_error* error) {
  return the_cards.at(port)->create_rule(pattern, actions, error);
}

int rte_flow_destroy(std::uint16_t port, rte_flow* rule, rte_flow_error* error) {
  return the_cards.at(port)->destroy_rule(rule, error);
}
