#include "scripted_peer.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace espgate::test {
namespace {

ike::KePayload key_exchange(const crypto::DhKey& dh) {
  const auto value = dh.public_value();
  return {31, {value.begin(), value.end()}};
}

}  // namespace

ScriptedPeer::ScriptedPeer(World& world) : world_(world), config_(east_tunnel()), nonce_(32, 7) {
  world.fate = [this](const Datagram& d) {
    if (d.from.address == address("192.0.2.2")) heard_.push_back(d.bytes);
    return std::vector<milliseconds>{};
  };
}

void ScriptedPeer::give(const ByteVector& bytes) {
  world_.west.daemon->received({address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, bytes, world_.now);
}

ike::Header ScriptedPeer::header(ike::Exchange exchange, std::uint32_t id) const {
  ike::Header head;
  head.spi_initiator = spi_i_;
  head.spi_responder = spi_r_;
  head.exchange = exchange;
  head.from_initiator = initiator_;
  head.message_id = id;
  return head;
}

void ScriptedPeer::init() {
  const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
  const ike::SaPayload offer = ike::offer_ike(config_.ike_proposals, {});
  ike::Header head = header(ike::Exchange::ike_sa_init, id_++);
  head.spi_responder = 0;
  sent_init_ = ike::encode_plain(head, {offer, key_exchange(*dh), ike::NoncePayload{nonce_}});
  give(sent_init_);
  const auto answer = std::get<ike::Header>(ike::parse_header(heard_.back()));
  const auto payloads = std::get<Payloads>(ike::parse_plain(answer, heard_.back()));
  spi_r_ = answer.spi_responder;
  algorithms_ = ike::accept_ike(*ike::find<ike::SaPayload>(payloads), offer)->algorithms;
  agree(payloads, *dh);
}

void ScriptedPeer::answer_init() {
  const auto request = std::get<ike::Header>(ike::parse_header(heard_.back()));
  const auto payloads = std::get<Payloads>(ike::parse_plain(request, heard_.back()));
  initiator_ = false;
  spi_i_ = request.spi_initiator;
  const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
  const auto choice = ike::choose_ike(*ike::find<ike::SaPayload>(payloads), config_.ike_proposals, {});
  algorithms_ = choice->algorithms;
  agree(payloads, *dh);
  ike::Header head = header(ike::Exchange::ike_sa_init, 0);
  head.response = true;
  sent_init_ = ike::encode_plain(head, {choice->answer, key_exchange(*dh), ike::NoncePayload{nonce_}});
  give(sent_init_);
}

void ScriptedPeer::agree(const Payloads& theirs, const crypto::DhKey& dh) {
  its_nonce_ = ike::find<ike::NoncePayload>(theirs)->data;
  const auto secret = dh.shared_secret(ike::find<ike::KePayload>(theirs)->data);
  const ike::NoncePair nonces =
      initiator_ ? ike::NoncePair{nonce_, its_nonce_} : ike::NoncePair{its_nonce_, nonce_};
  keys_ = ike::derive_ike_keys(algorithms_, secret->view(), nonces, {spi_i_, spi_r_});
  const auto make = [this](const crypto::SecretBytes& e, const crypto::SecretBytes& a) {
    return crypto::IkeCipher::make(algorithms_.cipher, algorithms_.key_bits, algorithms_.integrity, e.view(),
                                   a.view());
  };
  out_ = make(keys_.sk_ei, keys_.sk_ai);
  in_ = make(keys_.sk_er, keys_.sk_ar);
  if (!initiator_) std::swap(in_, out_);
}

Payloads ScriptedPeer::auth_payloads() {
  const ike::IdPayload id{initiator_, 2, config_.local_id.data};
  const auto& key = initiator_ ? keys_.sk_pi : keys_.sk_pr;
  const auto auth = ike::psk_auth(
      algorithms_.prf, config_.psk.view(),
      ike::signed_octets(algorithms_.prf, sent_init_, its_nonce_, key.view(), ike::encode_body(id)));
  ike::TrafficSelector any;
  any.first = address("0.0.0.0");
  any.last = address("255.255.255.255");
  ike::SaPayload sa = ike::offer_esp(config_.esp_proposals, 0xaaaa, false);
  if (!initiator_) sa = ike::choose_esp(sa, config_.esp_proposals, 0xaaaa, false)->answer;
  return {id, ike::AuthPayload{2, {auth.view().begin(), auth.view().end()}}, std::move(sa),
          ike::TsPayload{true, {any}}, ike::TsPayload{false, {any}}};
}

void ScriptedPeer::auth() {
  const auto answer = ask(ike::Exchange::ike_auth, auth_payloads());
  if (!answer || ike::find<ike::AuthPayload>(*answer) == nullptr)
    throw std::runtime_error("IKE_AUTH was refused");
}

void ScriptedPeer::answer(const Payloads& payloads) {
  const auto is_protected = [](const ByteVector& datagram) {
    return datagram.at(18) != static_cast<std::uint8_t>(ike::Exchange::ike_sa_init);
  };
  const auto last = std::find_if(heard_.rbegin(), heard_.rend(), is_protected);
  const auto request = std::get<ike::Header>(ike::parse_header(*last));
  ike::Header head = header(request.exchange, request.message_id);
  head.response = true;
  for (const ByteVector& datagram : ike::seal_message(head, payloads, *out_, 0)) give(datagram);
}

std::optional<Payloads> ScriptedPeer::ask(ike::Exchange exchange, const Payloads& payloads) {
  heard_.clear();
  for (const ByteVector& datagram : ike::seal_message(header(exchange, id_), payloads, *out_, 0))
    give(datagram);
  for (const ByteVector& datagram : heard_) {
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
