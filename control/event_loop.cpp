#include "control/event_loop.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <utility>

namespace espgate::control {

using boost::system::error_code;
using namespace std::chrono_literals;

namespace {

Time present() { return std::chrono::steady_clock::now(); }

// The hand-over is read with waiting; a dataplane that says nothing must not stop us for long.
void limit_waiting(int socket) {
  const timeval limit{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

}  // namespace

EventLoop::EventLoop(const conf::Configuration& configuration, ike::Keeper& keeper,
                     const std::string& runtime_directory, Log& log)
    : log_(log),
      socket_path_("dataplane.sock"),
      gateway_(configuration, keeper, link_, log, {}, present()),
      shell_(context_, runtime_directory + "/shell.sock",
             [this](std::string_view line) {
               std::string answer = answer_line(gateway_, line, present());
               settle();
               return answer;
             }),
      signals_(context_, SIGTERM, SIGINT),
      timer_(context_),
      reconnect_(context_),
      farewell_(context_),
      expiry_(context_),
      expiries_(expiries_of(configuration)) {}

void EventLoop::run() {
  signals_.async_wait([this](error_code error, int) {
    if (!error) on_signal();
  });
  watch_expiries();
  connect();
  context_.run();
}

void EventLoop::connect() {
  try {
    channel::Fd socket = channel::connect_to(socket_path_);
    limit_waiting(socket.get());
    link_.attach(std::move(socket));
  } catch (const std::exception& error) {
    connect_later(error.what());
    return;
  }
  back_off_ = 0ms;
  last_why_.clear();
  wake_.emplace(context_, link_.wake_fd());
  socket_.emplace(context_, link_.socket_fd());
  gateway_.attached(present());
  watch_wake();
  watch_socket();
  settle();
}

void EventLoop::connect_later(const std::string& why) {
  gateway_.detached(why, present());
  // A dataplane that is just starting needs no words.
  if (back_off_ >= 800ms && why != last_why_) {
    log_.warning("can't attach to the dataplane yet: " + why);
    last_why_ = why;
  }
  back_off_ = std::clamp(back_off_ * 2, std::chrono::milliseconds(50ms), std::chrono::milliseconds(1000ms));
  reconnect_.expires_after(back_off_);
  reconnect_.async_wait([this](error_code error) {
    if (!error && !leaving_) connect();
  });
  arm_timer();
}

void EventLoop::watch_wake() {
  wake_->async_wait(Descriptor::wait_read, [this](error_code error) {
    if (error || !wake_) return;
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t ignored = ::read(wake_->native_handle(), &count, sizeof count);
    gateway_.poll(present());
    watch_wake();
    settle();
  });
}

// After the hand-over the dataplane has only things to keep for us, until it is gone.
void EventLoop::watch_socket() {
  socket_->async_wait(Descriptor::wait_read, [this](error_code error) {
    if (error || !socket_) return;
    try {
      link_.take_keepsakes();
      watch_socket();
    } catch (const std::runtime_error& gone) {
      detach(gone.what());
    }
  });
}

void EventLoop::detach(const std::string& why) {
  if (!link_.attached()) return;
  for (std::optional<Descriptor>* descriptor : {&wake_, &socket_}) {
    (*descriptor)->release();
    descriptor->reset();
  }
  link_.detach();
  gateway_.detached(why, present());
  if (leaving_) return finish();
  connect_later(why);
}

// After everything that happened: what the gateway has to do now, and when it wants to be called next.
void EventLoop::settle() {
  gateway_.advance(present());
  if (!link_.broken().empty()) return detach(std::string(link_.broken()));
  if (leaving_ && gateway_.quiet()) farewell_soon();
  arm_timer();
}

void EventLoop::arm_timer() {
  const std::optional<Time> deadline = gateway_.next_deadline();
  if (!deadline) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(*deadline);
  timer_.async_wait([this](error_code error) {
    if (!error) settle();
  });
}

void EventLoop::watch_expiries() {
  for (const std::string& line : expiries_.due(std::time(nullptr))) log_.warning(line);
  expiry_.expires_after(1min);
  expiry_.async_wait([this](error_code error) {
    if (!error) watch_expiries();
  });
}

void EventLoop::on_signal() {
  leaving_ = true;
  reconnect_.cancel();
  shell_.close();
  gateway_.shut_down(present());
  finish_after(kFarewell);
  settle();
}

void EventLoop::finish_after(std::chrono::milliseconds delay) {
  farewell_.expires_after(delay);
  farewell_.async_wait([this](error_code error) {
    if (!error) finish();
  });
}

// Every command is answered; the deletes in the ring behind them are sent in the dataplane's next round.
void EventLoop::farewell_soon() {
  if (std::exchange(farewell_near_, true)) return;
  finish_after(100ms);
}

void EventLoop::finish() {
  log_.info("ended");
  context_.stop();
}

}  // namespace espgate::control
