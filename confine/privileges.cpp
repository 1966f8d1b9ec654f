#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "confine/parts.hpp"

namespace espgate::confine {
namespace {

Words because(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

struct CapabilitySets {
  std::array<__user_cap_data_struct, 2> words{};
  bool set() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capset, &header, words.data()) == 0;
  }
  bool get() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capget, &header, words.data()) == 0;
  }
};

}  // namespace

// Without CAP_SETPCAP the set stays, which means nothing to a process that gains nothing.
void bound_capabilities(std::span<const int> kept) {
  for (int each = 0; ::prctl(PR_CAPBSET_READ, each) >= 0; ++each)
    if (std::ranges::find(kept, each) == kept.end()) static_cast<void>(::prctl(PR_CAPBSET_DROP, each));
}

std::optional<User> find_user(const std::string& name) {
  const passwd* const entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return std::nullopt;
  return User{entry->pw_uid, entry->pw_gid};
}

// The kernel forgets what it is to do when the parent ends, and that nobody may look into the process.
Words become(const User& user) {
  int at_parents_end = 0;
  ::prctl(PR_GET_PDEATHSIG, &at_parents_end);
  const pid_t parent = ::getppid();
  if (::setgroups(0, nullptr) != 0 || ::setresgid(user.gid, user.gid, user.gid) != 0 ||
      ::setresuid(user.uid, user.uid, user.uid) != 0)
    return because("it stays root, without capabilities");
  ::prctl(PR_SET_PDEATHSIG, at_parents_end);
  if (at_parents_end != 0 && ::getppid() != parent) ::raise(at_parents_end);
  ::prctl(PR_SET_DUMPABLE, 0);
  return {};
}

// Without CAP_IPC_LOCK the limit counts, and no memory could be had beyond it: then only what there is by now
// stays locked.
Words keep_locked() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY) return {};
  static_cast<void>(::mlockall(MCL_CURRENT | MCL_ONFAULT));
  return fmt::format(
      "memory that it takes from now on may be swapped out: RLIMIT_MEMLOCK is {} KiB and can't be raised",
      limit.rlim_cur >> 10);
}

Shortcomings keep_memory_private() {
  Shortcomings out;
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_CORE, &none) != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0)
    out.push_back(because("its memory can't be kept private"));
  return out;
}

Shortcomings lock_memory() {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  static_cast<void>(::setrlimit(RLIMIT_MEMLOCK, &all));  // of who gives up CAP_IPC_LOCK, too
  if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return {};
  return {because("its memory is not locked and may be swapped out")};
}

void give_back_memory() {
  if (::munlockall() != 0) return;
  ::malloc_trim(0);
  static_cast<void>(lock_memory());  // as before, and it was said if it can't be
}

Words keep_capabilities(std::span<const int> kept) {
  bound_capabilities(kept);
  CapabilitySets before;
  if (!before.get()) return because("its capabilities are not known");
  std::array<std::uint32_t, 2> mask{};
  for (const int each : kept)
    mask[static_cast<unsigned>(each) / 32] |= 1U << (static_cast<unsigned>(each) % 32);
  static_cast<void>(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
  CapabilitySets after;
  for (std::size_t i = 0; i < mask.size(); ++i)
    after.words[i].effective = after.words[i].permitted = before.words[i].permitted & mask[i];
  return after.set() ? "" : because("it keeps its capabilities");
}

Words gain_nothing() {
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? "" : because("it may gain privileges");
}

}  // namespace espgate::confine
