#include "crypto/certificate.hpp"

#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "crypto/openssl.hpp"
#include "crypto/pem.hpp"
#include "crypto/x509.hpp"

namespace espgate::crypto {
namespace {

using openssl::Bio;
using Name = std::unique_ptr<X509_NAME, openssl::Deleter<X509_NAME_free>>;
using GeneralNames = std::unique_ptr<GENERAL_NAMES, openssl::Deleter<GENERAL_NAMES_free>>;
using ByteVector = std::vector<std::uint8_t>;

Bytes bytes_of(const ASN1_STRING* text) {
  return {ASN1_STRING_get0_data(text), static_cast<std::size_t>(ASN1_STRING_length(text))};
}

bool equal_but_case(Bytes a, Bytes b) {
  const auto lower = [](std::uint8_t c) {
    return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c | 0x20) : c;
  };
  return std::ranges::equal(a, b, {}, lower, lower);
}

// The mailbox as it stands, its domain without regard to case (RFC 5280 section 7.5).
bool same_email(Bytes a, Bytes b) {
  const auto at = static_cast<std::size_t>(std::ranges::find(a, '@') - a.begin());
  if (a.size() != b.size() || at == a.size()) return false;
  return std::ranges::equal(a.first(at), b.first(at)) && equal_but_case(a.subspan(at), b.subspan(at));
}

GeneralNames alternative_names(const X509* certificate) {
  return GeneralNames(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
}

bool is_name(const GENERAL_NAME* entry, NameKind kind, Bytes value) {
  int type = 0;
  const void* content = GENERAL_NAME_get0_value(entry, &type);
  const auto* text = static_cast<const ASN1_STRING*>(content);
  switch (kind) {
    case NameKind::dns:
      return type == GEN_DNS && equal_but_case(bytes_of(text), value);
    case NameKind::email:
      return type == GEN_EMAIL && same_email(bytes_of(text), value);
    case NameKind::address:
      return type == GEN_IPADD && std::ranges::equal(bytes_of(text), value);
    case NameKind::directory:
      break;
  }
  return false;
}

Name decode_name(Bytes der) {
  const unsigned char* at = der.data();
  Name out(d2i_X509_NAME(nullptr, &at, static_cast<long>(der.size())));
  if (out && at != der.data() + der.size()) out.reset();
  ERR_clear_error();
  return out;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  return length > 0 ? std::string(data, static_cast<std::size_t>(length)) : std::string();
}

// Escapes as RFC 2253 does, and every byte that is not printable ASCII.
std::string words_of(const X509_NAME* name) {
  const Bio bio = openssl::required(Bio(BIO_new(BIO_s_mem())), "text");
  constexpr unsigned long kFlags = ASN1_STRFLGS_ESC_2253 | ASN1_STRFLGS_ESC_CTRL | ASN1_STRFLGS_ESC_MSB |
                                   ASN1_STRFLGS_UTF8_CONVERT | ASN1_STRFLGS_DUMP_UNKNOWN |
                                   ASN1_STRFLGS_DUMP_DER | XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_FN_SN;
  X509_NAME_print_ex(bio.get(), name, 0, kFlags);
  std::string text = text_of(bio.get());
  ERR_clear_error();
  return text;
}

std::string address_words(Bytes value) {
  std::string out;
  if (value.size() == 4) {
    for (const std::uint8_t byte : value) out.append(out.empty() ? "" : ".").append(std::to_string(byte));
    return out;
  }
  for (std::size_t i = 0; i + 1 < value.size(); i += 2) {
    std::array<char, 8> group{};
    std::snprintf(group.data(), group.size(), "%x", static_cast<unsigned>(value[i] << 8 | value[i + 1]));
    out.append(out.empty() ? "" : ":").append(group.data());
  }
  return out;
}

// "; dns west.example"; what is not printable is a question mark.
std::string alternative_words(const GENERAL_NAME* entry) {
  int type = 0;
  const auto* text = static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(entry, &type));
  if (type == GEN_IPADD) return "; address " + address_words(bytes_of(text));
  if (type != GEN_DNS && type != GEN_EMAIL) return {};
  std::string out = type == GEN_DNS ? "; dns " : "; email ";
  for (const std::uint8_t c : bytes_of(text)) out += c > 0x20 && c < 0x7f ? static_cast<char>(c) : '?';
  return out;
}

// In digits.
std::string number_of(const ASN1_OBJECT* object) {
  std::array<char, 80> text{};
  OBJ_obj2txt(text.data(), static_cast<int>(text.size()), object, 1);
  return text.data();
}

std::string usage_words(const ASN1_OBJECT* usage) {
  const int known = OBJ_obj2nid(usage);
  return known == NID_undef ? number_of(usage) : OBJ_nid2sn(known);
}

bool is_for_peers(const ASN1_OBJECT* usage) {
  constexpr int kKnown[] = {NID_ipsec_IKE,   NID_ipsecEndSystem, NID_ipsecTunnel,        NID_ipsecUser,
                            NID_server_auth, NID_client_auth,    NID_anyExtendedKeyUsage};
  return std::ranges::count(kKnown, OBJ_obj2nid(usage)) != 0 ||
         number_of(usage) == "1.3.6.1.5.5.8.2.2";  // iKEIntermediate, of RFC 4945's drafts
}

}  // namespace

std::string utc_words(std::int64_t time) {
  tm parts{};
  const auto seconds = static_cast<time_t>(time);
  ::gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

CertificatePtr Certificate::of(x509_st* taken) {
  std::shared_ptr<Certificate> out(new Certificate);
  out->handle_ = std::shared_ptr<X509>(taken, X509_free);
  // Fills what OpenSSL keeps beside, which it would do later under a lock of its own.
  const bool sound = (X509_get_extension_flags(taken) & EXFLAG_INVALID) == 0;
  ERR_clear_error();
  if (!sound) return nullptr;
  unsigned char* der = nullptr;
  const int length = i2d_X509(taken, &der);
  openssl::require(length > 0, "encoding a certificate");
  out->der_.assign(der, der + length);
  OPENSSL_free(der);
  const unsigned char* subject = nullptr;
  std::size_t subject_length = 0;
  const X509_NAME* name = X509_get_subject_name(taken);
  if (X509_NAME_get0_der(name, &subject, &subject_length) == 1 && X509_NAME_entry_count(name) > 0)
    out->subject_.assign(subject, subject + subject_length);
  out->not_before_ = openssl::unix_time(X509_get0_notBefore(taken));
  out->not_after_ = openssl::unix_time(X509_get0_notAfter(taken));
  return out;
}

CertificatePtr Certificate::from_der(Bytes der) {
  const unsigned char* at = der.data();
  X509* certificate = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  ERR_clear_error();
  if (certificate == nullptr) return nullptr;
  if (at == der.data() + der.size()) return of(certificate);
  X509_free(certificate);
  return nullptr;
}

std::string Certificate::words() const {
  const std::string subject = words_of(X509_get_subject_name(handle_.get()));
  if (subject.empty()) return "a certificate without a subject";
  std::string out("\"");
  return out.append(subject).append("\"");
}

bool Certificate::is_self_issued() const {
  return X509_NAME_cmp(X509_get_subject_name(handle_.get()), X509_get_issuer_name(handle_.get())) == 0;
}

std::shared_ptr<const PublicKey> Certificate::public_key() const {
  EVP_PKEY* key = X509_get_pubkey(handle_.get());
  ERR_clear_error();
  if (key == nullptr) throw std::runtime_error("a certificate with a key of a kind that is not supported");
  return PublicKey::of(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
}

bool Certificate::names(NameKind kind, Bytes value) const {
  if (value.empty()) return false;
  if (kind == NameKind::directory) return same_directory_name(subject_, value);
  const GeneralNames names = alternative_names(handle_.get());
  ERR_clear_error();
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i)
    if (is_name(sk_GENERAL_NAME_value(names.get(), i), kind, value)) return true;
  return false;
}

std::string Certificate::all_names() const {
  constexpr int kMost = 8;
  std::string out = words_of(X509_get_subject_name(handle_.get()));
  const GeneralNames names = alternative_names(handle_.get());
  ERR_clear_error();
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < std::min(count, kMost); ++i)
    out += alternative_words(sk_GENERAL_NAME_value(names.get(), i));
  return out.starts_with("; ") ? out.substr(2) : out;
}

bool Certificate::may_sign() const {
  return (X509_get_key_usage(handle_.get()) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0;
}

std::string Certificate::foreign_usage() const {
  using Usages = std::unique_ptr<EXTENDED_KEY_USAGE, openssl::Deleter<EXTENDED_KEY_USAGE_free>>;
  const Usages usages(
      static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(handle_.get(), NID_ext_key_usage, nullptr, nullptr)));
  ERR_clear_error();
  constexpr int kMost = 8;
  std::string words;
  for (int i = 0; usages && i < sk_ASN1_OBJECT_num(usages.get()); ++i) {
    const ASN1_OBJECT* usage = sk_ASN1_OBJECT_value(usages.get(), i);
    if (is_for_peers(usage)) return {};
    if (i < kMost) words.append(words.empty() ? "" : ", ").append(usage_words(usage));
  }
  return words;
}

std::vector<CertificatePtr> read_certificates(Bytes file) {
  std::vector<CertificatePtr> out;
  const auto add = [&out](Bytes der) {
    CertificatePtr certificate = Certificate::from_der(der);
    if (!certificate) throw std::runtime_error("a certificate that can't be read");
    out.push_back(std::move(certificate));
  };
  if (is_pem(file)) {
    for (const PemBlock& block : read_pem(file))
      if (block.label == "CERTIFICATE" || block.label == "X509 CERTIFICATE") add(block.der.view());
  } else if (!file.empty()) {
    add(file);
  }
  if (out.empty()) throw std::runtime_error("no certificate");
  return out;
}

std::string directory_words(Bytes der) {
  const Name name = decode_name(der);
  return name ? words_of(name.get()) : std::string();
}

bool same_directory_name(Bytes a, Bytes b) {
  if (a.empty() || b.empty()) return false;
  if (std::ranges::equal(a, b)) return true;
  const Name left = decode_name(a);
  const Name right = decode_name(b);
  return left && right && X509_NAME_cmp(left.get(), right.get()) == 0;
}

std::uint32_t directory_hash(Bytes der) {
  const Name name = decode_name(der);
  int done = 0;
  const unsigned long hash = name ? X509_NAME_hash_ex(name.get(), nullptr, nullptr, &done) : 0;
  ERR_clear_error();
  return done == 1 ? static_cast<std::uint32_t>(hash) : 0;
}

// Each star is put where the name has an attribute of the same kind; then the two are compared as any.
bool fits_directory_pattern(Bytes name, Bytes pattern) {
  const Name left = decode_name(name);
  const Name right = decode_name(pattern);
  if (!left || !right || X509_NAME_entry_count(left.get()) != X509_NAME_entry_count(right.get()))
    return false;
  for (int i = 0; i < X509_NAME_entry_count(right.get()); ++i) {
    const X509_NAME_ENTRY* const wanted = X509_NAME_get_entry(right.get(), i);
    const ASN1_STRING* const star = X509_NAME_ENTRY_get_data(wanted);
    if (ASN1_STRING_length(star) != 1 || *ASN1_STRING_get0_data(star) != '*') continue;
    X509_NAME_ENTRY* const has = X509_NAME_get_entry(left.get(), i);
    if (OBJ_cmp(X509_NAME_ENTRY_get_object(has), X509_NAME_ENTRY_get_object(wanted)) != 0) return false;
    const std::unique_ptr<X509_NAME_ENTRY, openssl::Deleter<X509_NAME_ENTRY_free>> taken(
        X509_NAME_delete_entry(left.get(), i));
    if (X509_NAME_add_entry(left.get(), wanted, i, X509_NAME_ENTRY_set(wanted)) != 1) return false;
  }
  return X509_NAME_cmp(left.get(), right.get()) == 0;
}

Pkcs12 read_pkcs12(Bytes file, Bytes password) {
  const unsigned char* at = file.data();
  const std::unique_ptr<PKCS12, openssl::Deleter<PKCS12_free>> box(
      d2i_PKCS12(nullptr, &at, static_cast<long>(file.size())));
  ERR_clear_error();
  if (!box) throw std::runtime_error("not a PKCS#12 file");
  SecretBytes text(password.size() + 1);
  std::ranges::copy(password, text.bytes().begin());
  const auto* words = reinterpret_cast<const char*>(text.view().data());
  if (PKCS12_verify_mac(box.get(), words, -1) != 1 &&
      (!password.empty() || PKCS12_verify_mac(box.get(), nullptr, 0) != 1)) {
    ERR_clear_error();
    throw std::runtime_error("a PKCS#12 file with another password");
  }
  EVP_PKEY* key = nullptr;
  X509* leaf = nullptr;
  STACK_OF(X509)* others = nullptr;
  const bool done = PKCS12_parse(box.get(), words, &key, &leaf, &others) == 1;
  ERR_clear_error();
  Pkcs12 out;
  const std::shared_ptr<EVP_PKEY> owned_key(key, EVP_PKEY_free);
  const std::shared_ptr<STACK_OF(X509)> owned(others,
                                              [](STACK_OF(X509) * all) { sk_X509_pop_free(all, X509_free); });
  if (leaf != nullptr) out.chain.push_back(Certificate::of(leaf));
  for (int i = 0; others != nullptr && i < sk_X509_num(others); ++i) {
    X509* other = sk_X509_value(others, i);
    X509_up_ref(other);
    out.chain.push_back(Certificate::of(other));
  }
  if (!done) throw std::runtime_error("a PKCS#12 file in an encryption that OpenSSL 3 no longer reads");
  if (std::ranges::find(out.chain, nullptr) != out.chain.end())
    throw std::runtime_error("a PKCS#12 file with a certificate that can't be read");
  if (leaf == nullptr || key == nullptr)
    throw std::runtime_error("a PKCS#12 file without a key and its certificate");
  out.key = PrivateKey::of(owned_key);
  return out;
}

}  // namespace espgate::crypto
