/**
 * `npm run fuzz -- [NAME] [--seconds N] [--seed N]`: damaged octets for every parser whose name begins with NAME, for N
 * seconds each (default 60). Prints the seed, and for a failure the input in hexadecimal.
 */
import { parseArgs } from 'node:util';
import { Random } from '../../router/lib/rand.ts';
import { inputFor, TARGETS } from './targets.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
});
const name = positionals[0] ?? '';
const targets = TARGETS.filter((t) => t.name.startsWith(name));
if (targets.length === 0) {
  console.error(`fuzz: no target "${name}" (known: ${TARGETS.map((t) => t.name).join(', ')})`);
  process.exit(2);
}
let failures = 0;
for (const target of targets) {
  const seed = Number(values.seed ?? Math.floor(performance.timeOrigin) % 2 ** 31);
  const random = new Random(seed);
  const until = performance.now() + Number(values.seconds) * 1000;
  let inputs = 0;
  let failed = 0;
  while (performance.now() < until && failed < 3) {
    const input = inputFor(target, random);
    inputs++;
    try {
      target.run(input);
    } catch (e) {
      failed++;
      console.error(`FAILED ${target.name}: ${(e as Error).message}\n  input ${Buffer.from(input).toString('hex')}`);
    }
  }
  failures += failed;
  console.log(`${target.name}: ${inputs} inputs, ${failed} failures (seed ${seed})`);
}
process.exitCode = failures > 0 ? 1 : 0;
