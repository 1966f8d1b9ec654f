#include "dataplane/attachment.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "channel/hand_over.hpp"
#include "dataplane/log.hpp"

namespace espgate::dataplane {

using channel::RingStatus;

Attachment::Attachment(const std::string& path, const channel::Hello& hello, channel::CountersPage& page)
    : path_(path),
      hello_(hello),
      page_(page),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      listener_(channel::listen_at(path, channel::SocketKind::stream, 0660)) {
  if (!epoll_ || !watch(listener_.get(), false))
    throw std::system_error(errno, std::system_category(), "epoll");
}

Attachment::~Attachment() { unlink(path_.c_str()); }

bool Attachment::watch(int fd, bool edge) noexcept {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | (edge ? static_cast<std::uint32_t>(EPOLLET) : 0U);
  event.data.fd = fd;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Attachment::watch_too(int fd) {
  if (!watch(fd, false)) throw std::system_error(errno, std::system_category(), "epoll");
}

void Attachment::wait(int timeout_ms) {
  epoll_event events[4];
  const int count = epoll_wait(epoll_.get(), events, 4, timeout_ms);
  for (int i = 0; i < count; i++) {
    const int fd = events[i].data.fd;
    if (fd == listener_.get())
      accept_one();
    else if (end_ != nullptr && fd == end_->wake_fd())
      end_->clear_wake();
    else if (end_ != nullptr && fd == socket_.get() && peer_is_gone())
      detach("the control process went away; SAs and routes stay");
  }
}

bool Attachment::entrust(const std::string& name, int fd) const noexcept {
  return end_ != nullptr && channel::send_keepsake(socket_.get(), name, fd);
}

// Nothing is ever said by it on the socket after the hand-over, so whatever can be read is a fault or the
// end.
bool Attachment::peer_is_gone() const noexcept {
  char byte = 0;
  const ssize_t got = recv(socket_.get(), &byte, 1, MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

void Attachment::accept_one() {
  channel::Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  if (end_ != nullptr && peer_is_gone()) detach("the control process went away; SAs and routes stay");
  if (end_ != nullptr) return log_line("refused a second control process: one is attached");
  try {
    attach(std::move(socket));
  } catch (const std::system_error& error) {
    detach(error.what());
  }
}

void Attachment::attach(channel::Fd socket) {
  auto end = std::make_unique<channel::DataplaneEnd>(hello_);
  if (!end->hand_over(socket.get(), page_)) return log_line("a control process came and went");
  socket_ = std::move(socket);
  end_ = std::move(end);
  if (!watch(socket_.get(), false) || !watch(end_->wake_fd(), true)) return detach("epoll failed");
  count_++;
  log_line("control process attached");
}

void Attachment::detach(const char* why) {
  // Closing the descriptors takes them out of epoll.
  end_.reset();
  socket_ = channel::Fd();
  backlog_.clear();
  news_ = false;
  log_line("control process detached: {}", why);
}

void Attachment::lose_event() { channel::add(page_.header().lost_events, 1); }

void Attachment::tell(const channel::Event& event) {
  if (end_ == nullptr || backlog_.size() >= kBacklog) return lose_event();
  news_ = true;
  if (backlog_.empty()) {
    const RingStatus status = end_->tell(event);
    if (status == RingStatus::ok) return;
    if (status == RingStatus::broken) return detach("its event ring broke");
  }
  backlog_.push_back(event);
}

bool Attachment::deliver(const channel::IkeDatagram& datagram) {
  if (end_ == nullptr) return false;
  const RingStatus status = end_->deliver(datagram);
  if (status == RingStatus::broken) detach("its IKE ring broke");
  news_ = news_ || status == RingStatus::ok;
  return status == RingStatus::ok;
}

std::uint32_t Attachment::undelivered() const { return end_ == nullptr ? 0 : end_->undelivered_ike(); }

bool Attachment::next_command(channel::Command& command) {
  if (end_ == nullptr) return false;
  const RingStatus status = end_->next_command(command);
  if (status == RingStatus::broken) detach("its command ring broke");
  return status == RingStatus::ok;
}

bool Attachment::next_ike(channel::IkeDatagram& datagram) {
  if (end_ == nullptr) return false;
  const RingStatus status = end_->next_ike(datagram);
  if (status == RingStatus::broken) detach("its IKE ring broke");
  return status == RingStatus::ok;
}

std::uint32_t Attachment::waiting_ike() const noexcept { return end_ == nullptr ? 0 : end_->waiting_ike(); }

void Attachment::flush() {
  while (end_ != nullptr && !backlog_.empty()) {
    const RingStatus status = end_->tell(backlog_.front());
    if (status == RingStatus::broken) return detach("its event ring broke");
    if (status != RingStatus::ok) break;
    backlog_.pop_front();
  }
  if (end_ != nullptr && std::exchange(news_, false)) end_->wake_control();
}

}  // namespace espgate::dataplane
