# Reads lcov's format and prints, file by file, the lines that no test reaches; fails below `least` percent.
function flush_lines() {
  if (missed != "") printf "  %s:%s\n", file, missed
  missed = ""
}
/^SF:/ { file = substr($0, 4); sub(/.*\/include\//, "include/", file) }
/^DA:/ {
  split(substr($0, 4), line, ",")
  ++all
  if (line[2] + 0 > 0) ++reached
  else missed = missed " " line[1]
}
/^end_of_record/ { flush_lines() }
END {
  if (all == 0) { print "no line is known"; exit 1 }
  percent = 100 * reached / all
  printf "%.1f %% of %d lines are reached; not those above\n", percent, all
  exit percent < least
}
