// Proposal strings against the numbers of IANA's registry (Internet Key Exchange Version 2 Parameters).
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "conf/load.hpp"

using namespace espgate;
using namespace espgate::conf;

namespace {

// "cipher/bits ...|integrity ...|prf ...|group ...", in IANA's numbers.
std::string numbers(const IkeProposal& proposal) {
  std::string text;
  for (const IkeCipherChoice& cipher : proposal.ciphers)
    text += fmt::format("{}/{} ", static_cast<int>(cipher.id), cipher.key_bits);
  const auto append = [&text](const auto& list) {
    text += "|";
    for (const auto& each : list) text += fmt::format(" {}", static_cast<int>(each));
  };
  append(proposal.integrity);
  append(proposal.prfs);
  append(proposal.groups);
  return text;
}

std::string words_of_ike(std::string_view text) {
  try {
    (void)parse_ike_proposal(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string words_of_esp(std::string_view text) {
  try {
    (void)parse_esp_proposal(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("IKE proposals are the transforms they name") {
  struct Row {
    std::string_view text;
    std::string_view numbers;
  };
  static constexpr Row rows[] = {
      {"aes256-sha384-ecp384", "12/256 | 13| 6| 20"},
      {"aes128-sha256-modp2048", "12/128 | 12| 5| 14"},
      {"aes128-sha1-modp1536", "12/128 | 2| 2| 5"},
      {"aes256-sha512-ecp521", "12/256 | 14| 7| 21"},
      {"aes256-sha256-modp768-modp1024-modp1024s160-modp2048s224-modp2048s256",
       "12/256 | 12| 5| 1 2 22 23 24"},
      {"aes256-sha256-prfsha512-modp4096", "12/256 | 12| 7| 16"},
      {"aes256-aes128-sha256-ecp256", "12/256 12/128 | 12| 5| 19"},
      {"aes256-sha512-sha256-x25519-ecp256", "12/256 | 14 12| 7 5| 31 19"},
      {"aes256gcm16-prfsha384-ecp384", "20/256 || 6| 20"},
      {"aes256gcm-prfsha384-ecp384", "20/256 || 6| 20"},
      {"aes128gcm16-prfsha256-curve25519", "20/128 || 5| 31"},
      {"aes256gcm16-sha384-ecp384", "20/256 || 6| 20"},  // the hash's name alone stands for the PRF
      {"aes256gcm16-aes128gcm16-prfsha384-prfsha256-modp3072", "20/256 20/128 || 6 5| 15"},
      {"ecp384-sha384-aes256", "12/256 | 13| 6| 20"},  // the order of kinds is free
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const IkeProposal proposal = parse_ike_proposal(row.text);
    CHECK(proposal.text == row.text);
    CHECK(numbers(proposal) == row.numbers);
  }
}

namespace {

const std::string kGroups =
    "modp2048 modp3072 modp4096 ecp256 ecp384 ecp521 curve25519 x25519 modp768 modp1024 modp1536 "
    "modp1024s160 "
    "modp2048s224 modp2048s256";

}  // namespace

TEST_CASE("what is refused whatever a tunnel says has words of its own") {
  CHECK(words_of_ike("3des-sha1-modp1024") ==
        "\"3des-sha1-modp1024\": \"3des\" is refused, legacy: true or not: its blocks of 64 bits repeat "
        "after some "
        "gigabytes (RFC 8221 section 5); the peer must be set to AES");
  CHECK(words_of_ike("des-sha1-modp1024") ==
        "\"des-sha1-modp1024\": \"des\" is refused, legacy: true or not: its keys of 56 bits can be searched "
        "(RFC "
        "8247 section 2.1); the peer must be set to AES");
  CHECK(words_of_ike("aes256-md5-ecp384") ==
        "\"aes256-md5-ecp384\": \"md5\" is refused, legacy: true or not: it is broken (RFC 8221 section 6, "
        "RFC 8247 "
        "section 2.3); the peer must be set to SHA-2");
  CHECK(words_of_ike("aes256gcm16-prfmd5-ecp384") ==
        "\"aes256gcm16-prfmd5-ecp384\": \"prfmd5\" is refused, legacy: true or not: it is broken (RFC 8247 "
        "section "
        "2.2); the peer must be set to SHA-2");
  CHECK(words_of_esp("3des-sha1").starts_with("\"3des-sha1\": \"3des\" is refused"));
  CHECK(words_of_esp("aes128-md5").starts_with("\"aes128-md5\": \"md5\" is refused"));
}

TEST_CASE("IKE proposals that can't be, in words") {
  const std::string supported =
      "is not supported; ciphers: aes128 aes256 aes128gcm16 aes256gcm16 aes128gcm aes256gcm; hashes: sha1 "
      "sha256 sha384 "
      "sha512; PRFs: prfsha1 prfsha256 prfsha384 prfsha512; groups: " +
      kGroups;
  CHECK(words_of_ike("blowfish-sha1-modp1024") == "\"blowfish-sha1-modp1024\": \"blowfish\" " + supported);
  CHECK(words_of_ike("") == "\"\": an empty name " + supported);
  CHECK(words_of_ike("aes256--ecp384") == "\"aes256--ecp384\": an empty name " + supported);
  CHECK(words_of_ike("aes256-sha384-ecp384-") == "\"aes256-sha384-ecp384-\": an empty name " + supported);
  CHECK(words_of_ike("AES256-sha384-ecp384") == "\"AES256-sha384-ecp384\": \"AES256\" " + supported);
  CHECK(words_of_ike("sha384-ecp384") ==
        "\"sha384-ecp384\": no cipher; expected one of: aes128 aes256 aes128gcm16 aes256gcm16 aes128gcm "
        "aes256gcm");
  CHECK(words_of_ike("aes256-ecp384") ==
        "\"aes256-ecp384\": no integrity algorithm; expected one of: sha1 sha256 sha384 sha512");
  CHECK(words_of_ike("aes256-prfsha384-ecp384") ==
        "\"aes256-prfsha384-ecp384\": no integrity algorithm; expected one of: sha1 sha256 sha384 sha512");
  CHECK(words_of_ike("aes256-sha384") ==
        "\"aes256-sha384\": no Diffie-Hellman group; expected one of: " + kGroups);
  CHECK(words_of_ike("aes256gcm16-ecp384") ==
        "\"aes256gcm16-ecp384\": an AEAD cipher needs a PRF; expected one of: prfsha1 prfsha256 prfsha384 "
        "prfsha512");
  CHECK(words_of_ike("aes256gcm16-sha384-prfsha384-ecp384") ==
        "\"aes256gcm16-sha384-prfsha384-ecp384\": an AEAD cipher takes no integrity algorithm");
  CHECK(
      words_of_ike("aes256gcm16-aes256-sha384-ecp384") ==
      "\"aes256gcm16-aes256-sha384-ecp384\": AEAD ciphers and others don't go together; expected a proposal "
      "for each");
  CHECK(words_of_ike("aes256-aes256-sha384-ecp384") == "\"aes256-aes256-sha384-ecp384\": \"aes256\" twice");
  CHECK(words_of_ike("aes256-sha384-x25519-curve25519") ==
        "\"aes256-sha384-x25519-curve25519\": \"curve25519\" twice");
}

TEST_CASE("ESP proposals are the suites they name") {
  using crypto::EspSuite;
  using Suites = std::vector<EspSuite>;
  CHECK(parse_esp_proposal("aes256gcm16-ecp384").suites == Suites{EspSuite::aes256_gcm16});
  CHECK(parse_esp_proposal("aes256gcm16-ecp384").groups == std::vector{crypto::DhGroup::ecp384});
  CHECK(parse_esp_proposal("aes128gcm16").suites == Suites{EspSuite::aes128_gcm16});
  CHECK(parse_esp_proposal("aes128gcm16").groups.empty());
  CHECK(parse_esp_proposal("aes128-sha1").suites == Suites{EspSuite::aes128_cbc_sha1});
  CHECK(parse_esp_proposal("aes256-sha1").suites == Suites{EspSuite::aes256_cbc_sha1});
  CHECK(parse_esp_proposal("aes128-sha256").suites == Suites{EspSuite::aes128_cbc_sha256});
  CHECK(parse_esp_proposal("aes256-sha256-modp2048").suites == Suites{EspSuite::aes256_cbc_sha256});
  CHECK(parse_esp_proposal("aes256gcm16-aes128gcm16-x25519").suites ==
        Suites{EspSuite::aes256_gcm16, EspSuite::aes128_gcm16});
  CHECK(parse_esp_proposal("aes256-aes128-sha256-sha1").suites ==
        Suites{EspSuite::aes256_cbc_sha256, EspSuite::aes256_cbc_sha1, EspSuite::aes128_cbc_sha256,
               EspSuite::aes128_cbc_sha1});
  for (const crypto::SuiteRow& row : crypto::kSuites)  // the table's own names are proposals
    CHECK(parse_esp_proposal(row.name).suites == Suites{row.suite});
  CHECK(parse_esp_proposal("aes192gcm").suites == Suites{EspSuite::aes192_gcm16});
  for (const crypto::SuiteRow& row : crypto::kSuites) {  // every cipher goes with every integrity algorithm
    if (row.integrity == crypto::Integrity::none) continue;
    const std::string cipher(row.name.substr(0, row.name.find('-')));
    CHECK(parse_esp_proposal(cipher + "-sha1-sha256-sha384-sha512").suites.size() == 4);
  }
}

TEST_CASE("ESP proposals that can't be, in words") {
  const std::string ciphers =
      "aes128gcm16 aes128gcm aes256gcm16 aes256gcm aes128 aes256 aes192gcm16 aes192gcm aes128gcm8 aes192gcm8 "
      "aes256gcm8 aes128gcm12 aes192gcm12 aes256gcm12 aes192 chacha20poly1305 null aes128gmac aes192gmac "
      "aes256gmac aes128ctr aes192ctr aes256ctr aes128ccm16 aes256ccm16 aes128ccm8 aes256ccm8 aes128ccm12 "
      "aes256ccm12";
  CHECK(words_of_esp("aes256gcm16-sha256") ==
        "\"aes256gcm16-sha256\": an AEAD cipher takes no integrity algorithm");
  CHECK(words_of_esp("sha256") == "\"sha256\": no cipher; expected one of: " + ciphers);
  CHECK(words_of_esp("aes256") ==
        "\"aes256\": no integrity algorithm; expected one of: sha1 sha256 sha384 sha512");
  CHECK(words_of_esp("blowfish-sha256") ==
        "\"blowfish-sha256\": \"blowfish\" is not supported; ciphers: " + ciphers +
            "; hashes: sha1 sha256 sha384 sha512"
            "; groups: " +
            kGroups);
  CHECK(words_of_esp("aes256gcm16-prfsha384") ==
        "\"aes256gcm16-prfsha384\": a PRF belongs to IKE's proposals");
  CHECK(words_of_esp("aes256gcm16-aes256-sha256") ==
        "\"aes256gcm16-aes256-sha256\": AEAD ciphers and others don't go together; expected a proposal for "
        "each");
}
