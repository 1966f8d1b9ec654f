#include "channel/messages.hpp"

namespace espgate::channel {

const char* words(CommandStatus status) noexcept {
  switch (status) {
    case CommandStatus::ok:
      return "done";
    case CommandStatus::unknown_command:
      return "the dataplane does not know this command";
    case CommandStatus::bad_index:
      return "no tunnel or group has this index";
    case CommandStatus::bad_address:
      return "not an address that can be used here";
    case CommandStatus::bad_prefix:
      return "not a prefix that can be used here";
    case CommandStatus::bad_name:
      return "a name that is empty, too long or not closed";
    case CommandStatus::bad_mtu:
      return "an MTU outside of what is possible";
    case CommandStatus::bad_count:
      return "more entries than fit";
    case CommandStatus::bad_suite:
      return "an ESP suite that is unknown or failed its self-test";
    case CommandStatus::bad_spi:
      return "an SPI that is reserved, or whose worker or slot does not exist";
    case CommandStatus::spi_in_use:
      return "the SPI's slot holds another SA";
    case CommandStatus::no_such_sa:
      return "no SA has this SPI";
    case CommandStatus::no_such_route:
      return "no such route";
    case CommandStatus::bad_window:
      return "a replay window that is not 0 or a power of two from 64 to 16384";
    case CommandStatus::bad_option:
      return "an option whose value is impossible, or that does not go with the SA's other ones";
    case CommandStatus::bad_selector:
      return "a traffic selector whose range is impossible";
    case CommandStatus::unreachable:
      return "the gateway lies on no connected network";
    case CommandStatus::table_full:
      return "the table is full";
    case CommandStatus::bad_member:
      return "a member of the group comes twice, or has an impossible weight or priority";
    case CommandStatus::bad_table:
      return "no route table has this number, or the next hop is in another one";
    case CommandStatus::kernel_refused:
      return "its interface has no twin in the kernel; the dataplane's log says why";
  }
  return "a status that this build does not know";
}

}  // namespace espgate::channel
