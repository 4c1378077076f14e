#pragma once

#include <array>
#include <cstddef>
#include <numeric>
#include <vector>

#include "../kit/random.hpp"
#include "../kit/types.hpp"

namespace claims {

using namespace kit;

constexpr Index kConsonants = 12, kVowels = 5, kLetters = kConsonants + kVowels + 1, kLanguages = 8;
constexpr Index kSpace = kLetters - 1;

/// Where each text of a batch ends in the batch's letters.
using TextEnds = std::vector<Index>;

/// Calls visit(first, count) for the letters of each text.
template <typename Visit>
void for_each_text(const TextEnds& ends, Visit visit) {
  Index first = 0;
  for (Index end : ends) {
    visit(first, end - first);
    first = end;
  }
}

/// Of different lengths, one behind the other.
struct Texts {
  std::vector<Index> letters;
  TextEnds ends;
  std::vector<Index> labels;  // the languages

  Index count() const { return static_cast<Index>(ends.size()); }
};

/// An invented language.
///
///   text = word, or word space text        word = syllable, or syllable word
///   syllable = consonant vowel             each after one another with probability 2/3 and 1/2, at most 8 and 4
///
/// All languages have the same letters. What tells them apart is which vowel prefers to stand behind which consonant, and
/// which consonant behind which vowel: the preferred one does so in 7 of 10 cases, any one in the others.
class Language {
 public:
  explicit Language(Random& random)
      : vowel_behind_(permuted(kConsonants, random)), consonant_behind_(permuted(kConsonants, random)) {}

  void append_text(Texts& texts, Random& random) const {
    for (Index words = 0; words < 8; ++words) {
      if (words > 0) {
        if (random.uniform(0, 1) > 2. / 3) break;
        texts.letters.push_back(kSpace);
      }
      append_word(texts, random);
    }
    texts.ends.push_back(static_cast<Index>(texts.letters.size()));
  }

 private:
  static constexpr double kPreference = 0.7;

  static std::vector<Index> permuted(Index count, Random& random) {
    std::vector<Index> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), Index{0});
    random.shuffle(values);
    return values;
  }
  static Index any(Index count, Random& random) {
    return static_cast<Index>(random.uniform(0, static_cast<double>(count)));
  }

  void append_word(Texts& texts, Random& random) const {
    Index consonant = any(kConsonants, random);
    for (Index syllables = 0; syllables < 4; ++syllables) {
      if (syllables > 0 && random.uniform(0, 1) > 0.5) break;
      const bool vowel_is_preferred = random.uniform(0, 1) < kPreference;
      const Index vowel = vowel_is_preferred ? vowel_behind_[static_cast<std::size_t>(consonant)] % kVowels
                                             : any(kVowels, random);
      texts.letters.push_back(consonant);
      texts.letters.push_back(kConsonants + vowel);
      const bool consonant_is_preferred = random.uniform(0, 1) < kPreference;
      consonant = consonant_is_preferred ? consonant_behind_[static_cast<std::size_t>(vowel)]
                                         : any(kConsonants, random);
    }
  }

  std::vector<Index> vowel_behind_, consonant_behind_;
};

/// As many texts of each language.
inline Texts write_texts(Index count, const std::vector<Language>& languages, Random& random) {
  Texts texts;
  for (Index i = 0; i < count; ++i) {
    const Index language = i % static_cast<Index>(languages.size());
    languages[static_cast<std::size_t>(language)].append_text(texts, random);
    texts.labels.push_back(language);
  }
  return texts;
}

/// A batch with the texts of these numbers.
inline Texts selected(const Texts& texts, const std::vector<Index>& numbers) {
  Texts batch;
  for (Index number : numbers) {
    const auto i = static_cast<std::size_t>(number);
    const auto letters = texts.letters.begin();
    batch.letters.insert(batch.letters.end(), letters + (i == 0 ? 0 : texts.ends[i - 1]),
                         letters + texts.ends[i]);
    batch.ends.push_back(static_cast<Index>(batch.letters.size()));
    batch.labels.push_back(texts.labels[i]);
  }
  return batch;
}

struct TextData {
  Texts train, validation, test;
};

/// Always the same texts, whatever the seed of the training.
inline TextData write_text_data() {
  Random random(1);
  std::vector<Language> languages;
  for (Index i = 0; i < kLanguages; ++i) languages.emplace_back(random);
  TextData data;
  data.train = write_texts(4000, languages, random);
  data.validation = write_texts(500, languages, random);
  data.test = write_texts(1000, languages, random);
  return data;
}

}  // namespace claims
