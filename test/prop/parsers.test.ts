/** A few thousand damaged inputs for every parser of strangers' octets; `npm run fuzz` is the long run. */
import test from 'ava';
import { Random } from '../../router/lib/rand.ts';
import { inputFor, TARGETS } from '../fuzz/targets.ts';

const INPUTS = 3000;

for (const target of TARGETS) {
  test(`${target.name}: damaged octets are refused or read, and nothing else happens`, (t) => {
    const random = new Random(7606);
    for (const seed of target.seeds) t.notThrows(() => target.run(seed));
    for (let i = 0; i < INPUTS; i++) {
      const input = inputFor(target, random);
      t.notThrows(() => target.run(input), Buffer.from(input).toString('hex'));
    }
  });
}
