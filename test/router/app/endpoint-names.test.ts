import { createSocket } from 'node:dgram';
import test from 'ava';
import { resolveBeside } from '../../../router/app/endpoint-names.ts';
import { NO_WAY } from '../../../router/app/kernel-plan.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { buildDns, DnsType, parseDns } from '../../../router/wire/dns.ts';

const NAME = 'moves.invalid';
const addr = (text: string): Addr => Addr.parse(text)!;

test("what the host's resolver does not know is asked of name servers, for both families", async (t) => {
  const server = createSocket('udp4');
  t.teardown(() => server.close());
  server.on('message', (octets, from) => {
    const query = parseDns(octets)!;
    const [question] = query.questions;
    const at = addr(question!.type === DnsType.A ? '192.0.2.9' : '2001:db8::9');
    const record = {
      name: NAME,
      type: question!.type,
      class: 1,
      ttlS: 5,
      data: { kind: 'address', addr: at },
    } as const;
    server.send(buildDns({ ...query, isResponse: true, answers: [record] })!, from.port, from.address);
  });
  await new Promise<void>((done) => server.bind(0, '127.0.0.1', done));
  const servers = [{ server: addr('127.0.0.1'), way: NO_WAY }];
  const found = await resolveBeside(NAME, () => servers, server.address().port);
  t.deepEqual(found.map(String), ['192.0.2.9', '2001:db8::9']);
});

test('where nobody knows the name, what the host said is the reason', async (t) => {
  await t.throwsAsync(
    resolveBeside(NAME, () => []),
    { message: /moves\.invalid/ },
  );
});

test("what the host's resolver knows needs no name server", async (t) => {
  const found = await resolveBeside('127.0.0.1', () => t.fail() as never);
  t.deepEqual(found.map(String), ['127.0.0.1']);
});
