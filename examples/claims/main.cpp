// Shows what the literature says of normalization, one statement a subcommand, with networks that this library trains.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "../kit/data.hpp"
#include "../kit/draw.hpp"
#include "../kit/options.hpp"
#include "claim.hpp"
#include "detection.hpp"
#include "noisy.hpp"
#include "recurrent.hpp"
#include "text.hpp"

namespace claims {
namespace {

const std::vector<Claim>& all_claims() {
  static const std::vector<Claim> claims = {kNoisy, kRecurrent, kText, kDetection};
  return claims;
}

struct Options {
  std::vector<std::string> names;
  std::optional<std::string> data;
  std::vector<std::uint64_t> seeds = {1, 2, 3, 4, 5};
  std::string output = ".";
  bool quick = false, check = false, help = false;
};

constexpr const char* kHelp =
    R"(claims: what the literature says of normalization, tried

  claims NAME...    tries these claims; each prints a table, and writes NAME.svg
                    and NAME.md
  claims all        tries all of them
  claims --help     this text

  --data DIR        real digits instead of drawn ones; DIR holds optdigits.tra
                    and optdigits.tes (UCI), or the four files of MNIST, unpacked
                    (train-images-idx3-ubyte, ...)
  --seed N,...      of the first weights and the order of the images (1,2,3,4,5)
  --output DIR      where the files go (.)
  --quick           a few seconds for each, with fewer steps and cases
  --check           exit status 1 if a claim does not come out

The claims:
)";

const Claim& claim_of(const std::string& name) {
  for (const Claim& claim : all_claims()) {
    if (claim.name == name) return claim;
  }
  fail("'" + name + "'", "no such claim, see --help");
}

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for_each_option(arguments, [&](const std::string& option, auto value) {
    if (option == "--help" || option == "-h") {
      options.help = true;
    } else if (option == "--data") {
      options.data = value();
    } else if (option == "--seed") {
      options.seeds.clear();
      for (const std::string& seed : split(value())) options.seeds.push_back(parse_seed(option, seed));
    } else if (option == "--output") {
      options.output = value();
      if (!std::filesystem::is_directory(options.output))
        fail(option, "'" + options.output + "', expected a directory");
    } else if (option == "--quick") {
      options.quick = true;
    } else if (option == "--check") {
      options.check = true;
    } else if (option.rfind("--", 0) == 0) {
      fail(option, "unknown option, see --help");
    } else if (option == "all") {
      for (const Claim& claim : all_claims()) options.names.emplace_back(claim.name);
    } else {
      options.names.emplace_back(claim_of(option).name);
    }
  });
  if (options.names.empty() && !options.help) fail("no claim", "name one or say all, see --help");
  return options;
}

void print_help() {
  std::fputs(kHelp, stdout);
  for (const Claim& claim : all_claims())
    std::printf("\n  %s\n    %s\n    (%s)\n", claim.name, claim.statement, claim.source);
}

/// A section of the documentation's page.
void write_section(const Claim& claim, const Outcome& outcome, const std::string& directory) {
  const std::string path = directory + "/" + claim.name + ".md";
  std::ofstream file(path);
  file << "## " << claim.name << "\n\n**" << claim.statement << "** (" << claim.source << ")\n\n"
       << claim.experiment << "\n\n![" << claim.name << "](" << claim.name << ".svg)\n\n"
       << outcome.table.markdown() << '\n'
       << outcome.finding << (outcome.holds ? " The claim comes out." : " The claim does not come out here.")
       << "\n\n`bash cmake/run.sh claims " << claim.name << "`\n";
  file.close();
  if (!file) fail(path, "cannot be written");
}

/// Returns whether the claim came out.
bool try_claim(const Claim& claim, const Setting& setting, const std::string& directory) {
  std::printf("%s: %s\n(%s)\n%s\n\n", claim.name, claim.statement, claim.source, claim.experiment);
  const Outcome outcome = claim.test(setting);
  std::printf("\n");
  outcome.table.print();
  std::printf("\n%s\n%s\n", outcome.finding.c_str(),
              outcome.holds ? "The claim comes out." : "The claim does not come out here.");
  const std::string picture = directory + "/" + claim.name + ".svg";
  outcome.chart.save(picture);
  write_section(claim, outcome, directory);
  std::printf("The chart is in %s.\n\n", picture.c_str());
  return outcome.holds;
}

void run(const Options& options) {
  const Data data = options.data ? load(*options.data) : draw_data();
  std::string missed;
  for (const std::string& name : options.names) {
    if (!try_claim(claim_of(name), {data, options.seeds, options.quick}, options.output))
      missed += " " + name;
  }
  if (options.check && !missed.empty()) fail("did not come out", missed.substr(1));
}

}  // namespace
}  // namespace claims

int main(int argc, char** argv) {
  return kit::run_program("claims", [&] {
    const claims::Options options = claims::parse_options({argv + 1, argv + argc});
    if (options.help) {
      claims::print_help();
    } else {
      claims::run(options);
    }
  });
}
