// What only a peer can send: plaintexts of the fuzzer's, sealed with the SAs' keys, through all of the
// decrypt way and on to the port or to the main thread. Each packet ends in an output or in a counted drop,
// what leaves is sound, and no packet buffer is lost.
#include <sanitizer/lsan_interface.h>

#include <array>
#include <cstdlib>

#include "channel/spi.hpp"
#include "tests/dataplane/host/desk.hpp"

using namespace espgate;
using namespace espgate::test;
using crypto::EspSuite;

namespace {

constexpr std::size_t kBurst = 32;
constexpr std::uint64_t kCycle = std::uint64_t{1} << 32;
constexpr std::size_t kMtu = 1500;

void must(bool good) {
  if (!good) __builtin_trap();
}

struct Kind {
  EspSuite suite;
  Form form;
};
constexpr std::array<Kind, 8> kKinds{{
    {EspSuite::aes128_gcm16, {}},
    {EspSuite::aes256_gcm16, {.udp = true, .esn = true}},
    {EspSuite::aes128_cbc_sha1, {}},
    {EspSuite::null_sha256, {.outer6 = true}},
    {EspSuite::chacha20_poly1305, {.udp = true, .outer6 = true, .esn = true}},
    {EspSuite::aes128_gmac, {.transport = true, .esn = true}},
    {EspSuite::aes128_ctr_sha256, {.udp = true, .transport = true}},
    {EspSuite::aes128_ccm16, {.outer6 = true, .transport = true}},
}};

struct Sa {
  channel::InstallSa install;
  dataplane::InboundSa* state;
  std::uint64_t sequence;  // of the last packet
};

// The Desk's gateway with an SA of each kind, whose peer is 192.0.2.2 or 2001:db8:ff::2.
class Target {
 public:
  Target() {
    must(desk_.run(set_tunnel(0)) == channel::CommandStatus::ok);
    must(desk_.tables.routes(kMainTable)
             .set(*parse_prefix("2001:db8:ff::1"), {NextHopKind::host, kWan, 0, 0}));
    desk_.tables.routes(kMainTable).commit();
    desk_.know(kLan, "10.1.0.2", {2, 0, 0, 0, 0x99, 1});
    desk_.know(kWan, "192.0.2.2", {2, 0, 0, 0, 0x99, 2});
    for (std::uint32_t slot = 0; slot < kKinds.size(); ++slot) install(slot);
  }

  // Windows as those of new SAs, or with ESN as those of SAs that are about to begin another cycle.
  void renew(bool end_of_cycle) {
    for (Sa& sa : sas_) {
      must(sa.state->window.reset(64));
      sa.sequence = 0;
      if (!end_of_cycle || sa.install.esn == 0) continue;
      sa.sequence = 5 * kCycle - 2;
      must(sa.state->window.commit(sa.sequence) == crypto::ReplayWindow::Verdict::fresh);
    }
    desk_.now += kSecond;
  }

  Sa& sa(unsigned number) { return sas_[number % sas_.size()]; }

  void add(const Octets& ip, std::uint16_t tailroom) {
    const bool v6 = ip[0] >> 4 == 6;
    const Octets frame = ethernet(desk_.tables.ports[kWan].mac, v6 ? 0x86dd : 0x0800, ip);
    burst_.push_back(make_on_heap(desk_.pool.get(), frame, 128, tailroom));
    short_ones_ = short_ones_ && ip.size() <= kMtu;
    if (burst_.size() == kBurst) receive();
  }

  void receive() {
    if (burst_.empty()) return;
    dataplane::Worker& worker = *desk_.workers[0];
    const std::uint64_t before = dropped();
    dataplane::process_received(worker, kWan, burst_);
    // What is too long for the port leaves in several fragments.
    const std::uint64_t ended = dropped() - before + left(worker);
    must(short_ones_ ? ended == burst_.size() : ended >= burst_.size());
    burst_.clear();
    short_ones_ = true;
    const Output out = desk_.pass(kWan, {});
    for (const auto& frames : out.frames)
      for (const Octets& frame : frames) check(frame);
  }

  // The main thread gives up on neighbours that do not answer, and on fragments.
  void finish() {
    receive();
    for (unsigned tries = 0; desk_.buffers_out() != 0 && tries < 40; ++tries) {
      desk_.now += kSecond / 4;
      desk_.slow_path.advance(desk_.now);
      desk_.slow_path.resolver().advance(desk_.now);
      receive_answers();
    }
    must(desk_.buffers_out() == 0);
    desk_.control.datagrams.clear();
    desk_.control.events.clear();
    desk_.control.waiting = 0;
  }

 private:
  void install(std::uint32_t slot) {
    const std::uint32_t spi = channel::make_spi(0, 1, slot);
    channel::Command command = install_inbound(0, spi);
    channel::InstallSa& install = command.body.install_sa;
    install.suite = static_cast<std::uint16_t>(kKinds[slot].suite);
    install.local_port = install.remote_port = 4500;
    set_form(install, kKinds[slot].form, 1, 2);
    must(desk_.run(command) == channel::CommandStatus::ok);
    sas_[slot] = {install, &desk_.tables.inbound[0].slots[slot], 0};
  }

  std::uint64_t dropped() {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < channel::kDropReasons; ++i) sum += desk_.page.worker(0).drops[i].load();
    return sum;
  }

  static std::uint64_t left(const dataplane::Worker& worker) {
    return worker.transmit[kLan].count + worker.transmit[kWan].count + rte_ring_count(worker.exceptions) +
           rte_ring_count(worker.ike) + rte_ring_count(worker.inbox) + rte_ring_count(worker.liveness);
  }

  void receive_answers() {
    for (const auto& frames : desk_.pass(kWan, {}).frames)
      for (const Octets& frame : frames) check(frame);
  }

  static void check(const Octets& frame) {
    must(frame.size() >= 14);
    const unsigned type = get16(frame, 12);
    const Octets ip = slice(frame, 14);
    if (type == 0x0800) {
      must(ip.size() >= 20 && ip[0] >> 4 == 4 && get16(ip, 2) <= ip.size() && ip.size() <= kMtu);
      must(ip[8] != 0 && internet_sum(ip, 0, (ip[0] & 15U) * 4) == 0xffff);
    } else if (type == 0x86dd) {
      must(ip.size() >= 40 && ip[0] >> 4 == 6 && get16(ip, 4) + 40U <= ip.size() && ip.size() <= kMtu);
      must(ip[7] != 0);
    } else {
      must(type == 0x0806);
    }
  }

  Desk desk_;
  std::array<Sa, kKinds.size()> sas_;
  std::vector<rte_mbuf*> burst_;
  bool short_ones_{true};
};

// Byte 0: the SA (3 bits), whether a right trailer is to be added (8), room behind the packet (16), the
// sequence number of the packet before again (32), the end of the burst (64); 1: outer traffic class; 2: next
// header of that trailer; 3 and 4: length. The plaintext follows.
constexpr std::size_t kHead = 5;

Octets plaintext_of(const std::uint8_t* head, std::size_t length, EspSuite suite) {
  const Octets bytes(head + kHead, head + kHead + length);
  if ((head[0] & 8) != 0) return with_trailer(bytes, suite, head[2]);
  const unsigned alignment = crypto::find_suite(suite)->alignment;
  return slice(bytes, bytes.size() % alignment);
}

std::size_t bring(Target& target, const std::uint8_t* head, std::size_t available) {
  const std::size_t length = std::min<std::size_t>((head[3] & 7U) << 8 | head[4], available - kHead);
  Sa& sa = target.sa(head[0] & 7U);
  const Octets plaintext = plaintext_of(head, length, static_cast<EspSuite>(sa.install.suite));
  if (!plaintext.empty()) {
    if ((head[0] & 32) == 0 || sa.sequence == 0) ++sa.sequence;
    target.add(sealed(sa.install, sa.sequence, plaintext, head[1]), (head[0] & 16) != 0 ? 64 : 0);
  }
  if ((head[0] & 64) != 0) target.receive();
  return kHead + length;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Target* const target = [] {
    const __lsan::ScopedDisabler in_dpdks_memory;  // which LeakSanitizer does not look through for pointers
    return new Target;
  }();
  if (size == 0 || size > 16000) return 0;
  target->renew((data[0] & 1) != 0);
  for (std::size_t at = 1; at + kHead < size;) at += bring(*target, data + at, size - at);
  target->finish();
  return 0;
}
