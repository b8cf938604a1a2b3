// outer -> middle -> hot (3/4) and cold (1/4), compiled by the JIT compiler after a while.
'use strict';

let burnt = 1;

function burn() {
  let x = burnt;
  for (let i = 0; i < 20000; i++) x = (x * 3 + 1) | 0;
  burnt = x;
}

// Microseconds of CPU time.
function cpuNow() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function hot(until) {
  while (cpuNow() < until) burn();
}

function cold(until) {
  while (cpuNow() < until) burn();
}

function middle(start, part) {
  hot(start + 3 * part);
  cold(start + 4 * part);
}

function outer(n) {
  let start = cpuNow();
  for (let i = 0; i < n; i++) {
    const part = 1500 + ((i * 7919) % 20) * 100;
    middle(start, part);
    start += 4 * part;
  }
}

console.log('works');
outer(Number(process.argv[2]));
