/** VPN sessions with GoBGP and FRR: routes of a VRF go there and back, and routes of one pass through us to another. */
import { join } from 'node:path';
import { run } from '../bgp/kit/bird.ts';
import { hasBgpd } from '../bgp/kit/frr-bgpd.ts';
import { hasGobgp } from '../bgp/kit/gobgp.ts';
import { labTests, namespaceMissing, notInstalled } from '../kit/it.ts';

labTests(notInstalled({ gobgpd: hasGobgp() }) ?? namespaceMissing).it(
  'routes cross a VPN session with GoBGP in both families, by target, and not with a label',
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

labTests(notInstalled({ frr: hasBgpd(), gobgpd: hasGobgp() }) ?? namespaceMissing).it(
  'we pass VPN routes on between FRR, GoBGP and another AS with their labels, and they are kept while we restart',
  async (t) => {
    const program = join(import.meta.dirname, '../bgp/kit/vpn-reflector-main.js');
    const out = await run('unshare', ['-n', process.execPath, program]);
    const { atA, backAtA, wereUp, atB, atOutside, atGobgp, learned, counts, labelled, settledWith } = JSON.parse(out);
    // Next hop, label, originator, cluster list.
    t.deepEqual(atA, { ofB: '10.0.0.3, label 1004, 10.0.0.3, 10.0.0.1' });
    t.is(backAtA, atA.ofB, 'it was gone while there was no way to its next hop');
    t.true(wereUp);
    t.deepEqual(atB, {
      labelled: '10.0.0.2, label 1002, 10.0.0.2, 10.0.0.1',
      ipv6: '::ffff:a00:2, label 1006, 10.0.0.2, 10.0.0.1',
      ours: '10.1.0.1, label 3',
      ofGobgp: '10.0.0.4, label 1005, 10.0.0.4, 10.0.0.1',
    });
    t.is(atOutside, '10.0.0.2, label 1002', 'in another AS, with the next hop unchanged');
    t.regex(
      atGobgp,
      /65001:2:10\.2\.0\.0\/24\s+\[1002\]\s+10\.0\.0\.2 .*Originator: 10\.0\.0\.2.*ClusterList: \[10\.0\.0\.1\]/,
    );
    t.regex(atGobgp, /65001:4:10\.4\.0\.0\/24\s+\[1004\]\s+10\.0\.0\.3 /);
    t.deepEqual(learned, { '10.3.0.0/24': '10.0.0.2' }, 'what has no label reaches our VRF');
    t.is(counts.exported, 1);
    t.is(labelled, 4);
    t.deepEqual(settledWith, ['10.3.0.0/24'], 'the VRF waited for FRR after our restart');
  },
);
