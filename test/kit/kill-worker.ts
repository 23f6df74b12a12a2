/**
 * Preloaded into a daemon under test (NODE_OPTIONS=--import): SIGUSR2 ends the worker whose file MLSHIM_TEST_WORKER names,
 * as a fault of its own would. Product code knows nothing of this.
 */
import { syncBuiltinESMExports } from 'node:module';
import workers, { isMainThread, Worker } from 'node:worker_threads';

const name = process.env['MLSHIM_TEST_WORKER'];
if (isMainThread && name !== undefined) {
  class Watched extends Worker {
    constructor(file: string | URL, options?: workers.WorkerOptions) {
      super(file, options);
      if (String(file).endsWith(name!)) process.on('SIGUSR2', () => void this.terminate());
    }
  }
  workers.Worker = Watched;
  syncBuiltinESMExports();
}
