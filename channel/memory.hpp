// Sealed shared memory, as the region and the counters page need it. Only channel/ itself includes this.
#pragma once

#include <cstddef>
#include <cstdint>

#include "channel/region.hpp"

namespace espgate::channel {

// An anonymous file of `size` zero bytes that can still be sealed. Throws std::system_error.
[[nodiscard]] Fd make_memory(const char* name, std::uint64_t size);

// Nobody can shrink or grow the file, nor take the seals off; with `read_only` no new writable mapping can be
// made, while those that exist stay. Throws std::system_error.
void seal(const Fd& memory, bool read_only);

// Maps the whole file, shared; `writable` or for reading only. Throws std::system_error.
[[nodiscard]] void* map(const Fd& memory, std::uint64_t size, bool writable);

// The size of a file handed over by the other side, whose size can no longer change: a mapping of it can't
// raise SIGBUS. Throws std::runtime_error naming `what` if it is not sealed so.
[[nodiscard]] std::uint64_t sealed_size(const Fd& memory, const char* what);

}  // namespace espgate::channel
