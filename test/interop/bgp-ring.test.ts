/** BIRD, mlshim, FRR and GoBGP in a ring: everybody finds the same best paths as when BIRD stands in mlshim's place. */
import { join } from 'node:path';
import test from 'ava';
import { hasBird, run } from '../bgp/kit/bird.ts';
import { hasBgpd } from '../bgp/kit/frr-bgpd.ts';
import { hasGobgp } from '../bgp/kit/gobgp.ts';

const absent = [!hasBird() && 'bird2', !hasBgpd() && 'frr', !hasGobgp() && 'gobgpd'].filter((x) => x !== false);
const missing =
  absent.length > 0
    ? ` (not installed: ${absent.join(', ')})`
    : process.getuid?.() === 0
      ? ''
      : ' (needs root for a namespace)';

(missing === '' ? test.serial : test.serial.skip)(
  `a ring of BIRD, mlshim, FRR and GoBGP has the best paths of a ring with BIRD in our place${missing}`,
  async (t) => {
    t.timeout(180_000);
    const out = await run('unshare', ['-n', process.execPath, join(import.meta.dirname, '../bgp/kit/ring-main.js')]);
    const { withUs, withBird } = JSON.parse(out) as Record<string, Record<string, Record<string, string>>>;
    t.deepEqual(withUs, withBird);
    t.deepEqual(withUs!['middle'], {
      '172.20.1.0/24': '65001',
      '172.20.2.0/24': '',
      '172.20.3.0/24': '65003',
      '172.20.4.0/24': '65001 65004',
      '172.20.9.0/24': '65001',
    });
  },
);
