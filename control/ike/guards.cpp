#include "control/ike/guards.hpp"

#include <algorithm>

#include "crypto/ike.hpp"

namespace espgate::ike {
namespace {

constexpr auto kCookieLife = std::chrono::seconds(120);
constexpr std::size_t kSecretLength = 32;

Bytes address_bytes(const IpAddress& address) { return Bytes(address.bytes).first(address.is_v4() ? 4 : 16); }

std::array<std::uint8_t, 2> port_bytes(std::uint16_t port) {
  return {static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port)};
}

crypto::SecretBytes fresh_secret() {
  crypto::SecretBytes out(kSecretLength);
  crypto::random_bytes(out.bytes());
  return out;
}

}  // namespace

CookieJar::CookieJar() {
  for (Secret& secret : secrets_) secret.key = fresh_secret();
}

void CookieJar::rotate(Time now) {
  if (now < rotate_at_) return;
  const auto version = static_cast<std::uint8_t>(secrets_[0].version + 1);
  secrets_[1] = std::move(secrets_[0]);
  secrets_[0] = {version, fresh_secret()};
  rotate_at_ = now + kCookieLife;
}

ByteVector CookieJar::cookie(const Secret& secret, Bytes nonce, const Endpoint& initiator,
                             std::uint64_t spi) {
  const auto port = port_bytes(initiator.port);
  const crypto::SecretBytes mac =
      crypto::prf(crypto::Prf::hmac_sha256, secret.key.view(),
                  {nonce, address_bytes(initiator.address), port, spi_bytes(spi)});
  ByteVector out(1 + mac.size(), secret.version);
  std::copy(mac.view().begin(), mac.view().end(), out.begin() + 1);
  return out;
}

ByteVector CookieJar::bake(Bytes nonce, const Endpoint& initiator, std::uint64_t spi, Time now) {
  rotate(now);
  return cookie(secrets_[0], nonce, initiator, spi);
}

bool CookieJar::is_ours(Bytes given, Bytes nonce, const Endpoint& initiator, std::uint64_t spi, Time now) {
  rotate(now);
  if (given.empty()) return false;
  for (const Secret& secret : secrets_) {
    if (secret.version == given[0])
      return crypto::equal_in_constant_time(cookie(secret, nonce, initiator, spi), given);
  }
  return false;
}

bool RateLimit::allows(Time now) {
  if (now > last_) {
    const std::chrono::duration<double> passed = now - last_;
    tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
    last_ = now;
  }
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

HalfOpen::Source HalfOpen::source_of(const Endpoint& remote) {
  IpAddress address = remote.address;
  std::fill(address.bytes.begin() + 8, address.bytes.end(), std::uint8_t{0});
  return {remote.table, address};
}

HalfOpen::Verdict HalfOpen::judge(const Endpoint& remote) {
  if (count_ >= most_) {
    ++refused_.full;
    return Verdict::full;
  }
  const auto found = by_source_.find(source_of(remote));
  if (found == by_source_.end() || found->second * kPartOfRoom < most_ - count_) return Verdict::room;
  ++refused_.share_taken;
  return Verdict::share_taken;
}

HalfOpen::Place::Place(HalfOpen& whole, const Endpoint& remote)
    : whole_(whole), source_(whole.by_source_.try_emplace(source_of(remote)).first) {
  ++whole_.count_;
  ++source_->second;
}

HalfOpen::Place::~Place() {
  --whole_.count_;
  if (--source_->second == 0) whole_.by_source_.erase(source_);
}

ByteVector spi_bytes(std::uint64_t spi) {
  ByteVector out(8);
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(spi >> (56 - 8 * i));
  return out;
}

ByteVector nat_hash(std::uint64_t spi_initiator, std::uint64_t spi_responder, const Endpoint& endpoint) {
  const auto port = port_bytes(endpoint.port);
  return crypto::sha1(
      {spi_bytes(spi_initiator), spi_bytes(spi_responder), address_bytes(endpoint.address), port});
}

void add_nat_notifies(std::vector<Payload>& payloads, const Header& header, const Endpoint& local,
                      const Endpoint& remote, bool pretend) {
  ByteVector source = nat_hash(header.spi_initiator, header.spi_responder, local);
  if (pretend) crypto::random_bytes(source);
  const ByteVector destination = nat_hash(header.spi_initiator, header.spi_responder, remote);
  payloads.emplace_back(
      NotifyPayload{Protocol::none, {}, NotifyType::nat_detection_source_ip, std::move(source)});
  payloads.emplace_back(
      NotifyPayload{Protocol::none, {}, NotifyType::nat_detection_destination_ip, destination});
}

NatFinding detect_nat(const std::vector<Payload>& payloads, const Header& header, const Endpoint& local,
                      const Endpoint& remote) {
  const ByteVector ours = nat_hash(header.spi_initiator, header.spi_responder, local);
  const ByteVector theirs = nat_hash(header.spi_initiator, header.spi_responder, remote);
  bool source_seen = false, source_matches = false, destination_seen = false, destination_matches = false;
  for (const Payload& payload : payloads) {
    const auto* notify = std::get_if<NotifyPayload>(&payload);
    if (notify == nullptr) continue;
    if (notify->type ==
        NotifyType::nat_detection_source_ip) {  // several when the sender has several addresses
      source_seen = true;
      source_matches = source_matches || notify->data == theirs;
    } else if (notify->type == NotifyType::nat_detection_destination_ip) {
      destination_seen = true;
      destination_matches = destination_matches || notify->data == ours;
    }
  }
  if (!source_seen || !destination_seen) return {};
  return {true, !destination_matches, !source_matches};
}

}  // namespace espgate::ike
