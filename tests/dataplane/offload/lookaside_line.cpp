#define ALLOW_EXPERIMENTAL_API  // rte_cryptodev's callbacks

#include "tests/dataplane/offload/lookaside_line.hpp"

#include <rte_bus_vdev.h>
#include <rte_cryptodev.h>

#include <algorithm>
#include <cstdlib>
#include <set>

namespace espgate::test {

std::string virtual_device(const std::string& name) {
  static std::set<std::string> made;
  start_eal();
  if (!made.insert(name).second) return name;
  REQUIRE(rte_vdev_init(name.c_str(), "") == 0);
  // Before OpenSSL cleans up after itself, which its driver does not bear; that is before EAL ends, too.
  std::atexit([] {
    for (const std::string& each : made) rte_vdev_uninit(each.c_str());
    made.clear();
  });
  return name;
}

Between::Between(std::uint8_t device)
    : device_(device),
      going_(rte_cryptodev_add_enq_callback(device, 0, go, this)),
      coming_(rte_cryptodev_add_deq_callback(device, 0, come_back, this)) {
  REQUIRE(going_ != nullptr);
  REQUIRE(coming_ != nullptr);
}

Between::~Between() {
  rte_cryptodev_remove_enq_callback(device_, 0, going_);
  rte_cryptodev_remove_deq_callback(device_, 0, coming_);
}

std::uint16_t Between::go(std::uint16_t, std::uint16_t, rte_crypto_op** operations, std::uint16_t count,
                          void* self) {
  Between& between = *static_cast<Between*>(self);
  if (!between.takes) return 0;
  for (unsigned i = 0; i < count; ++i)
    if (between.unknown_at >= 0 && between.unknown_at-- == 0)
      reinterpret_cast<rte_crypto_sym_op*>(operations[i] + 1)->session = nullptr;
  return count;
}

std::uint16_t Between::come_back(std::uint16_t, std::uint16_t, rte_crypto_op** operations,
                                 std::uint16_t count, void* self) {
  Between& between = *static_cast<Between*>(self);
  std::deque<rte_crypto_op*>& held = between.held_;
  for (unsigned i = 0; i < count; ++i) {
    if (between.fail_at >= 0 && between.fail_at-- == 0) operations[i]->status = RTE_CRYPTO_OP_STATUS_ERROR;
    held.push_back(operations[i]);
  }
  const auto back = std::min<std::size_t>({held.size(), between.most, dataplane::kBurst});
  if (between.most != ~0U) between.most -= static_cast<unsigned>(back);
  std::copy_n(held.begin(), back, operations);
  held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(back));
  if (between.backwards) std::reverse(operations, operations + back);
  return static_cast<std::uint16_t>(back);
}

LookasideLine::LookasideLine(const std::vector<std::string>& devices, crypto::EspSuite suite, bool udp,
                             unsigned most_sessions)
    : Line(suite, udp) {
  std::vector<std::unique_ptr<dataplane::CryptoDevice>> made;
  for (const std::string& name : devices) {
    conf::CryptoDevice wanted;
    wanted.device = virtual_device(name);
    made.push_back(std::make_unique<dataplane::CryptoDevice>(wanted, static_cast<std::uint8_t>(made.size()),
                                                             1, most_sessions));
  }
  desk.offload.lookaside().use(std::move(made), desk.workers);
}

std::vector<Octets> LookasideLine::put_inner(unsigned packets) {
  std::vector<Octets> inner;
  for (unsigned i = 0; i < packets; ++i) {
    inner.push_back(ipv4_packet({}, payload(i)));
    put(lan, frame_to(kLan, inner.back()));
  }
  pump();
  return inner;
}

void LookasideLine::check_out(const std::vector<Octets>& inner) {
  const std::vector<Octets> frames = packets_of(wan);
  REQUIRE(frames.size() == inner.size());
  for (std::size_t i = 0; i < inner.size(); ++i) check_sent(frames[i], inner[i]);
}

void LookasideLine::check_out_but(std::size_t lost, const std::vector<Octets>& inner) {
  const std::vector<Octets> frames = packets_of(wan);
  REQUIRE(frames.size() + 1 == inner.size());
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (i == lost)
      skip(1);
    else
      check_sent(frames[i < lost ? i : i - 1], inner[i]);
  }
}

}  // namespace espgate::test
