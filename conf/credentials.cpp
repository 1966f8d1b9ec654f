#include "conf/credentials.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <stdexcept>

#include "conf/apart.hpp"
#include "conf/errors.hpp"
#include "conf/file.hpp"
#include "conf/sections.hpp"
#include "crypto/ocsp.hpp"

namespace espgate::conf {
namespace {

using crypto::Bytes;
using crypto::CertificatePtr;
using crypto::utc_words;
using Chain = std::vector<CertificatePtr>;

constexpr std::size_t kMostKey = 64U << 10;
constexpr std::size_t kMostCertificates = 1U << 20;
constexpr std::size_t kMostAnchors = 32;  // CERTREQ names each, in a message that IKE can't fragment
constexpr std::size_t kMostCrl = 64U << 20;

struct Owned {
  std::shared_ptr<const Chain> chain;
  std::shared_ptr<const crypto::PrivateKey> key;
  std::shared_ptr<const crypto::PublicKey> public_key;
};

// Of the files with private keys, by path, what is public: in DER, the key and what certificates there are.
using Ders = std::vector<std::string>;
using PublicHalves = std::map<std::string, Ders>;

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string text_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

Owned owned_of(const Ders& half) {
  Chain chain;
  for (std::size_t i = 1; i < half.size(); ++i) {
    chain.push_back(crypto::Certificate::from_der(bytes_of(half[i])));
    if (!chain.back()) throw Error("a certificate came back that can't be read");
  }
  return {std::make_shared<const Chain>(std::move(chain)), {}, crypto::PublicKey::read(bytes_of(half.at(0)))};
}

class Loader {
 public:
  // `halves`: in place of the private keys; none: these are read.
  Loader(const std::string& file, std::int64_t now, const PublicHalves* halves = nullptr)
      : errors_(file), file_(file), now_(now), halves_(halves) {}

  // And what else only the secrets tell is said by finish().
  [[nodiscard]] PublicHalves public_halves(const std::vector<Tunnel>& tunnels) {
    PublicHalves out;
    for (const Tunnel& tunnel : tunnels) {
      for (const Ppk& ppk : tunnel.ppks) warn_of_short(ppk);
      if (tunnel.files && !tunnel.manual && tunnel.local_auth.by != Auth::psk)
        add_half(out, key_file(*tunnel.files), owned(*tunnel.files));
    }
    return out;
  }

  void load(Tunnel& tunnel) {
    if (tunnel.manual) return;
    for (const Ppk& ppk : tunnel.ppks) {
      warn_of_expired(ppk);
      warn_of_short(ppk);
    }
    if (!tunnel.files) return;
    local(*tunnel.files, tunnel);
    remote(*tunnel.files, tunnel);
    tunnel.files.reset();
  }
  std::vector<std::string> finish() {
    errors_.raise();
    return std::move(warnings_);
  }

 private:
  // Runs `make` on the content of `from`. Empty: it was said what is wrong.
  template <class Make>
  auto made(std::string_view key, const NamedFile& from, Readers readers, std::size_t most, Make make)
      -> decltype(make(Bytes{})) {
    const FileContent content = read_whole(from.path, readers, most);
    if (!content.objection.empty()) {
      errors_.add(from.mark, fmt::format("{}: {}", key, content.objection));
      return {};
    }
    try {
      return make(content.bytes.view());
    } catch (const std::exception& error) {
      errors_.add(from.mark, fmt::format("{}: {} holds {}", key, in_quotes(from.path), error.what()));
      return {};
    }
  }

  std::shared_ptr<const Chain> chain(std::string_view key, const NamedFile& from) {
    const auto [place, is_new] = chains_.try_emplace(from.path);
    if (is_new)
      place->second = made(key, from, Readers::anybody, kMostCertificates, [](Bytes file) {
        return std::make_shared<const Chain>(crypto::read_certificates(file));
      });
    return place->second;
  }

  std::shared_ptr<const crypto::PrivateKey> private_key(const NamedFile& from) {
    const auto [place, is_new] = keys_.try_emplace(from.path);
    if (is_new) place->second = made("key", from, Readers::owner, kMostKey, crypto::PrivateKey::read);
    return place->second;
  }

  Owned pkcs12(const CredentialFiles& files) {
    const auto [place, is_new] = boxes_.try_emplace(files.pkcs12.path);
    if (!is_new) return place->second;
    crypto::SecretBytes password;
    if (!files.password.path.empty())
      password = made("password-file", files.password, Readers::owner, kMostKey, [](Bytes text) {
        while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
          text = text.first(text.size() - 1);
        return crypto::SecretBytes(text);
      });
    place->second = made("pkcs12", files.pkcs12, Readers::owner, kMostCertificates, [&password](Bytes file) {
      crypto::Pkcs12 box = crypto::read_pkcs12(file, password.view());
      return Owned{std::make_shared<const Chain>(std::move(box.chain)), std::move(box.key), {}};
    });
    return place->second;
  }

  void local(const CredentialFiles& files, Tunnel& tunnel) {
    LocalAuth& auth = tunnel.local_auth;
    if (auth.by == Auth::psk) return;
    const Owned ours = owned(files);
    const bool boxed = !files.pkcs12.path.empty();
    auth.private_key = ours.key;
    auth.public_key = ours.public_key;
    if (auth.by != Auth::certificate) return;
    auth.chain = boxed ? ours.chain : chain("certificate", files.certificate);
    if (!auth.chain) return;
    if (auth.public_key) check_own(boxed ? files.pkcs12 : files.certificate, key_file(files), tunnel);
    if (!files.ocsp_response.path.empty())
      auth.ocsp_response = status(files.ocsp_response, *auth.chain->front());
  }

  static const NamedFile& key_file(const CredentialFiles& files) {
    return files.pkcs12.path.empty() ? files.key : files.pkcs12;
  }

  Owned owned(const CredentialFiles& files) {
    if (halves_ != nullptr) return half(key_file(files));
    Owned out = files.pkcs12.path.empty() ? Owned{{}, private_key(files.key), {}} : pkcs12(files);
    if (out.key) out.public_key = {out.key, &out.key->public_key()};
    return out;
  }

  Owned half(const NamedFile& from) {
    const auto [place, is_new] = boxes_.try_emplace(from.path);
    if (is_new) place->second = owned_of(halves_->at(from.path));
    return place->second;
  }

  static void add_half(PublicHalves& out, const NamedFile& from, const Owned& ours) {
    const auto [place, is_new] = out.try_emplace(from.path);
    if (!is_new || !ours.public_key) return;
    place->second.push_back(text_of(ours.public_key->der()));
    if (!ours.chain) return;
    for (const CertificatePtr& each : *ours.chain) place->second.push_back(text_of(each->der()));
  }

  std::shared_ptr<const std::vector<std::uint8_t>> status(const NamedFile& from,
                                                          const crypto::Certificate& ours) {
    return made("ocsp-response", from, Readers::anybody, kMostKey, [&](Bytes file) {
      const crypto::OcspContent content = crypto::read_ocsp(file, ours);
      if (content.next_update && *content.next_update < now_)
        warn(from.mark,
             fmt::format("ocsp-response: is past its next update of {}", utc_words(*content.next_update)));
      return std::make_shared<const std::vector<std::uint8_t>>(file.begin(), file.end());
    });
  }

  void check_own(const NamedFile& certificate, const NamedFile& key, Tunnel& tunnel) {
    const crypto::Certificate& ours = *tunnel.local_auth.chain->front();
    check_key(certificate, key, ours, tunnel.local_auth);
    if (ours.not_after() < now_)
      warn(certificate.mark,
           fmt::format("certificate: {} has expired on {}", ours.words(), utc_words(ours.not_after())));
    if (ours.not_before() > now_)
      warn(certificate.mark,
           fmt::format("certificate: {} is not valid before {}", ours.words(), utc_words(ours.not_before())));
    if (!ours.may_sign())
      errors_.add(certificate.mark,
                  fmt::format("certificate: {} is not for signatures (key usage)", ours.words()));
    if (const std::string usage = ours.foreign_usage(); !usage.empty())
      errors_.add(certificate.mark,
                  fmt::format("certificate: {} is for other things than IKE (extended key usage): {}",
                              ours.words(), usage));
    take_identity(certificate, ours, tunnel);
  }

  void check_key(const NamedFile& certificate, const NamedFile& key, const crypto::Certificate& ours,
                 const LocalAuth& auth) {
    try {
      if (std::ranges::equal(ours.public_key()->der(), auth.public_key->der())) return;
    } catch (const std::exception& error) {
      return errors_.add(certificate.mark, fmt::format("certificate: {} has {}", ours.words(), error.what()));
    }
    errors_.add(key.mark, fmt::format("key: {} is not the key of {}, the first certificate of {}",
                                      in_quotes(key.path), ours.words(), in_quotes(certificate.path)));
  }

  // RFC 4945 section 3.1: what we say we are must stand in our certificate, and peers look for it there.
  void take_identity(const NamedFile& certificate, const crypto::Certificate& ours, Tunnel& tunnel) {
    Identity& id = tunnel.local_id;
    const bool by_default = id.data.empty();
    if (by_default && ours.subject().empty())
      return errors_.add(certificate.mark, fmt::format("certificate: {} has no subject; expected an id of {}",
                                                       in_quotes(certificate.path), ours.all_names()));
    const auto kind = name_kind(id.type);
    if (!by_default && (!kind || !ours.names(*kind, id.data)))
      return errors_.add(certificate.mark,
                         fmt::format("certificate: {} does not name us, {}; it names {}",
                                     in_quotes(certificate.path), in_quotes(id.text), ours.all_names()));
    if (id.type != IdentityType::directory_name) return;
    // As the certificate has it, byte by byte: not all peers compare names as they should.
    id.data.assign(ours.subject().begin(), ours.subject().end());
    if (by_default) id.text = crypto::directory_words(ours.subject());
  }

  void warn_of_expired(const Ppk& ppk) {
    if (ppk.not_after < now_)
      warn(ppk.mark, fmt::format("ppks: {} has expired on {}", in_quotes(ppk.id), utc_words(ppk.not_after)));
  }

  void warn_of_short(const Ppk& ppk) {
    constexpr std::size_t kStrong = 32;  // bytes: RFC 8784 section 6 asks for 256 bits of entropy
    if (!ppk.secret.empty() && ppk.secret.size() < kStrong)
      warn(ppk.mark,
           fmt::format("ppks: {} is of {} bytes, too short to withstand a quantum computer; make it of "
                       "at least {}",
                       in_quotes(ppk.id), ppk.secret.size(), kStrong));
  }

  void remote(const CredentialFiles& files, Tunnel& tunnel) {
    RemoteAuth& auth = tunnel.remote_auth;
    if (auth.by == Auth::public_key) auth.public_key = public_key(files.public_key);
    if (auth.by != Auth::certificate) return;
    auth.trust = trust(files);
    if (!name_kind(tunnel.remote_id.type) && !files.authorities.empty())
      errors_.add(files.authorities.front().mark,
                  fmt::format("authorities: no certificate can name {}, which is a key ID; expected another "
                              "id of remote, or another auth",
                              in_quotes(tunnel.remote_id.text)));
  }

  // A certificate is as good as the key in it.
  std::shared_ptr<const crypto::PublicKey> public_key(const NamedFile& from) {
    const auto [place, is_new] = public_keys_.try_emplace(from.path);
    if (is_new)
      place->second = made("public-key", from, Readers::anybody, kMostKey, [](Bytes file) {
        try {
          return crypto::read_certificates(file).front()->public_key();
        } catch (const std::exception&) {
          return crypto::PublicKey::read(file);
        }
      });
    return place->second;
  }

  std::shared_ptr<const crypto::TrustStore> trust(const CredentialFiles& files) {
    std::string name;
    for (const NamedFile& each : files.authorities) name += each.path + '\n';
    for (const NamedFile& each : files.crls) name += '\n' + each.path;
    const auto [place, is_new] = stores_.try_emplace(name);
    if (is_new) place->second = make_trust(files);
    return place->second;
  }

  std::shared_ptr<const crypto::TrustStore> make_trust(const CredentialFiles& files) {
    Chain anchors;
    for (const NamedFile& each : files.authorities) {
      const auto some = chain("authorities", each);
      if (!some) return {};
      anchors.insert(anchors.end(), some->begin(), some->end());
      for (const CertificatePtr& anchor : *some)
        if (anchor->not_after() < now_)
          warn(each.mark, fmt::format("authorities: {} has expired on {}", anchor->words(),
                                      utc_words(anchor->not_after())));
    }
    if (anchors.size() > kMostAnchors) {
      errors_.add(
          files.authorities.front().mark,
          fmt::format("authorities: {} certificates in all; expected at most {}, of those that issue the "
                      "peer's: the peer is told of each",
                      anchors.size(), kMostAnchors));
      return {};
    }
    std::vector<Bytes> lists;
    std::vector<crypto::SecretBytes> contents;
    for (const NamedFile& each : files.crls) {
      contents.push_back(made("crl", each, Readers::anybody, kMostCrl, [](Bytes file) {
        (void)crypto::TrustStore::make({}, std::span(&file, 1));  // whether it can be read
        return crypto::SecretBytes(file);
      }));
      if (contents.back().empty()) return {};
    }
    for (const crypto::SecretBytes& content : contents) lists.push_back(content.view());
    return crypto::TrustStore::make(anchors, lists);
  }

  void warn(Mark mark, const std::string& what) {
    warnings_.push_back(fmt::format("{}:{}:{}: {}", file_, mark.line, mark.column, what));
  }

  Errors errors_;
  std::string file_;
  std::int64_t now_;
  const PublicHalves* halves_;
  std::vector<std::string> warnings_;
  std::map<std::string, std::shared_ptr<const Chain>> chains_;
  std::map<std::string, std::shared_ptr<const crypto::PrivateKey>> keys_;
  std::map<std::string, std::shared_ptr<const crypto::PublicKey>> public_keys_;
  std::map<std::string, Owned> boxes_;
  std::map<std::string, std::shared_ptr<const crypto::TrustStore>> stores_;
};

std::vector<std::string> load_with(Loader& loader, Configuration& configuration) {
  for (Tunnel& tunnel : configuration.tunnels) loader.load(tunnel);
  for (Tunnel& tunnel : configuration.tunnels)  // it may be the certificate that told who we are
    if (tunnel.parent_index) tunnel.local_id = configuration.tunnels[*tunnel.parent_index].local_id;
  for (Tunnel& tunnel : configuration.tunnels) {
    if (!tunnel.first_slot) continue;
    const Tunnel& first = configuration.tunnels[*tunnel.first_slot];
    tunnel.local_id = first.local_id;
    tunnel.local_auth = first.local_auth;
    tunnel.remote_auth = first.remote_auth;
  }
  return loader.finish();
}

// Whose secrets a template's slots have, as only the file with the secrets tells.
void pack_peers(const std::vector<Tunnel>& tunnels, Packer& to) {
  const auto is_its = [](const Tunnel& tunnel) { return tunnel.first_slot && !tunnel.psk.empty(); };
  to.number(static_cast<std::uint32_t>(std::ranges::count_if(tunnels, is_its)));
  for (std::uint32_t i = 0; i < tunnels.size(); ++i) {
    if (!is_its(tunnels[i])) continue;
    to.number(i);
    to.number(static_cast<std::uint32_t>(tunnels[i].remote_id.type));
    to.text(tunnels[i].remote_id.text);
    to.text(text_of(tunnels[i].remote_id.data));
  }
}

void unpack_peers(Unpacker& from, std::vector<Tunnel>& tunnels) {
  for (std::uint32_t left = from.number(); left > 0; --left) {
    Identity& id = tunnels.at(from.number()).remote_id;
    id.type = static_cast<IdentityType>(from.number());
    id.text = from.text();
    const std::string data = from.text();
    id.data.assign(data.begin(), data.end());
  }
}

// In the child: the file's tree without secrets, what is wrong with these, whose they are, then the public
// halves.
std::string read_public(const std::string& path, std::int64_t now) {
  Node root = read_tree(path);
  const Configuration configuration = load_tree(root, path, Secrets::load);
  Loader loader(path, now);
  const PublicHalves halves = loader.public_halves(configuration.tunnels);
  const std::vector<std::string> late = loader.finish();
  blank_secrets(root);
  Packer out;
  out.tree(root);
  out.number(static_cast<std::uint32_t>(late.size()));
  for (const std::string& line : late) out.text(line);
  pack_peers(configuration.tunnels, out);
  for (const auto& [file, ders] : halves) {
    out.text(file);
    out.number(static_cast<std::uint32_t>(ders.size()));
    for (const std::string& der : ders) out.text(der);
  }
  return std::move(out).take();
}

PublicHalves unpack_halves(Unpacker& from) {
  PublicHalves out;
  while (!from.empty()) {
    Ders& ders = out[from.text()];
    for (std::uint32_t left = from.number(); left > 0; --left) ders.push_back(from.text());
  }
  return out;
}

}  // namespace

std::optional<crypto::NameKind> name_kind(IdentityType type) {
  switch (type) {
    case IdentityType::ipv4:
    case IdentityType::ipv6:
      return crypto::NameKind::address;
    case IdentityType::fqdn:
      return crypto::NameKind::dns;
    case IdentityType::email:
      return crypto::NameKind::email;
    case IdentityType::directory_name:
      return crypto::NameKind::directory;
    case IdentityType::key_id:
      break;
  }
  return std::nullopt;
}

std::vector<std::string> load_credentials(Configuration& configuration, const std::string& file,
                                          std::int64_t now) {
  Loader loader(file, now);
  return load_with(loader, configuration);
}

Loaded load_public(const std::string& path, std::int64_t now) {
  const std::string packed = apart([&] { return read_public(path, now); });
  Unpacker from(packed);
  const Node root = from.tree();
  std::vector<std::string> late;
  for (std::uint32_t left = from.number(); left > 0; --left) late.push_back(from.text());
  Loaded out{load_tree(root, path, Secrets::manual), std::move(late)};
  unpack_peers(from, out.configuration.tunnels);
  const PublicHalves halves = unpack_halves(from);
  Loader loader(path, now, &halves);
  for (std::string& line : load_with(loader, out.configuration)) out.late.push_back(std::move(line));
  return out;
}

}  // namespace espgate::conf
