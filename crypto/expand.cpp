// Key material into the form that the engine reads: AES round keys, powers of the hash key, HMAC's states.
#include <cstring>
#include <new>

#include "crypto/plan.hpp"

namespace espgate::crypto {
namespace {

hash_one_block_t one_block(IMB_MGR* manager, Integrity integrity) noexcept {
  switch (integrity) {
    case Integrity::none:
      break;
    case Integrity::hmac_sha1_96:
      return manager->sha1_one_block;
    case Integrity::hmac_sha256_128:
      return manager->sha256_one_block;
    case Integrity::hmac_sha384_192:
      return manager->sha384_one_block;
    case Integrity::hmac_sha512_256:
      return manager->sha512_one_block;
  }
  return nullptr;
}

// The states of HMAC after its padded key (RFC 2104 section 2); the keys here are never longer than a block.
void expand_hmac(IMB_MGR* manager, const Plan& plan, Bytes key, SaKey& out) noexcept {
  const hash_one_block_t hash = one_block(manager, plan.integrity);
  const auto padded = [&](std::uint8_t pad, std::uint8_t* state) {
    std::array<std::uint8_t, 128> block;
    block.fill(pad);
    for (std::size_t i = 0; i < key.size(); ++i) block[i] = static_cast<std::uint8_t>(key[i] ^ pad);
    hash(block.data(), state);
    explicit_bzero(block.data(), block.size());
  };
  padded(0x36, part(out, plan.key.inner));
  padded(0x5c, part(out, plan.key.outer));
}

void expand_cipher(IMB_MGR* manager, const SuiteRow& row, Bytes key, const Plan& plan, SaKey& out) noexcept {
  if (row.mode == CipherMode::null) return;
  if (row.mode == CipherMode::chacha20_poly1305) {
    std::ranges::copy(key, part(out, 0));
    return;
  }
  // Only CBC has a place for the second schedule: of the others it is erased.
  alignas(16) std::array<std::uint8_t, 240> unused;
  const bool cbc = row.mode == CipherMode::cbc;
  by_key_length(row.key_length, manager->keyexp_128, manager->keyexp_192, manager->keyexp_256)(
      key.data(), part(out, 0), cbc ? part(out, plan.key.decrypt) : unused.data());
  explicit_bzero(unused.data(), unused.size());
}

void expand_grouped(IMB_MGR* manager, const SuiteRow& row, Bytes material, SaKey& out) noexcept {
  const Plan& plan = kPlans[row_index(row.suite)];
  expand_cipher(manager, row, material.first(row.key_length), plan, out);
  std::ranges::copy(material.subspan(row.key_length, row.salt_length), part(out, plan.key.salt));
  if (row.integrity != Integrity::none)
    expand_hmac(manager, plan, material.last(row.integrity_key_length), out);
}

void expand_gcm(IMB_MGR* manager, const SuiteRow& row, Bytes material, SaKey& out) noexcept {
  GcmKey& key = *new (out.storage) GcmKey{};
  by_key_length(row.key_length, manager->gcm128_pre, manager->gcm192_pre, manager->gcm256_pre)(
      material.data(), &key.schedule);
  std::memcpy(&key.salt, material.data() + row.key_length, sizeof key.salt);
}

}  // namespace

bool BulkEngine::expand(EspSuite suite, Bytes key_material, SaKey& out) const noexcept {
  const SuiteRow* row = find_suite(suite);
  if (row == nullptr || key_material.size() != key_material_length(*row)) return false;
  out = SaKey{};
  const bool direct = kPlans[row_index(suite)].method == Method::direct;
  (direct ? expand_gcm : expand_grouped)(wide_.get(), *row, key_material, out);
  return true;
}

}  // namespace espgate::crypto
