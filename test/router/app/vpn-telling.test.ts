/** What is answered about the routes that a VPN session's export policy keeps from its peer, in the words of the file. */
import test from 'ava';
import type { PeerConfig } from '../../../bgp/speaker.ts';
import { BgpAnswers, type BgpFacts } from '../../../router/app/bgp-answers.ts';
import { peerConfigOf } from '../../../router/app/bgp-peers.ts';
import { parseConfig } from '../../../router/config/load.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { SimNet, type SimRouter } from '../../bgp/kit/net.ts';
import { announce, roomOf, vrf } from '../../bgp/kit/vpn.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const FILE = `uplinks: { u: { wireguard: { private_key: ${KEY}, addresses: [10.0.0.2/24] } } }
bgp:
  asn: 64601
  router_id: 10.0.0.2
  policies:
    core-out:
      - { name: no eights, match: { prefix: 10.8.0.0/16 }, action: reject }
      - { set: { add_communities: ['64601:7'] } }
  peers:
    - { name: core, asn: 64601, address: 10.0.0.1, via: u, families: [ipv4, vpnv4, vpnv6], export: core-out }
    - { name: vpn, asn: 64601, address: 10.0.0.3, via: u, families: [vpnv4], export: core-out }
    - { name: plain, asn: 64601, address: 10.0.0.4, via: u }
`;

/** A router with a VRF, and the answers about it. */
function router() {
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: '/etc/m.yaml', text: FILE }, {});
  if (diagnostics.length > 0) throw new Error(diagnostics.map((d) => d.message).join());
  const { bgp } = config!;
  const net = new SimNet(3);
  let a!: SimRouter;
  const both = { import: ['64601:100'], export: ['64601:100'] };
  const targets = { red: { ...both, rd: '64601:1' }, mute: { import: ['64601:100'], export: [], rd: '64601:2' } };
  const room = roomOf(64601, () => a, targets);
  a = net.router('a', { asn: 64601, vpn: room, networks: ['10.5.0.0/16'] });
  for (const { name } of bgp!.peers) {
    const config: PeerConfig = peerConfigOf(bgp!.peers.find((p) => p.name === name)!, bgp!, () => undefined, new Map());
    const { families } = config;
    const other: SimRouter = net.router(name, { asn: 64601, vpn: roomOf(64601, () => other, {}) });
    net.join(a, other, { ...(families && { families }), export: config.export! }, { ...(families && { families }) });
  }
  const red = vrf(net, room, 'red', 64601, '10.0.0.1');
  const mute = vrf(net, room, 'mute', 64601, '10.0.0.2');
  const speakers = new Map([
    ['red', red.speaker],
    ['mute', mute.speaker],
  ]);
  net.start();
  net.run(20_000);
  const facts = {
    settings: () => bgp!,
    speaker: a.speaker,
    vrfs: {
      room,
      names: [...speakers.keys()],
      named: (name: string) => speakers.get(name),
      snapshot: () => [],
      speakerOf: () => undefined,
    },
    rpki: { isConfigured: false, table: { covering: () => [] } },
  } as unknown as BgpFacts;
  const answers = new BgpAnswers(facts);
  const ask = (prefix: string, to: string, of = '') => answers.explain({ prefix, to, vrf: of }).telling!;
  return { net, a, red, mute, ask, answers };
}

test('a VPN route that is kept from a peer names the rule, its list and its line', (t) => {
  const { net, red, ask, answers } = router();
  announce(red, '10.8.0.0/16', '10.9.0.0/16');
  net.run(1000);
  const kept = ask('10.8.0.0/16', 'core', 'red');
  t.like(kept, { peer: 'core', told: false, why: '', routes: [] });
  t.is(kept.vpn.length, 1);
  t.like(kept.vpn[0], {
    told: false,
    why: 'refused by export rule 1 "no eights" of core-out (m.yaml:7)',
    rule: { policy: 'core-out', list: '', number: 1, name: 'no eights', place: 'm.yaml:7', error: '' },
    route: { rd: '64601:1', prefix: '10.8.0.0/16', peer: '(vrf red)' },
  });
  t.is(kept.vpn[0]!.told_as, undefined);
  const told = ask('10.9.0.1', 'core', 'red');
  t.true(told.told);
  t.like(told.vpn[0], { told: true, why: 'passed by export rule 2 of core-out (m.yaml:8)' });
  t.like(told.vpn[0]!.told_as, { next_hop: '10.0.0.1', label: 3, communities: ['64601:7'], targets: ['64601:100'] });
  t.is(answers.explain({ prefix: '10.9.0.1', to: 'vpn' }).prefix, '10.9.0.0/16');
});

test('without a VRF both are answered: the main table and all VPN routes', (t) => {
  const { net, red, ask } = router();
  announce(red, '10.5.0.0/16');
  net.run(1000);
  const both = ask('10.5.0.0/16', 'core');
  t.true(both.told);
  t.is(both.why, 'passed by export rule 2 of core-out (m.yaml:8)');
  t.deepEqual(
    both.vpn.map((v) => v.told),
    [true],
  );
  const alone = ask('10.5.0.0/16', 'vpn');
  t.false(alone.told);
  t.is(alone.why, 'the session carries no IPv4 routes');
  t.deepEqual(
    alone.vpn.map((v) => v.told),
    [true],
  );
  t.deepEqual(ask('10.5.0.0/16', 'plain').vpn, []);
});

test('where there is no VPN route it is said why: the VRF, the session, the peer', (t) => {
  const { net, a, red, mute, ask } = router();
  announce(red, '10.9.0.0/16');
  announce(mute, '10.1.0.0/16');
  net.run(1000);
  const why = (prefix: string, of: string): string => ask(prefix, 'core', of).why;
  t.is(why('10.9.0.0/16', 'mute'), 'VRF mute has imported it, and does not export it again');
  t.is(why('10.7.0.0/16', 'red'), 'VRF red does not export it: there is no route to it');
  red.speaker.announce({ prefix: Prefix.parse('10.6.0.0/16')!, communities: [0xffffff02] });
  net.run(1000);
  t.is(why('10.6.0.0/16', 'red'), 'VRF red does not export it: it has the community no-advertise');
  t.throws(() => ask('10.9.0.0/16', 'plain', 'red'), { message: 'bgp peer plain is not in VRF "red"' });
  t.throws(() => ask('10.9.0.0/16', 'core', 'green'), { message: 'no VRF "green" (known: red, mute)' });
  a.speaker.peerDown('core');
  net.run(1000);
  t.is(why('10.9.0.0/16', 'red'), 'the session is not established (Idle)');
});
