/** BIRD, mlshim, FRR and GoBGP in a ring: everybody finds the same best paths as when BIRD stands in mlshim's place. */
import { join } from 'node:path';
import { hasBird, run } from '../bgp/kit/bird.ts';
import { hasBgpd } from '../bgp/kit/frr-bgpd.ts';
import { hasGobgp } from '../bgp/kit/gobgp.ts';
import { labTests, namespaceMissing, notInstalled } from '../kit/it.ts';

const missing = notInstalled({ bird2: hasBird(), frr: hasBgpd(), gobgpd: hasGobgp() }) ?? namespaceMissing;

labTests(missing).it(
  'a ring of BIRD, mlshim, FRR and GoBGP has the best paths of a ring with BIRD in our place, of 340 prefixes in both families',
  async (t) => {
    t.timeout(180_000);
    const out = await run('unshare', ['-n', process.execPath, join(import.meta.dirname, '../bgp/kit/ring-main.js')]);
    const { withUs, withBird } = JSON.parse(out) as Record<string, Record<string, Record<string, string>>>;
    t.deepEqual(withUs, withBird);
    const ours = withUs!['middle']!;
    t.is(Object.keys(ours).length, 340);
    t.is(Object.keys(ours).filter((p) => p.includes(':')).length, 170);
    // Who originates them stands in ring-main.ts: one alone, opposite or beside each other, with longer paths.
    const some = [0, 1, 3, 4, 5, 10, 12, 14, 16].map((n) => [n, ours[`172.20.${n}.0/28`]]);
    t.deepEqual(some, [
      [0, '65001'],
      [1, ''],
      [3, '65001 65004'],
      [4, '65001'],
      [5, ''],
      [10, '65003'],
      [12, ''],
      [14, '65001'],
      [16, '65001 65001'],
    ]);
    for (const [prefix, path] of Object.entries(ours)) {
      const [, n] = /^172\.20\.(\d+)\./.exec(prefix) ?? [];
      if (n !== undefined) t.is(path, ours[`fd42:${(Number(n) + 1).toString(16)}:1::/48`], `${prefix} as in IPv6`);
    }
  },
);
