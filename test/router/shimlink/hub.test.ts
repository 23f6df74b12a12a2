import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import { MutableTick } from '../../../router/lib/clock.ts';
import { World } from '../../../router/lib/world.ts';
import { Hub, type HubParts, type HubSettings } from '../../../router/shimlink/hub.ts';
import { AF_INET, AF_INET6 } from '../../../router/shimlink/proto.ts';
import { SockAddr } from '../../../router/shimlink/sockaddr.ts';

function hubWith(settings: Partial<HubSettings>): Hub {
  const parts = { world: new World(8 << 20), tick: new MutableTick(), session: 1, uid: 0 } as unknown as HubParts;
  const hub = new Hub(parts);
  const hostNameServers = Hub.nameServers(['192.0.2.53', '2001:db8::53'], () => undefined);
  hub.settings = { hasLoopback: false, hasNameServers: true, hostNameServers, ...settings };
  return hub;
}

function isRedirected(hub: Hub, text: string, port = 53): boolean {
  const a = Addr.parse(text)!;
  const family = a.family === 4 ? AF_INET : AF_INET6;
  return hub.redirect(new SockAddr().set(family, a.a0, a.a1, a.a2, a.a3, port, 0));
}

test("queries to the host's name servers and to resolved's stub are redirected, others are not", (t) => {
  const hub = hubWith({});
  for (const server of ['192.0.2.53', '2001:db8::53', '127.0.0.53', '127.0.0.54']) t.true(isRedirected(hub, server));
  for (const other of ['192.0.2.54', '127.0.0.1', '::1']) t.false(isRedirected(hub, other));
  t.false(isRedirected(hub, '192.0.2.53', 853));
});

test('nothing is redirected while there is nobody to ask, and the stub is an address like others where loopback is ours', (t) => {
  t.false(isRedirected(hubWith({ hasNameServers: false }), '192.0.2.53'));
  t.false(isRedirected(hubWith({ hasLoopback: true }), '127.0.0.53'));
});

test('what has a name of its own is counted under it', (t) => {
  const hub = hubWith({});
  hub.count('withoutEffect_TCP_FASTOPEN');
  hub.count('withoutEffect_TCP_FASTOPEN');
  t.is(hub.counters['withoutEffect_TCP_FASTOPEN'], 2);
});
