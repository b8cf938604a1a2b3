#!/bin/sh
# A busy host: many short processes, for so many seconds.
end=$(($(date +%s) + $1))
while [ "$(date +%s)" -lt "$end" ]; do
  seq 20000 | sort -R | gzip -c | gunzip -c | md5sum >/dev/null
  find /usr/include -name '*.h' | head -300 | xargs grep -l define >/dev/null
  awk 'BEGIN { for (i = 0; i < 200000; i++) s += i * i; print s }' >/dev/null
  echo 'int main(void) { return 0; }' | gcc -O2 -x c -c -o /dev/null -
  perl -e '$s .= chr(65 + $_ % 26) for 1 .. 300000; $s =~ s/[AEIOU]//g; print length $s' >/dev/null
done
