// What a port's `device` means to DPDK.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "conf/errors.hpp"
#include "conf/load.hpp"

namespace espgate::conf {
namespace {

constexpr std::string_view kHex = "0123456789abcdefABCDEF";
constexpr std::size_t kMostInterfaceCharacters = 15;  // IFNAMSIZ with its closing zero
constexpr unsigned kMaxPlainMtu = 1500;               // where a driver knows no jumbo frames

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of(kHex) == text.npos;
}

// "0000:01:00.0", or "01:00.0" as lspci shows it. Empty: neither.
std::string pci_address(std::string_view text) {
  std::string whole(text);
  if (text.size() == 7) whole = "0000:" + whole;
  const std::string_view view(whole);
  const bool good = view.size() == 12 && is_hex(view.substr(0, 4), 4) && view[4] == ':' &&
                    is_hex(view.substr(5, 2), 2) && view[7] == ':' && is_hex(view.substr(8, 2), 2) &&
                    view[10] == '.' && view[11] >= '0' && view[11] <= '7';
  if (!good) return {};
  std::transform(whole.begin(), whole.end(), whole.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  return whole;
}

// The options that come after the first comma, with it.
std::string_view options_of(std::string_view text) {
  const std::size_t comma = text.find(',');
  return comma == text.npos ? std::string_view() : text.substr(comma);
}

bool has_option(std::string_view options, std::string_view name) {
  return options.find(fmt::format(",{}=", name)) != options.npos;
}

// The value of this option; empty: there is none.
std::string_view option(std::string_view options, std::string_view name) {
  const std::string start = fmt::format(",{}=", name);
  const std::size_t at = options.find(start);
  if (at == options.npos) return {};
  const std::string_view rest = options.substr(at + start.size());
  return rest.substr(0, rest.find(','));
}

Device vdev(const std::string& name, const std::string& arguments) {
  const bool over_interface = name.starts_with("net_af_packet") || name.starts_with("net_af_xdp");
  return {{"--vdev", name + arguments},
          name,
          std::string(over_interface ? option(arguments, "iface") : std::string_view())};
}

void check_interface(std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMostInterfaceCharacters && name.find('/') == name.npos &&
                    name != "." && name != "..";
  if (!good)
    throw Error(fmt::format("{} is no interface name; expected 1 to {} characters without '/'",
                            in_quotes(name), kMostInterfaceCharacters));
}

void check_plain_mtu(const Port& port, std::string_view kind) {
  if (port.mtu > kMaxPlainMtu)
    throw Error(
        fmt::format("{} carries no frames larger than an MTU of {}; expected such an mtu, or af_packet", kind,
                    kMaxPlainMtu));
}

// The kernel puts about 70 bytes before a frame in the ring's slot, and a VLAN tag may come: a slot has 128
// bytes to spare. It is whole KiB, so that four of them make a block of whole pages, and no larger than that
// because DPDK wants packet buffers that hold all of it. Its own 2048 bytes do up to an MTU of 1902.
std::string af_packet_ring(const Port& port, std::string_view options) {
  constexpr unsigned kEthernetAndVlan = 18;
  constexpr unsigned kSpare = 128;
  const unsigned frame = std::max(2048U, (port.mtu + kEthernetAndVlan + kSpare + 1023) / 1024 * 1024);
  if (frame == 2048 || has_option(options, "framesz") || has_option(options, "blocksz")) return {};
  return fmt::format(",blocksz={},framesz={}", 4 * frame, frame);
}

Device af_packet(const Port& port, unsigned index, std::string_view rest) {
  const std::string_view options = options_of(rest);
  check_interface(rest.substr(0, rest.size() - options.size()));
  return vdev(fmt::format("net_af_packet{}", index),
              fmt::format(",iface={}{}", rest, af_packet_ring(port, options)));
}

Device af_xdp(const Port& port, unsigned index, std::string_view rest) {
  check_interface(rest.substr(0, rest.find(',')));
  check_plain_mtu(port, "af_xdp");
  return vdev(fmt::format("net_af_xdp{}", index), fmt::format(",iface={}", rest));
}

Device tap(const Port&, unsigned index, std::string_view rest) {
  check_interface(rest.substr(0, rest.find(',')));
  return vdev(fmt::format("net_tap{}", index), fmt::format(",iface={}", rest));
}

// DPDK takes a socket for an abstract one unless told otherwise; a path is none.
Device memif(const Port&, unsigned index, std::string_view rest) {
  if (rest.empty() || rest.front() == ',')
    throw Error("memif: no socket; expected memif:/path/to/socket,role=client");
  const bool path = rest.front() == '/' && !has_option(options_of(rest), "socket-abstract");
  return vdev(fmt::format("net_memif{}", index),
              fmt::format(",socket={}{}", rest, path ? ",socket-abstract=no" : ""));
}

struct ShortForm {
  std::string_view prefix;
  Device (*make)(const Port&, unsigned, std::string_view rest);
};
constexpr std::array<ShortForm, 4> kShortForms{
    {{"af_packet:", af_packet}, {"af_xdp:", af_xdp}, {"tap:", tap}, {"memif:", memif}}};

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

void check_plain(std::string_view text) {
  if (!is_plain(text))
    throw Error(fmt::format("{}: blanks and control characters don't belong here", in_quotes(text)));
}

}  // namespace

Device crypto_device_args(const std::string& text) {
  check_plain(text);
  const std::string_view options = options_of(text);
  const std::string name = text.substr(0, text.size() - options.size());
  if (name.starts_with("crypto_") && name.size() > 7) return vdev(name, std::string(options));
  if (const std::string address = pci_address(name); !address.empty())
    return {{"-a", address + std::string(options)}, address, {}};
  throw Error(fmt::format(
      "{} is no crypto device; expected a PCI address (0000:01:00.0) or DPDK's own devargs (crypto_...)",
      in_quotes(text)));
}

Device device_args(const Port& port, unsigned index) {
  const std::string_view text = port.device;
  check_plain(text);
  for (const ShortForm& form : kShortForms)
    if (text.starts_with(form.prefix)) return form.make(port, index, text.substr(form.prefix.size()));
  const std::string_view options = options_of(text);
  const std::string_view name = text.substr(0, text.size() - options.size());
  if (name.starts_with("net_") && name.size() > 4) return vdev(std::string(name), std::string(options));
  if (const std::string address = pci_address(name); !address.empty())
    return {{"-a", address + std::string(options)}, address, {}};
  throw Error(fmt::format(
      "{} is no device; expected a PCI address (0000:01:00.0), af_packet:IF, af_xdp:IF, tap:NAME, "
      "memif:SOCKET,... or DPDK's own devargs (net_...)",
      in_quotes(text)));
}

}  // namespace espgate::conf
