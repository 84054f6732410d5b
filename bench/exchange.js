// Key exchanges a second in JavaScript: exchange.js SECONDS, prints a name and a number a line.
import { randomBytes } from 'node:crypto';
import forge from 'node-forge';
import { KeyExchange } from '#binding';

const seconds = Number(process.argv[2]);
const KEY_BITS = 107n;
const prime = (1n << KEY_BITS) - 1n;
const { BigInteger } = forge.jsbn;
const [forgePrime, forgeGenerator] = [new BigInteger(prime.toString()), new BigInteger('5')];
const randomHex = () => (BigInt(`0x${randomBytes(16).toString('hex')}`) >> (128n - KEY_BITS)).toString(16);

const [guest, host] = [new KeyExchange(), new KeyExchange()];
const finish = (exchange, peer) => {
  const bytes = Buffer.allocUnsafe(33);
  return bytes.subarray(0, exchange.finish(peer, bytes));
};
const same = (left, right) => {
  if (left !== right) throw new Error('the two secrets differ');
};
const modPow = (base, exponent) => {
  let result = 1n;
  for (let power = base, rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * power) % prime;
    power = (power * power) % prime;
  }
  return result;
};
const exchanges = {
  addon() {
    const [fromA, fromB] = [guest.begin(), host.begin()];
    if (!finish(guest, fromB).equals(finish(host, fromA))) throw new Error('the two secrets differ');
  },
  'node-forge'() {
    const [a, b] = [new BigInteger(randomHex(), 16), new BigInteger(randomHex(), 16)];
    const [fromA, fromB] = [a, b].map((key) => forgeGenerator.modPow(key, forgePrime).toString());
    same(
      new BigInteger(fromB).modPow(a, forgePrime).toString(),
      new BigInteger(fromA).modPow(b, forgePrime).toString(),
    );
  },
  BigInt() {
    const [a, b] = [BigInt(`0x${randomHex()}`), BigInt(`0x${randomHex()}`)];
    const [fromA, fromB] = [String(modPow(5n, a)), String(modPow(5n, b))];
    same(String(modPow(BigInt(fromB), a)), String(modPow(BigInt(fromA), b)));
  },
};

for (const [name, exchange] of Object.entries(exchanges)) {
  for (let warm = 0; warm < 2000; warm++) exchange();
  const started = process.hrtime.bigint();
  let [done, elapsed] = [0, 0];
  while (elapsed < seconds) {
    for (let i = 0; i < 100; i++) exchange();
    done += 100;
    elapsed = Number(process.hrtime.bigint() - started) / 1e9;
  }
  console.log(`${name} ${done / elapsed}`);
}
