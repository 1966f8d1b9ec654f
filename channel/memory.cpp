#include "channel/memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

namespace espgate::channel {
namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::system_category(), what); }

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

Fd make_memory(const char* name, std::uint64_t size) {
  Fd memory(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) fail("memfd_create");
  if (ftruncate(memory.get(), static_cast<off_t>(size)) != 0) fail("ftruncate of shared memory");
  return memory;
}

void seal(const Fd& memory, bool read_only) {
  if (fcntl(memory.get(), F_ADD_SEALS, kFixedSize | (read_only ? F_SEAL_FUTURE_WRITE : 0)) != 0)
    fail("sealing shared memory");
}

void* map(const Fd& memory, std::uint64_t size, bool writable) {
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  void* address = mmap(nullptr, size, protection, MAP_SHARED, memory.get(), 0);
  if (address == MAP_FAILED) fail("mapping shared memory");
  return address;
}

std::uint64_t sealed_size(const Fd& memory, const char* what) {
  const int seals = fcntl(memory.get(), F_GET_SEALS);
  struct stat status {};
  if (seals < 0 || (seals & kFixedSize) != kFixedSize || fstat(memory.get(), &status) != 0)
    throw std::runtime_error(std::string(what) + " is not sealed shared memory");
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace espgate::channel
