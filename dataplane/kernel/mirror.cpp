#include "dataplane/kernel/mirror.hpp"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_mbuf.h>

#include <array>
#include <cstring>
#include <stdexcept>

#include "dataplane/kernel/links.hpp"
#include "dataplane/log.hpp"

namespace espgate::dataplane {

namespace {

constexpr std::uint16_t kMtu = 9000;
constexpr unsigned kPacketsPerCall = 256;

Mirrored mirrored_by(const channel::SetMirror& wanted) noexcept {
  switch (wanted.what) {
    case channel::MirrorOf::port:
      return {Mirrored::Kind::port, wanted.index};
    case channel::MirrorOf::tunnel:
      return {Mirrored::Kind::tunnel, wanted.index};
    case channel::MirrorOf::nothing:
      break;
  }
  return {};
}

// An interface without addresses, on which the kernel takes nothing in.
std::unique_ptr<Tun> make_mirror(const std::string& name) {
  if (if_nametoindex(name.c_str()) != 0) throw std::runtime_error("there is an interface of this name");
  auto tun = std::make_unique<Tun>(name);
  keep_kernel_off(name);
  Links().set_up(static_cast<int>(if_nametoindex(name.c_str())), kMtu, "espgate mirror");
  return tun;
}

}  // namespace

Mirror::~Mirror() { (void)set({}); }

bool Mirror::set(const channel::SetMirror& wanted) {
  tables_.mirrored.store({}, std::memory_order_relaxed);
  tun_.reset();
  (void)serve();
  if (wanted.what == channel::MirrorOf::nothing) return true;
  const std::string name(wanted.name.data(), strnlen(wanted.name.data(), wanted.name.size()));
  try {
    tun_ = make_mirror(name);
  } catch (const std::exception& error) {
    log_line("no mirror {} in the kernel: {}", name, error.what());
    return false;
  }
  tables_.mirrored.store(mirrored_by(wanted), std::memory_order_relaxed);
  return true;
}

unsigned Mirror::serve() {
  std::array<rte_mbuf*, kPacketsPerCall> packets;
  const unsigned count =
      rte_ring_sc_dequeue_burst(copies_, reinterpret_cast<void**>(packets.data()), kPacketsPerCall, nullptr);
  for (unsigned i = 0; i < count; i++)
    if (tun_) (void)tun_->write({rte_pktmbuf_mtod(packets[i], const std::uint8_t*), packets[i]->data_len});
  rte_pktmbuf_free_bulk(packets.data(), count);
  std::array<std::uint8_t, 64> nothing;
  while (tun_ && tun_->read(nothing) > 0) {
  }
  return count;
}

}  // namespace espgate::dataplane
