// A network namespace of the kernel: where the twins of one table's interfaces live, so that what the tables
// may have in common (names, addresses, routes) does not meet in the kernel either.
#pragma once

#include <string>

#include "channel/region.hpp"

namespace espgate::dataplane {

class Space {
 public:
  Space() = default;  // where this process is
  // That which `ip netns` has by this name. Throws std::runtime_error with words: there is none.
  explicit Space(const std::string& name);

  // The calling thread is there until this goes: descriptors that it opens stay there.
  class Visit {
   public:
    explicit Visit(const Space& space);  // throws std::runtime_error
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    channel::Fd home_;
  };

 private:
  channel::Fd fd_;
};

}  // namespace espgate::dataplane
