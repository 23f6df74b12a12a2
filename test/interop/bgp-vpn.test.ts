/** VPN routes of a VRF and of GoBGP cross one session with both VPN families. */
import { join } from 'node:path';
import test from 'ava';
import { run } from '../bgp/kit/bird.ts';
import { hasGobgp } from '../bgp/kit/gobgp.ts';

const missing = !hasGobgp()
  ? ' (not installed: gobgpd)'
  : process.getuid?.() === 0
    ? ''
    : ' (needs root for a namespace)';

(missing === '' ? test.serial : test.serial.skip)(
  `routes cross a VPN session with GoBGP in both families, by target, and not with a label${missing}`,
  async (t) => {
    const out = await run('unshare', ['-n', process.execPath, join(import.meta.dirname, '../bgp/kit/vpn-main.js')]);
    const { learned, labelled, counts, v4, v6 } = JSON.parse(out);
    t.deepEqual(learned, { '10.9.0.0/24': '10.1.0.4', 'fd09::/64': 'fd00::4' });
    t.is(labelled, 1);
    t.deepEqual(counts, { learned: 3, exported: 2 });
    t.regex(v4, /65001:1:192\.168\.1\.0\/24\s+\[3\]\s+10\.1\.0\.1\s+65001/);
    t.regex(v6, /65001:1:fd01::\/48\s+\[3\]\s+fd00::1\s+65001/);
    t.regex(v4, /\[65001:100\]/);
  },
);
