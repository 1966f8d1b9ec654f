// What a cache line costs that is not where the core would like it: a chain of dependent loads.
#pragma once

#include <cstddef>
#include <memory>

namespace espgate::bench {

class PointerChase {
 public:
  // One ring through all lines of `bytes`, in an order that no prefetcher foresees.
  explicit PointerChase(std::size_t bytes);
  // TSC cycles of a load that waits for the one before.
  [[nodiscard]] double cycles_per_load() const noexcept;

 private:
  struct alignas(64) Line {
    const Line* next;
  };
  std::unique_ptr<Line[]> lines_;
};

}  // namespace espgate::bench
