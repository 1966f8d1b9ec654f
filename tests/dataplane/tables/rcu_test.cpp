// What is retired is reclaimed in its order, and not before every worker that is awake has been quiet.
#include <catch2/catch.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include "dataplane/tables/rcu.hpp"
#include "tests/dataplane/rig.hpp"

using namespace espgate;
using namespace espgate::dataplane;

TEST_CASE("reclaims in the order of retiring, after the grace period") {
  test::start_eal();
  Rcu rcu(2);
  std::vector<int> reclaimed;
  rcu.online(0);
  rcu.retire([&] { reclaimed.push_back(1); });
  rcu.retire([&] { reclaimed.push_back(2); });
  rcu.reclaim_ready();
  CHECK(reclaimed.empty());  // worker 0 may still hold it; worker 1 sleeps and holds nothing
  rcu.quiet(0);
  rcu.retire([&] { reclaimed.push_back(3); });
  rcu.reclaim_ready();
  CHECK(reclaimed == std::vector<int>{1, 2});
  rcu.offline(0);
  rcu.reclaim_ready();
  CHECK(reclaimed == std::vector<int>{1, 2, 3});
}

TEST_CASE("what is reclaimed may retire more") {
  test::start_eal();
  Rcu rcu(1);
  int reclaimed = 0;
  rcu.retire([&] {
    reclaimed++;
    rcu.retire([&] { reclaimed++; });
  });
  rcu.wait();
  rcu.wait();
  CHECK(reclaimed == 2);
}

TEST_CASE("nothing is left when it is destroyed") {
  test::start_eal();
  int reclaimed = 0;
  {
    Rcu rcu(1);
    rcu.retire([&] { reclaimed++; });
  }
  CHECK(reclaimed == 1);
}

TEST_CASE("wait returns only after a reader let go") {
  test::start_eal();
  Rcu rcu(1);
  std::atomic<const int*> shared{new int(1)};
  std::atomic<bool> stop{false};
  std::atomic<bool> wrong{false};
  std::thread reader([&] {
    rcu.online(0);
    while (!stop) {
      const int* held = shared.load();
      for (int i = 0; i < 100; i++)
        if (*held != 1) wrong = true;
      rcu.quiet(0);
    }
    rcu.offline(0);
  });
  for (int i = 0; i < 500; i++) {
    int* former = const_cast<int*>(shared.exchange(new int(1)));
    rcu.wait();
    *former = 2;  // nobody reads it any more
    delete former;
  }
  stop = true;
  reader.join();
  delete shared.load();
  CHECK_FALSE(wrong);
}
