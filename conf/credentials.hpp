// Keys and certificates of a configuration: the files behind the names (conf::CredentialFiles).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/schema.hpp"
#include "crypto/certificate.hpp"

namespace espgate::conf {

// Where a certificate has an identity of this type (RFC 4945 section 3.1); nullopt: nowhere.
[[nodiscard]] std::optional<crypto::NameKind> name_kind(IdentityType type);

// Reads each file once, fills in every tunnel's `local_auth` and `remote_auth`, and the identity of those
// that are who their certificate says. `file`: the configuration's name; `now`: Unix time. Throws Error as
// load_file does: what can't be read, a key that is not its certificate's, an identity that the certificate
// does not name. Returns what is wrong only now, one line each in the same form: a certificate of ours that
// has expired, a PPK that is too short.
[[nodiscard]] std::vector<std::string> load_credentials(Configuration& configuration, const std::string& file,
                                                        std::int64_t now);

struct Loaded {
  Configuration configuration;
  std::vector<std::string> late;  // as load_credentials returns it
};
// As load_file and load_credentials, but no pre-shared key, PPK or private key ever is in the memory of this
// process: a child reads what holds them and hands back what is public. Keys of manual SAs are read. Only for
// processes with one thread.
[[nodiscard]] Loaded load_public(const std::string& path, std::int64_t now);

}  // namespace espgate::conf
