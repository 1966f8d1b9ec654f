#include "control/shell/server.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <memory>

#include "channel/region.hpp"
#include "control/shell/text.hpp"

namespace espgate::control {

using boost::system::error_code;

namespace {

json failure(const std::string& words) { return {{"status", 1}, {"text", wrapped(words, 0)}}; }

json run_command(Gateway& gateway, const std::string& text, bool as_json, Time now) {
  if (text.ends_with('?'))
    return {{"status", 0},
            {"command", "help"},
            {"text", help_text(split_words(text.substr(0, text.size() - 1)))}};
  const Matched matched = match_command(split_words(text));
  const json data = matched.command->data(gateway, matched.arguments, now);
  json answer{{"status", 0}, {"command", matched.command->words}};
  if (as_json)
    answer["data"] = data;
  else
    answer["text"] = matched.command->text(data);
  return answer;
}

json answer_request(Gateway& gateway, std::string_view line, Time now) {
  const json request = json::parse(line, nullptr, false);
  if (!request.is_object()) return failure("a request is one JSON object a line");
  if (request.contains("complete") && request["complete"].is_string())
    return {{"status", 0},
            {"choices", complete(request["complete"].get<std::string>(), gateway.configuration())}};
  if (!request.contains("command") || !request["command"].is_string())
    return failure("a request has a \"command\", a string");
  const bool as_json =
      request.contains("json") && request["json"].is_boolean() && request["json"].get<bool>();
  return run_command(gateway, request["command"].get<std::string>(), as_json, now);
}

}  // namespace

std::string answer_line(Gateway& gateway, std::string_view request, Time now) {
  json answer;
  try {
    answer = answer_request(gateway, request, now);
  } catch (const std::exception& error) {
    answer = failure(error.what());
  }
  return answer.dump(-1, ' ', true, json::error_handler_t::replace);
}

// One client. Lives as long as one of its operations does; reads a request only when the answer before it is
// written.
class ShellServer::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Protocol::socket socket, const Answer& answer)
      : socket_(std::move(socket)), timer_(socket_.get_executor()), answer_(answer) {}

  void read() {
    boost::asio::async_read_until(
        socket_, boost::asio::dynamic_buffer(input_, kMaxRequest), '\n',
        [self = shared_from_this()](error_code error, std::size_t length) { self->received(error, length); });
  }

  void close() {
    error_code ignored;
    socket_.close(ignored);
    timer_.cancel();
  }

 private:
  void received(error_code error, std::size_t length) {
    if (error == boost::asio::error::not_found) {  // kMaxRequest bytes and no end of line
      write(failure("the request is too long").dump() + "\n", true);
      return;
    }
    if (error) return close();
    const std::string request = input_.substr(0, length - 1);
    input_.erase(0, length);
    write(answer_(request) + "\n", false);
  }

  void write(std::string text, bool last) {
    output_ = std::move(text);
    timer_.expires_after(kWriteLimit);
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (!error) self->close();
    });
    boost::asio::async_write(socket_, boost::asio::buffer(output_),
                             [self = shared_from_this(), last](error_code error, std::size_t) {
                               self->timer_.cancel();
                               if (error || last) return self->close();
                               self->read();
                             });
  }

  Protocol::socket socket_;
  boost::asio::steady_timer timer_;
  const Answer answer_;
  std::string input_;
  std::string output_;
};

ShellServer::ShellServer(boost::asio::io_context& context, const std::string& path, Answer answer)
    : acceptor_(context), retry_(context), path_(path), answer_(std::move(answer)) {
  channel::Fd listening = channel::listen_at(path);
  acceptor_.assign(Protocol(), listening.release());
  accept();
}

ShellServer::~ShellServer() { close(); }

void ShellServer::accept() {
  acceptor_.async_accept([this](error_code error, Protocol::socket socket) {
    if (error == boost::asio::error::operation_aborted) return;
    if (!error) {
      serve(std::move(socket));
      return accept();
    }
    retry_.expires_after(std::chrono::milliseconds(200));  // no descriptor is free, perhaps
    retry_.async_wait([this](error_code cancelled) {
      if (!cancelled) accept();
    });
  });
}

void ShellServer::serve(Protocol::socket socket) {
  std::erase_if(sessions_, [](const std::weak_ptr<Session>& session) { return session.expired(); });
  if (sessions_.size() >= kMaxSessions) return;  // and the socket closes
  const auto session = std::make_shared<Session>(std::move(socket), answer_);
  sessions_.push_back(session);
  session->read();
}

void ShellServer::close() {
  if (!acceptor_.is_open()) return;
  error_code ignored;
  retry_.cancel();
  acceptor_.close(ignored);
  ::unlink(path_.c_str());
  for (const auto& weak : sessions_)
    if (const auto session = weak.lock()) session->close();
}

}  // namespace espgate::control
