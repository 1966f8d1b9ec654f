#include "dataplane/gateway.hpp"

#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "conf/load.hpp"
#include "dataplane/log.hpp"
#include "dataplane/pool.hpp"

namespace espgate::dataplane {

namespace {

constexpr unsigned kInboxSize = 2048;
constexpr unsigned kExceptionsSize = 1024;
constexpr unsigned kIkeSize = 512;
constexpr unsigned kMirrorSize = 1024;
constexpr unsigned kPoolCache = 256;
constexpr std::uint64_t kSnapshotEvery = 250'000'000;  // ns
// The main thread's sleep when there was nothing to do; the longer one after so many rounds of nothing.
// Commands wake it; what workers hand up waits for so long.
constexpr int kRestMs = 1;
constexpr int kLongRestMs = 3;
constexpr unsigned kRoundsBeforeLongRest = 200;
constexpr std::uint64_t kNsPerMs = 1'000'000;
// So long the commands of one round may take, before far ends are heard and spoken to again.
constexpr std::uint64_t kCommandSlice = 3 * kNsPerMs;
constexpr unsigned kCommandsBetweenLooks = 16;  // at the clock

// What far ends send in the time that the main thread may be busy with something else.
unsigned liveness_size(const channel::Hello& shape) noexcept {
  return rte_align32pow2(std::clamp(4 * shape.max_tunnels, 1024U, 65536U));
}

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed)) throw std::runtime_error("no random numbers");
  return seed;
}

Ring make_ring(const std::string& name, unsigned size, unsigned flags) {
  Ring ring(rte_ring_create(name.c_str(), size, SOCKET_ID_ANY, flags));
  if (!ring) throw std::runtime_error("no memory for ring " + name + ": " + rte_strerror(rte_errno));
  return ring;
}

Pool make_pool(const conf::Configuration& configuration) {
  const auto room = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + buffer_size(configuration));
  Pool pool(make_packet_pool("packets", configuration.dataplane.packet_buffers, kPoolCache, room));
  if (!pool)
    throw std::runtime_error(
        fmt::format("no memory for {} packet buffers of {} bytes: {}; give `memory` more",
                    configuration.dataplane.packet_buffers, room, rte_strerror(rte_errno)));
  return pool;
}

// The main table is made to be fast.
std::vector<Routes::Size> sizes_of_others(const conf::Configuration& configuration) {
  std::vector<Routes::Size> sizes;
  for (const conf::Table& table : configuration.tables)
    sizes.push_back({table.max_routes, table.max_routes <= Routes::kMostInTree, table.ipv6_blocks});
  return sizes;
}

}  // namespace

channel::Hello shape_for(const conf::Configuration& configuration) noexcept {
  const conf::Dataplane& wanted = configuration.dataplane;
  return {.workers = static_cast<std::uint32_t>(wanted.workers.size()),
          .inbound_slots = conf::inbound_slots(wanted),
          .outbound_slots = conf::outbound_slots(wanted),
          .max_tunnels = wanted.max_tunnels,
          .max_groups = conf::max_groups(wanted),
          .ports = static_cast<std::uint32_t>(configuration.ports.size())};
}

RefusedSuites test_suites(crypto::BulkEngine& engine) {
  RefusedSuites refused;
  std::size_t passed = 0;
  for (const crypto::SuiteRow& row : crypto::kSuites) {
    const std::string failure = crypto::self_test(engine, row.suite);
    if (failure.empty()) {
      passed++;
      continue;
    }
    refused.set(static_cast<std::size_t>(row.suite) % refused.size());
    log_line("suite {} failed its self-test and is refused: {}", row.name, failure);
  }
  log_line("crypto engine: {}; {} of {} suites passed their self-test", engine.name(), passed,
           crypto::kSuites.size());
  return refused;
}

Gateway::Gateway(const conf::Configuration& configuration, const std::string& socket_path)
    : identification_secret_(random_seed()),
      page_(shape_for(configuration)),
      tables_(shape_for(configuration),
              {configuration.dataplane.max_routes, false, configuration.dataplane.ipv6_blocks},
              sizes_of_others(configuration)),
      pool_(make_pool(configuration)),
      exceptions_(make_ring("exceptions", kExceptionsSize, RING_F_SC_DEQ)),
      ike_ring_(make_ring("ike", kIkeSize, RING_F_SC_DEQ)),
      liveness_ring_(make_ring("liveness", liveness_size(tables_.shape), RING_F_SC_DEQ)),
      mirror_ring_(make_ring("mirror", kMirrorSize, RING_F_SC_DEQ)),
      attachment_(socket_path, tables_.shape, page_),
      outbox_(workers_, pool_.get(), page_.header().main_thread),
      liveness_(tables_, outbox_, attachment_, random_seed()),
      hearing_(tables_.shape.workers),
      slow_path_(tables_, interfaces_, outbox_, peers_, attachment_, random_seed()),
      twins_(configuration.runtime_directory, tables_, slow_path_.resolver(), interfaces_, outbox_,
             random_seed()),
      ike_(tables_, outbox_, peers_, attachment_, random_seed(),
           {identification_secret_, Identifications::kMainThread}),
      ribs_(tables_),
      offload_(tables_),
      associations_(tables_, slow_path_.resolver(), outbox_, offload_, peers_, page_, engine_,
                    test_suites(engine_)),
      groups_(tables_, slow_path_.resolver(), liveness_),
      kernel_routes_(tables_, groups_, twins_),
      mirror_(tables_, mirror_ring_.get()),
      commands_({tables_, ribs_, slow_path_.resolver(), associations_, groups_, interfaces_, peers_,
                 liveness_, twins_, kernel_routes_, mirror_, attachment_}) {
  slow_path_.set_owners(associations_, commands_, twins_);
  make_workers(configuration.dataplane);
  ports_ = std::make_unique<Ports>(configuration.ports, tables_, interfaces_, page_, pool_.get(),
                                   static_cast<unsigned>(workers_.size()));
  ports_->wire(workers_);
  if (!add_port_routes(ribs_, interfaces_) || !add_loopback_routes(ribs_, configuration.loopbacks))
    throw std::runtime_error("max-routes is too small for the addresses of the ports and loopbacks");
  ribs_.commit();
  ports_->start();
  ports_->offer_cards(offload_);
  start_crypto_devices(configuration.dataplane);
  make_twins(configuration);
  launch();
}

Gateway::~Gateway() {
  stop_workers_.store(true);
  rte_eal_mp_wait_lcore();
}

void Gateway::make_workers(const conf::Dataplane& dataplane) {
  for (std::uint32_t w = 0; w < dataplane.workers.size(); w++) {
    inboxes_.push_back(make_ring("inbox-" + std::to_string(w), kInboxSize, RING_F_SC_DEQ));
    auto worker = std::make_unique<Worker>();
    worker->index = w;
    worker->tables = &tables_;
    worker->workers = &workers_;
    worker->counters = &page_.worker(w);
    worker->inbox = inboxes_.back().get();
    worker->exceptions = exceptions_.get();
    worker->ike = ike_ring_.get();
    worker->liveness = liveness_ring_.get();
    worker->mirror = mirror_ring_.get();
    worker->pool = pool_.get();
    worker->adaptive = dataplane.idle == conf::Idle::adaptive;
    worker->identifications = {identification_secret_, w};
    workers_.push_back(worker.get());
    owned_workers_.push_back(std::move(worker));
  }
}

void Gateway::start_crypto_devices(const conf::Dataplane& dataplane) {
  std::vector<std::unique_ptr<CryptoDevice>> devices;
  for (const conf::CryptoDevice& wanted : dataplane.crypto_devices) {
    const auto index = static_cast<std::uint8_t>(devices.size());
    devices.push_back(std::make_unique<CryptoDevice>(wanted, index, static_cast<unsigned>(workers_.size())));
    const CryptoDevice& device = *devices.back();
    log_line("crypto device {} ({}): {}", device.name(), device.driver(), device.describe());
  }
  offload_.lookaside().use(std::move(devices), workers_);
  offload_.lookaside().tell(page_.header());
}

// The tunnels' come with the commands that set them.
void Gateway::make_twins(const conf::Configuration& configuration) {
  const auto has_twin = [](const auto& each) { return !each.kernel.empty(); };
  const bool any = std::any_of(configuration.ports.begin(), configuration.ports.end(), has_twin) ||
                   std::any_of(configuration.tunnels.begin(), configuration.tunnels.end(), has_twin);
  read_beside_kernel_.resize(configuration.ports.size());
  for (std::size_t p = 0; any && p < configuration.ports.size(); p++)
    if (!configuration.ports[p].device.empty())
      read_beside_kernel_[p] = conf::device_args(configuration.ports[p], static_cast<unsigned>(p)).interface;
  for (const std::string& interface : read_beside_kernel_)
    if (!interface.empty()) keep_kernel_off(interface);
  for (std::size_t t = 0; t < configuration.tables.size(); t++)
    if (!configuration.tables[t].space.empty())
      twins_.settle_in(static_cast<TableId>(t + 1), configuration.tables[t].space);
  const LearnedRoutes::Parts parts{ribs_, slow_path_.resolver(), interfaces_, groups_, twins_};
  for (std::size_t t = 0; t <= configuration.tables.size(); t++)
    if (const auto table = static_cast<TableId>(t); twins_.space_of(table) != nullptr)
      learned_.push_back(std::make_unique<LearnedRoutes>(parts, table));
  for (std::size_t p = 0; p < configuration.ports.size(); p++)
    if (!configuration.ports[p].kernel.empty())
      twins_.add_port(static_cast<std::uint8_t>(p), configuration.ports[p]);
  attachment_.watch_too(twins_.wake_fd());
}

void Gateway::serve_learned(std::uint64_t now) {
  bool changed = false;
  for (const auto& learned : learned_) changed = learned->serve(now) || changed;
  if (changed) commands_.settle(now);
}

void Gateway::launch() {
  struct Start {
    Worker* worker;
    const std::atomic<bool>* stop;
  };
  for (std::uint32_t w = 0; w < workers_.size(); w++) {
    auto* start = new Start{workers_[w], &stop_workers_};  // the thread's to delete
    const int result = rte_eal_remote_launch(
        [](void* argument) {
          const std::unique_ptr<Start> mine(static_cast<Start*>(argument));
          dataplane::run(*mine->worker, *mine->stop);
          return 0;
        },
        start, w + 1);
    if (result == 0) continue;
    delete start;
    stop_workers_.store(true);
    rte_eal_mp_wait_lcore();
    throw std::runtime_error("worker " + std::to_string(w) + " did not start: " + rte_strerror(-result));
  }
}

void Gateway::run(const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed)) round(monotonic_ns());
}

void Gateway::round(std::uint64_t now) {
  if (const std::uint64_t last = page_.header().heartbeat_ns.load(std::memory_order_relaxed); last != 0)
    channel::note_pause(page_.header().main_thread, now - last);
  serve_liveness(now);
  const unsigned work = serve_workers(now) + serve_control(now) + twins_.serve(now) + mirror_.serve();
  serve_learned(now);
  kernel_routes_.serve(now);
  slow_path_.advance(now);
  if (groups_.poll()) commands_.settle(now);
  if (now >= next_snapshot_ns_) every_quarter_second(now);
  tables_.rcu.reclaim_ready();
  page_.header().heartbeat_ns.store(now, std::memory_order_relaxed);
  attachment_.flush();
  if (attachment_.attached())
    twins_.entrust(attachment_.count(),
                   [this](const std::string& name, int fd) { return attachment_.entrust(name, fd); });
  rest(work);
}

// Not beyond the time at which a far end is to hear of us, as far as milliseconds can tell.
void Gateway::rest(unsigned work) {
  const bool learns =
      std::any_of(learned_.begin(), learned_.end(), [](const auto& each) { return each->busy(); });
  const bool busy = work != 0 || attachment_.backlogged() || learns || kernel_routes_.busy();
  idle_rounds_ = busy ? 0 : idle_rounds_ + 1;
  int longest = busy ? 0 : idle_rounds_ < kRoundsBeforeLongRest ? kRestMs : kLongRestMs;
  if (longest > kRestMs && liveness_.next_deadline() < monotonic_ns() + kLongRestMs * kNsPerMs)
    longest = kRestMs;
  attachment_.wait(longest);
}

// All that came is heard before anybody is said to be silent: however long this thread was busy, or a worker
// had no CPU, that was not the far end's silence. Groups follow at once.
void Gateway::serve_liveness(std::uint64_t now) {
  for (std::uint32_t w = 0; w < workers_.size(); w++)
    hearing_.look(w, page_.worker(w).loops.load(std::memory_order_relaxed), now);
  std::array<rte_mbuf*, kBurst> packets;
  void** const objects = reinterpret_cast<void**>(packets.data());
  unsigned heard = 0;
  unsigned left = rte_ring_get_capacity(liveness_ring_.get());
  do {
    heard = rte_ring_sc_dequeue_burst(liveness_ring_.get(), objects, kBurst, nullptr);
    for (unsigned i = 0; i < heard; i++)
      if (!liveness_.receive(packets[i], now)) slow_path_.handle(packets[i], now);
    left -= std::min(left, heard);
  } while (heard == kBurst && left > 0);
  liveness_.advance(now, hearing_.until(now));
  commands_.follow_liveness(now);
}

unsigned Gateway::serve_workers(std::uint64_t now) {
  std::array<rte_mbuf*, kBurst> packets;
  void** const objects = reinterpret_cast<void**>(packets.data());
  const unsigned raised = rte_ring_sc_dequeue_burst(exceptions_.get(), objects, kBurst, nullptr);
  for (unsigned i = 0; i < raised; i++) slow_path_.handle(packets[i], now);
  const unsigned ike = rte_ring_sc_dequeue_burst(ike_ring_.get(), objects, kBurst, nullptr);
  if (ike > 0) ike_.receive({packets.data(), ike}, now);
  return raised + ike;
}

// What the control process put into the command ring before an IKE datagram is applied before that datagram
// goes out: so the datagrams are counted first, then all commands there can have been before them are
// applied, which may take some rounds.
unsigned Gateway::serve_control(std::uint64_t now) {
  if (!attachment_.attached()) ike_due_ = 0;
  if (ike_due_ == 0) {
    ike_due_ = std::min(attachment_.waiting_ike(), channel::kIkeSlots);
    before_ike_ = channel::kCommandSlots;
  }
  unsigned done = 0;
  bool drained = false;
  bool late = false;
  while (!attachment_.backlogged() && done < channel::kCommandSlots && !late) {
    drained = !attachment_.next_command(command_);
    if (drained) break;
    commands_.execute(command_, now);
    explicit_bzero(&command_, sizeof(command_));
    done++;
    late = done % kCommandsBetweenLooks == 0 && monotonic_ns() > now + kCommandSlice;
  }
  if (done > 0) commands_.settle(now);
  before_ike_ -= std::min(before_ike_, done);
  if (!drained && before_ike_ > 0) return done;
  for (; ike_due_ > 0 && attachment_.next_ike(datagram_); ike_due_--, done++) ike_.send(datagram_, now);
  ike_due_ = 0;
  return done;
}

void Gateway::every_quarter_second(std::uint64_t now) {
  next_snapshot_ns_ = now + kSnapshotEvery;
  associations_.snapshot(attachment_, now);
  liveness_.look_at_traffic(page_.tunnels(), now);
  groups_.tell(page_);
  offload_.poll(now);
  offload_.lookaside().tell(page_.header());
  commands_.age_paths(now);
  commands_.tell_twins(now);
  ports_->poll(now, [this, now](std::uint32_t port, PortChange change) { port_changed(port, change, now); });
}

void Gateway::port_changed(std::uint32_t port, PortChange change, std::uint64_t now) {
  using channel::EventKind;
  const bool up = change == PortChange::up || change == PortChange::renewed;
  if (change != PortChange::absent) log_line("port {} is {}", interfaces_[port].name, up ? "up" : "down");
  channel::Event event{};
  event.kind = up                             ? EventKind::port_up
               : change == PortChange::absent ? EventKind::port_absent
                                              : EventKind::port_down;
  event.body.port_change = {port};
  attachment_.tell(event);
  offload_.port_went(port, up);
  if (change == PortChange::renewed) slow_path_.resolver().start_over(static_cast<std::uint8_t>(port), now);
  if (change == PortChange::renewed && !read_beside_kernel_[port].empty())
    keep_kernel_off(read_beside_kernel_[port]);
  twins_.port_changed(static_cast<std::uint8_t>(port), up);
  commands_.port_changed(now);
  if (up) slow_path_.announce(static_cast<std::uint8_t>(port));
}

}  // namespace espgate::dataplane
