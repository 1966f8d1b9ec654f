// A port whose cable is rings: what is put into `rx` arrives, and what is sent lies in `tx`, by queue.
#pragma once

#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/dataplane/rig.hpp"

namespace espgate::test {

struct Cable {
  // `frames` is what a queue's ring has places for, a power of two; one stays empty.
  explicit Cable(unsigned queues = 1, unsigned frames = 64) {
    start_eal();
    static unsigned count = 0;  // DPDK remembers the name of a port that was closed
    const std::string name = "cable" + std::to_string(count++);
    const auto ring = [&](const char* way, unsigned queue) {
      return rte_ring_create((name + way + std::to_string(queue)).c_str(), frames, SOCKET_ID_ANY, 0);
    };
    for (unsigned q = 0; q < queues; ++q) {
      rx.push_back(ring("-rx", q));
      tx.push_back(ring("-tx", q));
    }
    const int made = rte_eth_from_rings(name.c_str(), rx.data(), queues, tx.data(), queues, 0);
    REQUIRE(made >= 0);
    port = static_cast<std::uint16_t>(made);
    const rte_eth_conf conf{};
    const auto number = static_cast<std::uint16_t>(queues);
    REQUIRE(rte_eth_dev_configure(port, number, number, &conf) == 0);
    pool = rte_pktmbuf_pool_create((name + "-pool").c_str(), 63, 0, 0, 2048, SOCKET_ID_ANY);
    for (std::uint16_t q = 0; q < number; ++q) {
      REQUIRE(rte_eth_rx_queue_setup(port, q, 64, 0, nullptr, pool) == 0);
      REQUIRE(rte_eth_tx_queue_setup(port, q, 64, 0, nullptr) == 0);
    }
    REQUIRE(rte_eth_dev_start(port) == 0);
  }
  ~Cable() {
    rte_eth_dev_stop(port);
    rte_eth_dev_close(port);
    for (const auto& rings : {rx, tx})
      for (rte_ring* ring : rings) {
        void* object = nullptr;
        while (rte_ring_dequeue(ring, &object) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(object));
        rte_ring_free(ring);
      }
    rte_mempool_free(pool);
  }
  Cable(const Cable&) = delete;
  Cable& operator=(const Cable&) = delete;

  // Takes what was sent, queue by queue.
  std::vector<Octets> take() const {
    std::vector<Octets> frames;
    for (rte_ring* const ring : tx) {
      void* object = nullptr;
      while (rte_ring_dequeue(ring, &object) == 0) {
        auto* const mbuf = static_cast<rte_mbuf*>(object);
        const auto* const data = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
        frames.emplace_back(data, data + mbuf->data_len);
        rte_pktmbuf_free(mbuf);
      }
    }
    return frames;
  }

  std::vector<rte_ring*> rx;
  std::vector<rte_ring*> tx;
  rte_mempool* pool;
  std::uint16_t port;
};

}  // namespace espgate::test
