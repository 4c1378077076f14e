# Turns the comments of a header into what Doxygen reads:
#
#   /// Shapes   ...              a paragraph of that name; further lines of it are indented
#   ///   y = gamma * x           a formula: three spaces
#   /// ...                       also of the declarations that follow without an empty line
#   double epsilon = 1e-5;  // ...   of a field
#   // For the library itself.    hidden from here on, till "// For callers again." or the end
#
# and a page that is read elsewhere too:
#
#   # Title <!-- {#label} -->     a label
#   [page](../docs/page.md)       a page of that label, in small letters
#
# Usage: awk -f filter.awk FILE

BEGIN {
  names = "gamma \\gamma beta \\beta epsilon \\varepsilon xhat \\hat{x} dx \\mathit{dx} dy \\mathit{dy} x x y y n n"
  count = split(names, pairs, " ")
  for (i = 1; i < count; i += 2) tex_of[pairs[i]] = pairs[i + 1]
  count = split("mean variance inv_std sum running_mean running_var grad_gamma grad_beta weight bias", words, " ")
  for (i = 1; i <= count; i++) {
    tex_of[words[i]] = words[i]
    gsub(/_/, "\\_", tex_of[words[i]])
    tex_of[words[i]] = "\\mathrm{" tex_of[words[i]] "}"
  }
}

# How many characters of text, which begins behind an opening parenthesis, lie before the closing one.
function inside(text, i, depth, c) {
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c == "(") depth++
    if (c == ")" && depth-- == 0) return i - 1
  }
  return length(text)
}

# A formula as it is written in a comment, in LaTeX. Words that are no names become words again.
function tex(text, out, word, n, was_atom, in_words) {
  while (text != "") {
    if (match(text, /^ +/)) {
      n = RLENGTH
      text = substr(text, n + 1)
      if (in_words) out = out " "
      else if (n > 1) out = out " \\quad "
      else out = out (was_atom && text ~ /^[A-Za-z(]/ ? "\\," : " ")
    } else if (match(text, /^[A-Za-z_]+/)) {
      word = substr(text, 1, RLENGTH)
      text = substr(text, RLENGTH + 1)
      if (word == "sqrt" && text ~ /^\(/) {
        n = inside(substr(text, 2))
        out = out "\\sqrt{" tex(substr(text, 2, n)) "}"
        text = substr(text, n + 3)
      } else if (word in tex_of && !in_words) {
        out = out tex_of[word]
      } else {
        out = out (in_words ? "" : "\\text{ ") word
        in_words = 1
      }
      was_atom = 1
    } else {
      word = substr(text, 1, 1)
      text = substr(text, 2)
      if (word == "*") word = "\\cdot"
      out = out (in_words ? "}" : "") word
      in_words = 0
      was_atom = word == ")"
    }
  }
  return out (in_words ? "}" : "")
}

# One line of a comment, without its slashes.
function comment(text) {
  if (match(text, /^ (Shapes|Types|Aliasing|Determinism|Errors|Source) +/)) {
    in_table = 1
    word = substr(text, 2, RLENGTH - 1)
    sub(/ +$/, "", word)
    return indent "/// \\par " word "\n" indent "/// " substr(text, RLENGTH + 1)
  }
  if (in_table && sub(/^        +/, " ", text)) return indent "///" text
  in_table = 0
  if (text ~ /^   [^ ]/) return indent "/// \\f[ " tex(substr(text, 4)) " \\f]"
  return indent "///" text
}

function count_of(text, what) { return gsub(what, "", text) }

FILENAME ~ /\.md$/ {
  sub(/ <!-- \{#/, " {#")
  sub(/\} -->$/, "}")
  while (match($0, /\]\([A-Za-z_.\/]+\.md\)/)) {
    page = tolower(substr($0, RSTART + 2, RLENGTH - 6))
    sub(/.*\//, "", page)
    $0 = substr($0, 1, RSTART) "(@ref " page ")" substr($0, RSTART + RLENGTH)
  }
  print
  next
}

FNR == 1 {
  name = FILENAME
  sub(/.*include\//, "", name)
  print "/// \\file\n/// <tt>\\#include &lt;" name "&gt;</tt>\n"
}

/^\/\/ For the library itself\.$/ {
  print "/// \\cond"
  hidden = 1
  next
}
hidden && (/^\/\/ For callers again\.$/ || /^EVENKEEL_END/) {
  print "/// \\endcond"
  hidden = 0
}
hidden {
  print
  next
}

# What only the library's own layers use is no more a caller's than what is private.
/^ protected:$/ { sub(/protected/, "private") }

/^ *\/\/\/( |$)/ {
  match($0, /^ */)
  indent = substr($0, 1, RLENGTH)
  if (!in_comment) held = ""
  in_comment = 1
  held = held comment(substr($0, RLENGTH + 4)) "\n"
  next
}

{
  if (in_comment) {
    printf "%s", held
    complete = depth = 0
  } else if (held != "" && complete) {
    if ($0 ~ /^( *[A-Za-z~]|#define )/ && $0 !~ /^ *(public|private):/) printf "%s", held
    else held = ""
  }
  in_comment = in_table = 0

  code = $0
  gsub(/"[^"]*"/, "", code)
  sub(/ *\/\/.*/, "", code)
  if (code ~ /^ *(class|struct|enum|namespace) /) held = ""  # what is in there has its own
  depth += count_of(code, "[({]") - count_of(code, "[)}]")
  complete = depth == 0 && (code ~ /[;}]$/ || code ~ /^#define /)
  if (code ~ /^(class|struct) .*\{$/) in_struct = 1
  if (code ~ /^};/) in_struct = 0
  if (in_struct && /^  [^ \/].*;  +\/\/ /) sub(/  +\/\/ /, "  ///< ")
  print
}

END {
  if (hidden) print "/// \\endcond"
}
