// Shows what the literature says of normalization, one statement a subcommand, with networks that this library trains.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "../kit/data.hpp"
#include "../kit/draw.hpp"
#include "../kit/options.hpp"
#include "affine.hpp"
#include "batch_size.hpp"
#include "claim.hpp"
#include "detection.hpp"
#include "faster.hpp"
#include "gradients.hpp"
#include "hinders.hpp"
#include "inference_mode.hpp"
#include "initialization.hpp"
#include "momentum.hpp"
#include "noisy.hpp"
#include "percentiles.hpp"
#include "placement.hpp"
#include "rate.hpp"
#include "recurrent.hpp"
#include "regularizes.hpp"
#include "text.hpp"

namespace claims {
namespace {

const std::vector<Claim>& all_claims() {
  static const std::vector<Claim> claims = {
      kFaster,        kInitialization, kPercentiles, kGradients, kRate,    kNoisy, kRegularizes, kBatchSize,
      kInferenceMode, kRecurrent,      kAffine,      kPlacement, kHinders, kText,  kDetection,   kMomentum};
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

  claims NAME...    tries these claims; each prints a table and writes NAME.svg
  claims all        tries all of them, and writes the documentation's page of
                    them, what_normalization_does.md
  claims --help     this text

  --data DIR        real digits instead of drawn ones; DIR holds optdigits.tra
                    and optdigits.tes (UCI), or the four files of MNIST, unpacked
                    (train-images-idx3-ubyte, ...)
  --seed N,...      of the first weights and the order of the images (1,2,3,4,5)
  --output DIR      where the files go (.)
  --quick           a few seconds for each, with fewer steps and cases
  --check           exit status 1 if a claim does not come out, not even in part

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

std::string verdict(const Outcome& outcome) {
  if (outcome.holds) return "The claim comes out.";
  if (outcome.part.empty()) return "The claim does not come out here.";
  return "The claim comes out in part: " + outcome.part + ".";
}

void print_help() {
  std::fputs(kHelp, stdout);
  for (const Claim& claim : all_claims())
    std::printf("\n  %s\n    %s\n    (%s)\n", claim.name, claim.statement, claim.source);
}

/// Of the documentation's page.
std::string section_of(const Claim& claim, const Data& data, const Outcome& outcome) {
  std::ostringstream text;
  text << "## " << claim.name << "\n\n**" << claim.statement << "** (" << claim.source << ")\n\n"
       << claim.experiment << "\n\n![" << claim.name << ", on " << data.name << "](" << claim.name
       << ".svg)\n\n"
       << outcome.table.markdown() << '\n'
       << outcome.finding << ' ' << verdict(outcome) << "\n\n`bash cmake/run.sh claims " << claim.name
       << "`\n\n";
  return text.str();
}

/// Prints what comes out of a claim, and draws its chart in the directory.
Outcome try_claim(const Claim& claim, const Setting& setting, const std::string& directory) {
  std::printf("%s: %s\n(%s)\n%s\n\n", claim.name, claim.statement, claim.source, claim.experiment);
  const Outcome outcome = claim.test(setting);
  const std::string picture = directory + "/" + claim.name + ".svg";
  outcome.chart.save(picture);
  std::printf("\n");
  outcome.table.print();
  std::printf("\n%s\n%s\nThe chart is in %s.\n\n", outcome.finding.c_str(), verdict(outcome).c_str(),
              picture.c_str());
  return outcome;
}

void write_page(const std::string& sections, const Data& data, const std::string& directory) {
  const std::string path = directory + "/what_normalization_does.md";
  std::ofstream file(path);
  file << "# What normalization does <!-- {#what_normalization_does} -->\n\n"
       << "What the literature says of normalization, tried with small networks that this library trains: "
          "each table has medians over several seeds, and in brackets the lowest and the highest. The images "
          "are "
       << data.name << ". `bash cmake/run.sh claims` makes this page.\n\n"
       << sections;
  file.close();
  if (!file) fail(path, "cannot be written");
  std::printf("The page is in %s.\n", path.c_str());
}

void run(const Options& options) {
  const Data data = options.data ? load(*options.data) : draw_data();
  std::string sections, missed;
  for (const std::string& name : options.names) {
    const Claim& claim = claim_of(name);
    const Outcome outcome = try_claim(claim, {data, options.seeds, options.quick}, options.output);
    sections += section_of(claim, data, outcome);
    if (!outcome.holds && outcome.part.empty()) missed += " " + name;
  }
  if (options.names.size() == all_claims().size()) write_page(sections, data, options.output);
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
