// What the IKE fuzz targets do with payloads that were accepted: everything that their values reach without a
// session.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "control/ike/message.hpp"
#include "control/ike/ppk.hpp"
#include "control/ike/proposal_choice.hpp"

namespace espgate::ike::fuzz {

// libFuzzer keeps the input that led here.
inline void demand(bool condition, const char* words) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", words);
  std::abort();
}

inline const std::vector<conf::IkeProposal>& wanted_ike() {
  static const std::vector<conf::IkeProposal> wanted{
      {"",
       {{crypto::IkeCipherId::aes_gcm16, 256}},
       {},
       {crypto::Prf::hmac_sha384},
       {crypto::DhGroup::ecp384}},
      {"",
       {{crypto::IkeCipherId::aes_cbc, 256}, {crypto::IkeCipherId::aes_cbc, 128}},
       {crypto::IkeIntegrity::hmac_sha256_128, crypto::IkeIntegrity::hmac_sha384_192},
       {crypto::Prf::hmac_sha256, crypto::Prf::hmac_sha384},
       {crypto::DhGroup::ecp384, crypto::DhGroup::modp2048}}};
  return wanted;
}

inline const std::vector<conf::EspProposal>& wanted_esp() {
  static const std::vector<conf::EspProposal> wanted{
      {"", {crypto::EspSuite::aes256_gcm16, crypto::EspSuite::aes128_cbc_sha256}, {crypto::DhGroup::ecp384}},
      {"", {crypto::EspSuite::aes128_gcm16}, {}}};
  return wanted;
}

// What was chosen from an offer must be an answer that its offerer accepts.
inline void choose(const SaPayload& offered) {
  static const ByteVector kSpi(8, 1);
  for (const Bytes spi : {Bytes{}, Bytes(kSpi)})
    if (const auto choice = choose_ike(offered, wanted_ike(), spi))
      demand(accept_ike(choice->answer, offered).has_value(), "our choice is not what was offered");
    else
      demand(!mismatch_words(offered, offer_ike(wanted_ike(), spi)).empty(), "no words");
  for (const bool groups : {false, true})
    if (const auto choice = choose_esp(offered, wanted_esp(), 0xc0000001, groups))
      demand(!groups || accept_esp(choice->answer, offered).has_value(),
             "our choice is not what was offered");
    else
      demand(!mismatch_words(offered, offer_esp(wanted_esp(), 0xc0000001, groups)).empty(), "no words");
  static_cast<void>(accept_ike(offered, offer_ike(wanted_ike(), {})));
  static_cast<void>(accept_esp(offered, offer_esp(wanted_esp(), 0xc0000001, true)));
  demand(!describe(offered).empty(), "no description");
}

// What a PPK_IDENTITY may hold, in words that can be shown; and a PPK that is called so is found by it.
inline void name_ppk(Bytes identity) {
  for (const char c : ppk_words(identity)) demand(c >= 0x20 && c < 0x7f, "not printable");
  if (identity.size() < 2) return;
  conf::Tunnel tunnel;
  tunnel.ppks.emplace_back();
  tunnel.ppks.back().type = static_cast<conf::PpkIdType>(identity[0]);
  tunnel.ppks.back().id.assign(identity.begin() + 1, identity.end());
  demand(find_ppk(tunnel, identity) == 0, "a PPK is not found by its identity");
}

// Encodes and parses again: it must be the same.
inline void consume(const std::vector<Payload>& payloads) {
  demand(payloads.size() <= 64, "more than 64 payloads");
  if (const SaPayload* sa = find<SaPayload>(payloads)) choose(*sa);
  if (const NotifyPayload* error = find_error(payloads)) demand(!name_of(error->type).empty(), "no name");
  for (const Payload& payload : payloads)
    if (const auto* notify = std::get_if<NotifyPayload>(&payload)) name_ppk(notify->data);
  Header header;
  header.spi_initiator = 1;
  header.exchange = Exchange::ike_sa_init;
  const ByteVector once = encode_plain(header, payloads);
  const auto parsed = parse_header(once);
  demand(std::holds_alternative<Header>(parsed), "our own header is refused");
  const auto again = parse_plain(std::get<Header>(parsed), once);
  demand(std::holds_alternative<std::vector<Payload>>(again), "our own encoding is refused");
  demand(encode_plain(header, std::get<std::vector<Payload>>(again)) == once, "encoding is not stable");
}

inline void check(const Result<std::vector<Payload>>& result) {
  if (const auto* payloads = std::get_if<std::vector<Payload>>(&result))
    consume(*payloads);
  else
    demand(std::get<Refusal>(result).notify.has_value() && !std::get<Refusal>(result).words.empty(),
           "a refusal without a notify or without words");
}

}  // namespace espgate::ike::fuzz
