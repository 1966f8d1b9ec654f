#include "dataplane/offload/flights.hpp"

#include <rte_cryptodev.h>
#include <rte_cycles.h>

#include <algorithm>
#include <cstring>

#include "dataplane/path/decapsulate.hpp"
#include "dataplane/path/encapsulate.hpp"
#include "dataplane/path/mtu.hpp"
#include "dataplane/path/ways.hpp"

namespace espgate::dataplane {

namespace {

using crypto::CipherMode;

constexpr unsigned kCache = 64;
constexpr std::uint32_t kBlock = 16;       // of AES
constexpr std::size_t kBeforeCcmAad = 18;  // rte_crypto_sym.h: room that a driver uses for CCM

constexpr std::uint16_t kFlightOffset = RTE_ALIGN_CEIL(sizeof(rte_crypto_op) + sizeof(rte_crypto_sym_op), 64);

}  // namespace

// What travels with an operation.
struct Flights::Flight {
  enum class State : std::uint8_t {
    waiting,  // to be given to the device
    given,
    back,
    engine,  // not for the device, and done when it is at the head
    lost,    // the device was given up; its packet is counted already
  };
  Packet packet;
  crypto::EspJob job;
  DeviceSession* session;
  State state;
  Way way;
  alignas(16) std::array<std::uint8_t, kBlock> iv;
  alignas(16) std::array<std::uint8_t, 3 * kBlock> aad;
};

Flights::Flight& Flights::flight_of(rte_crypto_op* operation) noexcept {
  return *reinterpret_cast<Flight*>(reinterpret_cast<std::uint8_t*>(operation) + kFlightOffset);
}

std::uint16_t Flights::iv_offset() noexcept {
  return static_cast<std::uint16_t>(kFlightOffset + offsetof(Flight, iv));
}

rte_mempool* Flights::make_operations(const char* name, unsigned devices, int socket) {
  constexpr unsigned kOwn =
      kFlightOffset - sizeof(rte_crypto_op) - sizeof(rte_crypto_sym_op) + sizeof(Flight);
  return rte_crypto_op_pool_create(name, RTE_CRYPTO_OP_TYPE_SYMMETRIC, devices * kLine + 2 * kCache, kCache,
                                   static_cast<std::uint16_t>(kOwn), socket);
}

Flights::Flights(std::span<DeviceLink* const> devices, std::uint16_t queue_pair, rte_mempool* operations)
    : queue_pair_(queue_pair),
      operations_(operations),
      patience_(kPatience / 1000 * rte_get_tsc_hz() / 1'000'000) {
  for (DeviceLink* const device : devices) {
    lines_.push_back(std::make_unique<Line>());
    lines_.back()->device = device;
  }
}

Flights::~Flights() = default;

namespace {

// Salt and the IV on the wire, as the nonces of RFC 3686, 4106, 4309, 4543 and 7634 are.
void write_nonce(std::uint8_t* to, const DeviceSession& session, const crypto::EspJob& job) noexcept {
  std::memcpy(to, session.salt.data(), session.suite->salt_length);
  std::memcpy(to + session.suite->salt_length, job.esp + kEsp, session.suite->iv_length);
}

// SPI and sequence number, with ESN its high half between them (RFC 4106 section 5).
void write_aad(std::uint8_t* to, const crypto::EspJob& job) noexcept {
  std::memcpy(to, job.esp, 4);
  if (job.scheme.esn()) {
    store32(to + 4, static_cast<std::uint32_t>(job.sequence >> 32));
    to += 4;
  }
  std::memcpy(to + 4, job.esp + 4, 4);
}

// The sequence number as the engine writes it: the IV itself, or the block before the payload whose
// encryption becomes CBC's IV (crypto/groups.cpp).
void write_iv(const crypto::EspJob& job, const crypto::SuiteRow& suite) noexcept {
  if (suite.iv_length == 0) return;
  constexpr unsigned kNumber = sizeof(std::uint64_t);
  std::memset(job.esp + kEsp, 0, suite.iv_length);
  store(job.esp + kEsp + suite.iv_length - kNumber, __builtin_bswap64(job.sequence));
}

}  // namespace

void Flights::describe(rte_crypto_op& operation, Flight& flight, const DeviceSession& session) noexcept {
  const crypto::EspJob& job = flight.job;
  const crypto::SuiteRow& suite = *session.suite;
  const bool sealing = flight.way == Way::seal;
  if (sealing) write_iv(job, suite);
  rte_crypto_sym_op& what = *operation.sym;
  what.m_src = flight.packet.mbuf;
  const auto at = static_cast<std::uint32_t>(job.esp - flight.packet.ip);
  const std::uint32_t text = at + kEsp + suite.iv_length;
  const std::uint32_t icv = text + job.payload;
  flight.iv.fill(0);
  const auto own = [&operation](const auto& field) {
    return operation.phys_addr + static_cast<rte_iova_t>(reinterpret_cast<const std::uint8_t*>(&field) -
                                                         reinterpret_cast<const std::uint8_t*>(&operation));
  };
  if (suite.integrity == crypto::Integrity::none && suite.mode != CipherMode::gmac) {
    const bool ccm = suite.mode == CipherMode::ccm;
    write_nonce(flight.iv.data() + (ccm ? 1 : 0), session, job);
    write_aad(flight.aad.data() + (ccm ? kBeforeCcmAad : 0), job);
    what.aead.data = {text, job.payload};
    what.aead.aad = {flight.aad.data(), own(flight.aad)};
    what.aead.digest = {flight.packet.ip + icv, rte_pktmbuf_iova_offset(what.m_src, icv)};
    return;
  }
  what.auth.data = {at, icv - at};
  what.auth.digest = {flight.packet.ip + icv, rte_pktmbuf_iova_offset(what.m_src, icv)};
  what.cipher.data = {text, job.payload};
  if (suite.mode == CipherMode::gmac || suite.mode == CipherMode::ctr)
    write_nonce(flight.iv.data(), session, job);
  if (suite.mode == CipherMode::ctr) flight.iv[kBlock - 1] = 1;  // RFC 3686 section 4
  if (suite.mode != CipherMode::cbc) return;
  if (sealing)
    what.cipher.data = {at + kEsp, kBlock + job.payload};
  else
    std::memcpy(flight.iv.data(), job.esp + kEsp, kBlock);
}

// Once a session is lost, or its device given up, its packets are the engine's: at once when none of the SA's
// are in the line, else behind those.
bool Flights::give(Worker& worker, const Packet& packet, const crypto::EspJob& job,
                   const std::atomic<DeviceSession*>& of, Way way) noexcept {
  DeviceSession* const session = of.load(std::memory_order_acquire);
  if (session == nullptr) return false;
  Line& line = *lines_[session->device];
  const bool by_engine =
      session->lost.load(std::memory_order_relaxed) || line.device->given_up.load(std::memory_order_relaxed);
  if (by_engine && session->in_flight == 0) return false;
  rte_crypto_op* const operation = line.tail - line.head < kLine
                                       ? rte_crypto_op_alloc(operations_, RTE_CRYPTO_OP_TYPE_SYMMETRIC)
                                       : nullptr;
  if (operation == nullptr) {
    worker.drop(packet.mbuf, DropReason::crypto_device_full);
    return true;
  }
  set_data(packet.mbuf, packet.ip, packet.length);
  Flight& flight = flight_of(operation);
  flight.packet = packet;
  flight.packet.outer_mtu = outer_limit(worker, packet);
  flight.job = job;
  flight.session = session;
  flight.way = way;
  flight.state = by_engine ? Flight::State::engine : Flight::State::waiting;
  if (!by_engine) {
    describe(*operation, flight, *session);
    (void)rte_crypto_op_attach_sym_session(operation, session->session);
  }
  ++session->in_flight;
  line.at(line.tail++) = operation;
  return true;
}

void Flights::take_off() noexcept {
  for (const auto& each : lines_) {
    Line& line = *each;
    std::array<rte_crypto_op*, kBurst> operations;
    for (bool room = true; room && line.given != line.tail;) {
      if (line.device->given_up.load(std::memory_order_relaxed)) break;
      std::uint16_t count = 0;
      for (; line.given + count != line.tail && count < kBurst; ++count) {
        rte_crypto_op* const operation = line.at(line.given + count);
        if (flight_of(operation).state != Flight::State::waiting) break;
        operations[count] = operation;
      }
      if (count == 0) {  // the engine's
        ++line.given;
        continue;
      }
      for (unsigned i = 0; i < count; ++i) flight_of(operations[i]).state = Flight::State::given;
      const std::uint16_t taken =
          rte_cryptodev_enqueue_burst(line.device->id, queue_pair_, operations.data(), count);
      for (unsigned i = taken; i < count; ++i) flight_of(operations[i]).state = Flight::State::waiting;
      const bool owed = line.outstanding != 0 || line.refused;
      line.refused = taken == 0;
      if (!owed) line.heard = rte_rdtsc();
      line.outstanding += taken;
      line.given += taken;
      room = taken == count;
      if (room || operations[taken]->status == RTE_CRYPTO_OP_STATUS_NOT_PROCESSED) continue;
      // It is not that there is no room: the driver does not take this one.
      flight_of(operations[taken]).state = Flight::State::back;
      ++line.given;
      line.refused = false;
      room = true;
    }
  }
}

// What comes of a device that was given up is of nobody's interest any more.
void Flights::collect(Line& line, std::uint64_t now) noexcept {
  std::array<rte_crypto_op*, kBurst> operations;
  for (std::uint16_t count = kBurst; line.outstanding != 0 && count == kBurst;) {
    count = rte_cryptodev_dequeue_burst(line.device->id, queue_pair_, operations.data(), kBurst);
    if (count != 0) line.heard = now;
    line.outstanding -= count;
    for (unsigned i = 0; i < count; ++i) {
      Flight& flight = flight_of(operations[i]);
      if (flight.state == Flight::State::lost) {
        rte_pktmbuf_free(flight.packet.mbuf);
        rte_crypto_op_free(operations[i]);
      } else {
        flight.state = Flight::State::back;
      }
    }
  }
  if ((line.outstanding != 0 || line.refused) && now - line.heard > patience_)
    line.device->given_up.store(true, std::memory_order_relaxed);
}

// The device may still write to what it was given, so those packets and operations stay with it. What it was
// not given is the engine's.
void Flights::ground(Worker& worker, Line& line) noexcept {
  for (std::uint32_t i = line.head; i != line.tail; ++i) {
    rte_crypto_op*& operation = line.at(i);
    if (operation == nullptr) continue;
    Flight& flight = flight_of(operation);
    if (flight.state == Flight::State::waiting) flight.state = Flight::State::engine;
    if (flight.state != Flight::State::given) continue;
    flight.state = Flight::State::lost;
    --flight.session->in_flight;
    channel::add(worker.counters->drops[static_cast<std::size_t>(DropReason::crypto_device_lost)], 1);
    channel::add(worker.counters->crypto_devices[flight.session->device].lost, 1);
    operation = nullptr;
  }
}

unsigned Flights::land(Worker& worker) noexcept {
  const std::uint64_t now = worker.scratch.now = rte_rdtsc();
  unsigned packets = 0;
  for (const auto& line : lines_) {
    if (line->outstanding != 0 || line->refused) collect(*line, now);
    if (line->head == line->tail) continue;
    if (line->device->given_up.load(std::memory_order_relaxed)) [[unlikely]]
      ground(worker, *line);
    packets += go_on(worker, *line);
  }
  return packets;
}

// What is opened may have to be sealed by the same device, and so lengthen the line.
unsigned Flights::go_on(Worker& worker, Line& line) noexcept {
  unsigned packets = 0;
  for (bool ready = true; ready;) {
    while (line.head != line.tail && sealed_.count < kBurst && opened_.count < kBurst) {
      rte_crypto_op* const operation = line.at(line.head);
      if (operation != nullptr) {
        const Flight::State state = flight_of(operation).state;
        ready = state == Flight::State::back || state == Flight::State::engine;
        if (!ready) break;
        settle(worker, operation);
        ++packets;
      }
      if (line.given == line.head) ++line.given;
      ++line.head;
    }
    send_on(worker);
    ready = ready && line.head != line.tail;
  }
  return packets;
}

void Flights::send_on(Worker& worker) noexcept {
  if (!sealed_.empty()) {
    finish_checksums(worker, sealed_);
    transmit_deferred(worker, sealed_);
  }
  if (!opened_.empty()) accept_opened(worker, opened_);
  sealed_.count = opened_.count = 0;
}

void Flights::settle(Worker& worker, rte_crypto_op* operation) noexcept {
  Flight& flight = flight_of(operation);
  const std::uint8_t status = operation->status;
  --flight.session->in_flight;
  if (flight.way == Way::seal)
    settle_sealed(worker, flight, status);
  else
    settle_opened(worker, flight, status);
  rte_crypto_op_free(operation);
}

// What the device did not finish is not sealed again: nobody knows what it did with the bytes, and a key
// stream that meets them twice would leave them in clear.
void Flights::settle_sealed(Worker& worker, Flight& flight, std::uint8_t status) noexcept {
  channel::CryptoDeviceCounters& counters = worker.counters->crypto_devices[flight.session->device];
  if (flight.state == Flight::State::engine) {
    worker.engine.seal({&flight.job, 1});
  } else if (status == RTE_CRYPTO_OP_STATUS_SUCCESS) [[likely]] {
    channel::add(counters.sealed, 1);
    channel::add(flight.packet.outbound->by_device, 1);
  } else {
    channel::add(counters.failed, 1);
    flight.session->lost.store(true, std::memory_order_relaxed);
    return worker.drop(flight.packet.mbuf, DropReason::crypto_device_failed);
  }
  sealed_.add() = flight.packet;
}

// The other way round the engine may try: what is not intact any more is not authentic.
void Flights::settle_opened(Worker& worker, Flight& flight, std::uint8_t status) noexcept {
  channel::CryptoDeviceCounters& counters = worker.counters->crypto_devices[flight.session->device];
  bool authentic = status == RTE_CRYPTO_OP_STATUS_SUCCESS;
  const bool failed =
      flight.state == Flight::State::back && !authentic && status != RTE_CRYPTO_OP_STATUS_AUTH_FAILED;
  if (failed) {
    channel::add(counters.failed, 1);
    flight.session->lost.store(true, std::memory_order_relaxed);
  }
  if (failed || flight.state == Flight::State::engine) {
    worker.engine.open({&flight.job, 1});
    authentic = flight.job.ok;
  } else {
    channel::add(counters.opened, 1);
    if (authentic) channel::add(flight.packet.inbound->by_device, 1);
  }
  if (!authentic) return (void)drop_forged(worker, flight.packet);
  opened_.add() = flight.packet;
}

bool Flights::empty() const noexcept {
  return std::all_of(lines_.begin(), lines_.end(), [](const auto& line) { return line->head == line->tail; });
}

// Whoever is retired by now is held by what is in the lines, and by nothing that comes later.
void Flights::be_quiet(Rcu& rcu, std::uint32_t worker) noexcept {
  if (empty()) {
    fenced_ = false;
    return rcu.quiet(worker);
  }
  if (fenced_ && std::all_of(lines_.begin(), lines_.end(), [](const auto& line) {
        return static_cast<std::int32_t>(line->head - line->fence) >= 0;
      })) {
    rcu.quiet_by(worker, token_);
    fenced_ = false;
  }
  if (fenced_) return;
  token_ = rcu.token();
  for (const auto& line : lines_) line->fence = line->tail;
  fenced_ = true;
}

void Flights::finish(Worker& worker) noexcept {
  while (!empty()) {
    (void)land(worker);
    take_off();
    flush_transmit(worker);
  }
}

}  // namespace espgate::dataplane
