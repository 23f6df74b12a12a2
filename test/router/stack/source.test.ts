import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import { Rig, words } from '../../kit/stack.ts';

function choose(rig: Rig, link: number, dst: string): string | undefined {
  const { core } = rig.stack;
  if (!core.source.select(core.links.byIndex(link)!, ...words(dst))) return undefined;
  const { s0, s1, s2, s3 } = core.source;
  return Addr.fromWords(s0, s1, s2, s3).toString();
}

test('the source is of the scope and family of the destination', (t) => {
  const rig = new Rig();
  rig.link(1, ['10.0.0.1/24', 'fe80::1/64', 'fd00::1/64']);
  t.is(choose(rig, 1, '192.0.2.1'), '10.0.0.1');
  t.is(choose(rig, 1, 'fe80::9'), 'fe80::1');
  t.is(choose(rig, 1, 'ff02::1'), 'fe80::1');
  t.is(choose(rig, 1, '2001:db8::1'), 'fd00::1');
});

test('the preferred source is used where it is ours, except on a prefix the link itself has', (t) => {
  const rig = new Rig();
  rig.link(1, ['10.0.0.1/24', 'fd00::1/64']);
  rig.link(2, ['172.20.0.1/32', 'fd99::1/128'], { isLoopback: true });
  rig.link(3, ['10.9.0.1/24'], { vrf: 1 });
  rig.stack.setSources(Addr.parse('172.20.0.1'), Addr.parse('fd99::1'));
  t.is(choose(rig, 1, '192.0.2.1'), '172.20.0.1');
  t.is(choose(rig, 1, '10.0.0.77'), '10.0.0.1');
  t.is(choose(rig, 1, 'fd42::1'), 'fd99::1');
  t.is(choose(rig, 1, 'fd00::77'), 'fd00::1');
  t.is(choose(rig, 3, '192.0.2.1'), '10.9.0.1');
});

test('a link without an address of the family borrows one of its VRF; without any there is no source', (t) => {
  const rig = new Rig();
  rig.link(1, ['fe80::1/64']);
  t.is(choose(rig, 1, '192.0.2.1'), undefined);
  t.is(choose(rig, 1, '2001:db8::1'), undefined);
  rig.link(2, ['127.0.0.1/8', '::1/128', '172.20.0.1/32', 'fd99::1/128'], { isLoopback: true });
  t.is(choose(rig, 1, '192.0.2.1'), '172.20.0.1');
  t.is(choose(rig, 1, '2001:db8::1'), 'fd99::1');
});

test('an address of our own is its own source', (t) => {
  const rig = new Rig();
  rig.link(2, ['127.0.0.1/8', '172.20.0.1/32', 'fd99::1/128'], { isLoopback: true });
  t.is(choose(rig, 2, '172.20.0.1'), '172.20.0.1');
  t.is(choose(rig, 2, '127.3.2.1'), '127.3.2.1');
  t.is(choose(rig, 2, 'fd99::1'), 'fd99::1');
});

test('addresses follow their links: removed or replaced ones are no longer ours', (t) => {
  const rig = new Rig();
  const a = rig.link(1, ['10.0.0.1/24']);
  const { links } = rig.stack;
  t.is(links.local4(0, words('10.0.0.1')[3]), 1);
  rig.stack.addLink(a, []);
  t.is(links.local4(0, words('10.0.0.1')[3]), 0);
  rig.link(2, ['10.0.0.1/24']);
  rig.stack.removeLink(2);
  t.is(links.local4(0, words('10.0.0.1')[3]), 0);
  t.is(links.byIndex(2), undefined);
});
