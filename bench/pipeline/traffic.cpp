#include "bench/pipeline/traffic.hpp"

#include <emmintrin.h>

#include <cstring>
#include <stdexcept>

#include "bench/micro/frames.hpp"
#include "channel/spi.hpp"
#include "dataplane/path/wire.hpp"

namespace espgate::bench {

using namespace dataplane;

namespace {

// So that what runs through 10,000 tunnels is no walk that the hardware foresees.
constexpr std::uint64_t kStride = 7919;

}  // namespace

Traffic::Traffic(const Case& which, unsigned burst, rte_mempool* pool, Gateways& gateways,
                 std::uint32_t worker)
    : case_(which),
      gateways_(gateways),
      worker_(worker),
      mbufs_(burst),
      shapes_(burst),
      esp_(burst),
      payloads_(burst),
      jobs_(burst),
      sequences_(which.tunnels) {
  if (rte_pktmbuf_alloc_bulk(pool, mbufs_.data(), burst) != 0) throw std::runtime_error("no packet buffers");
}

Traffic::~Traffic() { rte_pktmbuf_free_bulk(mbufs_.data(), static_cast<unsigned>(mbufs_.size())); }

void Traffic::choose_shapes() {
  inner_bytes_ = 0;
  for (Shape& shape : shapes_) {
    shape.inner = case_.size.cycle[made_ % case_.size.cycle.size()];
    shape.slot = static_cast<std::uint32_t>(made_ / case_.per_sa * kStride % case_.tunnels);
    shape.port = static_cast<std::uint16_t>(0x1000 + (case_.groups ? made_ % 0x8000 : 0));
    inner_bytes_ += shape.inner;
    ++made_;
  }
}

std::uint32_t Traffic::destination(const Shape& shape) const noexcept {
  return Gateways::destination(worker_ * case_.tunnels + shape.slot);
}

void Traffic::flush_from_caches() const noexcept {
  for (const rte_mbuf* mbuf : mbufs_) {
    const auto* const data = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
    for (unsigned at = 0; at < mbuf->data_len; at += RTE_CACHE_LINE_SIZE) _mm_clflush(data + at);
    _mm_clflush(data + mbuf->data_len - 1);
    _mm_clflush(mbuf);
  }
  _mm_mfence();
}

std::uint32_t Traffic::payload_of(std::uint16_t inner) const noexcept {
  const std::uint32_t alignment = case_.suite->alignment;
  return (inner + 2U + alignment - 1) / alignment * alignment;
}

void Traffic::write_inner(std::uint8_t* at, const Shape& shape) const {
  write_ipv4(at, shape.inner, kProtocolUdp, 10U << 24 | 5, destination(shape));
  store16(at + kIpv4, shape.port);
  store16(at + kIpv4 + 2, 0x1000);
  store16(at + kIpv4 + 4, static_cast<std::uint16_t>(shape.inner - kIpv4));
  store16(at + kIpv4 + 6, 0);
  std::memset(at + kIpv4 + kUdp, 0x5a, shape.inner - kIpv4 - kUdp);
}

void Traffic::make_plain() {
  choose_shapes();
  const std::array<std::uint8_t, 6>& mac = gateways_.sender().ports[kInside].mac;
  for (std::size_t i = 0; i < mbufs_.size(); ++i) {
    set_length(mbufs_[i], kEthernet + shapes_[i].inner);
    std::uint8_t* const frame = rte_pktmbuf_mtod(mbufs_[i], std::uint8_t*);
    write_ethernet(frame, mac, RTE_ETHER_TYPE_IPV4);
    write_inner(frame + kEthernet, shapes_[i]);
    payloads_[i] = payload_of(shapes_[i].inner);
    esp_[i] = frame + kEthernet - case_.suite->iv_length - kEsp;
  }
}

// The ESP packet lies where the encrypt way would have put it.
void Traffic::seal(std::size_t i, const Shape& shape) {
  const crypto::SuiteRow& suite = *case_.suite;
  rte_mbuf* const mbuf = mbufs_[i];
  std::uint8_t* const frame = rte_pktmbuf_mtod(mbuf, std::uint8_t*);
  std::uint8_t* const esp = frame + kEthernet + kIpv4;
  std::uint8_t* const inner = esp + kEsp + suite.iv_length;
  const std::uint32_t payload = payload_of(shape.inner);
  write_ethernet(frame, gateways_.receiver().ports[kOutside].mac, RTE_ETHER_TYPE_IPV4);
  write_inner(inner, shape);
  const std::uint32_t padding = payload - shape.inner - 2;
  for (std::uint32_t k = 0; k < padding; ++k) inner[shape.inner + k] = static_cast<std::uint8_t>(k + 1);
  inner[payload - 2] = static_cast<std::uint8_t>(padding);
  inner[payload - 1] = kProtocolIpv4;
  const std::uint64_t sequence = ++sequences_[shape.slot];
  store32(esp, channel::make_spi(worker_, 1, shape.slot));
  store32(esp + 4, static_cast<std::uint32_t>(sequence));
  const std::uint32_t length = kIpv4 + kEsp + suite.iv_length + payload + suite.icv_length;
  write_ipv4(frame + kEthernet, static_cast<std::uint16_t>(length), kProtocolEsp, 192U << 24 | 2 << 8 | 2,
             192U << 24 | 2 << 8 | 1);
  set_length(mbuf, kEthernet + length);
  esp_[i] = esp;
  payloads_[i] = payload;
  jobs_[i] = {gateways_.key(), esp, sequence, payload, {suite.suite, false}, false};
}

void Traffic::make_sealed() {
  choose_shapes();
  for (std::size_t i = 0; i < mbufs_.size(); ++i) {
    set_length(mbufs_[i], 0);
    seal(i, shapes_[i]);
  }
  engine_.seal(jobs_);
}

bool Traffic::came_out(const TransmitBuffer& buffer, bool inner) const noexcept {
  if (buffer.count != mbufs_.size()) return false;
  for (std::size_t i = 0; i < mbufs_.size(); ++i) {
    if (buffer.packets[i] != mbufs_[i]) return false;
    if (!inner) continue;
    const std::uint8_t* const ip = rte_pktmbuf_mtod(mbufs_[i], const std::uint8_t*) + kEthernet;
    if (mbufs_[i]->data_len != kEthernet + shapes_[i].inner) return false;
    if (checked_ipv4(ip, shapes_[i].inner) != shapes_[i].inner) return false;
    if (load32(ip + 16) != destination(shapes_[i])) return false;
    for (unsigned at = kIpv4 + kUdp; at < shapes_[i].inner; ++at)
      if (ip[at] != 0x5a) return false;
  }
  return true;
}

}  // namespace espgate::bench
