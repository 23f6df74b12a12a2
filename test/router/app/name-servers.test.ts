import test from 'ava';
import type { PolicyUplink } from '../../../router/app/dataplane-protocol.ts';
import { resolverSettings } from '../../../router/app/name-servers.ts';
import { Addr } from '../../../router/lib/addr.ts';

const uplink = (link: number, device: string | undefined, ...dns: string[]): PolicyUplink => ({
  name: String(link),
  link,
  host: device === undefined ? undefined : { device, source: undefined },
  dns: dns.map((text) => Addr.parse(text)!),
  capacity: 0,
  probe: undefined,
  families: undefined,
  endsFlows: true,
});

/** Servers of an uplink as text, with how they are asked; undefined = everybody's. */
function serversOf(u: PolicyUplink, servers: readonly string[], host: readonly string[]): string[] | undefined {
  const { uplinks } = resolverSettings({ dns: { servers, search: [] }, hostNameServers: host }, [u]);
  return uplinks!.get(u.link)?.map(({ addr, path }) => `${addr} ${JSON.stringify(path)}`);
}

test('an uplink with resolvers of its own asks them, through itself', (t) => {
  const expected = ['192.0.2.53 {"kind":"uplink","uplink":1000}'];
  t.deepEqual(serversOf(uplink(1000, undefined, '192.0.2.53'), ['10.0.0.53'], []), expected);
  t.deepEqual(serversOf(uplink(1000, 'eth1', '192.0.2.53'), ['10.0.0.53'], []), expected);
});

test("a tunnel without resolvers asks everybody's, by the routing table", (t) => {
  t.is(serversOf(uplink(1000, undefined), ['10.0.0.53'], ['192.0.2.1']), undefined);
  t.is(serversOf(uplink(1000, undefined), [], ['192.0.2.1']), undefined);
});

test("a path of the host without resolvers asks everybody's, and without those the host's", (t) => {
  t.deepEqual(serversOf(uplink(1000, 'eth1'), ['10.0.0.53'], ['192.0.2.1']), [
    '10.0.0.53 {"kind":"routed","otherwise":1000}',
  ]);
  t.deepEqual(serversOf(uplink(1000, 'eth1'), [], ['127.0.0.53', '192.0.2.1']), [
    '127.0.0.53 {"kind":"loopback"}',
    '192.0.2.1 {"kind":"uplink","uplink":1000}',
  ]);
});
