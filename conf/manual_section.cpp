// `tunnels.manual`: an SA pair whose keys were agreed by hand, instead of by IKE (RFC 4301 section 4.5.1).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "channel/spi.hpp"
#include "conf/sections.hpp"

namespace espgate::conf {
namespace {

constexpr std::array<std::pair<std::string_view, bool>, 2> kInUdp{{{"none", false}, {"udp", true}}};

void read_suite(const Field& field, crypto::EspSuite& out) {
  if (!field.is_scalar()) return field.expected("a suite such as aes256gcm16");
  try {
    const EspProposal proposal = parse_esp_proposal(field.node.text);
    if (proposal.suites.size() != 1 || !proposal.groups.empty())
      return field.expected("one suite, such as aes256gcm16 or aes256-sha256");
    out = proposal.suites.front();
  } catch (const Error& error) {
    field.error(fmt::format("suite: {}", error.what()));
  }
}

// Hex digits behind 0x, or a number.
void read_spi(const Field& field, std::uint32_t& out) {
  std::string_view text = field.is_scalar() ? std::string_view(field.node.text) : std::string_view();
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  std::uint32_t spi = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), spi, hex ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size() || spi < channel::kFirstFreeSpi)
    return field.expected("an SPI from 0x00000100 to 0xffffffff");
  out = spi;
}

struct Direction {
  const crypto::SuiteRow* suite;  // nullptr: not known, which was said already
  ManualSa& sa;
};

constexpr Key<Direction> kDirectionKeys[] = {
    {"spi", Need::required, [](const Field& f, Direction& d) { read_spi(f, d.sa.spi); }},
    {"key-file", Need::required,
     [](const Field& f, Direction& d) {
       if (d.suite != nullptr) read_key_file(f, *d.suite, d.sa.key);
     }},
};

void read_direction(const Field& field, const Manual& manual, ManualSa& out) {
  Direction direction{crypto::find_suite(manual.suite), out};
  read_block(field, kDirectionKeys, direction);
}

// The suite comes first: it says how long the keys are.
constexpr Key<Manual> kManualKeys[] = {
    {"suite", Need::required, [](const Field& f, Manual& m) { read_suite(f, m.suite); }},
    {"inbound", Need::required, [](const Field& f, Manual& m) { read_direction(f, m, m.inbound); }},
    {"outbound", Need::required, [](const Field& f, Manual& m) { read_direction(f, m, m.outbound); }},
    {"esn", Need::optional, [](const Field& f, Manual& m) { read_bool(f, m.esn); }},
    {"encapsulation", Need::optional, [](const Field& f, Manual& m) { read_choice(f, m.udp, kInUdp); }},
    {"remote-port", Need::optional,
     [](const Field& f, Manual& m) { read_unsigned(f, m.remote_port, 1, 65535); }},
};

}  // namespace

void read_manual(const Field& field, std::optional<Manual>& out) {
  read_block(field, kManualKeys, out.emplace());
}

namespace {

struct Place {
  std::string_view block;  // empty: the tunnel itself
  std::string_view key;
};
constexpr Place kOfIke[] = {{"", "profile"},
                            {"", "psk"},
                            {"", "psk-file"},
                            {"", "psks-file"},
                            {"", "peers"},
                            {"", "ppks"},
                            {"", "ppk-use"},
                            {"", "ike"},
                            {"", "dpd"},
                            {"", "start"},
                            {"local", "id"},
                            {"remote", "id"},
                            {"esp", "proposals"},
                            {"esp", "lifetime"},
                            {"", "encapsulation"},
                            {"esp", "bytes"},
                            {"esp", "packets"},
                            {"esp", "esn"},
                            {"esp", "verify"},
                            {"local", "auth"},
                            {"local", "certificate"},
                            {"local", "key"},
                            {"local", "pkcs12"},
                            {"local", "password-file"},
                            {"local", "rsa-pss"},
                            {"local", "ocsp-response"},
                            {"remote", "auth"},
                            {"remote", "authorities"},
                            {"remote", "crl"},
                            {"remote", "ocsp"},
                            {"remote", "public-key"}};

}  // namespace

bool belongs_to_ike(std::string_view path) {
  const std::size_t dot = path.find('.');
  const std::string_view first = path.substr(0, dot);
  const std::string_view second = dot == path.npos ? std::string_view() : path.substr(dot + 1);
  return std::ranges::any_of(kOfIke, [&](const Place& place) {
    return place.block.empty() ? place.key == first : place.block == first && place.key == second;
  });
}

void check_without_ike(const Field& tunnel) {
  for (const auto& [block, key] : kOfIke) {
    const Node& outer = block.empty() ? tunnel.node : tunnel.node.at(block);
    if (!block.empty() && &outer == &tunnel.node) continue;
    const Node& value = outer.at(key);
    if (&value == &outer) continue;
    tunnel.reading.errors.add(
        value.mark, fmt::format("{}: belongs to IKE, but the tunnel has manual keys (line {}); expected only "
                                "one of them",
                                key, tunnel.node.at("manual").mark.line));
  }
}

void append_manual_keys(std::vector<KnownKey>& to) {
  append_keys(to, "tunnels.manual", kManualKeys);
  append_keys(to, "tunnels.manual.inbound", kDirectionKeys);
  append_keys(to, "tunnels.manual.outbound", kDirectionKeys);
}

}  // namespace espgate::conf
