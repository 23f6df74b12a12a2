import { EventEmitter } from 'node:events';
import test from 'ava';
import { RoutingClient } from '../../../router/app/routing-client.ts';
import type { ToRouting } from '../../../router/app/routing-protocol.ts';

/** The limits of a client keep no process alive. */
const alive = setInterval(() => undefined, 1000);
test.after(() => clearInterval(alive));

/** A worker that takes questions and answers when it is told to. */
class Silent extends EventEmitter {
  readonly asked: number[] = [];

  postMessage(m: ToRouting): void {
    if (m.kind === 'query') this.asked.push(m.id);
  }

  answer(answer: unknown): void {
    this.emit('message', { kind: 'answer', id: this.asked.shift(), answer });
  }
}

test("who asks a worker that hangs is told so in time, and a late answer is nobody's", async (t) => {
  const worker = new Silent();
  const client = new RoutingClient(worker, () => t.fail('no event'), 5);
  await t.throwsAsync(client.summary(), { code: 'TIMEOUT', message: /^the routing worker does not answer/ });
  worker.answer('late');
  const next = client.summary();
  worker.answer('in time');
  t.is((await next) as unknown, 'in time');
});

test('a reload may take as long as it must', async (t) => {
  const worker = new Silent();
  const client = new RoutingClient(worker, () => t.fail('no event'), 5);
  const reloading = client.reload({} as never);
  await t.throwsAsync(client.summary(), { code: 'TIMEOUT' }); // asked later, late before
  worker.answer(undefined);
  await t.notThrowsAsync(reloading);
});

test('a worker that has ended does not hang', async (t) => {
  const worker = new Silent();
  const client = new RoutingClient(worker, () => t.fail('no event'), 1000);
  const hangs = client.hangs(500);
  client.abandon();
  t.false(await hangs);
  t.true(await new RoutingClient(new Silent(), () => t.fail('no event'), 1000).hangs(1));
});
