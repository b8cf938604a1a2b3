#!/usr/bin/env bash
# Prints a source file with many functions, on which a compiler works for some seconds.
#     generate.sh go|cpp|rs|java FUNCTIONS
set -euo pipefail
language=$1 functions=$2
case $language in
go)
  echo 'package big'
  for ((i = 0; i < functions; i++)); do
    cat <<END
func F$i(a, b int, s []int) int {
	t := a
	for i, v := range s {
		if v%$((i % 7 + 2)) == 0 { t += v*b + i } else { t ^= v << $((i % 5 + 1)) }
	}
	m := map[int]int{a: b, t: $i}
	for k, v := range m { t += k * v }
	return t + len(m)
}
END
  done
  ;;
cpp)
  echo '#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <vector>'
  for ((i = 0; i < functions; i++)); do
    cat <<END
template <int N> struct T$i { int v[N]; };
int f$i(std::map<std::string, T$i<$((i % 9 + 1))>> &m, std::vector<T$i<3>> &s, const std::string &k) {
  std::sort(s.begin(), s.end(), [](auto &a, auto &b) { return a.v[0] * $((i % 5 + 1)) < b.v[1]; });
  return m[k].v[0] + s[0].v[2] + (std::regex_match(k, std::regex("a$i+")) ? 1 : 0);
}
END
  done
  ;;
rs)
  for ((i = 0; i < functions; i++)); do
    cat <<END
pub fn f$i(words: &[String]) -> Vec<(String, usize)> {
    let mut seen = std::collections::BTreeMap::new();
    for (at, word) in words.iter().enumerate() {
        *seen.entry(word.to_lowercase()).or_insert(0usize) += at * $((i % 7 + 1));
    }
    let mut found: Vec<_> = seen.into_iter().filter(|(word, _)| word.len() > $((i % 5))).collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| format!("{}{}", a.0, $i).cmp(&b.0)));
    found
}
END
  done
  ;;
java)
  echo 'import java.util.*; class Big { static long sum;'
  for ((i = 0; i < functions; i++)); do
    cat <<END
  static int f$i(Map<String, List<Integer>> m, String k) {
    List<Integer> l = m.computeIfAbsent(k + $i, x -> new ArrayList<>());
    for (int i = 0; i < 40; i++) l.add((i * $((i % 11 + 3))) ^ l.size());
    return l.stream().filter(v -> v % $((i % 5 + 2)) == 0).mapToInt(v -> v + $i).sum();
  }
END
  done
  echo '  public static void main(String[] args) { for (int round = 0; round < 60; round++) { Map<String, List<Integer>> m = new HashMap<>();'
  # a method of Java has at most 64 KiB of code
  for ((i = 0; i < functions; i += 500)); do echo "    part$i(m);"; done
  echo '  } System.out.println(sum); }'
  for ((i = 0; i < functions; i += 500)); do
    echo "  static void part$i(Map<String, List<Integer>> m) {"
    for ((j = i; j < functions && j < i + 500; j++)); do echo "    sum += f$j(m, \"k$((j % 13))\");"; done
    echo '  }'
  done
  echo '}'
  ;;
esac
