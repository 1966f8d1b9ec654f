// Publish and retire: the main thread changes what workers read, and frees the former only when every worker
// has passed a quiet point (rte_rcu_qsbr). Workers call `quiet` once a poll round; a sleeping worker is
// offline.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

struct rte_rcu_qsbr;

namespace espgate::dataplane {

class Rcu {
 public:
  explicit Rcu(std::uint32_t workers);
  ~Rcu();
  Rcu(const Rcu&) = delete;
  Rcu& operator=(const Rcu&) = delete;

  // The worker's own thread.
  void online(std::uint32_t worker) noexcept;
  void offline(std::uint32_t worker) noexcept;
  void quiet(std::uint32_t worker) noexcept;
  // A worker whose packets are with a crypto device goes on holding what they need: it takes the token of now
  // and is quiet by it once those packets are back, though others are not.
  [[nodiscard]] std::uint64_t token() const noexcept;
  void quiet_by(std::uint32_t worker, std::uint64_t token) noexcept;

  // Main thread. `reclaim` runs in a later `reclaim_ready` or in `wait`, once no worker can hold what it
  // frees.
  void retire(std::function<void()> reclaim);
  void reclaim_ready();
  // Blocks until every online worker has been quiet once, then reclaims all that was retired before.
  void wait();

  [[nodiscard]] rte_rcu_qsbr* raw() noexcept { return qsbr_; }

 private:
  struct Retired {
    std::uint64_t token;
    std::function<void()> reclaim;
  };
  void reclaim_first();

  rte_rcu_qsbr* qsbr_{nullptr};
  std::deque<Retired> retired_;
};

}  // namespace espgate::dataplane
