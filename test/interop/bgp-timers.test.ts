/** Timers that only a peer of foreign parts puts to the test: who speaks first, and a peer that takes nothing. */
import { join } from 'node:path';
import { Addr } from '../../router/lib/addr.ts';
import { hasBird, run, until } from '../bgp/kit/bird.ts';
import { Bgpd, hasBgpd } from '../bgp/kit/frr-bgpd.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { Node, OUR_AS, THEIR_AS } from '../bgp/kit/node.ts';
import { labTests, namespaceMissing, notInstalled } from '../kit/it.ts';

/** Longer than any test waits. */
const NEVER_S = 240;

const frrConfig = (ourPort: number, delayOpenS: number): string => `router bgp ${THEIR_AS}
 bgp router-id 10.0.0.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 127.0.0.1 remote-as ${OUR_AS}
 neighbor 127.0.0.1 port ${ourPort}
 neighbor 127.0.0.1 ebgp-multihop
 neighbor 127.0.0.1 update-source 127.0.0.3
 neighbor 127.0.0.1 timers connect 1
 neighbor 127.0.0.1 timers delayopen ${delayOpenS}
`;

/** How both may wait with the OPEN, and the states of ours on the way to a session; a delay is over where OpenSent is. */
const DELAYS = [
  { who: 'we speak first where FRR waits', ours: 1, theirs: NEVER_S, sent: true },
  { who: 'FRR speaks first where we wait', ours: NEVER_S, theirs: 1, sent: false },
];

for (const { who, ours, theirs, sent } of DELAYS) {
  labTests(notInstalled({ frr: hasBgpd() })).it(`the OPEN is delayed: ${who} (RFC 4271 §8.1.1)`, async (t) => {
    const frr = new Bgpd();
    const [port, ourPort] = [await freePort(), await freePort()];
    const states: string[] = [];
    const node = new Node({
      port: ourPort,
      speaker: { onEvent: (e) => e.kind === 'state' && states.push(e.to) },
      peers: [{ name: 'frr', address: Addr.parse('127.0.0.3')!, port, delayOpenMs: ours * 1000 }],
    });
    t.teardown(async () => {
      await node.stop();
      await frr.remove();
    });
    await frr.start(frrConfig(ourPort, theirs), { address: '127.0.0.3', port });
    await node.start();
    const session = () => node.session('frr')!;
    await until(() => session().timersMs['delayOpen'] !== undefined, 'a connection without an OPEN');
    t.is(session().messages.sent.open, 0);
    await until(() => session().state === 'Established', 'the session');
    t.is(states.includes('OpenSent'), sent, states.join(' '));
    t.false('delayOpen' in session().timersMs);
    await until(async () => (await frr.ask('show bgp ipv4 unicast')).includes('172.20.229.0/27'), 'our route');
  });
}

labTests(notInstalled({ bird2: hasBird() }) ?? namespaceMissing).it(
  'a BIRD that reads nothing is given up when the send hold time is over, and another is not kept waiting (RFC 9687)',
  async (t) => {
    const program = join(import.meta.dirname, '../bgp/kit/send-hold-main.js');
    const { errors, heldMs, establishments } = JSON.parse(await run('unshare', ['-n', process.execPath, program]));
    t.deepEqual(errors, ['stopped: send hold timer expired']);
    t.true(heldMs > 1900, `${heldMs} ms`);
    t.deepEqual(establishments, { stopped: 2, reading: 1 });
  },
);
