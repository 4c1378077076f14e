// The bits of callers that are compiled in one way: printed; or, with the program of another way as an argument, compared
// with what that prints. They are programs of their own, since of an inline function that several units have, the linker
// keeps one for all.
#include <cstdio>
#include <string>
#include <vector>

#include "check.hpp"

extern const Way<float> EK_BATCH, EK_LAYER, EK_GROUP;

int main(int argc, char** argv) {
  std::vector<std::string> lines;
  for (const Way<float>* way : {&EK_BATCH, &EK_LAYER, &EK_GROUP})
    for (const std::string& line : bits_of(*way)) lines.push_back(line + "\n");
  if (argc == 1) {
    for (const std::string& line : lines) std::fputs(line.c_str(), stdout);
    return 0;
  }
  std::FILE* other = popen(argv[1], "r");
  if (other == nullptr) return 1;
  char line[256];
  std::size_t count = 0, different = 0;
  for (; std::fgets(line, sizeof line, other) != nullptr; ++count) {
    if (count < lines.size() && lines[count] == line) continue;
    std::printf("not the same bits: %s", count < lines.size() ? lines[count].c_str() : line);
    ++different;
  }
  const bool ended_well = pclose(other) == 0;
  std::printf("%zu of %zu results have other bits\n", different, lines.size());
  return ended_well && count == lines.size() && different == 0 ? 0 : 1;
}
