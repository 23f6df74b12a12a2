import test from 'ava';
import { MutableTick } from '../../../router/lib/clock.ts';
import { World } from '../../../router/lib/world.ts';
import { Hub, type HubParts } from '../../../router/shimlink/hub.ts';
import { AF_INET, AF_INET6 } from '../../../router/shimlink/proto.ts';

/** A hub whose only use is to choose name servers. */
function hubWith(servers: readonly string[]): { readonly hub: Hub; readonly tick: MutableTick } {
  const tick = new MutableTick();
  const parts = { world: new World(8 << 20), tick, session: 1, uid: 0 } as unknown as HubParts;
  const hub = new Hub(parts);
  hub.settings = {
    hasLoopback: false,
    nameServers: Hub.nameServers(servers, () => undefined),
    hostNameServers: Hub.nameServers(['192.0.2.53'], () => undefined),
  };
  return { hub, tick };
}

const ask = (hub: Hub, family = AF_INET): string => String(hub.askNameServer(family).toAddr());

test('questions go to the first name server for as long as it answers', (t) => {
  const { hub, tick } = hubWith(['10.0.0.1', '10.0.0.2']);
  for (let i = 0; i < 3; i++) {
    t.is(ask(hub), '10.0.0.1');
    t.true(hub.nameServerAnswered(0, 0, 0xffff, 0x0a000001));
    tick.ms += 60_000;
  }
  t.is(hub.counters.nameServersSkipped, 0);
});

test('a silent name server is passed over by the next question, round the list, and counted', (t) => {
  const { hub, tick } = hubWith(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  const asked: string[] = [];
  for (let i = 0; i < 4; i++) {
    asked.push(ask(hub));
    tick.ms += 500;
    asked.push(ask(hub)); // not silent for long enough yet
    tick.ms += 5000;
  }
  t.deepEqual(
    asked,
    ['1', '1', '2', '2', '3', '3', '1', '1'].map((n) => `10.0.0.${n}`),
  );
  t.is(hub.counters.nameServersSkipped, 3);
});

test('an IPv4 socket asks the servers it can reach, an IPv6 socket all of them', (t) => {
  const { hub, tick } = hubWith(['2001:db8::53', '10.0.0.2']);
  t.is(ask(hub, AF_INET6), '2001:db8::53');
  t.is(ask(hub, AF_INET), '10.0.0.2');
  tick.ms += 5000;
  t.is(ask(hub, AF_INET6), '10.0.0.2');
});

test('answers of others are not taken for those of a name server', (t) => {
  const { hub } = hubWith(['10.0.0.1']);
  t.false(hub.nameServerAnswered(0, 0, 0xffff, 0x0a000002));
});

test('what has a name of its own is counted under it', (t) => {
  const { hub } = hubWith([]);
  hub.count('withoutEffect_TCP_FASTOPEN');
  hub.count('withoutEffect_TCP_FASTOPEN');
  t.is(hub.counters['withoutEffect_TCP_FASTOPEN'], 2);
});
