// A peer with valid keys that keeps to no order: the input is a script of requests and answers, proper and
// improper, of deletes, rekeys, repetitions and pauses, and of what the operator asks for meanwhile. Whatever
// it was, the daemon does nothing that the dataplane could not do, and when the peer falls silent in the end,
// nothing is left.
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>

#include "control/ike/guards.hpp"
#include "control/ike/keys.hpp"
#include "control/ike/message.hpp"
#include "control/ike/proposal_choice.hpp"
#include "tests/control/daemon/world.hpp"

using namespace espgate;
using namespace espgate::ike;
using namespace espgate::test;

namespace {

using Payloads = std::vector<Payload>;

class Script {
 public:
  explicit Script(Bytes bytes) : bytes_(bytes) {}
  [[nodiscard]] bool over() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t out = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return out;
  }
  Bytes take(std::size_t size) {
    const Bytes out = bytes_.first(std::min(size, bytes_.size()));
    bytes_ = bytes_.subspan(out.size());
    return out;
  }

 private:
  Bytes bytes_;
};

// An IKE SA as the peer has it.
struct Side {
  SpiPair spis{};
  bool initiator{false};
  IkeAlgorithms algorithms;
  IkeKeys keys;
  std::unique_ptr<crypto::IkeCipher> in, out;
  std::uint32_t next_id{0};
  std::optional<std::pair<Header, Payloads>> asked;  // by the daemon, and not answered yet
};

struct IkeOffer {  // a rekey of ours that is under way
  SaPayload offer;
  std::uint64_t spi;
  ByteVector nonce;
  std::unique_ptr<crypto::DhKey> dh;
  std::size_t side;
};

constexpr std::size_t kMostSides = 6;

class Peer {
 public:
  explicit Peer(World& world) : world_(world), config_(east_tunnel()) {
    world.fate = [this](const Datagram& datagram) {
      if (datagram.from.address == address("192.0.2.2") && heard_.size() < 64)
        heard_.push_back(datagram.bytes);
      return std::vector<milliseconds>{};
    };
  }

  void act(Script& script) {
    const std::uint8_t what = script.byte();
    switch (what % 12) {
      case 0:
        if (!begin()) break;
        [[fallthrough]];
      case 1:
        request(Exchange::ike_auth, auth_payloads(true), script);
        break;
      case 2:
        request(Exchange::create_child_sa, child_payloads(script, false), script);
        break;
      case 3:
        request(Exchange::create_child_sa, child_payloads(script, true), script);
        break;
      case 4:
        rekey_ike(script);
        break;
      case 5:
        request(Exchange::informational, {DeletePayload{Protocol::esp, {a_spi(script)}}}, script);
        break;
      case 6:
        request(Exchange::informational, menu(script), script);
        break;
      case 7:
        request(static_cast<Exchange>(34 + script.byte() % 4), menu(script), script);
        break;
      case 8:
      case 9:
        answer(script);
        break;
      case 10:
        operate(script);
        break;
      case 11:
        world_.run(milliseconds(100) * script.byte());
        break;
    }
    listen();
  }

 private:
  // ---- what the daemon says

  void listen() {
    for (; !heard_.empty(); heard_.pop_front()) {
      const auto parsed = parse_header(heard_.front());
      if (const auto* header = std::get_if<Header>(&parsed)) hear(*header, heard_.front());
    }
  }

  void hear(const Header& header, const ByteVector& datagram) {
    if (header.exchange == Exchange::ike_sa_init) {
      if (!header.response) init_asked_ = std::pair(header, datagram);
      return;
    }
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      Side& side = sides_[i];
      if (header.spi_initiator != side.spis.initiator || header.spi_responder != side.spis.responder)
        continue;
      Opened opened = open_message(header, datagram, *side.in);
      if (!opened.authentic) continue;
      auto& payloads = std::get<Payloads>(opened.payloads);
      if (!header.response) {
        side.asked = std::pair(header, std::move(payloads));
      } else if (header.exchange == Exchange::create_child_sa) {
        rekey_answered(i, payloads);
      }
      return;
    }
  }

  // ---- what the peer says

  void give(Bytes bytes) {
    world_.west.daemon->received({address("192.0.2.2"), 500}, {address("192.0.2.1"), 500}, bytes, world_.now);
  }

  void say(Side& side, Exchange exchange, std::uint32_t id, bool response, const Payloads& payloads,
           std::uint8_t how) {
    Header head;
    head.spi_initiator = side.spis.initiator;
    head.spi_responder = side.spis.responder;
    head.exchange = exchange;
    head.from_initiator = side.initiator;
    head.response = response;
    head.message_id = id;
    const bool cut = how & 1;
    std::vector<ByteVector> datagrams = seal_message(head, payloads, *side.out, cut ? 160 : 0);
    if (how & 2) std::reverse(datagrams.begin(), datagrams.end());
    if (how & 4) datagrams.pop_back();
    for (unsigned times = how & 8 ? 2 : 1; times > 0; --times)
      for (const ByteVector& datagram : datagrams) give(datagram);
  }

  // How: one in two as it should be, else cut, turned round, in part, twice, or with a wrong number.
  void request(Exchange exchange, const Payloads& payloads, Script& script) {
    if (sides_.empty()) return;
    const std::uint8_t how = script.byte();
    Side& side = sides_[(how >> 6) % sides_.size()];
    const bool proper = (how & 16) == 0;
    const std::uint32_t skew = proper ? 0 : script.byte() % 8 - 3;
    say(side, exchange, side.next_id + skew, false, payloads, proper ? 0 : how);
    if (skew == 0) ++side.next_id;
  }

  // IKE_SA_INIT. False: the daemon refused it.
  bool begin() {
    if (sides_.size() >= kMostSides) return false;
    const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
    const SaPayload offer = offer_ike(config_.ike_proposals, {});
    Side side;
    side.initiator = true;
    side.spis.initiator = ++spi_;
    Header head;
    head.spi_initiator = side.spis.initiator;
    head.exchange = Exchange::ike_sa_init;
    head.from_initiator = true;
    ours_ = encode_plain(head, {offer, KePayload{31, copy_of(dh->public_value())}, NoncePayload{nonce_}});
    listen();
    give(ours_);
    if (heard_.empty()) return false;
    const ByteVector datagram = std::exchange(heard_, {}).back();
    const auto parsed = parse_header(datagram);
    const Header answer = std::get<Header>(parsed);
    if (!answer.response || answer.spi_initiator != side.spis.initiator) return false;
    auto plain = parse_plain(answer, datagram);
    const auto& payloads = std::get<Payloads>(plain);
    const auto* sa = find<SaPayload>(payloads);
    const auto* ke = find<KePayload>(payloads);
    if (sa == nullptr || ke == nullptr) return false;
    side.spis.responder = answer.spi_responder;
    its_nonce_ = find<NoncePayload>(payloads)->data;
    side.algorithms = accept_ike(*sa, offer)->algorithms;
    side.next_id = 1;
    add(std::move(side), dh->shared_secret(ke->data)->view(), {nonce_, its_nonce_}, std::nullopt);
    return true;
  }

  // The daemon begins: answers its IKE_SA_INIT.
  void answer_init() {
    const auto [asked, datagram] = *std::exchange(init_asked_, std::nullopt);
    if (sides_.size() >= kMostSides) return;
    const auto plain = parse_plain(asked, datagram);
    const auto& payloads = std::get<Payloads>(plain);
    Side side;
    side.spis = {asked.spi_initiator, ++spi_};
    const auto choice = choose_ike(*find<SaPayload>(payloads), config_.ike_proposals, {});
    const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
    side.algorithms = choice->algorithms;
    its_nonce_ = find<NoncePayload>(payloads)->data;
    Header head = asked;
    head.spi_responder = side.spis.responder;
    head.from_initiator = false;
    head.response = true;
    ours_ = encode_plain(head,
                         {choice->answer, KePayload{31, copy_of(dh->public_value())}, NoncePayload{nonce_}});
    add(std::move(side), dh->shared_secret(find<KePayload>(payloads)->data)->view(), {its_nonce_, nonce_},
        std::nullopt);
    give(ours_);
  }

  void add(Side side, Bytes secret, NoncePair nonces, std::optional<RekeyedFrom> from) {
    side.keys = derive_ike_keys(side.algorithms, secret, nonces, side.spis, from);
    const auto make = [&side](const crypto::SecretBytes& e, const crypto::SecretBytes& a) {
      return crypto::IkeCipher::make(side.algorithms.cipher, side.algorithms.key_bits,
                                     side.algorithms.integrity, e.view(), a.view());
    };
    side.out =
        side.initiator ? make(side.keys.sk_ei, side.keys.sk_ai) : make(side.keys.sk_er, side.keys.sk_ar);
    side.in =
        side.initiator ? make(side.keys.sk_er, side.keys.sk_ar) : make(side.keys.sk_ei, side.keys.sk_ai);
    sides_.push_back(std::move(side));
  }

  Payloads auth_payloads(bool initiator) {
    if (sides_.empty()) return {};
    const Side& side = sides_.back();
    const IdPayload id{initiator, 2, config_.local_id.data};
    const auto& key = side.initiator ? side.keys.sk_pi : side.keys.sk_pr;
    const auto auth =
        psk_auth(side.algorithms.prf, config_.psk.view(),
                 signed_octets(side.algorithms.prf, ours_, its_nonce_, key.view(), encode_body(id)));
    return {id, AuthPayload{2, copy_of(auth.view())}, offer_esp(config_.esp_proposals, ++child_spi_, false),
            TsPayload{true, {everything()}}, TsPayload{false, {everything()}}};
  }

  Payloads child_payloads(Script& script, bool rekey) {
    const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
    Payloads out{offer_esp(config_.esp_proposals, ++child_spi_, true), NoncePayload{fresh_nonce()},
                 KePayload{31, copy_of(dh->public_value())}, TsPayload{true, {everything()}},
                 TsPayload{false, {everything()}}};
    if (rekey)
      out.insert(out.begin(),
                 NotifyPayload{Protocol::esp, spi_bytes4(a_spi(script)), NotifyType::rekey_sa, {}});
    return out;
  }

  void rekey_ike(Script& script) {
    if (sides_.empty()) return;
    const std::uint8_t which = script.byte();
    IkeOffer offer{{},
                   ++spi_,
                   fresh_nonce(),
                   crypto::DhKey::generate(crypto::DhGroup::curve25519),
                   which % sides_.size()};
    offer.offer = offer_ike(config_.ike_proposals, spi_bytes(offer.spi));
    Side& side = sides_[offer.side];
    const Payloads payloads{offer.offer, NoncePayload{offer.nonce},
                            KePayload{31, copy_of(offer.dh->public_value())}};
    ike_offer_ = std::move(offer);
    say(side, Exchange::create_child_sa, side.next_id++, false, payloads, 0);
  }

  void rekey_answered(std::size_t at, const Payloads& payloads) {
    if (!ike_offer_ || ike_offer_->side != at || sides_.size() >= kMostSides) return;
    const auto* sa = find<SaPayload>(payloads);
    const auto* ke = find<KePayload>(payloads);
    const auto* nonce = find<NoncePayload>(payloads);
    const auto choice = sa != nullptr ? accept_ike(*sa, ike_offer_->offer) : std::nullopt;
    if (!choice || ke == nullptr || nonce == nullptr) return;
    const IkeOffer offer = *std::exchange(ike_offer_, std::nullopt);
    Side side;
    side.initiator = true;
    side.spis = {offer.spi, number_of(choice->peer_spi)};
    side.algorithms = choice->algorithms;
    add(std::move(side), offer.dh->shared_secret(ke->data)->view(), {offer.nonce, nonce->data},
        RekeyedFrom{sides_[at].keys.sk_d.view(), sides_[at].algorithms.prf});
  }

  void answer(Script& script) {
    if (init_asked_) return answer_init();
    const std::uint8_t how = script.byte();
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      const std::size_t place = (i + how) % sides_.size();
      if (!sides_[place].asked) continue;
      const auto [head, asked] = *sides_[place].asked;
      if ((how & 64) == 0) sides_[place].asked.reset();  // else it may be answered again
      const Payloads payloads = (how & 32) != 0 ? menu(script) : proper_answer(place, head, asked);
      const bool straight = (how & 16) == 0;
      return say(sides_[place], head.exchange, head.message_id, true, payloads, straight ? 0 : how);
    }
  }

  Payloads proper_answer(std::size_t at, const Header& head, const Payloads& asked) {
    if (head.exchange == Exchange::ike_auth) return auth_payloads_as_responder(asked);
    const auto* sa = find<SaPayload>(asked);
    if (head.exchange != Exchange::create_child_sa || sa == nullptr) return {};
    const bool ike = sa->proposals.front().protocol == Protocol::ike;
    return ike ? ike_answer(at, asked, *sa) : child_answer(asked, *sa);
  }

  Payloads auth_payloads_as_responder(const Payloads& asked) {
    Payloads out = auth_payloads(false);
    const auto* sa = find<SaPayload>(asked);
    const auto choice =
        sa != nullptr ? choose_esp(*sa, config_.esp_proposals, ++child_spi_, false) : std::nullopt;
    if (choice && out.size() > 2) out[2] = choice->answer;
    return out;
  }

  Payloads child_answer(const Payloads& asked, const SaPayload& sa) {
    const auto choice = choose_esp(sa, config_.esp_proposals, ++child_spi_, true);
    if (!choice) return {};
    const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
    Payloads out{choice->answer, NoncePayload{fresh_nonce()}};
    if (find<KePayload>(asked) != nullptr) out.emplace_back(KePayload{31, copy_of(dh->public_value())});
    out.emplace_back(TsPayload{true, {everything()}});
    out.emplace_back(TsPayload{false, {everything()}});
    return out;
  }

  Payloads ike_answer(std::size_t at, const Payloads& asked, const SaPayload& sa) {
    const std::uint64_t spi = ++spi_;
    const auto choice = choose_ike(sa, config_.ike_proposals, spi_bytes(spi));
    const auto* ke = find<KePayload>(asked);
    if (!choice || ke == nullptr || sides_.size() >= kMostSides) return {};
    const auto dh = crypto::DhKey::generate(crypto::DhGroup::curve25519);
    const ByteVector nonce = fresh_nonce();
    Side side;
    side.spis = {number_of(choice->peer_spi), spi};
    side.algorithms = choice->algorithms;
    add(std::move(side), dh->shared_secret(ke->data)->view(), {find<NoncePayload>(asked)->data, nonce},
        RekeyedFrom{sides_[at].keys.sk_d.view(), sides_[at].algorithms.prf});
    return {choice->answer, NoncePayload{nonce}, KePayload{31, copy_of(dh->public_value())}};
  }

  // Anything, in any order.
  Payloads menu(Script& script) {
    Payloads out;
    for (unsigned count = script.byte() % 6; count > 0; --count) {
      switch (script.byte() % 10) {
        case 0:
          out.emplace_back(NotifyPayload{Protocol::none, {}, static_cast<NotifyType>(script.byte()), {}});
          break;
        case 1:
          out.emplace_back(NotifyPayload{Protocol::none,
                                         {},
                                         static_cast<NotifyType>(16384 + script.byte()),
                                         copy_of(script.take(script.byte() % 24))});
          break;
        case 2:
          out.emplace_back(DeletePayload{Protocol::esp, {a_spi(script), a_spi(script)}});
          break;
        case 3:
          out.emplace_back(DeletePayload{Protocol::ike, {}});
          break;
        case 4:
          out.emplace_back(NotifyPayload{Protocol::esp, spi_bytes4(a_spi(script)), NotifyType::rekey_sa, {}});
          break;
        case 5:
          out.emplace_back(offer_esp(config_.esp_proposals, a_spi(script), script.byte() & 1));
          break;
        case 6:
          out.emplace_back(NoncePayload{fresh_nonce()});
          break;
        case 7:
          out.emplace_back(KePayload{script.byte(), ByteVector(32, script.byte())});
          break;
        case 8:
          out.emplace_back(TsPayload{(script.byte() & 1) != 0, {everything()}});
          break;
        case 9:
          out.emplace_back(
              offer_ike(config_.ike_proposals, script.byte() & 1 ? spi_bytes(spi_) : ByteVector{}));
          break;
      }
    }
    return out;
  }

  // The operator, the dataplane, and time.
  void operate(Script& script) {
    Daemon& daemon = *world_.west.daemon;
    const auto& inbound = world_.west.inbound;
    const std::uint32_t spi = inbound.empty() ? 0 : inbound.begin()->first;
    switch (script.byte() % 8) {
      case 0:
        return daemon.initiate(0, world_.now);
      case 1:
        return daemon.terminate(0, {Failure::operator_request, "asked for"}, world_.now);
      case 2:
        return daemon.rekey_ike(0, world_.now);
      case 3:
        return daemon.reauthenticate(0, world_.now);
      case 4:
        return daemon.child_expired(spi, world_.now);
      case 5:
        return daemon.dataplane_refused(0, spi, "no room", world_.now);
      default:
        return daemon.rekey_child(spi, world_.now);
    }
  }

  // One that the daemon sends on, or any.
  std::uint32_t a_spi(Script& script) {
    const std::uint8_t which = script.byte();
    if (which >= 16 || world_.west.outbound.empty()) return which;
    auto at = world_.west.outbound.begin();
    std::advance(at, which % world_.west.outbound.size());
    return at->first;
  }

  static ByteVector copy_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }
  static ByteVector spi_bytes4(std::uint32_t spi) {
    const ByteVector eight = spi_bytes(std::uint64_t{spi});
    return {eight.begin() + 4, eight.end()};
  }
  static std::uint64_t number_of(const ByteVector& spi) {
    std::uint64_t out = 0;
    for (const std::uint8_t byte : spi) out = out << 8 | byte;
    return out;
  }
  ByteVector fresh_nonce() { return ByteVector(32, ++nonces_); }
  static TrafficSelector everything() {
    TrafficSelector any;
    any.first = address("0.0.0.0");
    any.last = address("255.255.255.255");
    return any;
  }

  World& world_;
  conf::Tunnel config_;
  std::deque<ByteVector> heard_;
  std::optional<std::pair<Header, ByteVector>> init_asked_;
  std::vector<Side> sides_;
  std::optional<IkeOffer> ike_offer_;
  ByteVector ours_;  // our first message
  const ByteVector nonce_ = ByteVector(32, 7);
  ByteVector its_nonce_;
  std::uint64_t spi_{0x1000000000000000};
  std::uint32_t child_spi_{0xaaaa0000};
  std::uint8_t nonces_{0};
};

void demand(bool condition, const char* words, const World& world) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", words);
  for (const std::string& complaint : world.complaints) std::fprintf(stderr, "%s\n", complaint.c_str());
  for (const std::string& line : world.west.lines) std::fprintf(stderr, "log: %s\n", line.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 400) return 0;
  Script script(Bytes(data, size));
  conf::Tunnel west = west_tunnel();
  const std::uint8_t settings = script.byte();
  if (settings & 1) west.child_lifetime = seconds(20);
  if (settings & 2) west.ike_lifetime = seconds(30);
  if (settings & 4) west.ike_reauth = seconds(50);
  if (settings & 8) west.childless = conf::Childless::prefer;
  if (settings & 16) west.verify_rekey = true;
  std::vector<conf::Tunnel> tunnels;
  tunnels.push_back(std::move(west));
  World world({}, std::move(tunnels));
  {
    Peer peer(world);
    for (unsigned steps = 0; steps < 64 && !script.over(); ++steps) peer.act(script);
    demand(world.complaints.empty(), "what no dataplane could do", world);
  }
  world.fate = [](const Datagram&) { return std::vector<milliseconds>{}; };
  world.run(seconds(400));
  demand(world.complaints.empty(), "what no dataplane could do, after the peer fell silent", world);
  demand(world.west.daemon->empty(), "an IKE SA is left", world);
  demand(world.west.inbound.empty() && world.west.outbound.empty(), "an SA is left", world);
  demand(world.west.reserved.empty(), "an SPI is left", world);
  return 0;
}
