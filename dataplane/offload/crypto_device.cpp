// In DPDK 22.11 the one way to make a pool of sessions is still called experimental.
#define ALLOW_EXPERIMENTAL_API

#include "dataplane/offload/crypto_device.hpp"

#include <fmt/format.h>
#include <rte_cryptodev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <string.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "conf/load.hpp"
#include "dataplane/log.hpp"
#include "dataplane/offload/transforms.hpp"

namespace espgate::dataplane {

namespace {

using channel::Direction;
using crypto::CipherMode;

// One device may have several services, each a crypto device of a name of its own.
std::optional<std::uint8_t> find_device(const std::string& name) noexcept {
  for (unsigned id = 0; id < RTE_CRYPTO_MAX_DEVS; ++id) {
    const auto device = static_cast<std::uint8_t>(id);
    if (rte_cryptodev_is_valid_dev(device) == 0) continue;
    rte_cryptodev_info info{};
    rte_cryptodev_info_get(device, &info);
    const bool named = name == rte_cryptodev_name_get(device) ||
                       (info.device != nullptr && name == rte_dev_name(info.device));
    if (named && (info.feature_flags & RTE_CRYPTODEV_FF_SYMMETRIC_CRYPTO) != 0) return device;
  }
  return {};
}

}  // namespace

CryptoDevice::CryptoDevice(const conf::CryptoDevice& wanted, std::uint8_t index, unsigned workers,
                           unsigned most_sessions)
    : name_(conf::crypto_device_args(wanted.device).ethdev_name),
      index_(index),
      most_sessions_(most_sessions) {
  const std::optional<std::uint8_t> id = find_device(name_);
  if (!id) fail("DPDK knows no such device for symmetric cryptography (is its driver there, and bound?)");
  link_.id = *id;
  rte_cryptodev_info info{};
  rte_cryptodev_info_get(link_.id, &info);
  driver_ = info.driver_name;
  socket_ = rte_cryptodev_socket_id(link_.id);
  chains_ = (info.feature_flags & RTE_CRYPTODEV_FF_SYM_OPERATION_CHAINING) != 0;
  if (info.max_nb_queue_pairs < workers)
    fail(
        fmt::format("it has {} queue pairs, and {} workers want one each", info.max_nb_queue_pairs, workers));
  if (info.sym.max_nb_sessions != 0) most_sessions_ = std::min(most_sessions_, info.sym.max_nb_sessions);
  const unsigned size = rte_cryptodev_sym_get_private_session_size(link_.id);
  pool_ = rte_cryptodev_sym_session_pool_create(fmt::format("crypto-sessions-{}", link_.id).c_str(),
                                                most_sessions_, size, 0, 0, socket_);
  if (pool_ == nullptr) fail(fmt::format("no memory for its sessions: {}", rte_strerror(rte_errno)));
  try {
    start(workers);
    find_suites(wanted);
  } catch (...) {
    if (started_) rte_cryptodev_stop(link_.id);
    rte_mempool_free(pool_);
    throw;
  }
}

CryptoDevice::~CryptoDevice() {
  rte_cryptodev_stop(link_.id);
  for (rte_mempool_memhdr* chunk = pool_->mem_list.stqh_first; chunk != nullptr;
       chunk = chunk->next.stqe_next)
    explicit_bzero(chunk->addr, chunk->len);
  rte_mempool_free(pool_);
}

void CryptoDevice::start(unsigned workers) {
  rte_cryptodev_config config{};
  config.socket_id = socket_;
  config.nb_queue_pairs = static_cast<std::uint16_t>(workers);
  config.ff_disable = RTE_CRYPTODEV_FF_ASYMMETRIC_CRYPTO | RTE_CRYPTODEV_FF_SECURITY;
  if (const int result = rte_cryptodev_configure(link_.id, &config); result != 0)
    fail(fmt::format("it can't be configured: {}", rte_strerror(-result)));
  const rte_cryptodev_qp_conf queue{.nb_descriptors = Flights::kLine, .mp_session = pool_};
  for (std::uint16_t q = 0; q < workers; ++q)
    if (const int result = rte_cryptodev_queue_pair_setup(link_.id, q, &queue, socket_); result != 0)
      fail(fmt::format("queue pair {} can't be set up: {}", q, rte_strerror(-result)));
  if (const int result = rte_cryptodev_start(link_.id); result != 0)
    fail(fmt::format("it does not start: {}", rte_strerror(-result)));
  started_ = true;
}

void CryptoDevice::find_suites(const conf::CryptoDevice& wanted) {
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    const bool named =
        std::find(wanted.suites.begin(), wanted.suites.end(), row.suite) != wanted.suites.end();
    const bool can = covers(row, false);
    if (named && !can) fail(fmt::format("it can't do {}", row.name));
    if (!named && !wanted.suites.empty()) continue;
    suites_[crypto::row_index(row.suite)] = can;
    esn_suites_[crypto::row_index(row.suite)] = can && covers(row, true);
  }
}

bool CryptoDevice::covers(const crypto::SuiteRow& suite, bool esn) const noexcept {
  const bool aead = suite.integrity == crypto::Integrity::none && suite.mode != CipherMode::gmac;
  if (esn && !aead) return false;
  if (suite.integrity != crypto::Integrity::none && !chains_) return false;
  static constexpr std::array<std::uint8_t, crypto::most_of_suites(crypto::key_material_length)> kNoKey{};
  const crypto::Bytes keys(kNoKey.data(), crypto::key_material_length(suite));
  return Transforms(suite, keys, Direction::outbound, Flights::iv_offset(), esn).all_in(link_.id) &&
         Transforms(suite, keys, Direction::inbound, Flights::iv_offset(), esn).all_in(link_.id);
}

bool CryptoDevice::can(const crypto::SuiteRow& suite, bool esn) const noexcept {
  return (esn ? esn_suites_ : suites_)[crypto::row_index(suite.suite)];
}

std::shared_ptr<HeldByDevice> CryptoDevice::hold(const CardSa& sa, bool esn) {
  auto held = std::make_shared<HeldByDevice>();
  held->suite = sa.suite;
  held->device = index_;
  held->keys = sa.keys;
  std::memcpy(held->salt.data(), sa.keys->view().data() + sa.suite->key_length, sa.suite->salt_length);
  Transforms transforms(*sa.suite, sa.keys->view(), sa.direction, Flights::iv_offset(), esn);
  held->session = rte_cryptodev_sym_session_create(link_.id, transforms.chain(), pool_);
  if (held->session == nullptr) {
    say(fmt::format("it takes no further session: {}; software does the SA", rte_strerror(rte_errno)));
    return nullptr;
  }
  ++sessions_;
  said_.clear();
  return held;
}

// Not every driver erases what it kept of the keys.
void CryptoDevice::forget(HeldByDevice& held) noexcept {
  --sessions_;
  void* const session = std::exchange(held.session, nullptr);
  if (rte_cryptodev_sym_session_free(link_.id, session) == 0) explicit_bzero(session, pool_->elt_size);
}

std::string CryptoDevice::describe() const {
  std::string words;
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    if (!can(row, false)) continue;
    words += words.empty() ? "" : ", ";
    words += row.name;
  }
  return words.empty() ? "nothing that ESP needs" : words;
}

void CryptoDevice::fail(const std::string& what) const {
  throw std::runtime_error(fmt::format("crypto device {}: {}", name_, what));
}

// Not twice in a row: what was refused is tried again for as long as the SA lives.
void CryptoDevice::say(const std::string& words) {
  if (said_ != words) log_line("crypto device {}: {}", name_, words);
  said_ = words;
}

}  // namespace espgate::dataplane
