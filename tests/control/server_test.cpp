// The shell's server over socket pairs, with clients that are not ours.
#include "control/shell/server.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/local/connect_pair.hpp>
#include <catch2/catch.hpp>
#include <random>

#include "channel/region.hpp"
#include "tests/control/gateway_pair.hpp"

using namespace espgate;
using namespace espgate::test;
using control::ShellServer;
using nlohmann::json;

namespace {

struct Served {
  Served() {
    pair.start();
    pair.run(200ms);
    char name[] = "/tmp/espgate-server-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    directory = name;
    server = std::make_unique<ShellServer>(context, path(), [this](std::string_view line) {
      ++answered;
      return control::answer_line(*pair.west.gateway, line, pair.now);
    });
  }
  ~Served() {
    server->close();
    context.poll();
    ::rmdir(directory.c_str());
  }
  std::string path() const { return directory + "/shell.sock"; }

  // A client's end; the other is served.
  ShellServer::Protocol::socket client() {
    ShellServer::Protocol::socket ours(context);
    ShellServer::Protocol::socket theirs(context);
    boost::asio::local::connect_pair(ours, theirs);
    server->serve(std::move(theirs));
    ours.non_blocking(true);
    return ours;
  }

  void turn() {
    for (int round = 0; round < 50; ++round) {
      context.restart();
      context.poll();
    }
  }

  // Sends all, and takes what comes back until nothing does any more.
  std::string exchange(ShellServer::Protocol::socket& socket, const std::string& sent) {
    std::string received;
    std::size_t at = 0;
    for (int idle = 0; idle < 20; ++idle) {
      boost::system::error_code error;
      if (at < sent.size())
        at += socket.write_some(boost::asio::buffer(sent.data() + at, sent.size() - at), error);
      turn();
      char buffer[65536];
      const std::size_t count = socket.read_some(boost::asio::buffer(buffer), error);
      received.append(buffer, count);
      if (count > 0) idle = 0;
      if (error == boost::asio::error::eof) closed = true;
      if (closed) break;
    }
    return received;
  }

  Pair pair;
  boost::asio::io_context context{1};
  std::string directory;
  unsigned answered{0};
  bool closed{false};
  std::unique_ptr<ShellServer> server;
};

}  // namespace

TEST_CASE("one line, one answer; many lines on one connection", "[server]") {
  Served s;
  auto client = s.client();
  const json answer = json::parse(s.exchange(client, "{\"command\":\"show tunnels\",\"json\":true}\n"));
  CHECK(answer.at("status") == 0);
  CHECK(answer.at("data").at(0).at("name") == "to-east");
  std::istringstream lines(s.exchange(client, "{\"command\":\"help\"}\n{\"complete\":\"sho\"}\n"));
  std::string line;
  REQUIRE(std::getline(lines, line));
  REQUIRE(std::getline(lines, line));
  CHECK(json::parse(line).at("choices") == json::array({"show"}));
}

TEST_CASE("what is not a request is answered with words", "[server]") {
  Served s;
  auto client = s.client();
  for (const std::string bad :
       {"", "{", "null", "[]", "7", "\"show\"", "{\"command\":7}", "{\"complete\":{}}", "{}",
        "{\"command\":\"show tunnels\",\"json\":", "\xff\xfe\x00\x1b", "{\"command\":\"\\u0000\"}",
        "{\"command\":\"\\ud800\"}"}) {
    INFO(bad);
    const json answer = json::parse(s.exchange(client, bad + "\n"));
    CHECK(answer.at("status") == 1);
    CHECK_FALSE(answer.at("text").get<std::string>().empty());
  }
}

TEST_CASE("a request without end is refused and its connection closed", "[server]") {
  Served s;
  auto client = s.client();
  const std::string answer = s.exchange(client, std::string(ShellServer::kMaxRequest + 10, '['));
  CHECK(answer.find("too long") != std::string::npos);
  CHECK(s.closed);
  CHECK(s.answered == 0);
}

TEST_CASE("deep nesting within the limit is only a bad request", "[server]") {
  Served s;
  auto client = s.client();
  const std::string half(ShellServer::kMaxRequest / 2 - 10, '[');
  const json answer = json::parse(s.exchange(client, half + std::string(half.size(), ']') + "\n"));
  CHECK(answer.at("status") == 1);
}

TEST_CASE("no more sessions than the bound, and room again when one ends", "[server]") {
  Served s;
  std::vector<ShellServer::Protocol::socket> clients;
  for (unsigned count = 0; count < ShellServer::kMaxSessions; ++count) clients.push_back(s.client());
  {
    auto one_more = s.client();
    s.exchange(one_more, "{\"command\":\"help\"}\n");
    CHECK(s.closed);
  }
  s.closed = false;
  clients.pop_back();
  s.turn();
  auto again = s.client();
  CHECK(json::parse(s.exchange(again, "{\"command\":\"help\"}\n")).at("status") == 0);
}

TEST_CASE("a client that leaves in the middle disturbs nobody", "[server]") {
  Served s;
  for (int count = 0; count < 100; ++count) {
    auto client = s.client();
    boost::system::error_code error;
    client.write_some(boost::asio::buffer(std::string("{\"command\":\"show drops\"}\n{\"comm")), error);
    if (count % 2 == 0) s.turn();
  }
  s.turn();
  auto client = s.client();
  CHECK(json::parse(s.exchange(client, "{\"command\":\"help\"}\n")).at("status") == 0);
}

TEST_CASE("random bytes are survived, and every line of them answered in printable text", "[server]") {
  Served s;
  std::mt19937 random(11);
  auto client = s.client();
  for (int count = 0; count < 200; ++count) {
    std::string line(random() % 300, '\0');
    for (char& character : line) character = static_cast<char>(random());
    std::erase(line, '\n');
    const std::string answer = s.exchange(client, line + "\n");
    REQUIRE_FALSE(answer.empty());
    for (const char character : answer) CHECK((character == '\n' || (character >= 0x20 && character < 0x7f)));
  }
}

TEST_CASE("a command's own text can't carry escapes to the terminal", "[server]") {
  Served s;
  auto client = s.client();
  for (const std::string command :
       {"show \\u001b[2J", "reset tunnel \\u001b]0;x", "show log -n \\u009b", "show tunnels a\\u0007"}) {
    const json answer = json::parse(s.exchange(client, "{\"command\":\"" + command + "\"}\n"));
    for (const char character : answer.at("text").get<std::string>())
      CHECK((character == '\n' || (character >= 0x20 && character < 0x7f)));
  }
}

TEST_CASE("the socket is the operator's alone, and goes with the server", "[server]") {
  Served s;
  struct stat status {};
  REQUIRE(::stat(s.path().c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  const channel::Fd client = channel::connect_to(s.path());
  const std::string request = "{\"command\":\"show version\"}\n";
  REQUIRE(::send(client.get(), request.data(), request.size(), 0) == static_cast<ssize_t>(request.size()));
  s.turn();
  char buffer[4096];
  CHECK(::recv(client.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0);
  s.server->close();
  CHECK(::stat(s.path().c_str(), &status) != 0);
}
