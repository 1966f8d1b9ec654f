// Seals packets by the encrypt way and prints them, one JSON object a line, for
// tests/packets/check_sealed.py: of every suite and form, the first two packets of an SA; with ESN those on
// the two sides of a 32-bit cycle; and one that is cut once it is sealed.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/dataplane/rig.hpp"

using namespace espgate;
using namespace espgate::test;

namespace {

constexpr unsigned kSizes[] = {0, 1, 2, 3, 4, 13, 64, 512, 1300};  // bytes of UDP's payload
constexpr unsigned kLargeSizes[] = {1500, 1501, 3000, 4000, 8000};
constexpr std::uint64_t kCycle = std::uint64_t{1} << 32;

std::string hex(const std::uint8_t* bytes, std::size_t length) {
  std::string out;
  char digits[3];
  for (std::size_t i = 0; i < length; ++i) {
    std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
    out += digits;
  }
  return out;
}

// In transport mode from one gateway to the other, else through both.
Octets inner_packet(Form form, bool inner6, unsigned size) {
  const Octets payload = udp(4000, 53, filling(size));
  const unsigned tos = size % 2 != 0 ? 0xba : 0;
  if (inner6)
    return form.transport
               ? ipv6_packet(
                     {.source = "2001:db8:ff::1", .destination = "2001:db8:ff::2", .traffic_class = tos},
                     payload)
               : ipv6_packet({.traffic_class = tos}, payload);
  return form.transport
             ? ipv4_packet({.source = "192.0.2.1", .destination = "192.0.2.2", .tos = tos}, payload)
             : ipv4_packet({.tos = tos}, payload);
}

void print(const crypto::SuiteRow& row, Form form, const channel::InstallSa& install, std::uint64_t sequence,
           const Octets& inner, const std::vector<Octets>& frames) {
  nlohmann::json line{{"suite", row.name}, {"spi", install.spi}, {"sequence", sequence}};
  line["transport"] = form.transport;
  line["outer"] = form.outer6 ? 6 : 4;
  line["inner"] = inner[0] >> 4;
  line["udp"] = form.udp;
  line["esn"] = form.esn;
  line["keys"] = hex(install.keys.data(), key_material_length(row));
  line["plain"] = hex(inner.data(), inner.size());
  for (const Octets& frame : frames) line["sealed"].push_back(hex(frame.data() + 14, frame.size() - 14));
  std::puts(line.dump().c_str());
}

// `packets`: each of which leaves whole, or in more than one piece.
void seal(Rig& rig, const crypto::SuiteRow& row, Form form, const Octets& inner, std::uint32_t spi,
          unsigned packets, bool whole) {
  channel::InstallSa install = rig.command(row.suite, 2, form.udp, spi, spi);
  set_form(install, form, 1, 2);
  dataplane::OutboundSa& sa = rig.install_outbound(install);
  if (form.esn) sa.sequence = spi * kCycle - 2;
  for (unsigned i = 0; i < packets; ++i) {
    const Output out = form.transport ? rig.errand(Errand::protect, inner, 0, dataplane::Note::kNoPort)
                                      : rig.receive_ip(kInside, inner);
    if (out.frames[kOutside].empty() || (out.frames[kOutside].size() == 1) != whole) std::abort();
    print(row, form, install, sa.sequence, inner, out.frames[kOutside]);
  }
}

std::vector<std::pair<Form, bool>> forms() {
  std::vector<std::pair<Form, bool>> all;
  for (unsigned bits = 0; bits < 32; ++bits) {
    const Form form{.udp = (bits & 1) != 0,
                    .outer6 = (bits & 2) != 0,
                    .transport = (bits & 4) != 0,
                    .esn = (bits & 8) != 0};
    const bool inner6 = (bits & 16) != 0;
    if (!form.transport || inner6 == form.outer6) all.emplace_back(form, inner6);
  }
  return all;
}

}  // namespace

int main() {
  Rig rig;
  rig.set_tunnel(0);
  rig.route("10.2.0.0/16", {NextHopKind::tunnel, 0, 0, 0});
  rig.route("2001:db8:2::/48", {NextHopKind::tunnel, 0, 0, 0});
  std::uint32_t spi = 0x100;
  unsigned turn = 0;
  unsigned cuts = 0;
  for (const crypto::SuiteRow& row : crypto::kSuites)
    for (const auto& [form, inner6] : forms()) {
      for (unsigned i = 0; i < 3; ++i) {
        const unsigned size = kSizes[(turn += 2) % std::size(kSizes)];
        seal(rig, row, form, inner_packet(form, inner6, size), ++spi, 2, true);
      }
      const unsigned large = kLargeSizes[cuts % std::size(kLargeSizes)];
      const std::uint16_t path = cuts++ / std::size(kLargeSizes) % 2 != 0 ? 1280 : 1500;
      rig.tables().tunnels[0].fit = dataplane::Fit{1400, false, false, 9000, path};
      seal(rig, row, form, inner_packet(form, inner6, large), ++spi, 1, false);
    }
}
