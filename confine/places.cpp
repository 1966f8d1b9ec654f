// Which files, sockets and networks are there for a process at all.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "confine/parts.hpp"

namespace espgate::confine {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kShared = 02710;  // what is made in it is of its group

Words because(const std::string& what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

// What version 1 of Landlock knows, which is the one of Linux 5.13 (Debian 12 has 6.1).
constexpr std::uint64_t kAllAccess =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
    LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;
constexpr std::uint64_t kFilesAccess = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
                                       LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                       LANDLOCK_ACCESS_FS_MAKE_REG;

}  // namespace

Shortcomings share_directory(const std::string& directory, const std::string& user) {
  std::error_code ignored;
  fs::create_directories(fs::path(directory).parent_path(), ignored);
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return {because("can't make the directory " + directory)};
  struct stat status {};
  const std::optional<User> entry = find_user(user);
  if (::geteuid() != 0 || !entry || ::lstat(directory.c_str(), &status) != 0) return {};
  const bool roots_alone = S_ISDIR(status.st_mode) && status.st_uid == 0 && (status.st_mode & 07777) == 0700;
  // First the group, so that nobody else's is let in.
  if (roots_alone && ::lchown(directory.c_str(), 0, entry->gid) == 0)
    static_cast<void>(::chmod(directory.c_str(), kShared));
  return {};
}

bool may_go_through(const std::string& directory, const User& user) {
  constexpr mode_t kWanted = S_ISGID | S_IXGRP;
  struct stat status {};
  return ::stat(directory.c_str(), &status) == 0 && status.st_gid == user.gid &&
         (status.st_mode & kWanted) == kWanted;
}

Words own(const std::string& directory, const User& user) {
  std::error_code ignored;
  int failed = ::chown(directory.c_str(), user.uid, user.gid);
  for (const fs::directory_entry& file : fs::directory_iterator(directory, ignored))
    if (file.symlink_status(ignored).type() == fs::file_type::regular)
      failed |= ::lchown(file.path().c_str(), user.uid, user.gid);
  return failed == 0 ? Words() : because("it can't write to " + directory);
}

Words see_only(const std::string& directory) {
  if (::chdir(directory.c_str()) == 0 && ::chroot(".") == 0 && ::chdir("/") == 0) return {};
  return because("it sees all of the file system");
}

Words leave_network() { return ::unshare(CLONE_NEWNET) == 0 ? "" : because("it stays in its network"); }

Words change_only(int directory) {
  const landlock_ruleset_attr all{.handled_access_fs = kAllAccess};
  const auto rules = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0));
  if (rules < 0) return because("it may open files beside those of its state (Landlock)");
  const landlock_path_beneath_attr beneath{.allowed_access = kFilesAccess, .parent_fd = directory};
  const bool done = ::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0 &&
                    ::syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  const Words words = done ? "" : because("it may open files beside those of its state (Landlock)");
  ::close(rules);
  return words;
}

}  // namespace espgate::confine
