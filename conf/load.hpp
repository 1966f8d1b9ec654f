// YAML to Configuration. Everything is checked before anything is returned.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "conf/schema.hpp"

namespace espgate::conf {

// What() is "FILE:LINE:COLUMN: what is wrong; what was expected", one line for each error found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Which secrets are kept. manual: those of manual SAs alone, for the control process; skip: none, for the
// dataplane.
enum class Secrets : std::uint8_t { load, manual, skip };

// Throws Error. Relative psk-file paths are taken from the folder of `path`.
[[nodiscard]] Configuration load_file(const std::string& path, Secrets secrets = Secrets::load);
[[nodiscard]] Configuration load_text(std::string_view text, const std::string& name_for_errors,
                                      Secrets secrets = Secrets::load);

// A value of a tunnel as it is in use: "ike.lifetime", "8h", and "line 12", "profile oci" or "default".
struct Explained {
  std::string key;
  std::string value;
  std::string origin;
};
struct ExplainedTunnel {
  std::string name;
  std::vector<Explained> values;
};
struct ExplainedFile {
  Configuration configuration;
  std::vector<ExplainedTunnel> tunnels;
};
// As load_file and load_text; no value is a secret.
[[nodiscard]] ExplainedFile explain_file(const std::string& path, Secrets secrets = Secrets::load);
[[nodiscard]] ExplainedFile explain_text(std::string_view text, const std::string& name_for_errors,
                                         Secrets secrets = Secrets::load);

// Which tunnels may take algorithms that are too weak by now: one line for the log; empty: none.
[[nodiscard]] std::string legacy_words(const Configuration& configuration);

// The proposal strings on their own. Throw Error with words ("aes256gcm16-sha256: an AEAD cipher takes no
// integrity algorithm"), without a position.
[[nodiscard]] IkeProposal parse_ike_proposal(std::string_view text);
[[nodiscard]] EspProposal parse_esp_proposal(std::string_view text);

// What a port's `device` means to DPDK: the EAL arguments for it, and the ethdev name it will have.
//   0000:01:00.0          -> -a 0000:01:00.0
//   af_packet:IF          -> --vdev net_af_packetN,iface=IF     (also af_xdp:IF, tap:NAME)
//   memif:SOCKET,role=... -> --vdev net_memifN,socket=SOCKET,...
//   net_...               -> --vdev as written
struct Device {
  std::vector<std::string> eal_arguments;
  std::string ethdev_name;
  std::string interface;  // of the kernel, over which it is made and which must be there first; empty: none
};
// `index`: the port's place in the list. Throws Error with words.
[[nodiscard]] Device device_args(const Port& port, unsigned index);
// The same of a crypto device, a PCI address or crypto_...; `ethdev_name` is what DPDK calls the device.
[[nodiscard]] Device crypto_device_args(const std::string& text);

}  // namespace espgate::conf
