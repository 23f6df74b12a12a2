import test from 'ava';
import type { DataplaneReply, DataplaneRequest } from '../../../router/app/dataplane-client.ts';
import type { ToDataplane } from '../../../router/app/dataplane-protocol.ts';
import type { ToRouting } from '../../../router/app/routing-protocol.ts';
import { RoutingStreams, type StreamAsk } from '../../../router/app/routing-streams.ts';
import { makeLogger } from '../../../router/lib/log.ts';

/** Streams between a data plane that answers when it is told to, and routing workers that note what they hear. */
class Stage {
  readonly requests: DataplaneRequest[] = [];
  readonly sent: ToDataplane[] = [];
  readonly closed: number[] = [];
  readonly logged: string[] = [];
  routing = new Worker();
  /** Answers the requests, in the order they came. */
  readonly #answers: ((reply: DataplaneReply) => void)[] = [];
  readonly streams = new RoutingStreams({
    dataplane: {
      send: (m) => this.sent.push(m),
      request: (m) => {
        this.requests.push(m);
        const reply = new Promise<DataplaneReply>((resolve) => this.#answers.push(resolve));
        return { id: 100 + this.requests.length, reply };
      },
    },
    routing: () => this.routing,
    closeFd: (fd) => this.closed.push(fd),
    log: makeLogger(({ message, fields }) => this.logged.push(`${message} ${JSON.stringify(fields)}`), 'bgp'),
  });

  /** Asked by the worker of now. */
  ask(e: StreamAsk): void {
    this.streams.ask(e, this.routing);
  }

  async answer(result: unknown, errno = 0): Promise<void> {
    this.#answers.shift()!({ result, errno });
    await Promise.resolve();
  }

  accept(listen: number, fd: number): void {
    this.streams.accepted({
      ...{ kind: 'accepted', listen, fd, remote: 'fe80::2', remotePort: 179, local: 'fe80::1', link: 'a' },
    });
  }
}

class Worker {
  readonly heard: ToRouting[] = [];
  send(m: ToRouting): void {
    this.heard.push(m);
  }
}

const CONNECT: StreamAsk = {
  ...{ kind: 'stream-connect', id: 7, vrf: 3 },
  target: { remote: 'fe80::2', port: 179, local: undefined, link: 'a', security: { ttl: 255 } },
};
const listen = (id: number): StreamAsk => ({ kind: 'stream-listen', id, vrf: 3, port: 179, terms: [] });

test('a connect goes to the data plane, and its descriptor or its error to the worker that asked', async (t) => {
  const stage = new Stage();
  stage.ask(CONNECT);
  t.deepEqual(stage.requests, [
    { kind: 'stream-connect', vrf: 3, remote: 'fe80::2', port: 179, link: 'a', security: { ttl: 255 } },
  ]);
  await stage.answer({ fd: 20 });
  stage.ask({ ...CONNECT, id: 8 } as StreamAsk);
  await stage.answer(undefined, 111);
  t.deepEqual(stage.routing.heard, [
    { kind: 'stream-opened', id: 7, fd: 20, errno: 0 },
    { kind: 'stream-opened', id: 8, fd: -1, errno: 111 },
  ]);
  t.deepEqual(stage.closed, []);
});

test('a descriptor whose asker has been followed by another worker is closed, and the other hears nothing', async (t) => {
  const stage = new Stage();
  stage.ask(CONNECT);
  const before = stage.routing;
  stage.routing = new Worker();
  await stage.answer({ fd: 20 });
  t.deepEqual(stage.closed, [20]);
  t.deepEqual([before.heard, stage.routing.heard], [[], []]);
});

test("what is accepted, secured and closed bears the asker's number here and the data plane's there", (t) => {
  const stage = new Stage();
  for (const id of [7, 8]) stage.ask(listen(id));
  stage.accept(102, 30);
  t.deepEqual(stage.routing.heard, [
    { kind: 'stream-accepted', listen: 8, fd: 30, remote: 'fe80::2', local: 'fe80::1', link: 'a' },
  ]);
  const terms = [{ from: 'fe80::2/128', link: 'a', ttl: 255 }];
  stage.ask({ kind: 'stream-secure', listen: 7, terms });
  stage.ask({ kind: 'stream-unlisten', listen: 7 });
  stage.ask({ kind: 'stream-unlisten', listen: 7 });
  t.deepEqual(stage.sent, [
    { kind: 'stream-secure', listen: 101, terms },
    { kind: 'stream-unlisten', listen: 101 },
  ]);
  stage.accept(101, 31);
  t.deepEqual(stage.closed, [31], 'nobody listens there any more');
});

test('when the worker ends nobody listens until its successor asks', (t) => {
  const stage = new Stage();
  for (const id of [7, 8]) stage.ask(listen(id));
  stage.streams.restarted();
  t.deepEqual(stage.sent, [
    { kind: 'stream-unlisten', listen: 101 },
    { kind: 'stream-unlisten', listen: 102 },
  ]);
  stage.accept(101, 30);
  t.deepEqual(stage.closed, [30]);
  stage.ask(listen(7));
  stage.accept(103, 31);
  t.is(stage.routing.heard.length, 1);
});

test('a port that cannot be listened on is logged', async (t) => {
  const stage = new Stage();
  stage.ask(listen(7));
  await stage.answer({});
  stage.ask(listen(8));
  await stage.answer(undefined, 98);
  t.deepEqual(stage.logged, ['cannot listen {"port":179,"errno":98}']);
});
