import test from 'ava';
import { SOCK_STREAM } from '../../../router/native/index.ts';
import { AF_INET, AF_INET6, Ai, Dgram, getHost32, IPPROTO_IPV6, MlsOp } from '../../../router/shimlink/proto.ts';
import { readSockAddr, SockAddr } from '../../../router/shimlink/sockaddr.ts';
import { type DataplaneUnderTest, startDataplane } from '../../kit/dataplane.ts';
import { at, TestApp } from './app.ts';

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
/** The host's name server, as its resolver file would name it. */
const ASKED = '192.0.2.53';
const ASKED_6 = '2001:db8::53';
const IPV6_V6ONLY = 26;

let dataplane: DataplaneUnderTest;
let app: TestApp;
/** The name server inside: an app of the same data plane. */
let server: number;

test.before(async () => {
  dataplane = await startDataplane({
    settings: { dns: { servers: ['127.0.0.1'], search: ['example.net'] }, hostNameServers: [ASKED, ASKED_6] },
  });
  app = new TestApp(dataplane);
  server = app.do({ op: MlsOp.Socket, args: [AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0] }).fd;
  const bound = app.do({ op: MlsOp.Bind, id: 1, addr: at('127.0.0.1', 53) });
  if (bound.result !== 0) throw new Error(`bind: ${bound.result}`);
});

test.after.always(async () => {
  app.closeAll();
  await dataplane.stop();
});

/** Take one query from the server's socket; `reply` answers its question with an IPv4 address, or none (NXDOMAIN). */
function nextQuery(): { readonly name: string; reply(address: readonly number[] | undefined): void } {
  const message = Buffer.from(app.read(server) as string, 'latin1');
  const head = message.subarray(0, Dgram.Size);
  const query = message.subarray(Dgram.Size);
  const labels: string[] = [];
  let end = 12;
  while (query[end] !== 0) {
    labels.push(query.subarray(end + 1, end + 1 + query[end]!).toString());
    end += 1 + query[end]!;
  }
  end += 5;
  return {
    name: labels.join('.'),
    reply: (address) => {
      const header = Buffer.from(query.subarray(0, end));
      header[2] = 0x81;
      header[3] = address === undefined ? 0x83 : 0x80;
      header.writeUInt16BE(address === undefined ? 0 : 1, 6);
      header.writeUInt16BE(0, 10);
      const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...(address ?? [])]);
      const answer = address === undefined ? header : Buffer.concat([header, record]);
      app.write(server, Buffer.concat([head, answer]).toString('latin1'), 'latin1');
    },
  };
}

test.serial('a name is looked up at the name server inside, and remembered', (t) => {
  const question = {
    op: MlsOp.Resolve,
    args: [AF_INET, SOCK_STREAM, 0, 0],
    payload: Buffer.from('www.example.org\x00443\0'),
  };
  const asked = app.ask(question);
  const query = nextQuery();
  t.is(query.name, 'www.example.org');
  query.reply([198, 51, 100, 7]);
  for (const answer of [app.answer(asked)!, app.do(question)]) {
    t.is(answer.result, 1);
    t.is(getHost32(answer.payload, Ai.SockType), SOCK_STREAM);
    const addr = new SockAddr();
    readSockAddr(answer.payload, Ai.Addr, getHost32(answer.payload, Ai.AddrLen), AF_INET, addr);
    t.is(String(addr), '198.51.100.7 port 443');
  }
});

test.serial('a name nobody knows is EAI_NONAME after the search list', (t) => {
  const asked = app.ask({
    op: MlsOp.Resolve,
    args: [AF_INET, SOCK_STREAM, 0, 0],
    payload: Buffer.from('missing\0\0'),
  });
  const first = nextQuery();
  t.is(first.name, 'missing.example.net');
  first.reply(undefined);
  const second = nextQuery();
  t.is(second.name, 'missing');
  second.reply(undefined);
  t.is(app.answer(asked)!.result, -1002);
});

test.serial("queries to the host's name server go to ours, and answers seem to come from the one asked", (t) => {
  const client = app.do({ op: MlsOp.Socket, args: [AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0] }).fd;
  const head = Buffer.alloc(Dgram.Size);
  head[Dgram.Family] = AF_INET;
  head[Dgram.Flags] = 1;
  head.writeUInt16BE(53, Dgram.Port);
  head.writeUInt32BE(0xffff, Dgram.Addr + 8);
  head.set([192, 0, 2, 53], Dgram.Addr + 12);
  const query = Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0x61, 0, 0, 1, 0, 1]);
  app.write(client, Buffer.concat([head, query]).toString('latin1'), 'latin1');
  const seen = nextQuery();
  t.is(seen.name, 'a');
  seen.reply([203, 0, 113, 1]);
  const answer = Buffer.from(app.read(client) as string, 'latin1');
  t.is([...answer.subarray(Dgram.Addr + 12, Dgram.Addr + 16)].join('.'), ASKED);
  t.deepEqual([...answer.subarray(-4)], [203, 0, 113, 1]);
});

test.serial('an asker that goes away does not disturb the others', (t) => {
  const gone = app.ask({
    op: MlsOp.Resolve,
    args: [AF_INET, SOCK_STREAM, 0, 0],
    payload: Buffer.from('slow.example.org\0\0'),
  });
  const query = nextQuery();
  dataplane.native.close(gone);
  query.reply([198, 51, 100, 8]);
  t.is(app.do({ op: MlsOp.Hello }).result, 0);
});

test.serial("TCP connections to the host's name servers end inside, by whichever family the socket can speak", (t) => {
  for (const [family, asked, isV6Only] of [
    [AF_INET, ASKED, false],
    [AF_INET6, ASKED, false],
    [AF_INET6, ASKED_6, false],
    [AF_INET6, ASKED_6, true],
  ] as const) {
    const { fd } = app.do({ op: MlsOp.Socket, args: [family, SOCK_STREAM, 0] });
    const id = app.idOf(fd);
    if (isV6Only)
      app.do({ op: MlsOp.SetSockOpt, id, args: [IPPROTO_IPV6, IPV6_V6ONLY], payload: Buffer.from([1, 0, 0, 0]) });
    const to = at(asked, 53);
    to.family = family;
    t.is(app.do({ op: MlsOp.Connect, id, addr: to, fd }).result, 0, asked);
    t.is(String(app.do({ op: MlsOp.GetPeerName, id }).addr), `${asked} port 53`);
  }
});
