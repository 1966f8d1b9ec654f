#include <fmt/format.h>
#include <linux/sched.h>
#include <seccomp.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "confine/parts.hpp"

namespace espgate::confine {
namespace {

// A list of system calls, and what becomes of those on it and those not on it.
class Filter {
 public:
  Filter(std::uint32_t listed, std::uint32_t others)
      : listed_(listed), context_(::seccomp_init(others), ::seccomp_release) {
    // Other calls can be made by other names of the same kernel: of x32 and of 32 bits, which stay refused.
    if (context_ == nullptr) error_ = -ENOMEM;
    check(::seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS));
    check(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2));
  }

  void add(std::initializer_list<int> calls) {
    for (const int call : calls) check(::seccomp_rule_add(context_.get(), listed_, call, 0));
  }
  void add(int call, scmp_arg_cmp condition) {
    check(::seccomp_rule_add_array(context_.get(), listed_, call, 1, &condition));
  }
  void add_as(std::uint32_t action, int call) { check(::seccomp_rule_add(context_.get(), action, call, 0)); }

  Words load() {
    if (error_ == 0) check(::seccomp_load(context_.get()));
    if (error_ == 0) return {};
    return fmt::format("it may make all system calls (seccomp): {}", std::strerror(-error_));
  }

 private:
  void check(int error) {
    if (error_ == 0 && error < 0) error_ = error;
  }

  std::uint32_t listed_;
  std::unique_ptr<void, void (*)(void*)> context_;
  int error_{0};
};

}  // namespace

// What no packet, twin or device needs: programs, other processes, the kernel's modules, mounts, the clock.
Words never_calls_of_dataplane(bool hardware) {
  Filter filter(SCMP_ACT_ERRNO(EPERM), SCMP_ACT_ALLOW);
  filter.add({SCMP_SYS(execve),
              SCMP_SYS(execveat),
              SCMP_SYS(fork),
              SCMP_SYS(vfork),
              SCMP_SYS(ptrace),
              SCMP_SYS(process_vm_readv),
              SCMP_SYS(process_vm_writev),
              SCMP_SYS(kcmp),
              SCMP_SYS(pidfd_getfd),
              SCMP_SYS(init_module),
              SCMP_SYS(finit_module),
              SCMP_SYS(delete_module),
              SCMP_SYS(kexec_load),
              SCMP_SYS(kexec_file_load),
              SCMP_SYS(reboot),
              SCMP_SYS(add_key),
              SCMP_SYS(request_key),
              SCMP_SYS(keyctl),
              SCMP_SYS(mount),
              SCMP_SYS(umount2),
              SCMP_SYS(move_mount),
              SCMP_SYS(open_tree),
              SCMP_SYS(fsopen),
              SCMP_SYS(fsconfig),
              SCMP_SYS(fsmount),
              SCMP_SYS(fspick),
              SCMP_SYS(mount_setattr),
              SCMP_SYS(pivot_root),
              SCMP_SYS(chroot),
              SCMP_SYS(swapon),
              SCMP_SYS(swapoff),
              SCMP_SYS(acct),
              SCMP_SYS(quotactl),
              SCMP_SYS(settimeofday),
              SCMP_SYS(clock_settime),
              SCMP_SYS(adjtimex),
              SCMP_SYS(clock_adjtime),
              SCMP_SYS(sethostname),
              SCMP_SYS(setdomainname),
              SCMP_SYS(syslog),
              SCMP_SYS(personality),
              SCMP_SYS(setuid),
              SCMP_SYS(setgid),
              SCMP_SYS(setreuid),
              SCMP_SYS(setregid),
              SCMP_SYS(setresuid),
              SCMP_SYS(setresgid),
              SCMP_SYS(setgroups),
              SCMP_SYS(capset),
              SCMP_SYS(mknod),
              SCMP_SYS(mknodat),
              SCMP_SYS(open_by_handle_at),
              SCMP_SYS(unshare),
              SCMP_SYS(userfaultfd),
              SCMP_SYS(io_uring_setup),
              SCMP_SYS(perf_event_open)});
  // Threads are made, processes are not. Of clone3 that can't be seen; the C library then takes clone.
  filter.add(SCMP_SYS(clone), {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0});
  filter.add_as(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  if (!hardware) filter.add({SCMP_SYS(bpf), SCMP_SYS(iopl), SCMP_SYS(ioperm)});
  return filter.load();
}

}  // namespace espgate::confine
