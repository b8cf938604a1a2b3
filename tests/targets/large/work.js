// What services written for Node spend their time on: JSON, strings, sorting, and the libraries in it.
const crypto = require('crypto');
const zlib = require('zlib');

function order(id) {
  const lines = [];
  for (let i = 0; i < 40; i++) lines.push({ sku: `sku-${(id * 31 + i * 17) % 997}`, price: (id + i) / 7 });
  return { id, lines, note: 'x'.repeat(id % 50) };
}
function price(text) {
  const order = JSON.parse(text);
  order.lines.sort((a, b) => (a.sku < b.sku ? -1 : a.sku > b.sku ? 1 : a.price - b.price));
  return order.lines.reduce((sum, line) => sum + line.price * (/9/.test(line.sku) ? 0.9 : 1), 0);
}
let total = 0;
const rounds = Number(process.argv[2]);
for (let round = 0; round < rounds; round++) {
  const texts = [];
  for (let id = 0; id < 2000; id++) texts.push(JSON.stringify(order(id + round)));
  for (const text of texts) total += price(text);
  total += zlib.gzipSync(texts.join('')).length;
  total += crypto.createHash('sha256').update(texts.join('')).digest()[0];
}
console.log(total);
