#include "scripted_peer.hpp"

#include <stdexcept>

namespace espgate::test {

ScriptedPeer::ScriptedPeer(World& world) : world_(world), config_(east_tunnel()), nonce_i_(32, 7) {
  world.fate = [this](const Datagram& d) {
    if (d.from.address == address("192.0.2.2")) answers_.push_back(d.bytes);
    return std::vector<milliseconds>{};
  };
}

void ScriptedPeer::give(const ByteVector& bytes) {
  world_.west.daemon->received({address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, bytes, world_.now);
}

void ScriptedPeer::init() {
  const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
  const ike::SaPayload offer = ike::offer_ike(config_.ike_proposals, {});
  ike::Header head;
  head.spi_initiator = spi_i_;
  head.exchange = ike::Exchange::ike_sa_init;
  head.from_initiator = true;
  const auto value = dh->public_value();
  sent_init_ = ike::encode_plain(
      head, {offer, ike::KePayload{31, {value.begin(), value.end()}}, ike::NoncePayload{nonce_i_}});
  give(sent_init_);
  const auto answer = std::get<ike::Header>(ike::parse_header(answers_.back()));
  const auto payloads = std::get<Payloads>(ike::parse_plain(answer, answers_.back()));
  spi_r_ = answer.spi_responder;
  nonce_r_ = ike::find<ike::NoncePayload>(payloads)->data;
  algorithms_ = ike::accept_ike(*ike::find<ike::SaPayload>(payloads), offer)->algorithms;
  const auto secret = dh->shared_secret(ike::find<ike::KePayload>(payloads)->data);
  keys_ = ike::derive_ike_keys(algorithms_, secret->view(), {nonce_i_, nonce_r_}, {spi_i_, spi_r_});
  const auto make = [this](const crypto::SecretBytes& e, const crypto::SecretBytes& a) {
    return crypto::IkeCipher::make(algorithms_.cipher, algorithms_.key_bits, algorithms_.integrity, e.view(),
                                   a.view());
  };
  out_ = make(keys_.sk_ei, keys_.sk_ai);
  in_ = make(keys_.sk_er, keys_.sk_ar);
}

Payloads ScriptedPeer::auth_payloads() {
  const ike::IdPayload id{true, 2, config_.local_id.data};
  const auto auth = ike::psk_auth(
      algorithms_.prf, config_.psk.view(),
      ike::signed_octets(algorithms_.prf, sent_init_, nonce_r_, keys_.sk_pi.view(), ike::encode_body(id)));
  ike::TrafficSelector any;
  any.first = address("0.0.0.0");
  any.last = address("255.255.255.255");
  return {id, ike::AuthPayload{2, {auth.view().begin(), auth.view().end()}},
          ike::offer_esp(config_.esp_proposals, 0xaaaa, false), ike::TsPayload{true, {any}},
          ike::TsPayload{false, {any}}};
}

void ScriptedPeer::auth() {
  const auto answer = ask(ike::Exchange::ike_auth, auth_payloads());
  if (!answer || ike::find<ike::AuthPayload>(*answer) == nullptr)
    throw std::runtime_error("IKE_AUTH was refused");
}

std::optional<Payloads> ScriptedPeer::ask(ike::Exchange exchange, const Payloads& payloads) {
  ike::Header head;
  head.spi_initiator = spi_i_;
  head.spi_responder = spi_r_;
  head.exchange = exchange;
  head.from_initiator = true;
  head.message_id = id_;
  answers_.clear();
  for (const ByteVector& datagram : ike::seal_message(head, payloads, *out_, 0)) give(datagram);
  for (const ByteVector& datagram : answers_) {
    const auto parsed = ike::parse_header(datagram);
    const auto* answer = std::get_if<ike::Header>(&parsed);
    if (answer == nullptr || !answer->response || answer->message_id != id_) continue;
    ike::Opened opened = ike::open_message(*answer, datagram, *in_);
    if (!opened.authentic) continue;
    ++id_;
    return std::get<Payloads>(std::move(opened.payloads));
  }
  return std::nullopt;
}

}  // namespace espgate::test
