#include "bench/pipeline/options.hpp"

#include <CLI/CLI.hpp>
#include <stdexcept>

namespace espgate::bench {

namespace {

struct Words {
  std::vector<std::string> ways{"encrypt", "decrypt", "chain"};
  std::vector<std::string> suites{"aes128gcm16"};
  std::vector<std::string> sizes{"64", "512", "1420"};
  std::vector<std::uint32_t> tunnels{1};
  std::vector<std::uint32_t> per_sa{32};
};

Way parse_way(const std::string& word) {
  for (const Way way : {Way::encrypt, Way::decrypt, Way::chain})
    if (word == name_of(way)) return way;
  throw CLI::ValidationError("--way", word + ": expected encrypt, decrypt or chain");
}

const crypto::SuiteRow* parse_suite(const std::string& word) {
  if (const crypto::SuiteRow* const row = crypto::find_suite(word)) return row;
  std::string known;
  for (const crypto::SuiteRow& row : crypto::kSuites) known.append(" ").append(row.name);
  throw CLI::ValidationError("--suite", word + ": expected one of" + known);
}

Size parse_size(const std::string& word) {
  if (word == "imix") return {word, {64, 64, 570, 64, 64, 570, 64, 570, 64, 64, 570, 1420}};
  std::size_t used = 0;
  unsigned long bytes = 0;
  try {
    bytes = std::stoul(word, &used);
  } catch (const std::exception&) {
  }
  if (used != word.size() || bytes < 28 || bytes > 1420)
    throw CLI::ValidationError("--size", word + ": expected 28 to 1420 bytes, or imix");
  return {word, {static_cast<std::uint16_t>(bytes)}};
}

std::vector<Case> all_cases(const Words& words, bool groups) {
  std::vector<Case> cases;
  for (const std::string& suite : words.suites)
    for (const std::string& way : words.ways)
      for (const std::string& size : words.sizes)
        for (const std::uint32_t tunnels : words.tunnels)
          for (const std::uint32_t per_sa : words.per_sa)
            cases.push_back({parse_way(way), parse_suite(suite), parse_size(size), tunnels, per_sa, groups});
  return cases;
}

}  // namespace

const char* name_of(Way way) noexcept {
  switch (way) {
    case Way::encrypt:
      return "encrypt";
    case Way::decrypt:
      return "decrypt";
    case Way::chain:
      break;
  }
  return "chain";
}

Options parse_options(int argc, char** argv) {
  Options options;
  Words words;
  CLI::App app{
      "The real worker code fed from memory on one core, beside ipsec-mb alone on the same bytes. "
      "Lists are separated by commas; every combination is measured."};
  app.add_option("--way", words.ways, "encrypt, decrypt, chain (encrypt, then decrypt)")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--suite", words.suites, "aes128gcm16, aes128-sha1, ...")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--size", words.sizes, "inner bytes: 28 to 1420, or imix")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--tunnels", words.tunnels, "tunnels of each worker, each with an SA of its own")
      ->delimiter(',')
      ->check(CLI::Range(1U, 100000U))
      ->capture_default_str();
  app.add_option("--per-sa", words.per_sa, "packets of one SA that follow each other")
      ->delimiter(',')
      ->check(CLI::Range(1U, 1U << 20))
      ->capture_default_str();
  app.add_option("--workers", options.workers, "workers, each on a core of its own with tunnels of its own")
      ->check(CLI::Range(1U, 16U))
      ->capture_default_str();
  app.add_option("--burst", options.burst, "frames received at once")
      ->check(CLI::Range(1U, 64U))
      ->capture_default_str();
  app.add_option("--samples", options.samples, "samples, of which the median is told")
      ->check(CLI::Range(7U, 1001U))
      ->capture_default_str();
  app.add_option("--milliseconds", options.milliseconds, "measured time of a sample, about")
      ->check(CLI::Range(1U, 10000U))
      ->capture_default_str();
  app.add_flag("--spread", options.spread,
               "the first worker has all the traffic; the others help it with the cryptography");
  app.add_flag("--groups", options.groups,
               "routes lead into groups of two tunnels each, and every packet is another flow");
  app.add_flag("--cold", options.cold, "frames are flushed from the caches before they are received");
  app.add_option("--bursts", options.bursts, "carry so many bursts of each case and measure nothing")
      ->check(CLI::Range(1U, 1000000U));
  app.add_option("--plot", options.plot, "writes a picture of the cycles to this SVG file");
  app.add_flag("--stages", options.stages, "the cycles of each stage, too (--json always has them)");
  app.add_flag("--json", options.json, "an array of objects instead of the table");
  app.add_flag("--huge-pages", options.huge_pages, "use the huge pages that are reserved");
  try {
    app.parse(argc, argv);
    options.cases = all_cases(words, options.groups);
    for (const Case& which : options.cases)
      if (which.groups && which.tunnels % 2 != 0)
        throw CLI::ValidationError("--groups", "expected an even number of tunnels");
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    std::exit(status == 0 ? 0 : 2);
  }
  return options;
}

}  // namespace espgate::bench
