#include "dataplane/tables/rcu.hpp"

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <sched.h>

#include <new>
#include <stdexcept>
#include <utility>

namespace espgate::dataplane {

Rcu::Rcu(std::uint32_t workers) {
  const std::size_t size = rte_rcu_qsbr_get_memsize(workers);
  qsbr_ = static_cast<rte_rcu_qsbr*>(rte_zmalloc("rcu", size, RTE_CACHE_LINE_SIZE));
  if (qsbr_ == nullptr) throw std::bad_alloc();
  if (rte_rcu_qsbr_init(qsbr_, workers) != 0) {
    rte_free(qsbr_);
    throw std::runtime_error("rte_rcu_qsbr_init: " + std::to_string(workers) + " workers");
  }
  // A registered worker that is offline holds nobody up, so all are registered once and for all.
  for (std::uint32_t i = 0; i < workers; i++) rte_rcu_qsbr_thread_register(qsbr_, i);
}

Rcu::~Rcu() {
  wait();
  rte_free(qsbr_);
}

void Rcu::online(std::uint32_t worker) noexcept { rte_rcu_qsbr_thread_online(qsbr_, worker); }
void Rcu::offline(std::uint32_t worker) noexcept { rte_rcu_qsbr_thread_offline(qsbr_, worker); }
void Rcu::quiet(std::uint32_t worker) noexcept { rte_rcu_qsbr_quiescent(qsbr_, worker); }

std::uint64_t Rcu::token() const noexcept { return __atomic_load_n(&qsbr_->token, __ATOMIC_ACQUIRE); }

// What rte_rcu_qsbr_quiescent does, which takes the newest token.
void Rcu::quiet_by(std::uint32_t worker, std::uint64_t token) noexcept {
  __atomic_store_n(&qsbr_->qsbr_cnt[worker].cnt, token, __ATOMIC_RELEASE);
}

void Rcu::retire(std::function<void()> reclaim) {
  retired_.push_back({rte_rcu_qsbr_start(qsbr_), std::move(reclaim)});
}

void Rcu::reclaim_ready() {
  while (!retired_.empty() && rte_rcu_qsbr_check(qsbr_, retired_.front().token, false) == 1) reclaim_first();
}

void Rcu::wait() {
  const std::uint64_t token = rte_rcu_qsbr_start(qsbr_);
  // A worker may share this thread's CPU: give it up instead of spinning.
  while (rte_rcu_qsbr_check(qsbr_, token, false) == 0) sched_yield();
  while (!retired_.empty() && retired_.front().token < token) reclaim_first();
}

void Rcu::reclaim_first() {
  // Taken out first: what is reclaimed may itself retire something.
  const std::function<void()> reclaim = std::move(retired_.front().reclaim);
  retired_.pop_front();
  reclaim();
}

}  // namespace espgate::dataplane
