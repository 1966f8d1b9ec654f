#include <fmt/format.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>

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

  void add(std::span<const int> calls) {
    for (const int call : calls) check(::seccomp_rule_add(context_.get(), listed_, call, 0));
  }
  void add(std::initializer_list<int> calls) { add(std::span(calls.begin(), calls.size())); }
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

// What no packet, twin or device needs: programs, other processes, the kernel's modules, mounts, the clock.
constexpr int kNever[] = {
    SCMP_SYS(execve),
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
    SCMP_SYS(perf_event_open),
};

// Of a library's own accord: memory, time, threads' locks, the end.
constexpr int kCommon[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(close),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(sched_yield),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(munlockall),
    SCMP_SYS(mlockall),
};

}  // namespace

Words never_calls_of_dataplane(bool hardware) {
  Filter filter(SCMP_ACT_ERRNO(EPERM), SCMP_ACT_ALLOW);
  filter.add(kNever);
  // Threads are made, processes are not. Of clone3 that can't be seen; the C library then takes clone.
  filter.add(SCMP_SYS(clone), {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0});
  filter.add_as(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  if (!hardware) filter.add({SCMP_SYS(bpf), SCMP_SYS(iopl), SCMP_SYS(ioperm)});
  return filter.load();
}

// What is none of what is listed gives EPERM.
void add_common(Filter& filter) {
  filter.add(kCommon);
  filter.add(SCMP_SYS(tgkill), {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()), 0});  // abort
}

Words only_calls_of_control(bool files) {
  Filter filter(SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM));
  add_common(filter);
  filter.add(SCMP_SYS(socket), {0, SCMP_CMP_EQ, AF_UNIX, 0});
  filter.add({SCMP_SYS(connect), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown),
              SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
              SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
              SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(fcntl)});
  for (const scmp_datum_t request : {scmp_datum_t{FIONBIO}, scmp_datum_t{FIONREAD}})
    filter.add(SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, request, 0});
  if (files)
    filter.add({SCMP_SYS(openat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(fsync), SCMP_SYS(flock)});
  return filter.load();
}

Words only_calls_of_signer() {
  Filter filter(SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM));
  add_common(filter);
  filter.add({SCMP_SYS(accept4)});
  return filter.load();
}

}  // namespace espgate::confine
